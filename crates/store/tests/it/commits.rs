//! How often the disk is asked, and who writes.

use std::sync::Arc;

use moltbot_store::{Store, StoreError};

use super::{Place, done, key, message};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_come_together_share_a_commit() {
    let place = Arc::new(Place::new());
    let before = place.store.commits();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let place = place.clone();
        tasks.spawn(async move { place.accept(&format!("s{number}"), &format!("m{number}"), 1).await });
    }
    let turns = tasks.join_all().await;
    let commits = place.store.commits() - before;
    assert!(commits <= 32, "{commits} commits for 64 messages");
    assert_eq!(turns.len(), 64);
    assert_eq!(place.store.pending().await.unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_takes_no_other_with_it() {
    let place = Arc::new(Place::new());
    let ended = place.accept("ended", "ended", 1).await.id;
    place.store.finish(ended, done("x", 2)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let place = place.clone();
        tasks.spawn(async move {
            if number % 2 == 0 {
                place.store.accept(&message("main", &format!("m{number}")), 3).await.map(|_| ())
            } else {
                place.store.finish(ended, done("again", 3)).await
            }
        });
    }
    let outcomes = tasks.join_all().await;
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::AlreadyEnded { .. })));
    assert_eq!(refused.count(), 32);
    assert_eq!(place.store.pending().await.unwrap().len(), 32);
    assert_eq!(place.store.history(&key("ended"), 10).await.unwrap().messages.len(), 2);
}

#[tokio::test]
async fn a_store_that_was_opened_again_refuses_to_write() {
    let place = Place::new();
    place.accept("main", "a", 1).await;
    let second = Store::open(&place.state, &moltbot_testkit::vault(&place.state)).unwrap();
    let refused = place.store.accept(&message("main", "b"), 2).await;
    assert!(matches!(refused, Err(StoreError::Superseded)), "{refused:?}");
    second.accept(&message("main", "c"), 3).await.unwrap();
    assert_eq!(second.pending().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_closed_store_says_so_and_leaves_one_file() {
    let place = Place::new();
    place.talk("main", "a", 1).await;
    place.store.history(&key("main"), 1).await.unwrap();
    place.store.close();
    place.store.close();
    assert!(matches!(place.store.accept(&message("main", "b"), 2).await, Err(StoreError::Closed)));
    assert!(matches!(place.store.history(&key("main"), 1).await, Err(StoreError::Closed)));
    assert_eq!(place.state.list().unwrap(), ["keys", "state.db"], "the log was taken in");
}
