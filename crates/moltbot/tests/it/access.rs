//! The table of commands in docs/reference/access.md against the program: another user of the machine points it at the
//! owner's folder.

use std::path::Path;

use moltbot_testkit::home::{Home, PROVIDER};
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Circumstances, Gateway, command_in};
use moltbot_testkit::skip::skip;
use rustix::fs::{Mode, chmod};

use crate::program::Ran;

const PAGE: &str = include_str!("../../../../docs/reference/access.md");
/// The user `nobody`.
const NOBODY: u32 = 65_534;
const NOT_UNDERSTOOD: i32 = 2;

/// Each command as it is tried, and whether another user may.
fn tried() -> Vec<(Vec<&'static str>, bool)> {
    let table = PAGE.lines().skip_while(|line| !line.starts_with("| command |")).skip(2);
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[4].trim_matches('`').split_whitespace().collect(), cells[2] == "yes")
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn open_to_all(path: &Path) {
    chmod(path, Mode::from_raw_mode(0o755)).unwrap();
}

#[test]
fn another_user_of_the_machine_may_nothing_with_the_owners_files() {
    const NAME: &str = "another_user_of_the_machine_may_nothing_with_the_owners_files";
    if !rustix::process::geteuid().is_root() {
        return skip(NAME, "only root runs a program as another user");
    }
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    // The folder of the home can be entered: what keeps others out is moltbot's own.
    open_to_all(home.path());
    let program = home.path().join("moltbot");
    std::fs::copy(env!("CARGO_BIN_EXE_moltbot"), &program).unwrap();
    open_to_all(&program);
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    let config = home.config_text().unwrap();
    let other = Circumstances { user: Some(NOBODY), ..Circumstances::default() };
    let port = gateway.port().to_string();
    let rows = tried();
    assert!(rows.len() > 50, "{rows:?}");
    for (arguments, may) in rows {
        let ran = Ran::of(&command_in(&other, &program, &home, &arguments).output().unwrap());
        let printed = format!("{}{}", ran.out, ran.err);
        for fact in [gateway.token(), PROVIDER, port.as_str()] {
            assert!(!printed.contains(fact), "{arguments:?} tells {fact}: {printed}");
        }
        if may {
            assert_eq!(ran.code, 0, "{arguments:?}: {printed}");
        } else {
            assert!(
                ran.code != 0 && ran.code != NOT_UNDERSTOOD,
                "{arguments:?} ends with {}: {printed}",
                ran.code
            );
        }
    }
    assert!(gateway.is_running(), "nobody stopped it");
    assert_eq!(home.config_text().unwrap(), config, "nobody changed it");
}
