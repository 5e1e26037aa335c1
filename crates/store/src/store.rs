//! The face of the store.

use std::sync::Arc;

use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::message::{InboundMessage, Message};
use moltbot_protocol::sender::Origin;
use moltbot_vault::{StateDir, Vault};

use crate::allowance::{self, Allowance, AllowanceChange, AllowanceHolder};
use crate::column::Column;
use crate::database;
use crate::delivery::{self, Delivery, Outbound, WaitingReply};
use crate::device::{self, DeviceChange, DeviceRequest, PairedDevice};
use crate::error::StoreError;
use crate::quarantine::{self, Notice, Quarantine};
use crate::readers::Readers;
use crate::reseal::{self, Resealed};
use crate::scrub;
use crate::sender::{self, SenderChange, SenderFact};
use crate::session::{self, Context, History, SessionFilter, SessionPatch, SessionRow, Summary, Transcript};
use crate::turn::{self, Accepted, PendingTurn, RunStatus, Step, TurnEnd, TurnId, UsageReport};
use crate::writer::Writer;

mod events;
mod import;

/// State that outlives the process. A clone is another handle of the same store.
///
/// Every method that writes answers after the commit: what it said is on the disk. The methods need a Tokio
/// runtime. When the last handle is dropped the file is closed, as by [`Store::close`].
#[derive(Clone)]
pub struct Store(Arc<Parts>);

struct Parts {
    // Dropped first: the writer closes last and takes the log with it.
    readers: Readers,
    writer: Writer,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens `state.db` in the state folder, and creates it when it is missing. What is said is sealed with `vault`.
    ///
    /// One program at a time: the caller holds the folder's lock. A file that was not closed is checked
    /// first, one with an older schema is copied and migrated. The first schema had no seals: its words are sealed in
    /// one transaction, nothing is copied, and then the file is written anew, so that no plaintext stays on the disk.
    ///
    /// # Errors
    /// When the file is damaged, foreign, of a newer program, sealed with other keys ([`StoreError::OtherKeys`]), not
    /// sealed in an installation that is ([`StoreError::Unsealed`]), or cannot be opened; when the disk is full. It is never replaced by an empty one.
    pub fn open(state: &StateDir, vault: &Vault) -> Result<Self, StoreError> {
        let opened = database::open(state, vault)?;
        let readers = Readers::of(opened.path.clone(), vault.clone());
        let writer = Writer::start(opened)?;
        Ok(Self(Arc::new(Parts { readers, writer })))
    }

    /// Keeps a message, in one commit, as the last turn of its session. After this it may be acknowledged.
    ///
    /// The same message again (channel, account and external id), or the same run again, changes nothing and
    /// answers how far the first one is.
    ///
    /// # Errors
    /// When it cannot be kept; then it must not be acknowledged.
    pub async fn accept(&self, message: &InboundMessage, now_ms: u64) -> Result<Accepted, StoreError> {
        self.accept_counted(message, Vec::new(), now_ms).await
    }

    /// Keeps a message as [`Store::accept`] does, and in the same commit counts it, and later what its turn uses, by the
    /// allowances of `holders`.
    ///
    /// # Errors
    /// When it cannot be kept; then nothing is counted.
    pub async fn accept_counted(
        &self,
        message: &InboundMessage,
        holders: Vec<AllowanceHolder>,
        now_ms: u64,
    ) -> Result<Accepted, StoreError> {
        let message = message.clone();
        self.0.writer.write(move |database| turn::accept(database, &message, &holders, now_ms)).await
    }

