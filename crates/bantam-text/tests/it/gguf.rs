//! Just enough of GGUF to read a vocabulary for tests (the real reader lives on a higher floor).

use bantam_text::Vocabulary;

enum Value {
    Text(Vec<u8>),
    Integer(u64),
    Float(f32),
    Flag(bool),
    Array(Vec<Value>),
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> &[u8] {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }
    fn number(&mut self, len: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(self.take(len));
        u64::from_le_bytes(bytes)
    }
    fn text(&mut self) -> Vec<u8> {
        let len = self.number(8) as usize;
        self.take(len).to_vec()
    }
    fn value(&mut self, kind: u64) -> Value {
        match kind {
            0 | 1 => Value::Integer(self.number(1)),
            2 | 3 => Value::Integer(self.number(2)),
            4 | 5 => Value::Integer(self.number(4)),
            6 => Value::Float(f32::from_bits(self.number(4) as u32)),
            7 => Value::Flag(self.number(1) != 0),
            8 => Value::Text(self.text()),
            9 => {
                let kind = self.number(4);
                let count = self.number(8);
                Value::Array((0..count).map(|_| self.value(kind)).collect())
            }
            _ => Value::Integer(self.number(8)),
        }
    }
}

/// The vocabulary in the metadata of a GGUF v2 or v3 file.
pub fn vocabulary(file: &[u8]) -> Vocabulary {
    let mut reader = Reader(file);
    assert_eq!(reader.take(4), b"GGUF");
    reader.number(4);
    reader.number(8);
    let count = reader.number(8);
    let mut vocabulary = Vocabulary::default();
    for _ in 0..count {
        let key = String::from_utf8(reader.text()).unwrap();
        let kind = reader.number(4);
        let value = reader.value(kind);
        let Some(key) = key.strip_prefix("tokenizer.ggml.") else { continue };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        match (key, value) {
            ("model", Value::Text(bytes)) => vocabulary.model = text(bytes),
            ("pre", Value::Text(bytes)) => vocabulary.pre = Some(text(bytes)),
            ("bos_token_id", Value::Integer(id)) => vocabulary.bos = Some(id as u32),
            ("eos_token_id", Value::Integer(id)) => vocabulary.eos = Some(id as u32),
            ("cls_token_id", Value::Integer(id)) => vocabulary.class = Some(id as u32),
            ("seperator_token_id", Value::Integer(id)) => vocabulary.separator = Some(id as u32),
            ("unknown_token_id", Value::Integer(id)) => vocabulary.unknown = Some(id as u32),
            ("add_bos_token", Value::Flag(flag)) => vocabulary.add_bos = Some(flag),
            ("add_space_prefix", Value::Flag(flag)) => vocabulary.add_space_prefix = Some(flag),
            (key, Value::Array(values)) => {
                for value in values {
                    match (key, value) {
                        ("tokens", Value::Text(bytes)) => vocabulary.tokens.push(bytes),
                        ("merges", Value::Text(bytes)) => vocabulary.merges.push(&text(bytes)),
                        ("scores", Value::Float(score)) => vocabulary.scores.push(score),
                        ("token_type", Value::Integer(kind)) => vocabulary.types.push(kind as i32),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    vocabulary
}
