//! Internet Relay Chat: each account is one network, over one connection.
//!
//! A nick is nobody's: whoever takes it has it. A sender is known by the account that the network's services say he is
//! signed in with (IRCv3), which the server puts on each message itself (the tag `account`), or else tells of those who
//! share a channel with us ([`people`]). Nothing is asked afterwards (WHOIS): who has the nick then may be another one. Who
//! has no account is not handed in, unless the owner trusts masks (`nick!user@host`) for want of something better.
//!
//! The network keeps nothing: what is said while the connection is gone is lost, and a message that was sent when the
//! connection broke may have arrived.

mod format;
mod people;
mod settling;
mod sign_in;
mod wire;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use irc_proto::{Command, Message};
use moltbot_config::limits;
use moltbot_net::StreamClient;
use moltbot_protocol::sender::{Conversation, SenderId};
use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::driver::{Arrival, Broken, Doing, Driver, Link, NotSent, Piece, Place, Said};
use format::{fold, is_channel, mention};
use people::Accounts;
use settling::{Next, Settling};
use sign_in::harmless;
use wire::{Reader, Writer, numeric, source, tag};

/// The channel's name.
pub const CHANNEL: &str = "irc";
/// The kind of ids that services vouch for.
const ACCOUNT: &str = "account";
/// The kind of ids that only say where somebody connects from.
const MASK: &str = "mask";
/// Tries to hand in a message that cannot be kept, a second apart, before the connection is given up.
const TAKE_TRIES: u32 = 60;
/// How long it is believed whose a nick is that was asked for.
const OWNER_KNOWN: Duration = Duration::from_secs(5);

/// What a connection is made with.
#[derive(Debug)]
pub struct IrcSettings {
    /// Channels to join.
    pub channels: Vec<String>,
    /// The nick.
    pub nick: String,
    /// The server's password.
    pub password: Option<SecretString>,
    /// What WHOIS tells.
    pub realname: String,
    /// How we sign in with services.
    pub sasl: Option<Sasl>,
    /// Whether `nick!user@host` is believed of those without an account.
    pub trusts_masks: bool,
    /// The user name.
    pub username: String,
}

/// How we sign in with services.
#[derive(Debug)]
pub enum Sasl {
    /// By the certificate that the connection shows: as this account, or the certificate's own.
    External(Option<String>),
    /// By the password of an account.
    Plain(String, SecretString),
}

/// What the server granted.
struct SignedIn {
    nick: String,
    accounts: Accounts,
}

/// An account on a network.
pub struct Irc {
    place: Place,
    settings: IrcSettings,
    client: StreamClient,
    now: Mutex<Option<Arc<Connection>>>,
    /// One piece at a time is sent, at a pace that servers allow.
    sending: tokio::sync::Mutex<Pace>,
}

/// A connection that is signed in.
struct Connection {
    writer: Writer,
    wanted: Mutex<Option<Wanted>>,
    owner: Mutex<Option<(String, SenderId, Instant)>>,
}

/// What is waited for from the server.
struct Wanted {
    /// The token of the PONG that ends it.
    token: String,
    /// What was said before it.
    heard: Heard,
    done: oneshot::Sender<Heard>,
}

/// What the server said about a nick or a message.
#[derive(Debug, Default)]
struct Heard {
    account: Option<String>,
    mask: Option<String>,
    refusal: Option<String>,
}

impl Irc {
    /// The account `account`, over `client`. Nothing is connected before it runs.
    pub fn new(account: &str, settings: IrcSettings, client: StreamClient) -> Self {
        let place = Place { channel: CHANNEL, account: account.to_owned() };
        Self { place, settings, client, now: Mutex::new(None), sending: tokio::sync::Mutex::default() }
    }

