//! The sandbox's helper, for tests.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1) {
        Some(argument) if argument == moltbot_sandbox::HELPER => moltbot_sandbox::helper_main(),
        Some(argument) if argument == moltbot_sandbox::KEEPER => moltbot_sandbox::keeper_main(),
        _ => ExitCode::from(64),
    }
}
