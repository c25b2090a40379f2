//! Sizes in bytes as people write and read them.

/// Units by their first letter: the power of 1024 (or 1000).
const UNITS: [(char, u32); 4] = [('k', 1), ('m', 2), ('g', 3), ('t', 4)];

/// Reads `3G`, `512M`, `1.5GiB`, `2GB` or plain bytes. `K M G T` and `KiB MiB GiB TiB` are powers of 1024, as cgroup and
/// systemd read them; `KB MB GB TB` are powers of 1000, as SI has it.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse(text: &str) -> Result<u64, String> {
    let refuse =
        || format!("'{text}' is no size; expected a number of bytes, or a number with K, M, G or T such as 3G");
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| refuse())?;
    let mut letters = unit.chars();
    let factor = match letters.next() {
        None | Some('b') if letters.as_str().is_empty() => 1.0,
        Some(first) => {
            let (_, power) = UNITS.iter().find(|(letter, _)| *letter == first).ok_or_else(refuse)?;
            let base: f64 = match letters.as_str() {
                "" | "ib" => 1024.0,
                "b" => 1000.0,
                _ => return Err(refuse()),
            };
            base.powi(*power as i32)
        }
        None => return Err(refuse()),
    };
    let bytes = number * factor;
    if !bytes.is_finite() || bytes < 0.0 || bytes > 2f64.powi(62) {
        return Err(refuse());
    }
    Ok(bytes.round() as u64)
}

/// Writes bytes with a binary unit and three figures: `1.23 GiB`, `45.6 MiB`, `789 B`.
pub fn format(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 9.995 => format!("{value:.2} {unit}"),
        _ if value < 99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Writes a count with a decimal unit: `1.24 B`, `135 M`, `260 K`.
pub fn count(number: u64) -> String {
    let value = number as f64;
    let (value, unit) = match number {
        0..1_000 => return number.to_string(),
        1_000..1_000_000 => (value / 1e3, "K"),
        1_000_000..1_000_000_000 => (value / 1e6, "M"),
        1_000_000_000.. => (value / 1e9, "B"),
    };
    match value {
        ..9.995 => format!("{value:.2} {unit}"),
        ..99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    fn check(input: &str, expected: Option<u64>) {
        assert_eq!(super::parse(input).ok(), expected, "{input}");
    }

    #[test]
    fn sizes_are_read() {
        check("0", Some(0));
        check("1048576", Some(1 << 20));
        check("3G", Some(3 << 30));
        check("3g", Some(3 << 30));
        check("1.5GiB", Some(3 << 29));
        check("2GB", Some(2_000_000_000));
        check("512 M", Some(512 << 20));
        check("100B", Some(100));
        check("", None);
        check("G", None);
        check("-1G", None);
        check("3X", None);
        check("3GiBs", None);
        check("nan", None);
        check("1e30T", None);
    }

    #[test]
    fn sizes_are_written() {
        for (bytes, expected) in
            [(0, "0 B"), (999, "999 B"), (1 << 20, "1.00 MiB"), (1 << 30, "1.00 GiB"), (1_320_702_444, "1.23 GiB")]
        {
            assert_eq!(super::format(bytes), expected);
        }
        assert_eq!(super::count(1_235_814_432), "1.24 B");
        assert_eq!(super::count(260_032), "260 K");
    }
}
