//! For tests alone, in a program that nobody uses: a command of a drill where there are no walls, so that a drill on them is seen to
//! get through.

use std::process::{Command, Stdio};
use std::time::Instant;

use moltbot_policy::Recorded;
use moltbot_policy::command::CommandPermit;

use crate::outcome::{Exit, Outcome};

/// The drills whose control is the walls.
pub(crate) fn are_taken_away() -> bool {
    moltbot_config::hole!("sandbox-escape")
        || moltbot_config::hole!("sandbox-secret")
        || moltbot_config::hole!("sandbox-socket")
}

/// Runs a script as this program's user.
#[expect(clippy::disallowed_methods, reason = "a build for tests alone")]
pub(crate) fn run(permit: Recorded<CommandPermit>) -> std::io::Result<Outcome> {
    let began = Instant::now();
    let permit = permit.into_permit();
    let output = Command::new("/bin/sh")
        .args(["-c", permit.script()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    Ok(Outcome {
        exit: Exit::Code(output.status.code().unwrap_or(-1)),
        output: output.stdout,
        truncated: false,
        dropped_bytes: 0,
        attempts: Vec::new(),
        duration: began.elapsed(),
    })
}
