//! The `strongroom` program; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    strongroom::cli::main(std::env::args_os())
}
