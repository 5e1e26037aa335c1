//! What a vendor's network is to the gateway: a [`Driver`] for each account, which hands in what arrives and is handed
//! what is to be sent.
//!
//! A driver knows its vendor and nothing else: not who may speak, not what is kept. The gateway judges and keeps each
//! [`Arrival`], orders and repeats what is sent, and starts a driver again that failed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use moltbot_protocol::sender::{Conversation, SenderId};
use secrecy::SecretString;
use thiserror::Error;

/// Work that is under way.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One account on a vendor's network.
///
/// Whatever a method awaits may be dropped at any point: that is how a driver is stopped. Nothing of it may go on then, so
/// a driver that starts tasks ends them when it is dropped.
pub trait Driver: Send + Sync {
    /// Which channel and which account of ours.
    fn place(&self) -> &Place;

    /// Reads an entry of an allow-list in a config, such as `123456789`: nothing when it is none of the vendor's immutable
    /// ids, as names are. An entry in full (`channel:account:kind:id`) is read by the gateway.
    fn sender(&self, entry: &str) -> Option<SenderId>;

    /// Cuts an answer into messages that the vendor takes, in its format. Pure, and the same for the same text: what was
    /// sent before a crash is counted in pieces. None of them is empty.
    fn pieces(&self, text: &str) -> Vec<String>;

    /// Connects, tells [`Link::connected`], and hands in what arrives, until it cannot go on. The gateway waits, longer
    /// each time, and calls it again.
    ///
    /// What the vendor keeps for us (an offset, a cursor, an acknowledgement) moves on only after [`Link::take`] has
    /// returned `Ok` for everything before it.
    fn run<'a>(&'a self, link: &'a dyn Link) -> Doing<'a, Broken>;

    /// Sends one piece of an answer, and returns when the vendor has it: `Ok` is kept, and it is not sent again. One piece
    /// at a time is sent to a conversation, in order. While [`Driver::run`] does not run, or before it is connected,
    /// answers [`NotSent::Unreachable`].
    fn send<'a>(&'a self, piece: &'a Piece) -> Doing<'a, Result<(), NotSent>>;

    /// Asks the vendor whether it takes us for who we are, and leaves everything as it is: what we are called there; nothing where
    /// that cannot be asked without others seeing us come.
    fn look(&self) -> Doing<'_, Result<Option<String>, Broken>> {
        Box::pin(async { Ok(None) })
    }

    /// Where the vendor posts what arrives, when it does so for this account. The gateway answers there.
    fn webhook(&self) -> Option<&Webhook> {
        None
    }

    /// Takes the body of a post that showed the secret of [`Driver::webhook`]. The vendor is answered yes when this returns
    /// `Ok`, and posts again otherwise; what it posts twice is taken once.
    fn post<'a>(&'a self, _link: &'a dyn Link, _body: &'a [u8]) -> Doing<'a, Result<(), NotPosted>> {
        Box::pin(async { Err(NotPosted::Unreadable) })
    }

    /// Takes leave of the vendor, when the gateway stops: nothing is to be posted to an address at which nobody of ours listens.
    fn leave(&self) -> Doing<'_, ()> {
        Box::pin(async {})
    }

    /// Fetches a file, no larger than the owner wants.
    fn fetch<'a>(&'a self, _file: &'a Attached) -> Doing<'a, Result<Vec<u8>, NotFetched>> {
        Box::pin(async { Err(NotFetched::Failed("this channel has no files".into())) })
    }

    /// Asks a person something that is answered by pressing a button. What is pressed comes back by [`Link::press`]. Answers
    /// the vendor's id of the message with the buttons.
    fn ask<'a>(&'a self, _question: &'a Question) -> Doing<'a, Result<String, NotSent>> {
        Box::pin(async { Err(NotSent::Never("this channel has no buttons".into())) })
    }

    /// Puts a text in the place of a question and its buttons, once it is answered elsewhere or over.
    fn settle<'a>(&'a self, _at: &'a Conversation, _message: &'a str, _text: &'a str) -> Doing<'a, ()> {
        Box::pin(async {})
    }

    /// Shows that an answer is being written, where the vendor can show that. Called again every few seconds, and only for
    /// conversations whose sender was let in.
    fn show_working<'a>(&'a self, _conversation: &'a Conversation) -> Doing<'a, ()> {
        Box::pin(async {})
    }
}

/// A driver, shared.
pub type SharedDriver = Arc<dyn Driver>;

/// A channel and an account of ours on it. Both are names as [`moltbot_protocol::sender::is_name`] allows.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The channel, such as `irc`.
    pub channel: &'static str,
    /// The account: `default`, or its name in the config.
    pub account: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel, self.account)
    }
}

/// Something that a person said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// The vendor's id of it within this account, by which it is known when it comes twice: 1 to 160 bytes without control
    /// characters. Of a changed message it names the change as well. Where ids are unique in a conversation alone, it
    /// begins with the conversation's.
    pub id: String,
    /// Who said it. The id never changes, and no name that people choose is part of it.
    pub sender: SenderId,
    /// What the sender is called just now. Anybody may be called anything: it is shown, and decides nothing.
    pub name: Option<String>,
    /// Where it was said, which is where the answer goes. What the vendor does not name as a direct conversation is a group.
    pub conversation: Conversation,
    /// Whether it was said to us: by a mention, or as an answer to something that we said. Of no meaning in a direct
    /// conversation.
    pub mentioned: bool,
    /// The words, without the mention.
    pub text: String,
    /// What became of it.
    pub state: Said,
    /// The id that an answer refers to, where the vendor has such.
    pub message: Option<String>,
    /// Files that came with it, which are fetched by [`Driver::fetch`] when the sender was let in.
    pub files: Vec<Attached>,
}

