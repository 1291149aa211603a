//! Text, numbers and pictures as HTML.

use std::fmt::Write as _;

/// `text` with the characters that mean something in HTML replaced, for element content and quoted attributes.
/// Control characters, which no browser shows, are left out.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() && letter != '\n' && letter != '\t' => {}
            letter => out.push(letter),
        }
    }
    out
}

/// A picture that is part of the page. `alt` is escaped here.
#[must_use]
pub fn picture(png: &[u8], alt: &str) -> String {
    let size =
        png_size(png).map_or_else(String::new, |(width, height)| format!(" width=\"{width}\" height=\"{height}\""));
    format!("<img{size} alt=\"{}\" src=\"data:image/png;base64,{}\">", escape(alt), base64(png))
}

/// A list of terms, both sides escaped here; nothing if it is empty.
#[must_use]
pub fn facts(class: &str, facts: &[(String, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let mut out = format!("<dl class=\"{class}\">\n");
    for (name, value) in facts {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out + "</dl>\n"
}

/// A whole number with its thousands apart: `23 430`.
#[must_use]
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Four significant digits where that is enough, no exponent for usual sizes.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e9 {
        format!("{value:.0}")
    } else if (1e-3..1e6).contains(&size) {
        let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
    } else {
        scientific(value)
    }
}

/// `2.4 × 10⁻³`, without trailing zeros.
#[must_use]
pub fn scientific(value: f64) -> String {
    let text = format!("{value:.3e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    match exponent {
        "0" => digits.into(),
        exponent => format!("{digits} × 10{}", superscript(exponent)),
    }
}

/// Digits and minus, raised.
#[must_use]
pub fn superscript(digits: &str) -> String {
    let raised = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    digits
        .chars()
        .filter_map(|c| if c == '-' { Some('⁻') } else { c.to_digit(10).map(|d| raised[d as usize]) })
        .collect()
}

/// RFC 4648, section 4.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { letter.into() } else { '=' });
        }
    }
    out
}

/// Width and height in the header of a PNG.
#[must_use]
pub fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let header = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    (header.get(4..8)? == b"IHDR").then_some(())?;
    Some((number(8)?, number(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_of_rfc_4648() {
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in expected.into_iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.366_998, 1234.56, 20.0, 2.4e-3, 1.5e-4, -0.5].map(number);
        assert_eq!(shown, ["0", "0.367", "1235", "20", "0.0024", "1.5 × 10⁻⁴", "-0.5"]);
        assert_eq!([7, 999, 1000, 1_234_567].map(grouped), ["7", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }

    proptest! {
        #[test]
        fn escaped_text_can_open_no_tag_and_close_no_attribute(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }

        #[test]
        fn numbers_keep_four_digits(value in 1e-3..1e6_f64) {
            let back: f64 = number(value).parse().expect("a plain number");
            prop_assert!((back - value).abs() <= 1e-3 * value, "{value} became {back}");
        }
    }
}
