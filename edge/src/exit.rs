//! Exit codes of the programs: 0 done, 1 failed, 2 misused.

use std::{fmt, process::ExitCode};

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
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("{program}: {error:#}");
    if error.downcast_ref::<Misuse>().is_some() { ExitCode::from(2) } else { ExitCode::FAILURE }
}
