//! Exit codes of the programs (0 done, 1 failed, 2 misused), and printing that survives a reader who went away.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

/// Set when standard output failed otherwise than by its reader's leaving.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// As `println!`, but never panics: a reader that has gone away (`| head`) is no failure, and a full disk becomes
/// exit code 1 at the end, after the work is done.
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::exit::say(format_args!($($arg)*)) };
}

/// As `eprintln!`, but never panics.
#[macro_export]
macro_rules! note {
    ($($arg:tt)*) => { $crate::exit::note(format_args!($($arg)*)) };
}

/// See [`say!`](crate::say).
pub fn say(text: fmt::Arguments<'_>) {
    if writeln!(io::stdout().lock(), "{text}").is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        OUTPUT_LOST.store(true, Ordering::Relaxed);
    }
}

/// See [`note!`](crate::note).
pub fn note(text: fmt::Arguments<'_>) {
    // There is nowhere left to tell that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error that the user can mend by calling the program differently; ends with exit code 2.
#[derive(Debug)]
pub struct Misuse(pub String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// An [`anyhow::Error`] that ends the program with exit code 2.
pub fn misuse(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Misuse(message.into()))
}

/// Prints the error as one line with its causes, and gives the exit code.
pub fn report(program: &str, result: anyhow::Result<()>) -> ExitCode {
    let lost = OUTPUT_LOST.load(Ordering::Relaxed);
    let failed = || anyhow::anyhow!("standard output could not be written; is the disk full?");
    let Some(error) = result.err().or_else(|| lost.then(failed)) else { return ExitCode::SUCCESS };
    crate::note!("{program}: {}", one_line(&error));
    if error.downcast_ref::<Misuse>().is_some() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The program as it was called (`host`, `target/release/host`), so that a line for the user to paste works.
#[must_use]
pub fn called(name: &str) -> String {
    std::env::args().next().filter(|path| !path.is_empty()).unwrap_or_else(|| name.into())
}

/// The error and its causes; a cause that the text before it ends with already is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_and_say_nothing_twice() {
        let error = anyhow::anyhow!("no\n  space ").context("cannot write: no space").context("cannot save");
        assert_eq!(one_line(&error), "cannot save: cannot write: no space");
        assert_eq!(one_line(&anyhow::anyhow!("a").context("b")), "b: a");
    }
}
