//! From the first schema, whose words were plaintext.

use moltbot_protocol::message::Part;
use moltbot_store::{PendingTurn, SessionFilter, Store, StoreError};
use moltbot_testkit::skip::skip;
use moltbot_testkit::vault;
use moltbot_vault::StateDir;
use rusqlite::{Connection, params};

use super::disk::SmallDisk;
use super::seals::{WORD, holders, raw};
use super::{Place, assistant, key, run, texts, usage, user};

const SCHEMA: &str = include_str!("../../src/schema/1.sql");
/// How many turns each of the two sessions has.
pub(crate) const TURNS: i64 = 40;

/// A state db as the first schema's program wrote it, and still has open: with free pages and a log.
pub(crate) fn old_database(state: &StateDir) -> Connection {
    let database = raw(state);
    database
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;")
        .unwrap();
    database.execute_batch(SCHEMA).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    let usage = serde_json::to_string(&usage(1)).unwrap();
    for (session, name) in [(1, "main"), (2, "other"), (3, "gone")] {
        let key = format!("agent:main:{name}");
        let title = format!("{WORD} title");
        database
            .execute(
                "INSERT INTO sessions VALUES (?1, ?2, ?3, 'main', 1, 1, 2, 80, ?4, 'm1', ?5, ?5)",
                params![session, format!("id-{session}"), key, usage, title],
            )
            .unwrap();
        for number in 0..TURNS {
            old_turn(&database, session, number, &usage);
        }
    }
    database
        .execute_batch(
            "DELETE FROM messages WHERE session = 3;
             DELETE FROM outbox WHERE turn IN (SELECT id FROM turns WHERE session = 3);
             UPDATE turns SET extra_system_prompt = NULL, error = NULL WHERE session = 3;
             UPDATE sessions SET current = 0, title = NULL, last_message = NULL WHERE id = 3;
             PRAGMA wal_checkpoint(PASSIVE);
             UPDATE facts SET value = 7 WHERE name = 'boot';",
        )
        .unwrap();
    database
}

/// One turn in a session. The last one of each has no end.
fn old_turn(database: &Connection, session: i64, number: i64, usage: &str) {
    let turn = (session - 1) * TURNS + number + 1;
    let ended = number + 1 < TURNS || session == 3;
    let text = format!("{WORD} {turn} {}", "x".repeat(usize::try_from(number * 97 % 6000).unwrap()));
    database
        .execute(
            "INSERT INTO turns VALUES (?1, ?2, ?3, 'webchat', 'default', ?3, ?4, 5, ?5, ?6, NULL, ?7, ?8)",
            params![
                turn,
                session,
                format!("r{turn}"),
                if ended { "done" } else { "received" },
                ended.then_some(6),
                (number % 2 == 0).then(|| format!("{WORD} besides {turn}")),
                (number % 3 == 0 && ended).then(|| format!("{WORD} failed {turn}")),
                ended.then_some(usage),
            ],
        )
        .unwrap();
    let said = [user(&text, 5), assistant(vec![Part::text(format!("re: {text}"))], 6)];
    for (seq, message) in (0_i64..).zip(&said) {
        let body = serde_json::to_string(message).unwrap();
        database
            .execute("INSERT INTO messages VALUES (?1, ?2, ?3, ?4)", params![session, turn, seq, body])
            .unwrap();
    }
    if ended {
        database.execute("INSERT INTO outbox VALUES (?1, ?2)", params![turn, format!("re: {text}")]).unwrap();
    }
}

/// Copies the files of an open database, as a crash of its program leaves them.
fn crash(from: &StateDir, to: &StateDir) {
    for name in ["state.db", "state.db-wal"] {
        to.write(name, &from.read(name, 1 << 30).unwrap().unwrap()).unwrap();
    }
}

