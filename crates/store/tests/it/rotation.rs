//! Sealing anew with the newest root key.

use moltbot_store::{Resealed, Store, StoreError};
use moltbot_testkit::vault;
use moltbot_vault::{FileKey, Vault};

use super::seals::raw;
use super::{Place, done, key, run, texts};

/// A session of 150 turns, one of which failed and one of which waits.
async fn talked() -> Place {
    let place = Place::new();
    for number in 0..150 {
        place.talk("main", &number.to_string(), number).await;
    }
    let turn = place.accept("main", "fails", 150).await;
    let end = moltbot_store::TurnEnd { error: Some("the reason".into()), ..done("no", 151) };
    place.store.finish(turn.id, end).await.unwrap();
    place.accept("main", "waits", 152).await;
    place
}

#[tokio::test]
async fn d_53_after_a_rotation_everything_opens_with_the_new_key_alone() {
    let mut place = talked().await;
    let before = place.store.history(&key("main"), 1000).await.unwrap();
    assert_eq!(place.store.sealed_with_old().await.unwrap(), 0);
    assert_eq!(place.store.reseal(|_| {}).await.unwrap().sealed, 0);
    place.store.close();

    let rotating = vault(&place.state).begin_rotation(&place.state).unwrap();
    place.store = Store::open(&place.state, &rotating).unwrap();
    let old_body: Vec<u8> = raw(&place.state)
        .query_row("SELECT body FROM messages WHERE turn = 1 AND seq = 0", [], |row| row.get(0))
        .unwrap();
    // The canary, a title, a last message, an error, 151 replies, 303 messages.
    assert_eq!(place.store.sealed_with_old().await.unwrap(), 458);
    let mut told = Vec::new();
    let done = place.store.reseal(|done| told.push(done)).await.unwrap();
    assert_eq!(done, Resealed { seen: 458, sealed: 458 });
    assert!(told.len() >= 11 && told.is_sorted_by_key(|done| done.sealed), "{told:?}");
    assert_eq!(told.last(), Some(&done));
    assert_eq!(place.store.sealed_with_old().await.unwrap(), 0);
    assert_eq!(super::seals::holders(&place.state, &old_body[9..60]), Vec::<String>::new(), "old seals go");
    assert_eq!(place.store.history(&key("main"), 1000).await.unwrap(), before);
    place.store.close();

    rotating.end_rotation(&place.state).unwrap();
    let new = Vault::open(&place.state, &FileKey).unwrap().unwrap();
    place.store = Store::open(&place.state, &new).unwrap();
    assert_eq!(place.store.history(&key("main"), 1000).await.unwrap(), before);
    assert_eq!(place.store.run(&run("fails")).await.unwrap().unwrap().error, Some("the reason".into()));
    let pending = place.store.pending().await.unwrap();
    assert_eq!(texts(&before.messages).last(), Some(&pending[0].message.text));
}

/// Whoever ends a rotation too early hears of it at the next start, and not when somebody asks for old words.
#[tokio::test]
async fn words_whose_key_is_gone_are_named_with_it() {
    let place = talked().await;
    place.store.close();
    let rotating = vault(&place.state).begin_rotation(&place.state).unwrap();
    rotating.end_rotation(&place.state).unwrap();
    let error = Store::open(&place.state, &vault(&place.state)).unwrap_err();
    assert!(matches!(error, StoreError::OtherKeys { .. }), "{error:?}");
    assert!(error.to_string().contains("was sealed with key"), "{error}");
}

#[tokio::test]
async fn a_row_that_does_not_open_stops_the_rotation() {
    let mut place = talked().await;
    raw(&place.state).execute("UPDATE outbox SET text = zeroblob(150) WHERE turn = 80", []).unwrap();
    place.store.close();
    let rotating = vault(&place.state).begin_rotation(&place.state).unwrap();
    place.store = Store::open(&place.state, &rotating).unwrap();
    let error = place.store.reseal(|_| {}).await.unwrap_err();
    let StoreError::Sealed { place: at, .. } = &error else { panic!("{error:?}") };
    assert!(at.starts_with("outbox.text/80/"), "{error:?}");
    assert!(place.store.sealed_with_old().await.unwrap() > 0, "the old key must stay");
}
