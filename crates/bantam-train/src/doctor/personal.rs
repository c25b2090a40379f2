//! Personal data in texts: e-mail addresses, telephone numbers, payment cards, bank accounts. Found by their form and, where
//! there is one, by their check sum; shown masked, never as they are.

use serde::Serialize;

/// Kinds of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Personal {
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// The number of a payment card (ISO/IEC 7812, Luhn's check digit).
    Card,
    /// An international bank account number (ISO 13616, remainder 1 of 97).
    Iban,
}

impl Personal {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "e-mail address",
            Self::Phone => "telephone number",
            Self::Card => "payment card",
            Self::Iban => "bank account",
        }
    }
}

/// Finds personal data: what it is, masked. Takes time in proportion to the text.
pub fn find(text: &str) -> Vec<(Personal, String)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    // Behind what was found, nothing is looked for in it again.
    let mut at = 0;
    while at < bytes.len() {
        let begins = at == 0 || !is_word(bytes[at - 1]);
        let hit = match bytes[at] {
            b'@' => email(bytes, at),
            b'A'..=b'Z' | b'a'..=b'z' if begins => iban(bytes, at),
            // Not amid a longer number, whose groups would be taken for one.
            b'0'..=b'9' | b'+' | b'(' if begins && !(at > 1 && bytes[at - 2].is_ascii_digit()) => number(bytes, at),
            _ => None,
        };
        match hit {
            Some((kind, masked, end)) => {
                found.push((kind, masked));
                at = end.max(at + 1);
            }
            // A run of digits that is none of these is not looked at from each of its digits.
            None if bytes[at].is_ascii_digit() => {
                at += bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            }
            None => at += 1,
        }
    }
    found
}

type Hit = Option<(Personal, String, usize)>;

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Most bytes of an address's local part (RFC 5321), and of its domain.
const LOCAL: usize = 64;
const DOMAIN: usize = 253;

fn email(bytes: &[u8], at: usize) -> Hit {
    let in_local = |byte: &&u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(byte);
    let local = bytes[..at].iter().rev().take(LOCAL + 1).take_while(in_local).count();
    let local = &bytes[at - local..at];
    let in_domain = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'.' || **byte == b'-';
    let domain = bytes[at + 1..].iter().take(DOMAIN).take_while(in_domain).count();
    let domain = &bytes[at + 1..at + 1 + domain];
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let first = local.iter().find(|byte| byte.is_ascii_alphanumeric())?;
    let labels: Vec<&[u8]> = domain.split(|byte| *byte == b'.').collect();
    let top = labels.last()?;
    let whole = labels.iter().all(|label| !label.is_empty() && label[0] != b'-');
    if local.len() > LOCAL || labels.len() < 2 || !whole || top.len() < 2 || !top.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    // Addresses kept for examples (RFC 2606) are nobody's.
    let second = labels[labels.len() - 2].to_ascii_lowercase();
    if second == b"example" || [&b"example"[..], b"invalid", b"test"].contains(&&top.to_ascii_lowercase()[..]) {
        return None;
    }
    let masked = format!("{}…@….{}", char::from(*first), String::from_utf8_lossy(top));
    Some((Personal::Email, masked, at + 1 + domain.len()))
}

/// Lengths of bank account numbers by country (ISO 13616 registry); others are 15 to 34 long.
const LENGTHS: [(&[u8; 2], usize); 32] = [
    (b"AT", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"CH", 21),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"EE", 20),
    (b"ES", 24),
    (b"FI", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GR", 27),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IS", 26),
    (b"IT", 27),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"MC", 27),
    (b"MT", 31),
    (b"NL", 18),
    (b"NO", 15),
    (b"PL", 28),
    (b"PT", 25),
    (b"RO", 24),
    (b"SE", 24),
    (b"SI", 19),
];

