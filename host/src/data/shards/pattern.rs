//! Numbered paths in few words: `data-{000..127}.tar`.

use std::path::PathBuf;

/// The most paths that patterns may name.
pub const MOST: usize = 1_000_000;

/// Why a pattern names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A brace is open, or closed, alone.
    #[error("{0} has a brace without its partner: a range is written as {{000..127}}")]
    Partner(String),
    /// Something else than a range stands in braces.
    #[error("{{{range}}} in {pattern} is no range: write two numbers, such as {{000..127}}")]
    NoRange {
        /// The pattern.
        pattern: String,
        /// What stands in the braces.
        range: String,
    },
    /// A range has its larger number first.
    #[error("{{{range}}} in {pattern} names nothing: write the smaller number first")]
    Backwards {
        /// The pattern.
        pattern: String,
        /// What stands in the braces.
        range: String,
    },
    /// The ranges multiply to more than [`MOST`].
    #[error("{0} names more than {MOST} shards")]
    TooMany(String),
}

/// Paths for a person to read: all of a few, else the first and how many more.
#[must_use]
pub fn shown(paths: &[PathBuf]) -> String {
    match paths {
        [first, others @ ..] if others.len() > 2 => format!("{} and {} more", first.display(), others.len()),
        few => few.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Text(&'a str),
    /// Numbers from the first to the last, with zeros up to so many digits.
    Range(u64, u64, usize),
}

/// All paths of a pattern, the last range changing fastest. Numbers have as many digits as the longer of the two, if
/// one of these begins with a zero, as in shells and webdataset.
///
/// # Errors
/// If braces do not pair up or hold something else than `FIRST..LAST`, or these are too many.
pub fn expand(pattern: &str) -> Result<Vec<String>, PatternError> {
    let parts = parse(pattern)?;
    let mut lengths = parts.iter().map(|part| match part {
        Part::Text(_) => Some(1),
        Part::Range(first, last, _) => (last - first).checked_add(1).and_then(|count| usize::try_from(count).ok()),
    });
    let count = lengths.try_fold(1_usize, |product, length| product.checked_mul(length?));
    if count.is_none_or(|count| count > MOST) {
        return Err(PatternError::TooMany(pattern.into()));
    }
    Ok(parts.iter().fold(vec![String::new()], |paths, part| match part {
        Part::Text(text) => paths.into_iter().map(|path| path + text).collect(),
        Part::Range(first, last, width) => {
            let with = |path: String| (*first..=*last).map(move |number| format!("{path}{number:0width$}"));
            paths.into_iter().flat_map(with).collect()
        }
    }))
}

fn parse(pattern: &str) -> Result<Vec<Part<'_>>, PatternError> {
    let alone = || PatternError::Partner(pattern.into());
    let (mut parts, mut rest) = (Vec::new(), pattern);
    while let Some((text, after)) = rest.split_once('{') {
        let (inner, behind) = after.split_once('}').ok_or_else(alone)?;
        if text.contains('}') || inner.contains('{') {
            return Err(alone());
        }
        parts.extend([Part::Text(text), range(pattern, inner)?]);
        rest = behind;
    }
    if rest.contains('}') {
        return Err(alone());
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

fn range<'a>(pattern: &str, inner: &str) -> Result<Part<'a>, PatternError> {
    let no_range = || PatternError::NoRange { pattern: pattern.into(), range: inner.into() };
    let number = |text: &str| -> Option<u64> {
        // As many as the largest number has; zeros before it would be without end.
        let digits = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let (first, last) = inner.split_once("..").ok_or_else(no_range)?;
    let padded = [first, last].iter().any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if padded { first.len().max(last.len()) } else { 1 };
    match (number(first).ok_or_else(no_range)?, number(last).ok_or_else(no_range)?) {
        (first, last) if first > last => {
            Err(PatternError::Backwards { pattern: pattern.into(), range: inner.into() })
        }
        (first, last) => Ok(Part::Range(first, last, width)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_written_out_as_shells_do() {
        for (pattern, expected) in [
            ("a.tar", vec!["a.tar"]),
            ("a-{8..11}.tar", vec!["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
            ("a-{08..11}.tar", vec!["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
            ("a-{9..010}.tar", vec!["a-009.tar", "a-010.tar"]),
            ("{0..1}/{00..01}.tar", vec!["0/00.tar", "0/01.tar", "1/00.tar", "1/01.tar"]),
            ("a{3..3}", vec!["a3"]),
        ] {
            assert_eq!(
                expand(pattern).as_deref(),
                Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
        }
    }

    #[test]
    fn what_names_nothing_is_told() {
        let text = |pattern: &str| expand(pattern).expect_err(pattern).to_string();
        for pattern in ["a{0..1.tar", "a}0..1{.tar", "a{{0..1}}.tar", "a0..1}.tar", "{"] {
            assert!(text(pattern).contains("brace without its partner"), "{pattern}");
        }
        for pattern in
            ["{}", "{a,b}", "{a..c}", "{0..}", "{..1}", "{0..4..2}", "{-1..2}", "{+1..2}", "{1...2}", "{0}"]
        {
            assert!(text(pattern).contains("is no range"), "{pattern}");
        }
        assert_eq!(text("a{5..3}.tar"), "{5..3} in a{5..3}.tar names nothing: write the smaller number first");
        for pattern in ["{0..18446744073709551615}", "{0..1000000}", "{0..1000}{0..1000}"] {
            assert!(text(pattern).contains("more than 1000000"), "{pattern}");
        }
        assert!(text("{0..99999999999999999999}").contains("is no range"), "no number of a shard");
        assert!(text(&format!("{{{}1..2}}", "0".repeat(70_000))).contains("is no range"));
    }

    #[test]
    fn a_few_paths_are_all_shown() {
        let of = |count: usize| shown(&(0..count).map(|i| format!("{i}.tar").into()).collect::<Vec<_>>());
        assert_eq!((of(0), of(1), of(3)), (String::new(), "0.tar".into(), "0.tar, 1.tar, 2.tar".into()));
        assert_eq!(of(128), "0.tar and 127 more");
    }

    // In the macro, a brace in quotes would be taken for part of a format.
    const BRACES: [char; 2] = ['{', '}'];

    proptest! {
        #[test]
        fn every_number_is_there_once_and_in_order(
            (a, more) in (0_u64..3000, 0_u64..40),
            zeros in 0_usize..4,
            (b, others) in (0_u64..30, 0_u64..4),
        ) {
            let first = format!("{}{a}", "0".repeat(zeros));
            let last = format!("{}{}", "0".repeat(zeros), a + more);
            let width = if zeros > 0 { first.len().max(last.len()) } else { 1 };
            let found = expand(&format!("x/{{{first}..{last}}}-{{{b}..{}}}.tar", b + others)).expect("paths");
            let wanted: Vec<String> = (a..=a + more)
                .flat_map(|i| (b..=b + others).map(move |j| format!("x/{i:0width$}-{j}.tar")))
                .collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn nothing_written_is_a_panic(text in "[{}.,0-9a]{0,12}") {
            if let Ok(paths) = expand(&text) {
                let braces = paths.iter().any(|path| path.contains(BRACES));
                prop_assert!(paths.len() <= MOST && !braces);
            }
        }
    }
}