    /// Every allowance of which something is kept.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn allowances(&self) -> Result<Vec<Allowance>, StoreError> {
        // On the writer's connection: at the start of a process it is the only one that is open.
        self.0.writer.write(allowance::all).await
    }

    /// Keeps a change to an allowance.
    ///
    /// # Errors
    /// When it cannot be kept; nothing has changed then.
    pub async fn change_allowance(
        &self,
        holder: AllowanceHolder,
        change: AllowanceChange,
    ) -> Result<(), StoreError> {
        self.0.writer.write(move |database| allowance::change(database, &holder, &change)).await
    }

    /// The turns without an end, in the order of their acceptance: what a new process has to go on with.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn pending(&self) -> Result<Vec<PendingTurn>, StoreError> {
        // On the writer's connection: at the start of a process it is the only one that is open.
        self.0.writer.write(turn::pending).await
    }

    /// Keeps one round of a turn, in one commit, before the tools that it calls are run.
    ///
    /// # Errors
    /// When the turn is unknown or has ended, or when it cannot be kept; then no tool may run.
    pub async fn journal(&self, turn: TurnId, step: Step) -> Result<(), StoreError> {
        self.0.writer.write(move |database| turn::journal(database, turn, step)).await
    }

    /// Ends a turn, in one commit: its last messages, its reply in the outbox, its state, its session's totals.
    ///
    /// # Errors
    /// When the turn is unknown or has ended already, when it is [`crate::Ending::Done`] before an earlier turn of its
    /// session ended, or when it cannot be kept; the turn stays pending then.
    pub async fn finish(&self, turn: TurnId, end: TurnEnd) -> Result<(), StoreError> {
        self.0.writer.write(move |database| turn::finish(database, turn, &end)).await
    }

    /// Makes the message of the turn `taken` a part of the turn `by`, which is under way: in one commit keeps `results`, what
    /// `by` has said since its last step, moves the message behind them, and ends `taken` without an answer of its own.
    ///
    /// # Errors
    /// When one of them has ended, `taken` has begun, they are of two sessions, or it cannot be kept; nothing has changed then.
    pub async fn absorb(
        &self,
        by: TurnId,
        taken: TurnId,
        results: Vec<Message>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.0.writer.write(move |database| turn::absorb(database, by, taken, &results, now_ms)).await
    }

    /// How far a run is; nothing when there is no such run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn run(&self, run: &RunId) -> Result<Option<RunStatus>, StoreError> {
        let run = run.clone();
        self.0.readers.read(move |database| turn::run_status(database, &run)).await
    }

    /// What a person sees of a session: its newest `limit` messages, oldest first, among them those of turns
    /// that run or wait. No more than [`moltbot_config::limits::HISTORY_MESSAGES`] and
    /// [`moltbot_config::limits::HISTORY_BYTES`]. For a prompt, [`Store::context`] is the right one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn history(&self, session: &SessionKey, limit: u32) -> Result<History, StoreError> {
        self.older_history(session, limit, 0).await
    }

    /// The same, as if the newest `skip` messages were not there: a transcript is read page by page, from its end. A page that
    /// is empty is behind the oldest message.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn older_history(
        &self,
        session: &SessionKey,
        limit: u32,
        skip: u32,
    ) -> Result<History, StoreError> {
        let session = session.clone();
        self.0.readers.read(move |database| session::history(database, &session, limit, skip)).await
    }

    /// What a model is told of the past: the newest `limit` messages of the turn's session from before that
    /// turn, oldest first. Neither its own message nor those that wait behind it are in there. When older
    /// ones are left out, it begins with a person's message and says so. Bounded as [`Store::history`].
    ///
    /// # Errors
    /// When the turn is unknown, or it cannot be read.
    pub async fn context(&self, turn: TurnId, limit: u32) -> Result<Context, StoreError> {
        self.0.readers.read(move |database| session::context(database, turn, limit)).await
    }

    /// Keeps what a model wrote in place of the turns before `kept`, in the session of `turn`: from now on
    /// [`Store::context`] answers it in place of them. They stay in the transcript.
    ///
    /// # Errors
    /// When the turn is unknown, or it cannot be kept; nothing stands for them then.
    pub async fn summarize(&self, turn: TurnId, kept: TurnId, summary: Summary) -> Result<(), StoreError> {
        self.0.writer.write(move |database| session::summarize(database, turn, kept, &summary)).await
    }

    /// The sessions that `filter` names, last changed first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sessions(&self, filter: SessionFilter) -> Result<Vec<SessionRow>, StoreError> {
        self.0.readers.read(move |database| session::list(database, &filter)).await
    }

    /// The session that `key` names now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn session(&self, key: &SessionKey) -> Result<Option<SessionRow>, StoreError> {
        let key = key.clone();
        self.0.readers.read(move |database| session::get(database, &key)).await
    }

    /// Changes what is kept of a session besides its transcript, and begins the session when nothing was said in it yet.
    ///
    /// # Errors
    /// [`StoreError::LabelTaken`] when another session has that label; or when it cannot be kept.
    pub async fn patch_session(
        &self,
        key: &SessionKey,
        patch: SessionPatch,
        now_ms: u64,
    ) -> Result<SessionRow, StoreError> {
        let key = key.clone();
        self.0.writer.write(move |database| session::patch(database, &key, &patch, now_ms)).await
    }

    /// What turns used since `since_ms`, by day, session, sender and run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn usage(&self, since_ms: u64) -> Result<UsageReport, StoreError> {
        self.0.readers.read(move |database| turn::usage_report(database, since_ms)).await
    }

    /// Begins a session anew under the same key, and answers its new id; nothing when there is no such
    /// session. The old transcript stays in the file; the label and the chosen model go on.
    /// Turns that are not finished go on in the old one.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn reset_session(&self, key: &SessionKey, now_ms: u64) -> Result<Option<String>, StoreError> {
        let key = key.clone();
        self.0.writer.write(move |database| session::reset(database, &key, now_ms)).await
    }

    /// When something was last said in a session by another channel than `silent`, in milliseconds since the epoch; when it began
    /// where nothing was. Nothing when there is no such session, or something waits in it for its answer.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn last_said(&self, key: &SessionKey, silent: &'static str) -> Result<Option<u64>, StoreError> {
        let key = key.clone();
        self.0.readers.read(move |database| session::last_said(database, &key, silent)).await
    }

    /// As [`Self::reset_session`], unless something was said since that [`Self::last_said`] answered `last_ms`.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn reset_session_since(
        &self,
        key: &SessionKey,
        last: (u64, &'static str),
        now_ms: u64,
    ) -> Result<Option<String>, StoreError> {
        let key = key.clone();
        self.0.writer.write(move |database| session::reset_since(database, &key, last, now_ms)).await
    }

    /// Removes a session, with every word of it when `delete_transcript` is set. Whether there was one.
    ///
    /// Removed words are gone from the file and its log when this answers. While somebody reads an older state, they go
    /// from the log with a later change; and of a file larger than [`moltbot_config::limits::STATE_SCRUBBED_BYTES`],
    /// which is not written anew while others wait, copies in unused parts of pages go when it is closed.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while it has turns that are not finished; or when it cannot be kept.
    pub async fn delete_session(
        &self,
        key: &SessionKey,
        delete_transcript: bool,
    ) -> Result<bool, StoreError> {
        let key = key.clone();
        let transcript = if delete_transcript { Transcript::Delete } else { Transcript::Keep };
        self.0.writer.write(move |database| session::delete(database, &key, transcript)).await
    }

    /// The key of the session with that id; nothing when a reset or a deletion left the id behind.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn find_session(&self, session_id: &str) -> Result<Option<SessionKey>, StoreError> {
        let session_id = session_id.to_owned();
        self.0.readers.read(move |database| session::find(database, &session_id)).await
    }

    /// Every device that is known, and every request that waits.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn devices(&self) -> Result<(Vec<PairedDevice>, Vec<DeviceRequest>), StoreError> {
        // On the writer's connection: at the start of a process it is the only one that is open.
        self.0.writer.write(|database| device::all(database)).await
    }

    /// Keeps what changed about devices, in one commit.
    ///
    /// # Errors
    /// When it cannot be kept; nothing has changed then.
    pub async fn change_devices(&self, change: DeviceChange) -> Result<(), StoreError> {
        self.0.writer.write(move |database| device::change(database, &change)).await
    }

    /// Everything that is known of people on channels, by its number.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn senders(&self) -> Result<Vec<(i64, SenderFact)>, StoreError> {
        // On the writer's connection: at the start of a process it is the only one that is open.
        self.0.writer.write(sender::all).await
    }

    /// Keeps what changed about people on channels, in one commit.
    ///
    /// # Errors
    /// When it cannot be kept; nothing has changed then.
    pub async fn change_senders(&self, change: SenderChange) -> Result<(), StoreError> {
        self.0.writer.write(move |database| sender::change(database, &change)).await
    }

    /// The first `limit` notices and the first `limit` answers that wait for an account of a channel, each in their order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn waiting_replies(
        &self,
        channel: &str,
        account: &str,
        limit: u32,
    ) -> Result<Vec<WaitingReply>, StoreError> {
        let (channel, account) = (channel.to_owned(), account.to_owned());
        self.0.readers.read(move |database| delivery::waiting(database, &channel, &account, limit)).await
    }

    /// Where the newest messages came from that came from a channel, newest first: of the last `turns` turns.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn last_origins(&self, turns: u32) -> Result<Vec<Origin>, StoreError> {
        self.0.readers.read(move |database| delivery::last_origins(database, turns)).await
    }

    /// Keeps how far an answer or a notice is that waits to be sent; one that does not wait stays as it is.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn deliver(&self, what: &Outbound, delivery: Delivery) -> Result<(), StoreError> {
        let what = what.clone();
        self.0.writer.write(move |database| delivery::deliver(database, &what, delivery)).await
    }

    /// Every session in quarantine.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn quarantined(&self) -> Result<Vec<Quarantine>, StoreError> {
        // On the writer's connection: at the start of a process it is the only one that is open.
        self.0.writer.write(quarantine::all).await
    }

    /// Puts a session into quarantine, and `notices` into the outbox, in one commit. One that is there stays as it is, and
    /// nobody is told again.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn quarantine(&self, held: Quarantine, notices: Vec<Notice>) -> Result<(), StoreError> {
        self.0.writer.write(move |database| quarantine::hold(database, &held, &notices)).await
    }

    /// Lets a session go on. Whether it was in quarantine.
    ///
    /// # Errors
    /// When it cannot be kept; then it is in quarantine still.
    pub async fn release(&self, session: &SessionKey) -> Result<bool, StoreError> {
        let session = session.clone();
        self.0.writer.write(move |database| quarantine::release(database, &session)).await
    }

    /// Where the driver of an account of a channel was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn cursor(&self, channel: &str, account: &str) -> Result<Option<String>, StoreError> {
        let (channel, account) = (channel.to_owned(), account.to_owned());
        self.0.readers.read(move |database| delivery::cursor(database, &channel, &account)).await
    }

    /// Keeps where the driver of an account of a channel is.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn keep_cursor(&self, channel: &str, account: &str, cursor: String) -> Result<(), StoreError> {
        let (channel, account) = (channel.to_owned(), account.to_owned());
        self.0
            .writer
            .write(move |database| delivery::keep_cursor(database, &channel, &account, &cursor))
            .await
    }

    /// Seals with the newest root key what was sealed with an older one: the step of a rotation. `progress` is told
    /// after each commit. May be cut off at any point and called again; each word opens before and after. At the end
    /// the file is written anew, so that nothing is left in it that the older key opens.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when words do not open: the older key must then stay. [`StoreError::Remains`] when the
    /// file could not be written anew. Or when something cannot be kept.
    pub async fn reseal(&self, mut progress: impl FnMut(Resealed)) -> Result<Resealed, StoreError> {
        let mut done = Resealed::default();
        for column in Column::ALL {
            let mut after = reseal::BEGIN;
            while let Some(step) =
                self.0.writer.write(move |database| reseal::step(database, column, after)).await?
            {
                after = step.last;
                done.seen = done.seen.saturating_add(step.seen);
                done.sealed = done.sealed.saturating_add(step.old);
                progress(done);
            }
        }
        self.0.writer.write(reseal::ask_for_scrub).await?;
        if self.0.writer.write(scrub::is_marked).await? {
            return Err(StoreError::Remains);
        }
        Ok(done)
    }

    /// How many words are sealed with an older root key than the newest. While there are any, that key must stay.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sealed_with_old(&self) -> Result<u64, StoreError> {
        let mut old = 0_u64;
        for column in Column::ALL {
            let mut after = reseal::BEGIN;
            while let Some(step) =
                self.0.writer.write(move |database| reseal::count(database, column, after)).await?
            {
                after = step.last;
                old = old.saturating_add(step.old);
            }
        }
        Ok(old)
    }

    /// Commits that changed something, since this store was opened: what it asked of the disk.
    pub fn commits(&self) -> u64 {
        self.0.writer.commits()
    }

    /// Writes what is waiting and closes the file. Everything after this answers [`StoreError::Closed`].
    ///
    /// Waits for the disk: call it where that is allowed.
    pub fn close(&self) {
        self.0.readers.close();
        self.0.writer.close();
    }
}
