//! Names in files that hold one a line.

/// A name without line breaks and other control characters: `\n`, `\r`, `\t`, others as `\u{1b}`, and `\\` for a
/// backslash, so that the name can be had back.
#[must_use]
pub fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Readers of lines also break at the two separators.
            letter if letter.is_control() || ['\u{2028}', '\u{2029}'].contains(&letter) => {
                out.extend(letter.escape_unicode());
            }
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The name again, as `docs/edge.md` describes the escapes.
    fn unescaped(line: &str) -> Option<String> {
        let (mut out, mut letters) = (String::new(), line.chars());
        while let Some(letter) = letters.next() {
            if letter != '\\' {
                out.push(letter);
                continue;
            }
            out.push(match letters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '\\' => '\\',
                'u' => {
                    let digits: String = letters.by_ref().skip(1).take_while(|letter| *letter != '}').collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                _ => return None,
            });
        }
        Some(out)
    }

    #[test]
    fn usual_names_stay_as_they_are() {
        for name in ["a b/ü-模型 (1).jpg", "\"quoted\", and 'so'", ""] {
            assert_eq!(escaped(name), name);
        }
        assert_eq!(escaped("a\nb\r\tc\\n\u{1b}[31m\u{85}\u{2028}"), r"a\nb\r\tc\\n\u{1b}[31m\u{85}\u{2028}");
    }

    proptest! {
        #[test]
        fn every_name_is_one_line_and_comes_back(
            name in prop_oneof![".*", "[\\\\nrtu{}\n\r\t\u{0}-\u{1f}\u{85}\u{2028}]*"],
        ) {
            let line = escaped(&name);
            let breaks = line.chars().any(|letter| letter.is_control() || letter == '\u{2028}');
            prop_assert!(!breaks);
            prop_assert_eq!(unescaped(&line), Some(name));
        }
    }
}
