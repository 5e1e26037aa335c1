//! `kill -9` while words are sealed anew: every word opens, before and after.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use moltbot_protocol::message::Message;
use moltbot_store::Store;
use moltbot_testkit::vault;
use moltbot_vault::StateDir;

use super::super::migration::{old_database, require_all};
use super::super::seals::{WORD, holders, raw};
use super::super::{Place, key};
use super::{STATE, say, words};

/// The process that is killed: seals everything anew.
#[tokio::test]
#[ignore = "the child of the tests below"]
#[expect(clippy::disallowed_methods, reason = "the test passes the folder to its child")]
async fn child() {
    let state = StateDir::open_or_create(std::env::var(STATE).unwrap().as_ref()).unwrap();
    let store = Store::open(&state, &vault(&state)).unwrap();
    say("opened", "");
    store.reseal(|_| say("sealed", "")).await.unwrap();
    say("done", "");
    store.close();
}

#[expect(clippy::disallowed_methods, reason = "the test starts itself as the process to kill")]
fn start(state: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::rotation::child", "--ignored", "--nocapture"]);
    command.env(STATE, state).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

#[tokio::test]
async fn d_53_a_rotation_that_is_killed_sixty_times_loses_nothing() {
    rotate_and_kill(60).await;
}

#[tokio::test]
#[ignore = "takes minutes; `make siege` runs it"]
async fn siege_d_53_a_rotation_that_is_killed_five_hundred_times_loses_nothing() {
    rotate_and_kill(500).await;
}

async fn rotate_and_kill(rounds: usize) {
    let place = Place::new();
    for number in 0..120 {
        let text = format!("{number} {}", "x".repeat(number * 7));
        place.tell(["one", "two"][number % 2], &number.to_string(), text.clone(), &text).await;
    }
    place.accept("one", "waits", 3).await;
    let expected = all_said(&place.store).await;
    let total = place.store.sealed_with_old().await.unwrap();
    assert_eq!(total, 0);
    place.store.close();
    let (mut halfway, mut ended, mut left) = (0, 0, None);
    for round in 0..rounds {
        let mut keys = vault(&place.state);
        if !keys.is_rotating() {
            keys = keys.begin_rotation(&place.state).unwrap();
            left = None;
        }
        kill_after(start(place.state.path()), round * 5 % 14);
        let store = Store::open(&place.state, &keys).unwrap();
        assert_eq!(all_said(&store).await, expected, "round {round}");
        let old = store.sealed_with_old().await.unwrap();
        assert!(left.is_none_or(|left| old <= left), "round {round}: {old} after {left:?}");
        halfway += usize::from(old > 0 && left.is_none_or(|left| old < left));
        left = Some(old);
        store.close();
        if old == 0 {
            keys.end_rotation(&place.state).unwrap();
            ended += 1;
        }
    }
    assert!(halfway > rounds / 10 && ended > rounds / 20, "{halfway} cut off, {ended} ended");
}

async fn all_said(store: &Store) -> (Vec<Message>, Vec<Message>, usize) {
    let one = store.history(&key("one"), 1000).await.unwrap().messages;
    let two = store.history(&key("two"), 1000).await.unwrap().messages;
    (one, two, store.pending().await.unwrap().len())
}

/// Kills the child when it has said so many lines; it may be done before.
fn kill_after(mut child: Child, count: usize) {
    if count > 0 {
        let stdout = child.stdout.take().unwrap();
        words(stdout)
            .filter(|(what, _)| matches!(what.as_str(), "opened" | "sealed" | "done"))
            .nth(count - 1);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The migration tells nothing while it runs, so the child is killed when its log has grown to some size.
#[tokio::test]
async fn d_49_a_migration_that_is_killed_leaves_one_schema_or_the_other() {
    let old = Place::folder();
    drop(old_database(&old.1));
    let before = old.1.read("state.db", 1 << 30).unwrap().unwrap();
    let mut versions = [0, 0];
    for round in 0..24_u64 {
        let (_folder, state) = Place::folder();
        state.write("state.db", &before).unwrap();
        let mut child = start(state.path());
        let log = state.path().join("state.db-wal");
        // Until the log is so long, or is cut off, or the child has ended.
        let mut longest = 0;
        while child.try_wait().unwrap().is_none() {
            let long = log.metadata().map_or(0, |log| log.len());
            if long < longest || long > round * 100_000 {
                break;
            }
            longest = long;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let version: usize = raw(&state).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert!(version == 1 || version == 4, "schema {version} is in between");
        versions[usize::from(version == 4)] += 1;
        let store = Store::open(&state, &vault(&state)).unwrap();
        require_all(&store).await;
        assert_eq!(holders(&state, WORD.as_bytes()), Vec::<String>::new(), "round {round}");
    }
    assert!(versions[0] > 0 && versions[1] > 0, "{versions:?}");
}
