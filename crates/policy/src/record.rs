//! What is about to happen goes into the book first: [`record`] is the only way to a [`Recorded`] permit.

use std::collections::BTreeMap;
use std::pin::Pin;

use thiserror::Error;

/// An error with its causes in one line, as the log, the book and its owner are told.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// One line of the book, before it is numbered and chained.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Who acts: a device, a credential kind, an agent, `gateway`.
    pub actor: String,
    /// The conversation it belongs to.
    pub session: Option<String>,
    /// What is done, in the form `area.verb`, such as `command.start`.
    pub action: &'static str,
    /// What it is done to.
    pub target: String,
    /// How it was decided.
    pub decision: Decision,
    /// More facts, none of them secret.
    pub details: BTreeMap<&'static str, String>,
    /// How soon it must be on disk.
    pub class: Class,
    /// Whether it may be paid for with the space that the book keeps for a full disk.
    pub reserved: bool,
}

/// How soon an entry must be on disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Class {
    /// With the next flush, whenever that is: facts about traffic, which permit nothing.
    Buffered,
    /// Before the act.
    #[default]
    Immediate,
}

impl Entry {
    /// An entry without a session or details, of class [`Class::Immediate`].
    pub fn new(
        actor: impl Into<String>,
        action: &'static str,
        target: impl Into<String>,
        decision: Decision,
    ) -> Self {
        let (actor, target) = (actor.into(), target.into());
        let (details, class) = (BTreeMap::new(), Class::Immediate);
        Self { actor, session: None, action, target, decision, details, class, reserved: false }
    }

    /// Does not wait for the disk: for facts that permit nothing. [`Book::enter`] then answers 0, because it has no
    /// number yet, and it may be lost with others, which are counted.
    #[must_use]
    pub const fn buffered(mut self) -> Self {
        self.class = Class::Buffered;
        self
    }

    /// May use the space that the book keeps for a full disk: the local owner's sign-in, and what he does about it.
    #[must_use]
    pub const fn from_reserve(mut self) -> Self {
        self.reserved = true;
        self
    }

    /// Names the conversation.
    #[must_use]
    pub fn in_session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.insert(name, value.into());
        self
    }
}

/// How something was decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It may happen.
    Allowed,
    /// It happened: a fact after the act.
    Done,
    /// It may not.
    Refused,
}

impl Decision {
    /// The name in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// Proof of one decision, that can say what it permits.
pub trait Permit {
    /// What the book is told.
    fn entry(&self) -> Entry;
}

/// The book. Implemented by the ledger, and by nothing else outside tests.
pub trait Book {
    /// Writes one line and returns its number once it is on disk. Blocks for as long as the disk takes. For one of
    /// [`Class::Buffered`] it does neither, and returns 0.
    ///
    /// # Errors
    /// When it cannot be on disk within the time allowed; the act must then not happen.
    fn enter(&self, entry: Entry) -> Result<u64, Unrecorded>;

    /// Writes several lines, in this order, and returns their numbers once all are on disk. A book that can,
    /// waits for the disk once.
    ///
    /// # Errors
    /// When one of them cannot be; none of the acts must then happen.
    fn enter_all(&self, entries: Vec<Entry>) -> Result<Vec<u64>, Unrecorded> {
        entries.into_iter().map(|entry| self.enter(entry)).collect()
    }

    /// [`Book::enter_all`] for a task, which holds up no thread. They are on their way when this returns: that the
    /// answer is dropped does not take them back.
    fn enter_soon(&self, entries: Vec<Entry>) -> Entering;
}

/// Lines on their way to the disk: their numbers once all are on it, or why one of them is not.
pub type Entering = Pin<Box<dyn Future<Output = Result<Vec<u64>, Unrecorded>> + Send>>;

/// The book could not be written, so the act does not happen.
#[derive(Clone, Debug, Error)]
#[error(
    "{action} is refused because it cannot be recorded: {cause}; free disk space or repair the ledger folder, then try again"
)]
pub struct Unrecorded {
    /// The action refused.
    pub action: &'static str,
    /// Why the book could not be written.
    pub cause: String,
}

/// A permit that is in the book. Doors take nothing else.
#[derive(Debug)]
#[must_use = "a recorded permit that is dropped does nothing"]
pub struct Recorded<P> {
    permit: P,
    sequence: u64,
}

impl<P> Recorded<P> {
    /// What is permitted.
    pub const fn permit(&self) -> &P {
        &self.permit
    }

    /// Its line in the book.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What is permitted, used up.
    pub fn into_permit(self) -> P {
        self.permit
    }
}

/// Enters a permit into the book. There is no other way to a [`Recorded`].
///
/// ```compile_fail
/// let forged = moltbot_policy::Recorded { permit: (), sequence: 1 };
/// ```
///
/// # Errors
/// When the book cannot be written; the permit is used up, and the act does not happen.
pub fn record<P: Permit>(permit: P, book: &(impl Book + ?Sized)) -> Result<Recorded<P>, Unrecorded> {
    let sequence = book.enter(immediate(&permit))?;
    Ok(Recorded { permit, sequence })
}

/// Enters several permits into the book, in this order, for acts that are done together.
///
/// # Errors
/// When the book cannot be written; the permits are used up, and none of the acts happens.
pub fn record_all<P: Permit>(
    permits: Vec<P>,
    book: &(impl Book + ?Sized),
) -> Result<Vec<Recorded<P>>, Unrecorded> {
    let sequences = book.enter_all(permits.iter().map(immediate).collect())?;
    Ok(permits.into_iter().zip(sequences).map(|(permit, sequence)| Recorded { permit, sequence }).collect())
}

/// [`record`] for a task: waiting for the disk holds up no thread.
///
/// # Errors
/// When the book cannot be written; the permit is used up, and the act does not happen.
pub fn record_soon<P: Permit, B: Book + ?Sized>(
    permit: P,
    book: &B,
) -> impl Future<Output = Result<Recorded<P>, Unrecorded>> + use<P, B> {
    let recording = record_all_soon(vec![permit], book);
    async {
        let recorded = recording.await?.pop();
        recorded.ok_or_else(|| Unrecorded { action: "ledger.enter", cause: "the book gave no number".into() })
    }
}

/// [`record_all`] for a task: waiting for the disk holds up no thread.
///
/// # Errors
/// When the book cannot be written; the permits are used up, and none of the acts happens.
pub fn record_all_soon<P: Permit, B: Book + ?Sized>(
    permits: Vec<P>,
    book: &B,
) -> impl Future<Output = Result<Vec<Recorded<P>>, Unrecorded>> + use<P, B> {
    let entering = book.enter_soon(permits.iter().map(immediate).collect());
    async {
        let sequences = entering.await?;
        Ok(permits
            .into_iter()
            .zip(sequences)
            .map(|(permit, sequence)| Recorded { permit, sequence })
            .collect())
    }
}

/// What a permit tells the book. A door opens only for what is on disk, whatever the permit says about its class.
fn immediate<P: Permit>(permit: &P) -> Entry {
    Entry { class: Class::Immediate, ..permit.entry() }
}