/// A file that came with something that was said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attached {
    /// The vendor's handle of it.
    pub handle: String,
    /// What it is, in words, such as `a photo (121 kB)`. Names are the sender's, and shown alone.
    pub what: String,
    /// How large the vendor says that it is, in bytes.
    pub size: Option<u64>,
}

/// Why a file was not fetched.
#[derive(Clone, Debug, Error)]
pub enum NotFetched {
    /// It is larger than the owner wants, in megabytes.
    #[error("it is larger than {0} MB")]
    TooLarge(u64),
    /// The vendor does not give it.
    #[error("it could not be fetched: {0}")]
    Failed(String),
}

/// A question with buttons.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where to, and nobody else reads it.
    pub conversation: Conversation,
    /// Whom it is for.
    pub to: SenderId,
    /// The question. No markup: every character is one.
    pub text: String,
    /// What can be pressed, in the order shown.
    pub choices: Vec<Choice>,
}

/// One button.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What stands on it.
    pub label: String,
    /// What comes back, 1 to 64 bytes.
    pub data: SecretString,
}

/// A button that somebody pressed.
#[derive(Clone, Debug)]
pub struct Press {
    /// Who.
    pub sender: SenderId,
    /// Where.
    pub conversation: Conversation,
    /// The vendor's id of the message that the button stands below.
    pub message: String,
    /// What the button carries. It may be of somebody's own making.
    pub data: SecretString,
}

/// What came of a press.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pressed {
    /// What is said to whoever pressed, in one line.
    pub notice: String,
    /// What takes the place of the question and its buttons, when it is decided.
    pub text: Option<String>,
}

/// Whether something was said just now, or changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Said {
    /// It is another text of something that was said before.
    Edited,
    /// It is new.
    New,
}

/// What the gateway is to a driver that runs.
pub trait Link: Send + Sync {
    /// Takes what arrived. When this returns `Ok` it is kept, or was refused for good: the vendor need not keep it any
    /// longer. Which of the two is not told, so that nothing that a driver does can show it to a stranger.
    fn take(&self, arrival: Arrival) -> Doing<'_, Result<(), NotTaken>>;

    /// Takes what was pressed. `Err` as [`Link::take`].
    fn press(&self, press: Press) -> Doing<'_, Result<Pressed, NotTaken>>;

    /// What arrives and what is sent flows from now on.
    fn connected(&self);

    /// Where the driver was, as it said last by [`Link::keep_cursor`].
    fn cursor(&self) -> Doing<'_, Result<Option<String>, NotTaken>>;

    /// Keeps where the driver is; on disk when this returns. For vendors that do not keep it themselves.
    fn keep_cursor(&self, cursor: String) -> Doing<'_, Result<(), NotTaken>>;
}

/// What arrived cannot be kept now. It is to be handed in again after a while, and nothing that came after it before.
#[derive(Clone, Debug, Error)]
#[error("what arrived is not taken: {0}")]
pub struct NotTaken(pub String);

/// Why a driver cannot go on.
#[derive(Clone, Debug, Error)]
#[error("{what}")]
pub struct Broken {
    /// What happened and what to do, for the owner. No secret is in it.
    pub what: String,
    /// Whether only a change by the owner can help, such as another password. It is then tried again rarely.
    pub needs_owner: bool,
    /// How long the vendor asks us to stay away.
    pub wait: Option<Duration>,
}

impl Broken {
    /// A failure that may pass.
    pub fn passing(what: impl Into<String>) -> Self {
        Self { what: what.into(), needs_owner: false, wait: None }
    }

    /// A failure that stays until the owner changes something.
    pub fn lasting(what: impl Into<String>) -> Self {
        Self { what: what.into(), needs_owner: true, wait: None }
    }
}

/// Where a vendor posts what arrives at one account.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The header in which it shows the secret, in lower case.
    pub header: &'static str,
    /// The host of the public address, which is what the vendor names when it connects.
    pub host: String,
    /// The path on this gateway.
    pub path: String,
    /// What it shows.
    pub secret: SecretString,
}

/// Why a post was not taken.
#[derive(Clone, Debug, Error)]
pub enum NotPosted {
    /// Not now: the vendor is to post it again.
    #[error("what was posted is not taken: {0}")]
    Later(String),
    /// It is nothing that the vendor posts.
    #[error("what was posted cannot be read")]
    Unreadable,
}

/// One message to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Names this piece, the same each time it is tried: for vendors that know by it what they have already.
    pub key: String,
    /// Where to.
    pub conversation: Conversation,
    /// Whom it answers. Where addresses change hands, the driver sees first that the conversation's is still this sender's.
    pub to: SenderId,
    /// What it answers, for the first piece of an answer.
    pub answers: Option<String>,
    /// The text, as [`Driver::pieces`] made it.
    pub text: String,
}

/// Why a piece was not sent.
#[derive(Clone, Debug, Error)]
pub enum NotSent {
    /// The vendor asks us to wait that long, for this conversation.
    #[error("the vendor asks to wait {} s", .0.as_secs_f32())]
    Later(Duration),
    /// The vendor will never take it, such as in a conversation that is gone. It is not tried again.
    #[error("it will never be taken: {0}")]
    Never(String),
    /// It may not have arrived. It is tried again.
    #[error("{0}")]
    Unreachable(String),
}