fn iban(bytes: &[u8], at: usize) -> Hit {
    let head = bytes.get(at..at + 4)?;
    if !head[..2].iter().all(u8::is_ascii_alphabetic) || !head[2..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let country = [head[0].to_ascii_uppercase(), head[1].to_ascii_uppercase()];
    let wanted = LENGTHS.iter().find(|(code, _)| **code == country).map(|(_, length)| *length);
    let (mut account, mut end) = (Vec::with_capacity(34), at);
    // Written in groups of four with spaces between, or without.
    while let Some(&byte) = bytes.get(end) {
        if byte == b' ' && account.len() % 4 == 0 && bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric) {
            end += 1;
        } else if byte.is_ascii_alphanumeric() && account.len() < wanted.unwrap_or(34) {
            account.push(byte.to_ascii_uppercase());
            end += 1;
        } else {
            break;
        }
        if Some(account.len()) == wanted {
            break;
        }
    }
    let follows = bytes.get(end).is_some_and(|byte| is_word(*byte));
    if follows || account.len() < 15 || wanted.is_some_and(|wanted| wanted != account.len()) {
        return None;
    }
    let digits = account[4..].iter().chain(&account[..4]);
    let remainder = digits.fold(0u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    let text = String::from_utf8_lossy(&account).into_owned();
    (remainder == 1).then(|| (Personal::Iban, format!("{}…{}", &text[..2], &text[text.len() - 2..]), end))
}

/// A card's or a telephone's number: digits with single spaces, dots, dashes, slashes or brackets between.
fn number(bytes: &[u8], at: usize) -> Hit {
    let (mut digits, mut end, mut gap, mut groups) = (Vec::with_capacity(20), at, 0, 0);
    for (here, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            b'0'..=b'9' => {
                groups += usize::from(digits.is_empty() || gap > 0);
                digits.push(byte - b'0');
                (end, gap) = (here + 1, 0);
            }
            b'+' if here == at => {}
            b' ' | b'-' | b'.' | b'/' | b'(' | b')' if gap < 2 => gap += 1,
            _ => break,
        }
        if digits.len() > 20 {
            return None;
        }
    }
    if digits.is_empty() || bytes.get(end).is_some_and(|byte| is_word(*byte)) {
        return None;
    }
    let last =
        |count: usize| digits[digits.len().saturating_sub(count)..].iter().map(u8::to_string).collect::<String>();
    if (13..=19).contains(&digits.len()) && bytes[at] != b'+' && issued(&digits) && luhn(&digits) {
        return Some((Personal::Card, format!("…{}", last(4)), end));
    }
    let text = &bytes[at..end];
    let plus = text[0] == b'+';
    // Dates, times, sums and versions have digits in groups, too: without a country's code, a telephone number begins with 0
    // or a bracket, or has the groups of North America.
    let national = (text[0] == b'(' || digits.first() == Some(&0)) && groups >= 2 && !text.contains(&b'.');
    let american = groups == 3 && digits.len() == 10 && is_american(text);
    let telephone = match plus {
        true => (8..=15).contains(&digits.len()),
        false => (9..=12).contains(&digits.len()) && (national || american),
    };
    telephone.then(|| (Personal::Phone, format!("{}…{}", if plus { "+" } else { "" }, last(2)), end))
}

/// Digits in groups of three, three and four.
fn is_american(text: &[u8]) -> bool {
    let groups: Vec<usize> =
        text.split(|byte| !byte.is_ascii_digit()).filter(|group| !group.is_empty()).map(<[u8]>::len).collect();
    groups == [3, 3, 4]
}

/// Whether a number is of those that cards have: Visa, Mastercard, American Express, Diners, Discover, JCB, `UnionPay`.
fn issued(digits: &[u8]) -> bool {
    let begin = digits.iter().take(4).fold(0u32, |number, digit| number * 10 + u32::from(*digit));
    matches!(begin, 4000..=4999 | 5100..=5599 | 2221..=2720 | 3400..=3499 | 3700..=3799 | 3000..=3059 | 3600..=3699
        | 3800..=3999 | 6011 | 6400..=6599 | 3528..=3589 | 6200..=6299)
}

/// Luhn's check digit (ISO/IEC 7812-1, annex B).
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit < 5 => 2 * digit,
            (_, digit) => 2 * digit - 9,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn personal_data_are_found_and_masked() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<String> =
                find(text).iter().map(|(kind, masked)| format!("{} {masked}", kind.name())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("write to Jane.Doe+x@mail.bern.ch.", &["e-mail address J…@….ch"]);
        check("a@b, me@example.com, x@host, @name, a@b.c1", &[]);
        // Test numbers that card companies publish, and the examples of the IBAN registry.
        check("card 4111 1111 1111 1111, or 378282246310005", &["payment card …1111", "payment card …0005"]);
        check("4111 1111 1111 1112 and 1234567890123", &[]);
        check("to DE89 3704 0044 0532 0130 00 please", &["bank account DE…00"]);
        check("GB82WEST12345698765432; gb82 west 1234 5698 7654 32", &["bank account GB…32", "bank account GB…32"]);
        check("DE89 3704 0044 0532 0130 01", &[]);
        check("+41 44 668 18 00 or (555) 123-4567", &["telephone number +…00", "telephone number …67"]);
        check("044 668 18 00, 555-123-4567", &["telephone number …00", "telephone number …67"]);
        check("2024-07-26 12:30, 3.1415926535, 1 000 000 000, v1.2.3.4, 192.168.100.200, 0.123456789", &[]);
        check("", &[]);
        check("+", &[]);
        check("(a), +b, (((1", &[]);
        check(&"1 ".repeat(1000), &[]);
    }
}
