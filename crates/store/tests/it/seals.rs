//! Words are nowhere on the disk, and open nowhere but where they were written.

use std::collections::HashSet;

use moltbot_store::{SessionFilter, Store, StoreError};
use moltbot_testkit::vault;
use moltbot_vault::StateDir;
use rusqlite::Connection;

use super::{Place, done, key, message, run, texts};

/// What is looked for on the disk.
pub(crate) const WORD: &str = "canary-of-the-owner-7Qw2";

/// The files of the state folder that hold `bytes`.
#[expect(clippy::disallowed_methods, reason = "the test looks past the store")]
pub(crate) fn holders(state: &StateDir, bytes: &[u8]) -> Vec<String> {
    let holds = |name: &String| {
        let found = std::fs::read(state.path().join(name)).unwrap_or_default();
        found.windows(bytes.len()).any(|window| window == bytes)
    };
    state.list().unwrap().into_iter().filter(holds).collect()
}

/// The file, past the store.
pub(crate) fn raw(state: &StateDir) -> Connection {
    Connection::open(state.path().join("state.db")).unwrap()
}

/// A turn with the word in all that is said.
async fn talk(place: &Place, session: &str, id: &str) {
    let mut said = message(session, id);
    said.text = format!("{WORD} said");
    said.extra_system_prompt = Some(format!("{WORD} besides"));
    let moltbot_store::Accepted::Fresh(turn) = place.store.accept(&said, 1).await.unwrap() else {
        panic!("{id} is new")
    };
    let mut end = done(&format!("{WORD} answered"), 2);
    end.error = Some(format!("{WORD} failed"));
    place.store.finish(turn.id, end).await.unwrap();
}

#[tokio::test]
async fn no_word_is_on_the_disk_while_it_is_kept_and_none_after_it_is_deleted() {
    let mut place = Place::new();
    talk(&place, "main", "a").await;
    assert_eq!(holders(&place.state, WORD.as_bytes()), Vec::<String>::new());
    let pending = place.accept("other", WORD, 3).await;
    assert_eq!(pending.message.text, WORD);
    let ids = holders(&place.state, WORD.as_bytes());
    assert_eq!(ids, ["state.db-wal"], "an external id is not sealed, and this one is the word: it is found");
    place.reopen();
    let history = place.store.history(&key("main"), 10).await.unwrap();
    assert_eq!(texts(&history.messages), [format!("{WORD} said"), format!("{WORD} answered")]);
    let status = place.store.run(&run("a")).await.unwrap().unwrap();
    assert_eq!(status.error, Some(format!("{WORD} failed")));
    assert_eq!(status.text, Some(format!("{WORD} answered")));
    assert_eq!(place.store.pending().await.unwrap(), [pending]);
    let listed = place.store.sessions(SessionFilter::default()).await.unwrap();
    assert_eq!(listed[1].title, Some(format!("{WORD} said")));
    assert_eq!(listed[1].last_message, Some(format!("{WORD} answered")));
}

/// Pieces of every sealed word of a session, as they are on the disk.
fn pieces(state: &StateDir, session: &str) -> HashSet<[u8; 16]> {
    let database = raw(state);
    let row: i64 =
        database.query_row("SELECT id FROM sessions WHERE key = ?1", [session], |row| row.get(0)).unwrap();
    let mut words: Vec<Vec<u8>> = Vec::new();
    for sql in [
        "SELECT body FROM messages WHERE session = ?1",
        "SELECT text FROM outbox JOIN turns ON turns.id = turn WHERE session = ?1",
        "SELECT title FROM sessions WHERE id = ?1",
        "SELECT last_message FROM sessions WHERE id = ?1",
        "SELECT extra_system_prompt FROM turns WHERE session = ?1 AND extra_system_prompt IS NOT NULL",
    ] {
        let mut statement = database.prepare(sql).unwrap();
        let found = statement.query_map([row], |row| row.get(0)).unwrap();
        words.extend(found.map(Result::unwrap));
    }
    // The first bytes, version and key, are the same in all of them.
    words.iter().flat_map(|word| word[9..].as_chunks::<16>().0.to_vec()).collect()
}

