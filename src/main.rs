//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    sega::app::main()
}
