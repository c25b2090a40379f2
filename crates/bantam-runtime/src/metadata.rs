//! GGUF's `tokenizer.*` metadata as plain data for `bantam-text`.

use bantam_formats::{FormatError, Gguf};
use bantam_text::{Merges, Vocabulary};

/// A named chat template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateSource {
    pub(crate) name: String,
    pub(crate) source: String,
}

/// Reads the vocabulary that a GGUF file's metadata holds, or `None` where it has none.
///
/// # Errors
/// Names a key whose value is of another type.
pub fn vocabulary(gguf: &Gguf) -> Result<Option<Vocabulary>, FormatError> {
    let key = |key: &str| format!("tokenizer.ggml.{key}");
    let text = |name: &str| Ok::<_, FormatError>(gguf.str(&key(name))?.map(str::to_owned));
    let id = |name: &str| gguf.u32(&key(name));
    let flag = |name: &str| gguf.bool(&key(name));
    let Some(model) = text("model")? else { return Ok(None) };
    let tokens = gguf.strings(&key("tokens"))?.map(|list| list.iter().map(<[u8]>::to_vec).collect());
    let array = |name: &str| gguf.array(&key(name));
    let wrong = |name: &str, expected: &'static str| FormatError::WrongValueType {
        key: key(name),
        expected,
        found: gguf.get(&key(name)).map(ToString::to_string).unwrap_or_default(),
    };
    let scores = match array("scores")? {
        Some(list) => list.to_f32s().ok_or_else(|| wrong("scores", "a list of numbers"))?.into_owned(),
        None => Vec::new(),
    };
    let types = match array("token_type")? {
        Some(list) => {
            let numbers = list.to_i64s().ok_or_else(|| wrong("token_type", "a list of whole numbers"))?;
            numbers.iter().map(|&n| i32::try_from(n).unwrap_or(-1)).collect()
        }
        None => Vec::new(),
    };
    let merges = match gguf.strings(&key("merges"))? {
        Some(list) => {
            let text = |merge| str::from_utf8(merge).map_err(|_| wrong("merges", "texts in UTF-8"));
            list.iter().map(text).collect::<Result<_, _>>()?
        }
        None => Merges::default(),
    };
    let precompiled_charsmap = match array("precompiled_charsmap")? {
        Some(list) => {
            let numbers = list.to_i64s().ok_or_else(|| wrong("precompiled_charsmap", "a list of bytes"))?;
            numbers.iter().map(|&n| n as u8).collect()
        }
        None => Vec::new(),
    };
    Ok(Some(Vocabulary {
        model,
        pre: text("pre")?,
        name: gguf.str("general.name")?.map(str::to_owned),
        tokens: tokens.unwrap_or_default(),
        scores,
        types,
        merges,
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        eom: id("eom_token_id")?,
        unknown: id("unknown_token_id")?,
        padding: id("padding_token_id")?,
        separator: id("seperator_token_id")?,
        class: id("cls_token_id")?,
        mask: id("mask_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        remove_extra_whitespaces: flag("remove_extra_whitespaces")?,
        precompiled_charsmap,
    }))
}

/// Reads the chat templates: the default one and those with a name.
pub(crate) fn templates(gguf: &Gguf) -> Result<Vec<TemplateSource>, FormatError> {
    const KEY: &str = "tokenizer.chat_template";
    let mut templates = Vec::new();
    if let Some(source) = gguf.str(KEY)? {
        templates.push(TemplateSource { name: "default".into(), source: source.to_owned() });
    }
    for (key, value) in gguf.metadata() {
        if let (Some(name), Some(source)) =
            (key.strip_prefix(KEY).and_then(|rest| rest.strip_prefix('.')), value.as_str())
        {
            templates.push(TemplateSource { name: name.to_owned(), source: source.to_owned() });
        }
    }
    Ok(templates)
}