/// Everything that was said before is there, in the store.
pub(crate) async fn require_all(store: &Store) {
    let listed = store.sessions(SessionFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 2);
    for row in &listed {
        let title = Some(format!("{WORD} title"));
        assert_eq!((&row.title, &row.last_message, row.message_count), (&title, &title, 80));
    }
    for (session, name) in [(0, "main"), (1, "other")] {
        let messages = store.history(&key(name), 1000).await.unwrap().messages;
        let texts = texts(&messages);
        assert_eq!(texts.len(), 80);
        for number in 0..TURNS {
            let turn = session * TURNS + number + 1;
            let at = usize::try_from(number).unwrap() * 2;
            assert!(texts[at].starts_with(&format!("{WORD} {turn} ")), "{}", texts[at]);
            assert_eq!(texts[at + 1], format!("re: {}", texts[at]));
            let status = store.run(&run(&format!("r{turn}"))).await.unwrap().unwrap();
            let ended = number + 1 < TURNS;
            assert_eq!(status.text.is_some(), ended, "{turn}");
            let error = (number % 3 == 0 && ended).then(|| format!("{WORD} failed {turn}"));
            assert_eq!(status.error, error, "{turn}");
        }
    }
    let pending = store.pending().await.unwrap();
    let prompt = |turn: &PendingTurn| turn.message.extra_system_prompt.clone();
    assert_eq!(pending.iter().map(prompt).collect::<Vec<_>>(), [None, None], "of an odd turn");
    assert_eq!(pending.iter().map(|turn| turn.steps.len()).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn d_49_plaintext_of_the_first_schema_is_sealed_once_and_left_nowhere() {
    let ((_one, old), (_two, state)) = (Place::folder(), Place::folder());
    let database = old_database(&old);
    crash(&old, &state);
    drop(database);
    assert_eq!(holders(&state, WORD.as_bytes()), ["state.db", "state.db-wal"], "it was there");

    let store = Store::open(&state, &vault(&state)).unwrap();
    assert_eq!(holders(&state, WORD.as_bytes()), Vec::<String>::new(), "{:?}", state.list());
    require_all(&store).await;
    store.close();
    assert_eq!(state.list().unwrap(), ["keys", "state.db"], "there is no copy");
    let store = Store::open(&state, &vault(&state)).unwrap();
    require_all(&store).await;
    store.close();
    let database = raw(&state);
    let fact = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(fact("PRAGMA integrity_check"), "ok");
    assert_eq!(fact("SELECT group_concat(name || value) FROM facts"), "boot9", "it is done");
    assert_eq!(fact("SELECT count(*) || '' FROM pragma_foreign_key_check"), "0");
    assert_eq!(fact("SELECT count(*) || '' FROM turns"), "120", "messages stay known");
}

/// A declaration in its words: SQLite adds a column to the text of its table without the layout.
fn words(declaration: &str) -> String {
    let apart = ["(", ")", ","]
        .iter()
        .fold(declaration.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
    apart.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The schema that a new file gets is the one that an old file comes to.
#[test]
fn a_new_file_and_an_old_one_end_in_one_schema() {
    let ((_one, old), (_two, new)) = (Place::folder(), Place::folder());
    drop(old_database(&old));
    let schema = |state: &StateDir| {
        Store::open(state, &vault(state)).unwrap().close();
        let database = raw(state);
        let mut statement = database.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let declared = |row: &rusqlite::Row<'_>| row.get::<_, Option<String>>(1);
        let rows =
            statement.query_map([], |row| Ok((row.get(0)?, declared(row)?.map(|sql| words(&sql))))).unwrap();
        rows.map(Result::unwrap).collect::<Vec<(String, Option<String>)>>()
    };
    assert_eq!(schema(&old), schema(&new));
    let version =
        |state| raw(state).query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(version(&old), version(&new));
}

/// Whoever can write in the state folder could otherwise put words into the assistant's past without a key.
#[test]
fn a_file_of_the_first_schema_is_refused_once_the_installation_is_sealed() {
    let (_folder, state) = Place::folder();
    let sealed = vault(&state).mark_sealed(&state).unwrap();
    Store::open(&state, &sealed).unwrap().close();
    state.remove("state.db").unwrap();
    drop(old_database(&state));
    let forged = state.read("state.db", 1 << 30).unwrap().unwrap();
    for _ in 0..2 {
        let error = Store::open(&state, &sealed).unwrap_err();
        assert!(matches!(error, StoreError::Unsealed { found: 1, .. }), "{error:?}");
        assert_eq!(state.read("state.db", 1 << 30).unwrap().unwrap(), forged, "nothing of it is taken in");
    }
}

/// What would be lost silently stops the migration instead.
#[test]
fn rows_that_belong_to_nothing_leave_the_old_schema() {
    let (_folder, state) = Place::folder();
    let database = old_database(&state);
    database
        .execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO messages VALUES (77, 1, 0, '{}')")
        .unwrap();
    drop(database);
    let error = Store::open(&state, &vault(&state)).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    let database = raw(&state);
    assert_eq!(database.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    database.execute_batch("DELETE FROM messages WHERE session = 77").unwrap();
    drop(database);
    Store::open(&state, &vault(&state)).unwrap();
    assert_eq!(holders(&state, WORD.as_bytes()), Vec::<String>::new());
}

#[tokio::test]
async fn a_full_disk_during_the_migration_leaves_the_old_schema() {
    let ((_folder, old), small) = (Place::folder(), tempfile::tempdir().unwrap());
    let Some(_disk) = SmallDisk::mount(small.path(), c"size=8m,mode=0700") else {
        return skip(
            "migration::a_full_disk_during_the_migration_leaves_the_old_schema",
            "cannot mount a tmpfs",
        );
    };
    let state = StateDir::open_or_create(small.path()).unwrap();
    drop(old_database(&old));
    state.write("state.db", &old.read("state.db", 1 << 30).unwrap().unwrap()).unwrap();
    let keys = vault(&state);
    let mut ballast = state.append("ballast").unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    let mut refused = [0, 0];
    let store = loop {
        match Store::open(&state, &keys) {
            Ok(store) => break store,
            Err(StoreError::Full { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        // Whoever reads needs some room, too.
        ballast.truncate(ballast.len().unwrap().saturating_sub(64 * 1024)).unwrap();
        let database = raw(&state);
        let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        let rows = "SELECT count(*) FROM messages WHERE body LIKE '%' || ?1 || '%' OR typeof(body) = 'blob'";
        assert_eq!(database.query_row(rows, [WORD], |row| row.get::<_, i64>(0)).unwrap(), 160);
        refused[usize::try_from(version - 1).unwrap()] += 1;
    };
    assert!(refused[0] > 2, "{refused:?}");
    require_all(&store).await;
    assert_eq!(holders(&state, WORD.as_bytes()), Vec::<String>::new());
}