    async fn serve(&self, link: &dyn Link) -> Result<std::convert::Infallible, Broken> {
        let stream = self.client.connect(CHANNEL).await;
        let (reader, writer) = stream.map_err(|error| Broken::passing(error.to_string()))?.split();
        let (mut reader, writer) = (Reader::new(reader), Writer::new(writer));
        let signing_in = sign_in::sign_in(&self.settings, &mut reader, &writer);
        let signed_in = timeout(limits::IRC_SIGN_IN, signing_in).await;
        let signed_in = signed_in
            .unwrap_or_else(|_| Err(Broken::passing("the IRC server did not sign us in in time")))?;
        if matches!(signed_in.accounts, Accounts::Untold) && !self.settings.trusts_masks {
            tracing::warn!(
                "the IRC server does not tell accounts of services, so nobody is known on it and nothing is answered"
            );
        }
        for channel in &self.settings.channels {
            writer.line(&format!("JOIN {channel}")).await?;
        }
        let connection = Arc::new(Connection { writer, wanted: Mutex::default(), owner: Mutex::default() });
        *lock(&self.now) = Some(Arc::clone(&connection));
        self.read(&mut reader, &connection, signed_in, link).await
    }

    /// Reads until the connection ends.
    async fn read(
        &self,
        reader: &mut Reader,
        connection: &Connection,
        mut signed_in: SignedIn,
        link: &dyn Link,
    ) -> Result<std::convert::Infallible, Broken> {
        let mut ids = Ids::new();
        let mut is_asked = false;
        let (mut settling, first) = Settling::begin(matches!(signed_in.accounts, Accounts::Followed(_)));
        match first {
            Some(line) => connection.writer.line(line).await?,
            None => link.connected(),
        }
        loop {
            let message = match timeout(limits::IRC_SILENCE, reader.next()).await {
                Ok(message) => message?,
                Err(_) if is_asked => return Err(Broken::passing("the IRC server does not answer any more")),
                Err(_) => {
                    is_asked = true;
                    connection.writer.line("PING :alive").await?;
                    continue;
                }
            };
            is_asked = false;
            if let Some(question) = signed_in.accounts.follow(&message) {
                connection.writer.line(&question).await?;
            }
            settling.follow(&message);
            connection.follow(&message);
            match &message.command {
                Command::PING(token, _) => connection.writer.line(&format!("PONG :{token}")).await?,
                Command::PONG(server, token) => {
                    let token = token.as_deref().unwrap_or(server);
                    connection.pong(token);
                    match settling.pong(token) {
                        Next::Ask(line) => connection.writer.line(line).await?,
                        Next::Wait => {}
                        Next::Hear(waiting) => {
                            link.connected();
                            for said in waiting {
                                self.hear(&said, &signed_in, &mut ids, link).await?;
                            }
                        }
                    }
                }
                Command::ERROR(why) => {
                    return Err(Broken::passing(format!("the IRC server ended it: {}", harmless(why))));
                }
                Command::NICK(nick) if is_from(&message, &signed_in.nick) => signed_in.nick.clone_from(nick),
                Command::CAP(_, sub, field, suffix) => {
                    sign_in::require_kept(sub, suffix.as_deref().or(field.as_deref()).unwrap_or_default())?;
                }
                Command::PRIVMSG(..) if settling.is_over() => {
                    self.hear(&message, &signed_in, &mut ids, link).await?;
                }
                Command::PRIVMSG(..) => settling.keep(message),
                _ => {
                    if let Some((number, parameters)) = numeric(&message) {
                        connection.heard(number, parameters);
                    }
                }
            }
        }
    }

    /// Hands in what was said, where there is somebody to answer.
    async fn hear(
        &self,
        message: &Message,
        signed_in: &SignedIn,
        ids: &mut Ids,
        link: &dyn Link,
    ) -> Result<(), Broken> {
        let Command::PRIVMSG(target, text) = &message.command else { return Ok(()) };
        match self.arrival(message, target, text, signed_in, ids) {
            Some(arrival) => take(link, arrival).await,
            None => Ok(()),
        }
    }

