//! The files that remember the head of the book are brought up to date each minute, by the code of
//! `moltbot ledger anchor`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use moltbot_config::limits;
use moltbot_ledger::{Head, anchor};
use moltbot_policy::with_causes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use super::Parts;
use super::shipping::blocking;
use crate::shared::lock;

/// What is known of each anchor.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    known: Mutex<BTreeMap<PathBuf, Anchor>>,
}

#[derive(Debug, Default)]
struct Anchor {
    /// The number of the record that it remembers; 0 when that is not known.
    remembers: u64,
    problem: Option<String>,
    /// The last try, while the disk has not answered.
    trying: Option<JoinHandle<Result<bool, anchor::AnchorError>>>,
}

impl Anchors {
    /// Keeps every anchor up to date for as long as it is polled.
    pub(super) async fn keep(self: Arc<Self>, parts: Parts) {
        // The first time when the start is over: a crash may have left them behind.
        let mut minutes = interval_at(Instant::now() + limits::LEDGER_DIRTY, limits::LEDGER_REMEMBERED);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut remembered = None;
        loop {
            minutes.tick().await;
            // Without anchors this costs one look at a name of the state folder, and no thread.
            if !anchor::may_have_any(&parts.state) {
                continue;
            }
            let head = parts.ledger.head();
            if head.sequence == 0 || (remembered.as_ref() == Some(&head) && !self.has_problem()) {
                continue;
            }
            self.remember(&parts, &head).await;
            remembered = Some(head);
        }
    }

    /// Has every anchor remember `head`. Each has [`limits::STREAM_END`] for it, and one that takes longer is not asked
    /// again before it has answered.
    async fn remember(&self, parts: &Parts, head: &Head) {
        let state = parts.state.clone();
        let paths = match blocking(move || anchor::list(&state)).await {
            Ok(Ok(paths)) => paths,
            Ok(Err(error)) => {
                tracing::error!(error = with_causes(&error), "the list of anchors cannot be read");
                return;
            }
            Err(_) => return,
        };
        lock(&self.known).retain(|path, _| paths.contains(path));
        for path in &paths {
            self.begin(path, head);
        }
        let until = Instant::now() + limits::STREAM_END;
        for path in &paths {
            let Some(mut trying) = self.trying(path) else { continue };
            match timeout_at(until, &mut trying).await {
                Ok(Ok(Ok(true))) => self.told(path, head, None),
                Ok(Ok(Ok(false))) => {
                    let problem = "it remembers a longer book; verify this one with it: `moltbot ledger verify --expect-head`";
                    self.told(path, head, Some(problem.into()));
                }
                Ok(Ok(Err(error))) => self.told(path, head, Some(with_causes(&error))),
                Ok(Err(_)) => self.told(path, head, Some("the program is stopping".into())),
                Err(_) => {
                    let limit = limits::STREAM_END.as_secs();
                    self.told(path, head, Some(format!("it does not answer within {limit} s")));
                    lock(&self.known).entry(path.clone()).or_default().trying = Some(trying);
                }
            }
        }
    }

    /// Has a thread of its own write the anchor: a file system that is away can hold it for ever.
    fn begin(&self, path: &Path, head: &Head) {
        let mut known = lock(&self.known);
        let anchor = known.entry(path.to_owned()).or_default();
        if anchor.trying.is_none() {
            let (path, head) = (path.to_owned(), head.clone());
            anchor.trying = Some(tokio::task::spawn_blocking(move || anchor::remember(&path, &head)));
        }
    }

    fn trying(&self, path: &Path) -> Option<JoinHandle<Result<bool, anchor::AnchorError>>> {
        lock(&self.known).get_mut(path)?.trying.take()
    }

    /// Tells what came of a try, once for each cause, and once when it works again.
    fn told(&self, path: &Path, head: &Head, problem: Option<String>) {
        let before = {
            let mut known = lock(&self.known);
            let anchor = known.entry(path.to_owned()).or_default();
            if problem.is_none() {
                anchor.remembers = head.sequence;
            }
            std::mem::replace(&mut anchor.problem, problem.clone())
        };
        let anchor = path.display().to_string();
        match (before, problem) {
            (Some(_), None) => tracing::info!(anchor, "the anchor remembers the head of the book again"),
            (before, Some(problem)) if before.as_ref() != Some(&problem) => {
                tracing::error!(
                    anchor,
                    problem,
                    "the anchor does not remember the head of the book; it is tried again"
                );
            }
            (_, None | Some(_)) => {}
        }
    }

    fn has_problem(&self) -> bool {
        lock(&self.known).values().any(|anchor| anchor.problem.is_some())
    }

    /// What `status` says of each.
    pub(super) fn status(&self) -> Vec<Value> {
        let known = lock(&self.known);
        let told = |(path, anchor): (&PathBuf, &Anchor)| json!({"path": path.display().to_string(), "remembers": anchor.remembers, "problem": anchor.problem});
        known.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use moltbot_ledger::export::Origin;
    use moltbot_ledger::{Ledger, LedgerOptions};
    use moltbot_policy::{Book as _, Decision, Entry};
    use moltbot_testkit::home::Home;

    use super::*;

    /// Waits for a head that is newer.
    fn head_behind(ledger: &Ledger, sequence: u64) -> Head {
        ledger.enter(Entry::new("gateway", "test.act", "x", Decision::Done)).unwrap();
        loop {
            let head = ledger.head();
            if head.sequence > sequence {
                return head;
            }
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a volume that goes away and comes back")]
    async fn an_anchor_that_is_away_is_told_and_remembers_again_when_it_is_back() {
        let home = Home::empty().unwrap();
        let (volume, away, state) = (home.path().join("volume"), home.path().join("away"), home.state());
        let (good, lost) = (home.path().join("good"), volume.join("lost"));
        std::fs::create_dir(&volume).unwrap();
        let vault = moltbot_testkit::vault(&state);
        let ledger = Ledger::open(&state, &vault, LedgerOptions::default()).unwrap();
        let origin = Origin { installation: "test".into(), host: "test".into() };
        let parts = Parts { ledger: ledger.clone(), origin, state: state.clone(), clock: || 0 };
        anchor::add(&state, &good).unwrap();
        anchor::add(&state, &lost).unwrap();
        let anchors = Anchors::default();
        let mut head = head_behind(&ledger, 0);
        let problems = |anchors: &Anchors| -> Vec<bool> {
            anchors.status().iter().map(|anchor| !anchor["problem"].is_null()).collect()
        };
        let remembered = |path: &Path| anchor::read(path).unwrap().unwrap().sequence;
        anchors.remember(&parts, &head).await;
        assert_eq!((remembered(&lost), problems(&anchors)), (head.sequence, vec![false, false]));
        std::fs::rename(&volume, &away).unwrap();
        std::fs::write(&volume, "").unwrap();
        head = head_behind(&ledger, head.sequence);
        anchors.remember(&parts, &head).await;
        assert_eq!((remembered(&good), problems(&anchors)), (head.sequence, vec![false, true]));
        std::fs::remove_file(&volume).unwrap();
        std::fs::rename(&away, &volume).unwrap();
        anchors.remember(&parts, &head).await;
        assert_eq!((remembered(&lost), problems(&anchors)), (head.sequence, vec![false, false]));
        // One that remembers a longer book is left as it is, and told.
        let longer = Head { sequence: head.sequence + 1000, ..head.clone() };
        anchor::remember(&good, &longer).unwrap();
        anchors.remember(&parts, &head).await;
        assert_eq!((remembered(&good), problems(&anchors)), (longer.sequence, vec![true, false]));
    }
}
