//! Words are nowhere on the disk, and a row opens nowhere but where it was written.

use moltbot_store::{Store, StoreError};
use moltbot_vault::{FileKey, Vault};
use rusqlite::Connection;

use crate::{Place, done, key, message, texts};

const CANARY: &str = "canary-of-the-owner-7Qw2";

/// The files of the state folder that have the canary in them.
#[expect(clippy::disallowed_methods, reason = "the test looks past the store")]
fn holders(place: &Place) -> Vec<String> {
    let has = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    let names = place.state.list().unwrap();
    names
        .into_iter()
        .filter(|name| has(&std::fs::read(place.state.path().join(name)).unwrap_or_default()))
        .collect()
}

fn raw(place: &Place) -> Connection {
    Connection::open(place.state.path().join("state.db")).unwrap()
}

/// A turn with the canary in every word of it.
async fn talk(place: &Place, session: &str, id: &str) {
    let mut said = message(session, id);
    said.text = format!("{CANARY} said");
    said.extra_system_prompt = Some(format!("{CANARY} besides"));
    let moltbot_store::Accepted::Fresh(turn) = place.store.accept(&said, 1).await.unwrap() else { panic!() };
    let mut end = done(&format!("{CANARY} answered"), 2);
    end.error = Some(format!("{CANARY} failed"));
    place.store.finish(turn.id, end).await.unwrap();
}

#[tokio::test]
async fn no_word_is_on_the_disk_while_it_is_kept_and_none_after_it_is_deleted() {
    let mut place = Place::new();
    talk(&place, "main", "a").await;
    assert_eq!(holders(&place), Vec::<String>::new());
    place.reopen();
    assert_eq!(holders(&place), Vec::<String>::new());
    let history = place.store.history(&key("main"), 10).await.unwrap();
    assert_eq!(texts(&history.messages), [format!("{CANARY} said"), format!("{CANARY} answered")]);
    let listed = place.store.sessions(Default::default()).await.unwrap();
    assert_eq!(listed[0].title.as_deref(), Some(format!("{CANARY} said").as_str()));
    let status = place.store.run(&crate::run("a")).await.unwrap().unwrap();
    assert_eq!(status.error.as_deref(), Some(format!("{CANARY} failed").as_str()));
    place.store.delete_session(&key("main"), true).await.unwrap();
    place.reopen();
    assert!(place.store.history(&key("main"), 10).await.unwrap().messages.is_empty());
}

#[tokio::test]
async fn a_row_that_was_moved_changed_or_written_in_plaintext_does_not_open() {
    let place = Place::new();
    place.talk("one", "a", 1).await;
    place.talk("two", "b", 2).await;
    let bodies = |sql: &str| raw(&place).execute(sql, []).unwrap();
    for (what, sql) in [
        (
            "moved",
            "UPDATE messages SET body = (SELECT body FROM messages WHERE turn = 1 AND seq = 0) WHERE turn = 2 AND seq = 0",
        ),
        ("cut", "UPDATE messages SET body = substr(body, 1, 100) WHERE turn = 2 AND seq = 0"),
        (
            "plaintext",
            "UPDATE messages SET body = '{\"role\":\"user\",\"content\":[],\"timestamp\":1}' WHERE turn = 2 AND seq = 0",
        ),
    ] {
        assert_eq!(bodies(sql), 1, "{what}");
        let error = place.store.history(&key("two"), 10).await.unwrap_err();
        assert!(format!("{error:?}").contains("messages/2/2/0"), "{what}: {error:?}");
    }
    assert_eq!(place.store.history(&key("one"), 10).await.unwrap().messages.len(), 2, "another is as it was");
}

#[tokio::test]
async fn keys_of_another_installation_are_refused_at_once() {
    let (place, other) = (Place::new(), Place::new());
    place.talk("main", "a", 1).await;
    place.store.close();
    let error = Store::open(&place.state, &moltbot_testkit::vault(&other.state)).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    assert!(Store::open(&place.state, &moltbot_testkit::vault(&place.state)).is_ok());
}

/// A database as the version before wrote it.
#[tokio::test]
async fn a_database_in_plaintext_is_sealed_once_and_nothing_of_it_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let state = moltbot_vault::StateDir::open_or_create(&folder.path().join("state")).unwrap();
    let database = Connection::open(state.path().join("state.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL;").unwrap();
    database.execute_batch(include_str!("../../src/schema/1.sql")).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    let body = format!(r#"{{"role":"user","content":[{{"type":"text","text":"{CANARY}"}}],"timestamp":1}}"#);
    database.execute_batch(&format!(
        "INSERT INTO sessions VALUES (1, '0b6e1c5e-4a39-4f0e-9f3e-0c2b4f6d8a10', 'agent:main:main', 'main', 1, 1, 1, 1,
           '{{\"input\":0,\"output\":0,\"cacheRead\":0,\"cacheWrite\":0,\"totalTokens\":0}}', NULL, '{CANARY}', '{CANARY}');
         INSERT INTO turns VALUES (1, 1, 'r1', 'webchat', 'default', 'x', 'done', 1, 2, '{CANARY}', NULL, '{CANARY}', NULL);
         INSERT INTO messages VALUES (1, 1, 0, '{body}');
         INSERT INTO outbox VALUES (1, '{CANARY}');"
    )).unwrap();
    drop(database);
    let vault = moltbot_testkit::vault(&state);
    let store = Store::open(&state, &vault).unwrap();
    let place = Place { folder, state, store };
    assert_eq!(holders(&place), Vec::<String>::new(), "{:?}", place.state.list());
    let history = place.store.history(&key("main"), 10).await.unwrap();
    assert_eq!(texts(&history.messages), [CANARY]);
    let status = place.store.run(&crate::run("r1")).await.unwrap().unwrap();
    assert_eq!((status.error.as_deref(), status.text.as_deref()), (Some(CANARY), Some(CANARY)));
}

#[tokio::test]
async fn after_a_rotation_everything_opens_with_the_new_key_alone() {
    let mut place = Place::new();
    talk(&place, "main", "a").await;
    place.talk("two", "b", 3).await;
    place.store.close();
    let rotating = moltbot_testkit::vault(&place.state).begin_rotation(&place.state).unwrap();
    place.store = Store::open(&place.state, &rotating).unwrap();
    assert!(place.store.reseal().await.unwrap() >= 8);
    assert_eq!(place.store.reseal().await.unwrap(), 0);
    place.store.close();
    rotating.end_rotation(&place.state).unwrap();
    let vault = Vault::open(&place.state, &FileKey).unwrap().unwrap();
    place.store = Store::open(&place.state, &vault).unwrap();
    assert_eq!(place.store.history(&key("main"), 10).await.unwrap().messages.len(), 2);
    assert_eq!(
        place.store.run(&crate::run("a")).await.unwrap().unwrap().error.unwrap(),
        format!("{CANARY} failed")
    );
}