    /// What was said to us or in a channel, by somebody who is known.
    fn arrival(
        &self,
        message: &Message,
        target: &str,
        text: &str,
        signed_in: &SignedIn,
        ids: &mut Ids,
    ) -> Option<Arrival> {
        // CTCP asks programs and not people.
        if text.starts_with('\u{1}') {
            return None;
        }
        let (nick, user, host) = source(message)?;
        if is_from(message, &signed_in.nick) {
            return None;
        }
        let sender = self.known(signed_in.accounts.of(message), nick, user, host)?;
        let (mentioned, said) = mention(text, &signed_in.nick);
        let (conversation, text) = if is_channel(target) {
            (Conversation::Group { id: fold(target), thread: None }, said)
        } else if fold(target) == fold(&signed_in.nick) {
            (Conversation::Direct { to: nick.to_owned() }, text.to_owned())
        } else {
            // To the operators of a channel, or to a mask of hosts.
            return None;
        };
        let id = tag(message, "msgid").filter(|id| id.len() <= 160).map_or_else(|| ids.next(), str::to_owned);
        let (name, state) = (Some(nick.to_owned()), Said::New);
        Some(Arrival {
            id,
            sender,
            name,
            conversation,
            mentioned,
            text,
            state,
            message: None,
            files: Vec::new(),
        })
    }

    /// Who somebody is, when that is known.
    fn known(&self, account: Option<&str>, nick: &str, user: &str, host: &str) -> Option<SenderId> {
        let (kind, id) = match account {
            Some(account) => (ACCOUNT, fold(account)),
            None if self.settings.trusts_masks && !user.is_empty() && !host.is_empty() => {
                (MASK, format::mask(nick, user, host))
            }
            None => {
                tracing::debug!("somebody without an account of services wrote, and is not known by that");
                return None;
            }
        };
        SenderId::new(CHANNEL, &self.place.account, kind, &id).ok()
    }

    async fn send_piece(&self, piece: &Piece) -> Result<(), NotSent> {
        let mut pace = self.sending.lock().await;
        let connection = lock(&self.now).clone();
        let connection = connection.ok_or_else(|| NotSent::Unreachable("not connected".into()))?;
        pace.wait().await;
        let target = match &piece.conversation {
            Conversation::Direct { to } => {
                connection.require_owner(to, &piece.to).await?;
                to
            }
            Conversation::Group { id, .. } => id,
        };
        if target.is_empty() || target.starts_with(':') || target.contains([' ', ',', '\r', '\n', '\0']) {
            return Err(NotSent::Never("the address is none".into()));
        }
        let heard = connection.ask(&format!("PRIVMSG {target} :{}", piece.text)).await?;
        heard.refusal.map_or(Ok(()), |why| Err(NotSent::Never(why)))
    }
}

impl Driver for Irc {
    fn place(&self) -> &Place {
        &self.place
    }

    /// An account of services, or a whole mask where masks are trusted.
    fn sender(&self, entry: &str) -> Option<SenderId> {
        let (kind, id) = match entry.split_once('!') {
            None if entry.contains('@') => return None,
            None => (ACCOUNT, fold(entry)),
            Some((nick, rest)) => {
                let (user, host) = rest.split_once('@').filter(|_| self.settings.trusts_masks)?;
                (MASK, format::mask(nick, user, host))
            }
        };
        SenderId::new(CHANNEL, &self.place.account, kind, &id).ok()
    }

    fn pieces(&self, text: &str) -> Vec<String> {
        format::pieces(text)
    }

    fn run<'a>(&'a self, link: &'a dyn Link) -> Doing<'a, Broken> {
        Box::pin(async move {
            // Also when this is dropped: nothing is sent over a connection that nobody reads.
            let _ends = Ends(&self.now);
            match self.serve(link).await {
                Ok(never) => match never {},
                Err(broken) => broken,
            }
        })
    }

    fn send<'a>(&'a self, piece: &'a Piece) -> Doing<'a, Result<(), NotSent>> {
        Box::pin(self.send_piece(piece))
    }
}

/// Ends the connection when it is dropped.
struct Ends<'a>(&'a Mutex<Option<Arc<Connection>>>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if let Some(connection) = lock(self.0).take() {
            // Whoever waits for the server hears that nothing comes.
            lock(&connection.wanted).take();
        }
    }
}

impl Connection {
    /// Sends a line and waits for what the server says of it: all that comes before the answer to a PING behind it.
    async fn ask(&self, line: &str) -> Result<Heard, NotSent> {
        let unreachable = |error: Broken| NotSent::Unreachable(error.what);
        let token = format!("m{}", Ids::new().next());
        let (done, answer) = oneshot::channel();
        *lock(&self.wanted) = Some(Wanted { token: token.clone(), heard: Heard::default(), done });
        self.writer.line(line).await.map_err(unreachable)?;
        self.writer.line(&format!("PING :{token}")).await.map_err(unreachable)?;
        match timeout(limits::IRC_ANSWER, answer).await {
            Ok(Ok(heard)) => Ok(heard),
            Ok(Err(_)) => Err(NotSent::Unreachable("the connection ended".into())),
            Err(_) => {
                Err(NotSent::Unreachable("the IRC server does not say whether it has the message".into()))
            }
        }
    }

