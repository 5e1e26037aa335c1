//! The process of the local model: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(moltbot_model::run(std::env::args_os().skip(1)))
}
