//! A state db in plaintext, through the real binary: sealed once when the installation is, also when that is killed; and
//! refused ever after, because then somebody else put it there.

use std::time::Duration;

use moltbot_protocol::message::Usage;
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, command, run};
use rusqlite::{Connection, params};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// The newest schema of a state db.
const NEWEST: i64 = 12;
const SCHEMA: &str = include_str!("../../../store/src/schema/1.sql");
const WORD: &str = "plaintext-canary-5Rf8";

/// A state db as the first schema's program wrote it, with words in plaintext.
fn put_old(home: &Home) -> Vec<u8> {
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        drop(home.state().remove(name));
    }
    home.state().create("state.db", &[]).unwrap();
    let database = Connection::open(home.state_path().join("state.db")).unwrap();
    database.execute_batch(SCHEMA).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    let usage = serde_json::to_string(&Usage::default()).unwrap();
    for (id, name) in [(1, "main"), (2, "other")] {
        database
            .execute(
                "INSERT INTO sessions VALUES (?1, ?2, ?3, 'main', 1, 1, 2, 0, ?4, 'm1', ?5, ?5)",
                params![id, format!("id-{id}"), format!("agent:main:{name}"), usage, WORD],
            )
            .unwrap();
    }
    drop(database);
    state_db(home)
}

fn state_db(home: &Home) -> Vec<u8> {
    home.state().read("state.db", 1 << 30).unwrap().unwrap()
}

fn has_word(home: &Home) -> bool {
    state_db(home).windows(WORD.len()).any(|window| window == WORD.as_bytes())
}

fn version(home: &Home) -> i64 {
    let database = Connection::open(home.state_path().join("state.db")).unwrap();
    database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

fn seal(home: &Home) -> std::process::Output {
    run(PROGRAM, home, &["config", "set", "logging.level", "\"info\""])
}

#[test]
fn an_older_installation_is_sealed_with_what_was_said_and_a_forged_state_db_is_refused() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    put_old(&home);
    assert!(has_word(&home));
    let sealed = seal(&home);
    assert!(sealed.status.success(), "{sealed:?}");
    assert_eq!((version(&home), has_word(&home)), (NEWEST, false));
    let mut gateway = Gateway::start(PROGRAM, &home);
    let listed = run(PROGRAM, &home, &["sessions", "list", "--json"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("agent:main:other"), "{listed:?}");
    gateway.terminate();
    let ours = state_db(&home);

    let forged = put_old(&home);
    for arguments in [&["gateway", "run"][..], &["up", "--detach"], &["secrets", "rotate"]] {
        let refused = run(PROGRAM, &home, arguments);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{arguments:?}: {said}");
        assert!(said.contains("state.db") && said.contains("restore") && !said.contains(WORD), "{said}");
        assert!(state_db(&home) == forged, "{arguments:?}: nothing of it is taken in");
    }
    home.state().write("state.db", &ours).unwrap();
    gateway.restart(&home);
    assert!(gateway.is_running());
}

/// Wherever the upgrade is stopped, the next one goes on, and only a sealed installation refuses plaintext.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test makes the installation new again")]
fn an_upgrade_that_is_killed_at_any_point_goes_on() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let config = home.config_text().unwrap();
    let mut halfway = 0;
    for round in 0..24 {
        home.write_config_text(&config);
        drop(home.state().remove("keys/secrets.key"));
        drop(std::fs::remove_dir_all(home.state_path().join("ledger")));
        drop(std::fs::remove_dir_all(home.state_path().join("history")));
        put_old(&home);
        let mut child = command(PROGRAM, &home, &["config", "set", "logging.level", "\"info\""]);
        let mut child =
            child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().unwrap();
        halfway += usize::from(!child.wait().unwrap().success());
        let sealed = seal(&home);
        assert!(sealed.status.success(), "round {round}: {sealed:?}");
        assert_eq!((version(&home), has_word(&home)), (NEWEST, false), "round {round}");
    }
    assert!(halfway > 2, "{halfway} were killed before their end");
}