    /// Demands that a nick is still its sender's: what is for one person is not sent to who took his nick.
    async fn require_owner(&self, nick: &str, sender: &SenderId) -> Result<(), NotSent> {
        let is_known = lock(&self.owner)
            .as_ref()
            .is_some_and(|(known, owner, at)| known == nick && owner == sender && at.elapsed() < OWNER_KNOWN);
        if is_known {
            return Ok(());
        }
        let heard = self.ask(&format!("WHOIS {nick}")).await?;
        let id = sender.id();
        let is_own = [&heard.account, &heard.mask].into_iter().flatten().any(|own| own == id);
        if !is_own {
            return Err(NotSent::Never("the nick is not this sender's any more".into()));
        }
        *lock(&self.owner) = Some((nick.to_owned(), sender.clone(), Instant::now()));
        Ok(())
    }

    /// Whose a nick is may be another thing now, or will be without a word of it.
    fn follow(&self, message: &Message) {
        if matches!(
            message.command,
            Command::ACCOUNT(_) | Command::KICK(..) | Command::NICK(_) | Command::PART(..) | Command::QUIT(_)
        ) {
            lock(&self.owner).take();
        }
    }

    fn pong(&self, token: &str) {
        let mut wanted = lock(&self.wanted);
        if wanted.as_ref().is_some_and(|wanted| wanted.token == token)
            && let Some(Wanted { heard, done, .. }) = wanted.take()
        {
            drop(done.send(heard));
        }
    }

    fn heard(&self, number: u16, parameters: &[String]) {
        let mut wanted = lock(&self.wanted);
        let Some(Wanted { heard, .. }) = wanted.as_mut() else { return };
        let parameter = |index: usize| parameters.get(index).map(String::as_str).unwrap_or_default();
        match number {
            // RPL_WHOISUSER: nick, user, host.
            311 => heard.mask = Some(format::mask(parameter(1), parameter(2), parameter(3))),
            // RPL_WHOISACCOUNT: nick, account.
            330 => heard.account = Some(fold(parameter(2))),
            401..=407 | 411..=414 | 442 | 477 | 486 | 489 | 531 | 716 => {
                heard.refusal = Some(harmless(parameters.last().map(String::as_str).unwrap_or_default()));
            }
            _ => {}
        }
    }
}

/// Whether a message comes from who has that nick.
fn is_from(message: &Message, nick: &str) -> bool {
    source(message).is_some_and(|(from, ..)| fold(from) == fold(nick))
}

/// Hands in a message until it is kept.
async fn take(link: &dyn Link, arrival: Arrival) -> Result<(), Broken> {
    for _ in 0..TAKE_TRIES {
        match link.take(arrival.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => tracing::warn!(%error, "a message of IRC waits"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(Broken::passing("messages cannot be kept; what is said on IRC meanwhile is lost"))
}

/// The pace of what is sent.
#[derive(Default)]
struct Pace {
    sent: std::collections::VecDeque<Instant>,
}

impl Pace {
    /// Waits until one more may be sent.
    async fn wait(&mut self) {
        let burst = usize::try_from(limits::IRC_BURST).unwrap_or(1);
        while self.sent.len() >= burst {
            if let Some(first) = self.sent.pop_front() {
                tokio::time::sleep_until(first + limits::IRC_PACE.saturating_mul(limits::IRC_BURST)).await;
            }
        }
        self.sent.push_back(Instant::now());
    }
}

/// Ids of messages whose network gives none: they come once.
struct Ids {
    beginning: u64,
    next: u64,
}

impl Ids {
    fn new() -> Self {
        Self { beginning: RandomState::new().build_hasher().finish(), next: 0 }
    }

    fn next(&mut self) -> String {
        self.next = self.next.saturating_add(1);
        format!("{:016x}-{}", self.beginning, self.next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
