//! The program for Linux boards; see [`edge::linux`].

use std::process::ExitCode;

fn main() -> ExitCode {
    edge::linux::main()
}
