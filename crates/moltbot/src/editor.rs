//! The owner's editor: the one program that a command starts because a person at the terminal names it.

use std::path::Path;
use std::process::{Command, ExitStatus};

/// What an editor is given of the environment: what it needs to find itself, the terminal and the screen. Keys and tokens are
/// not among it.
const GIVEN: [&str; 14] = [
    "COLORTERM",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "USER",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
];

/// Runs the editor on a file and waits for its end. `editor` may have arguments, as in `code --wait`: a shell splits it, as
/// other programs do.
///
/// # Errors
/// When the shell cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "the owner's own editor, on his own terminal: no model, message or call can name it"
)]
pub(crate) fn run(
    editor: &str,
    file: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> std::io::Result<ExitStatus> {
    let given = GIVEN.iter().filter_map(|name| Some((*name, variable(name)?)));
    let script = format!("exec {editor} \"$@\"");
    Command::new("/bin/sh").args(["-c", &script, "editor"]).arg(file).env_clear().envs(given).status()
}
