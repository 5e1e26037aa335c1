//! What else could go wrong with sealed words.

use moltbot_protocol::message::{Message, Part};
use moltbot_store::{Step, Store, StoreError, TurnEnd};
use moltbot_testkit::vault;
use rusqlite::Connection;

use super::seals::{WORD, holders, raw};
use super::{Place, assistant, done, key, message};

#[tokio::test]
async fn a_durable_turn_is_two_commits() {
    let place = Place::new();
    place.talk("main", "before", 1).await;
    for number in 0..5 {
        let before = place.store.commits();
        place.talk("main", &number.to_string(), 2).await;
        assert_eq!(place.store.commits() - before, 2);
    }
}

#[tokio::test]
async fn calls_and_results_of_tools_are_sealed_too() {
    let place = Place::new();
    let turn = place.accept("main", "a", 1).await;
    let call = Part::ToolCall {
        id: "1".into(),
        name: "read".into(),
        arguments: serde_json::json!({ WORD: [WORD] }),
    };
    let first = Step { results: vec![], answer: assistant(vec![call.clone()], 2) };
    place.store.journal(turn.id, first).await.unwrap();
    let result: Message = serde_json::from_value(serde_json::json!({
        "role": "toolResult", "toolCallId": "1", "toolName": "read",
        "content": [{ "type": "text", "text": WORD }], "isError": false, "timestamp": 3
    }))
    .unwrap();
    let second = Step { results: vec![result.clone()], answer: assistant(vec![call], 4) };
    place.store.journal(turn.id, second).await.unwrap();
    assert_eq!(holders(&place.state, WORD.as_bytes()), Vec::<String>::new());
    let end = TurnEnd { messages: vec![result, assistant(vec![Part::text(WORD)], 5)], ..done(WORD, 6) };
    place.store.finish(turn.id, end).await.unwrap();
    assert_eq!(holders(&place.state, WORD.as_bytes()), Vec::<String>::new());
    assert_eq!(place.store.history(&key("main"), 100).await.unwrap().messages.len(), 6);
}

/// Words of another version of this program: sealed rightly, and not what is expected.
#[tokio::test]
async fn an_error_does_not_quote_the_words_that_it_is_about() {
    let place = Place::new();
    place.talk("main", "a", 1).await;
    let id: String =
        raw(&place.state).query_row("SELECT session_id FROM sessions", [], |row| row.get(0)).unwrap();
    let at = format!("messages.body/1/1/0/{id}/agent:main:main");
    let other = format!(r#"{{"role":"user","content":"{WORD}","timestamp":1}}"#);
    let sealed = vault(&place.state).seal(&at, other.as_bytes()).unwrap();
    let sql = "UPDATE messages SET body = ?1 WHERE turn = 1 AND seq = 0";
    assert_eq!(raw(&place.state).execute(sql, [sealed]).unwrap(), 1);
    let error = place.store.history(&key("main"), 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(WORD), "{error}");
}

/// As the program wrote it for some hours before the columns became BLOBs.
#[test]
fn a_file_sealed_as_text_is_refused_with_a_way_out() {
    let (_folder, state) = Place::folder();
    let database: Connection = raw(&state);
    database.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    database.execute_batch(include_str!("../../src/schema/1.sql")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE seals (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
        )
        .unwrap();
    database.pragma_update(None, "user_version", 2).unwrap();
    drop(database);
    let error = Store::open(&state, &vault(&state)).unwrap_err();
    assert!(!matches!(error, StoreError::Database { .. }), "{error}: {error:?}");
}

/// A copy in plaintext that an earlier build made and was killed before it removed it.
#[test]
fn a_copy_in_plaintext_does_not_outlive_the_migration() {
    let (_folder, state) = Place::folder();
    drop(super::migration::old_database(&state));
    let plain = state.read("state.db", 1 << 30).unwrap().unwrap();
    state.write("state.db.before-2", &plain).unwrap();
    Store::open(&state, &vault(&state)).unwrap().close();
    assert_eq!(holders(&state, WORD.as_bytes()), Vec::<String>::new());
}

/// The file is written anew although a message waits for room meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_and_turns_at_once_lose_nothing() {
    let place = std::sync::Arc::new(Place::new());
    let mut tasks = tokio::task::JoinSet::new();
    for session in 0..6 {
        let place = place.clone();
        tasks.spawn(async move {
            for number in 0..12 {
                place.talk(&format!("s{session}"), &format!("{session} {number}"), 1).await;
                if session % 2 == 0 && number % 4 == 3 {
                    place.store.delete_session(&key(&format!("s{session}")), true).await.unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
    for session in [1, 3, 5] {
        let history = place.store.history(&key(&format!("s{session}")), 100).await.unwrap();
        assert_eq!(history.messages.len(), 24);
    }
    assert!(place.store.accept(&message("s1", "1 0"), 9).await.is_ok());
}
