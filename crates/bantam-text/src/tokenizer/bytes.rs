//! GPT-2's printable characters for the 256 bytes, and SentencePiece's spelling of byte tokens.

/// Bytes that stand for themselves: printable ASCII and Latin-1 without the soft hyphen.
fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that spells `byte`: itself if printable, else the next free one from U+0100.
pub(crate) fn byte_to_char(byte: u8) -> char {
    let code = if is_printable(byte) {
        u32::from(byte)
    } else {
        match byte {
            0..=0x20 => 0x100 + u32::from(byte),
            0x7f..=0xa0 => 0x121 + u32::from(byte - 0x7f),
            _ => 0x143,
        }
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that `character` spells, if it spells one.
pub(crate) fn char_to_byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0..=0xff => u8::try_from(code).ok().filter(|&byte| is_printable(byte)),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The bytes a byte-level token spells; a token with any other character is taken as it stands.
pub(crate) fn unmap(spelling: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(spelling.len());
    unmap_into(spelling, &mut bytes);
    bytes
}

/// Appends the bytes a byte-level token spells, as [`unmap`].
pub(crate) fn unmap_into(spelling: &[u8], bytes: &mut Vec<u8>) {
    let start = bytes.len();
    let whole = std::str::from_utf8(spelling)
        .is_ok_and(|text| text.chars().all(|character| char_to_byte(character).map(|byte| bytes.push(byte)).is_some()));
    if !whole {
        bytes.truncate(start);
        bytes.extend_from_slice(spelling);
    }
}

/// The byte of a token spelled `<0x0A>`.
pub(crate) fn byte_token(spelling: &[u8]) -> Option<u8> {
    let digits = spelling.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_characters_are_one_to_one() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=255 {
            let character = byte_to_char(byte);
            assert!(seen.insert(character));
            assert_eq!(char_to_byte(character), Some(byte));
        }
        // Landmarks of GPT-2's own table.
        let check = |byte: u8, expected: char| assert_eq!(byte_to_char(byte), expected);
        check(b' ', 'Ġ');
        check(b'\n', 'Ċ');
        check(b'\t', 'ĉ');
        check(0x7f, 'ġ');
        check(0xa0, 'ł');
        check(0xad, 'Ń');
        check(b'a', 'a');
    }
}