/// How many of the pieces are in the file.
fn left(state: &StateDir, name: &str, pieces: &HashSet<[u8; 16]>) -> usize {
    let bytes = state.read(name, 1 << 30).unwrap().unwrap_or_default();
    bytes.windows(16).filter(|window| pieces.contains(*window)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_words_are_gone_from_the_file_and_its_log_in_their_sealed_form_too() {
    let place = Place::new();
    for number in 0..240_usize {
        // Sessions that share pages, and words of one to several pages.
        let session = ["gone", "stays"][number % 2];
        let answer = "word ".repeat(number * number % 1700);
        place.tell(session, &format!("{session} {number}"), answer.clone(), &answer).await;
    }
    let (gone, stays) = (pieces(&place.state, "agent:main:gone"), pieces(&place.state, "agent:main:stays"));
    assert!(left(&place.state, "state.db-wal", &gone) > 0, "they are there");
    assert!(place.store.delete_session(&key("gone"), true).await.unwrap());
    assert_eq!(left(&place.state, "state.db-wal", &gone), 0, "in the log");
    assert_eq!(left(&place.state, "state.db", &gone), 0, "in the file");
    let stayed = left(&place.state, "state.db", &stays);
    assert!(stayed > stays.len() / 2, "{stayed} of {} pieces of the other session", stays.len());
    assert_eq!(place.store.history(&key("stays"), 1000).await.unwrap().messages.len(), 240);
}

/// Whoever reads keeps the log from being cut off; the next change after that does it.
#[tokio::test]
async fn deleted_words_go_from_the_log_when_nobody_reads_any_more() {
    let place = Place::new();
    place.talk("main", "a", 1).await;
    let words = pieces(&place.state, "agent:main:main");
    let reader = raw(&place.state);
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages;").unwrap();
    assert!(place.store.delete_session(&key("main"), true).await.unwrap());
    assert!(left(&place.state, "state.db-wal", &words) > 0, "somebody reads it");
    reader.execute_batch("COMMIT").unwrap();
    place.accept("main", "b", 2).await;
    assert_eq!(left(&place.state, "state.db-wal", &words), 0);
    assert_eq!(left(&place.state, "state.db", &words), 0);
}

/// Reads all that was said; the first thing that does not open.
async fn read_all(store: &Store) -> Result<(), StoreError> {
    store.sessions(SessionFilter::default()).await?;
    for session in ["one", "two"] {
        store.history(&key(session), 100).await?;
    }
    for id in ["a", "b", "c"] {
        store.run(&run(id)).await?;
    }
    store.pending().await.map(drop)
}

/// Three turns in two sessions.
async fn three_turns() -> Place {
    let place = Place::new();
    for (session, id) in [("one", "a"), ("one", "b"), ("two", "c")] {
        talk(&place, session, id).await;
    }
    read_all(&place.store).await.unwrap();
    place
}

/// What is moved, how, and the place that is then named.
const MOVES: [(&str, &str, &str); 13] = [
    (
        "a body to another turn",
        "UPDATE messages SET body = (SELECT body FROM messages WHERE turn = 1 AND seq = 0)
         WHERE turn = 2 AND seq = 0",
        "messages.body/1/2/0/",
    ),
    (
        "a body to another number",
        "UPDATE messages SET body = (SELECT body FROM messages WHERE turn = 1 AND seq = 1)
         WHERE turn = 1 AND seq = 0",
        "messages.body/1/1/0/",
    ),
    ("rows to another session", "UPDATE messages SET session = 2 WHERE turn = 2", "messages.body/2/2/"),
    ("a turn to another session", "UPDATE turns SET session = 2 WHERE id = 1", "turns.error/1/"),
    (
        "a last message to a title",
        "UPDATE sessions SET title = last_message WHERE id = 1",
        "sessions.title/1/",
    ),
    (
        "a title to another session",
        "UPDATE sessions SET title = (SELECT title FROM sessions WHERE id = 1) WHERE id = 2",
        "sessions.title/2/",
    ),
    (
        "a last message to another session",
        "UPDATE sessions SET last_message = (SELECT last_message FROM sessions WHERE id = 1) WHERE id = 2",
        "sessions.last_message/2/",
    ),
    (
        "a reply to another turn",
        "UPDATE outbox SET text = (SELECT text FROM outbox WHERE turn = 1) WHERE turn = 2",
        "outbox.text/2/",
    ),
    (
        "an error to another turn",
        "UPDATE turns SET error = (SELECT error FROM turns WHERE id = 1) WHERE id = 2",
        "turns.error/2/",
    ),
    (
        "an extra prompt to an error",
        "UPDATE turns SET error = extra_system_prompt WHERE id = 2",
        "turns.error/2/",
    ),
    (
        "an extra prompt to another turn",
        "UPDATE turns SET state = 'received', ended_ms = NULL,
             extra_system_prompt = (SELECT extra_system_prompt FROM turns WHERE id = 1) WHERE id = 3",
        "turns.extra_system_prompt/3/",
    ),
    ("sessions under other keys", "UPDATE sessions SET key = 'agent:main:x' || id", "sessions.title/"),
    ("sessions under other ids", "UPDATE sessions SET session_id = 'x' || session_id", "sessions.title/"),
];

#[tokio::test]
async fn d_44_words_moved_to_another_row_column_or_session_do_not_open() {
    let place = three_turns().await;
    place.store.close();
    let before = place.state.read("state.db", 1 << 24).unwrap().unwrap();
    for (what, sql, named) in MOVES {
        place.state.write("state.db", &before).unwrap();
        assert!(raw(&place.state).execute(sql, []).unwrap() > 0, "{what}");
        let store = Store::open(&place.state, &vault(&place.state)).unwrap();
        let error = read_all(&store).await.unwrap_err();
        let StoreError::Sealed { place, .. } = &error else { panic!("{what}: {error:?}") };
        assert!(place.starts_with(named), "{what}: {error:?}");
        assert!(error.to_string().contains("restore state.db and keys/secrets.key"), "{error}");
        store.close();
    }
}

#[tokio::test]
async fn d_46_words_that_were_changed_or_cut_anywhere_do_not_open() {
    let place = Place::new();
    place.talk("main", "a", 1).await;
    let database = raw(&place.state);
    database.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let put = |body: &[u8]| {
        let sql = "UPDATE messages SET body = ?1 WHERE turn = 1 AND seq = 0";
        assert_eq!(database.execute(sql, [body]).unwrap(), 1);
    };
    let sql = "SELECT body FROM messages WHERE turn = 1 AND seq = 0";
    let body: Vec<u8> = database.query_row(sql, [], |row| row.get(0)).unwrap();
    for position in 0..body.len() {
        let mut changed = body.clone();
        changed[position] ^= 1 << (position % 8);
        put(&changed);
        let error = place.store.history(&key("main"), 10).await.unwrap_err();
        assert!(matches!(error, StoreError::Sealed { .. }), "byte {position}: {error:?}");
    }
    for length in [0, 1, 84, 85, 100, 101, body.len() - 1] {
        put(&body[..length]);
        let error = place.store.history(&key("main"), 10).await.unwrap_err();
        assert!(matches!(error, StoreError::Sealed { .. }), "{length} bytes: {error:?}");
    }
    put(&body);
    assert_eq!(place.store.history(&key("main"), 10).await.unwrap().messages.len(), 2);
}

#[tokio::test]
async fn d_48_plaintext_in_a_sealed_place_is_refused_and_words_that_look_sealed_are_words() {
    let place = Place::new();
    place.talk("main", "a", 1).await;
    let database = raw(&place.state);
    let sql = "SELECT body FROM messages WHERE turn = 1 AND seq = 0";
    let body: Vec<u8> = database.query_row(sql, [], |row| row.get(0)).unwrap();
    let looks = format!("enc:v1:{}", body.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    place.tell("main", "looks", looks.clone(), &looks).await;
    let history = place.store.history(&key("main"), 10).await.unwrap();
    assert_eq!(texts(&history.messages)[2..], [&*looks, &*looks]);

    let plain = serde_json::to_string(&super::user("forged", 1)).unwrap();
    let sql = "UPDATE messages SET body = ?1 WHERE turn = 1 AND seq = 0";
    assert!(database.execute(sql, [&plain]).is_err(), "the column takes no text");
    for forged in [plain.as_bytes(), &[&[1][..], plain.as_bytes(), &[b' '; 100]].concat()] {
        assert_eq!(database.execute(sql, [forged]).unwrap(), 1);
        let error = place.store.history(&key("main"), 10).await.unwrap_err();
        assert!(matches!(error, StoreError::Sealed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_waiting_turn_whose_words_do_not_open_stops_the_start_and_is_named() {
    let place = Place::new();
    place.accept("main", "a", 1).await;
    raw(&place.state).execute("UPDATE messages SET body = zeroblob(200)", []).unwrap();
    let error = place.store.pending().await.unwrap_err();
    assert!(matches!(&error, StoreError::Sealed { place, .. } if place.contains("/1/1/0/")), "{error:?}");
    assert!(error.to_string().contains("agent:main:main"), "{error}");
}

#[tokio::test]
async fn d_44_a_file_of_another_installation_is_refused_at_once_and_stays_as_it_is() {
    let (place, other) = (Place::new(), Place::new());
    place.talk("main", "a", 1).await;
    place.store.close();
    let before = place.state.read("state.db", 1 << 24).unwrap();
    let error = Store::open(&place.state, &vault(&other.state)).unwrap_err();
    assert!(matches!(error, StoreError::OtherKeys { .. }), "{error:?}");
    assert!(error.to_string().contains("restore the key file that belongs to it"), "{error}");
    assert_eq!(place.state.read("state.db", 1 << 24).unwrap(), before, "not even this opening is counted");
    for sql in [
        "UPDATE canary SET sealed = (SELECT title FROM sessions)",
        "UPDATE canary SET sealed = zeroblob(150)",
        "DELETE FROM canary",
    ] {
        raw(&place.state).execute(sql, []).unwrap();
        let error = Store::open(&place.state, &vault(&place.state)).unwrap_err();
        assert!(matches!(error, StoreError::OtherKeys { .. }), "{sql}: {error:?}");
    }
    place.state.remove("state.db-wal").ok();
    place.state.remove("state.db-shm").ok();
    place.state.write("state.db", &before.unwrap()).unwrap();
    Store::open(&place.state, &vault(&place.state)).unwrap();
}
