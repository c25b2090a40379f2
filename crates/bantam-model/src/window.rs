//! Sliding windows: which layers see only so far back, and turn by a rope of their own.

use crate::families::rope::local_rope;
use crate::settings::{Key, Settings};
use crate::{ModelError, Spec};

/// Every how many layers one sees all, or a flag for each layer.
const PATTERN: Key = Key("sliding_window_pattern|_sliding_window_pattern", "attention.sliding_window_pattern");

/// Reads the window and gives it to the layers that have one: by `layer_types`, by a pattern, or as is `usual`.
pub(crate) fn windowed(
    settings: &mut Settings<'_>,
    spec: &mut Spec,
    usual: impl Fn(usize) -> bool,
) -> Result<(), ModelError> {
    let layers = spec.layers.len();
    let key = Key("sliding_window|sliding_window_size", "attention.sliding_window");
    // Converters to GGUF write 0 where there is none.
    let stated = if settings.is_config() {
        settings.optional_count(key)?
    } else {
        settings.optional_whole(key)?.filter(|window| *window > 0)
    };
    let used = settings.flag(Key("use_sliding_window", ""))?.unwrap_or(true);
    let pattern = match settings.get(PATTERN).map(|setting| setting.integer()) {
        None => None,
        Some(Some(_)) => {
            settings.optional_count(PATTERN)?.map(|every| (0..layers).map(|i| (i + 1) % every != 0).collect())
        }
        Some(None) => settings.flags(PATTERN, layers)?,
    };
    let slides: Vec<bool> = match layer_types(settings, layers)?.or(pattern) {
        Some(slides) => slides,
        None => (0..layers).map(usual).collect(),
    };
    let key_width = spec.attentions().next().map_or(0, |attention| attention.key_width);
    let local = local_rope(settings, key_width)?;
    // A window as long as the context leaves nothing out.
    let window = stated.filter(|window| used && *window < spec.context);
    for (attention, _) in spec.attentions().zip(slides).filter(|(_, slides)| *slides) {
        attention.window = window;
        if let Some(local) = &local {
            attention.rope = Some(local.clone());
        }
    }
    Ok(())
}

/// Newer configurations name the kind of each layer.
fn layer_types(settings: &mut Settings<'_>, layers: usize) -> Result<Option<Vec<bool>>, ModelError> {
    let key = Key("layer_types", "");
    let Some(types) = settings.texts(key)? else { return Ok(None) };
    let known: Option<Vec<bool>> = types
        .iter()
        .map(|kind| match kind.as_str() {
            "sliding_attention" => Some(true),
            "full_attention" => Some(false),
            _ => None,
        })
        .collect();
    match known.filter(|known| known.len() == layers) {
        Some(known) => Ok(Some(known)),
        None => Err(settings.wrong(
            key,
            &format!("{layers} times sliding_attention or full_attention"),
            &types.join(", ").chars().take(80).collect::<String>(),
        )),
    }
}
