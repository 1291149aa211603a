//! Numbers for people.

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.366_998, 1234.56, 20.0, 2.4e-3, 1.5e-4, -0.5].map(number);
        assert_eq!(shown, ["0", "0.367", "1235", "20", "0.0024", "1.5 × 10⁻⁴", "-0.5"]);
        assert_eq!([7, 999, 1000, 1_234_567].map(grouped), ["7", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }

    proptest! {
        #[test]
        fn numbers_keep_four_digits(value in 1e-3..1e6_f64) {
            let back: f64 = number(value).parse().expect("a plain number");
            prop_assert!((back - value).abs() <= 1e-3 * value, "{value} became {back}");
        }
    }
}
