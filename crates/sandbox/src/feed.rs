//! What a command writes, for whoever looks at it while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The last of what a command has written, and how much there was. Clones are of the same command.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    /// How much is kept, in bytes.
    most: usize,
    written: Mutex<Written>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Written {
    last: VecDeque<u8>,
    /// Bytes in all, those that are not kept any more among them.
    total: u64,
    /// Whether the command has its place among those that run.
    begun: bool,
}

/// A part of what was written. Raw bytes: they may hold terminal controls.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Part {
    /// What is kept of it.
    pub bytes: Vec<u8>,
    /// How much of it, at its beginning, is kept no more.
    pub lost: u64,
    /// Where the next part begins.
    pub next: u64,
}

impl Feed {
    /// Nothing yet, and room for the last `most` bytes.
    pub fn keeping(most: usize) -> Self {
        Self(Arc::new(Inside { most, written: Mutex::default(), more: Notify::new() }))
    }

    /// What was written from a place on, counted in bytes from the beginning.
    pub fn since(&self, place: u64) -> Part {
        let written = self.lock();
        let kept = u64::try_from(written.last.len()).unwrap_or(u64::MAX);
        let first = written.total.saturating_sub(kept);
        let skipped = usize::try_from(place.saturating_sub(first)).unwrap_or(usize::MAX);
        Part {
            bytes: written.last.iter().skip(skipped).copied().collect(),
            lost: first.saturating_sub(place),
            next: written.total,
        }
    }

    /// Waits until more was written than up to that place.
    pub async fn beyond(&self, place: u64) {
        self.until(|written| written.total > place).await;
    }

    /// Waits until the command has its place among those that run.
    pub async fn begun(&self) {
        self.until(|written| written.begun).await;
    }

    async fn until(&self, is_so: impl Fn(&Written) -> bool) {
        loop {
            let more = self.0.more.notified();
            tokio::pin!(more);
            // Before the look: what is written in between is not missed.
            more.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            more.await;
        }
    }

    /// The command has its place.
    pub(crate) fn begin(&self) {
        self.lock().begun = true;
        self.0.more.notify_waiters();
    }

    /// Takes what was written.
    pub(crate) fn add(&self, bytes: &[u8]) {
        {
            let mut written = self.lock();
            written.total = written.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            let last = bytes.get(bytes.len().saturating_sub(self.0.most)..).unwrap_or_default();
            let room = self.0.most.saturating_sub(last.len());
            let over = written.last.len().saturating_sub(room);
            written.last.drain(..over);
            written.last.extend(last);
        }
        self.0.more.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_it_is_kept_and_the_rest_is_counted() {
        let feed = Feed::keeping(5);
        assert_eq!(feed.since(0), Part::default());
        feed.add(b"abc");
        assert_eq!(feed.since(1), Part { bytes: b"bc".to_vec(), lost: 0, next: 3 });
        feed.add(b"defg");
        assert_eq!(feed.since(3), Part { bytes: b"defg".to_vec(), lost: 0, next: 7 });
        assert_eq!(feed.since(0), Part { bytes: b"cdefg".to_vec(), lost: 2, next: 7 });
        feed.add(b"0123456789");
        assert_eq!(feed.since(7), Part { bytes: b"56789".to_vec(), lost: 5, next: 17 });
        assert_eq!(feed.since(99), Part { bytes: Vec::new(), lost: 0, next: 17 });
    }

    #[tokio::test]
    async fn who_waits_hears_of_what_was_written_before_and_after() {
        let feed = Feed::keeping(5);
        feed.add(b"a");
        feed.beyond(0).await;
        let (writer, waits) = (feed.clone(), feed.beyond(1));
        let ((), ()) = tokio::join!(waits, async move { writer.add(b"b") });
    }
}
