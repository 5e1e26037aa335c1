//! A test that this machine cannot run says so, and why; it never passes in silence.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Says that the test `name` cannot run here: on stderr, and as a line of the file that `MOLTBOT_SKIP_FILE`
/// names, so that the whole run can list what it did not show. The test then returns.
#[expect(clippy::print_stderr, reason = "a person who runs one test should see it too")]
pub fn skip(name: &str, reason: &str) {
    eprintln!("SKIPPED {name}: {reason}");
    #[expect(clippy::disallowed_methods, reason = "set by the test run, not by the owner")]
    let Some(file) = std::env::var_os("MOLTBOT_SKIP_FILE") else {
        return;
    };
    #[expect(clippy::disallowed_methods, reason = "a list for the test run, not a file of moltbot's")]
    let opened = OpenOptions::new().create(true).append(true).open(&file);
    // One write of one short line: lines of tests that run at once do not mix.
    let written = opened.and_then(|mut list| list.write_all(format!("{name}\t{reason}\n").as_bytes()));
    if let Err(error) = written {
        eprintln!("cannot note the skipped test in {}: {error}", file.display());
    }
}
