//! How a stranger becomes a sender that is answered: a code, and a person who knows what he gives.

use moltbot_config::limits;
use moltbot_protocol::scope::Scope;
use moltbot_protocol::sender::SenderId;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::authorization::Grant;
use crate::chat::{ChatCommand, ChatCommandPermit, Speaker};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// The symbols of a code: none of them looks like another.
const ALPHABET: [u8; 32] = *b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// What whoever is approved may do. Told to the person who approves, before he does.
pub const POWERS: [&str; 4] = [
    "have commands executed on this system, in the sandbox",
    "read and change the files of the agent's workspace",
    "see the assistant's answers and what it knows",
    "have every tool and integration used that the assistant has",
];

/// The code that a stranger is told, and tells the owner on another way.
#[derive(Clone, Debug)] // prints no code: `SecretString` hides itself
pub struct PairingCode(SecretString);

impl PairingCode {
    /// The code of eight random bytes.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        let symbol = |byte: u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('A', char::from);
        Self(bytes.into_iter().map(symbol).collect::<String>().into())
    }

    /// Reads a code: in any case, with spaces and hyphens where a person puts them. Nothing when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_filler = |c: &char| !matches!(c, ' ' | '-');
        let code: String = text.chars().filter(is_filler).map(|c| c.to_ascii_uppercase()).collect();
        let is_code = code.len() == 8 && code.bytes().all(|byte| ALPHABET.contains(&byte));
        is_code.then(|| Self(code.into()))
    }

    /// The code, to be told to its sender.
    pub const fn secret(&self) -> &SecretString {
        &self.0
    }

    /// What is kept of the code for `sender`: SHA-256 of both, in hex. It is kept sealed, because a code has 40 bits alone.
    pub fn digest(&self, sender: &SenderId) -> String {
        let mut hash = Sha256::new();
        hash.update(sender.to_string());
        hash.update([0]);
        hash.update(self.0.expose_secret());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it is the code of that digest. In constant time.
    pub fn matches(&self, sender: &SenderId, digest: &str) -> bool {
        self.digest(sender).as_bytes().ct_eq(digest.as_bytes()).into()
    }
}

/// What a stranger is told, whoever he is: his code, and nothing of what answers him.
pub fn reply(code: &PairingCode, minutes: u64) -> SecretString {
    let code = code.0.expose_secret();
    format!(
        "Pairing code: {code}. Tell it to the person you want to reach; it is good for {minutes} minutes."
    )
    .into()
}

/// Where a new request stands, when `codes` of the same account of a channel have a code already, and `waiting` wait for a
/// place. Those that are there are never pushed out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// It gets a code.
    Code,
    /// Nothing is kept of it.
    Full,
    /// It is kept without a code. A person may approve its sender by id.
    Waits,
}

/// Finds a new request its place.
pub const fn room(codes: usize, waiting: usize) -> Room {
    if codes < limits::SENDER_CODES {
        Room::Code
    } else if waiting < limits::SENDERS_WAITING {
        Room::Waits
    } else {
        Room::Full
    }
}

/// Demands that a code may be tried, when wrong ones were tried at these times. Asked before any comparison.
///
/// # Errors
/// When [`limits::SENDER_GUESSES`] of them were wrong within [`limits::SENDER_GUESSES_MS`].
pub fn require_guess(wrong_ms: &[u64], now_ms: u64) -> Result<(), Refusal> {
    let recent = wrong_ms.iter().filter(|at| now_ms.saturating_sub(**at) < limits::SENDER_GUESSES_MS);
    if recent.count() < limits::SENDER_GUESSES {
        return Ok(());
    }
    let message =
        "too many wrong codes for this channel within an hour; approve the sender by its id instead";
    Err(Refusal::new("too_many_codes", message))
}

/// Demands that who approves has named the sender in full.
///
/// # Errors
/// When he has not, or has named another one.
pub fn require_acknowledged(sender: &SenderId, acknowledged: Option<&str>) -> Result<(), Refusal> {
    let message = match acknowledged {
        Some(text) if text == sender.to_string() => return Ok(()),
        Some(_) => "the acknowledgement names somebody else; nothing was approved",
        None => "acknowledge in full the id of the sender that is to be approved",
    };
    let code = if acknowledged.is_none() { "acknowledgement_required" } else { "acknowledgement_differs" };
    Err(Refusal::new(code, message))
}

/// What is decided about a sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SenderAct {
    /// A person lets the sender in.
    Approve,
    /// A person shuts the sender out, whatever a list says.
    Block,
    /// The sender was let in by another gateway program, whose file says so.
    Import,
    /// A person says no to a request.
    Reject,
    /// The sender asks.
    Request,
    /// The sender is not let in any more.
    Revoke,
    /// The sender is a stranger again.
    Unblock,
}

impl SenderAct {
    const fn action(self) -> &'static str {
        match self {
            Self::Approve => "sender.approve",
            Self::Block => "sender.block",
            Self::Import => "sender.import",
            Self::Reject => "sender.reject",
            Self::Request => "sender.request",
            Self::Revoke => "sender.revoke",
            Self::Unblock => "sender.unblock",
        }
    }

    /// Whether it lets somebody in who was not.
    const fn lets_in(self) -> bool {
        match self {
            Self::Approve | Self::Import => true,
            Self::Block | Self::Reject | Self::Request | Self::Revoke | Self::Unblock => false,
        }
    }
}

/// Proof that a change to what is known of a sender was decided.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct SenderActPermit {
    act: SenderAct,
    sender: SenderId,
    actor: String,
    client: Option<String>,
}

impl SenderActPermit {
    /// What the gateway does by itself.
    pub fn by_gateway(act: SenderAct, sender: &SenderId) -> Self {
        Self { act, sender: sender.clone(), actor: "gateway".into(), client: None }
    }

    /// What somebody who signed in decides.
    ///
    /// # Errors
    /// When he may not decide about pairings, or lets somebody talk to the agent and may not himself.
    pub fn by(grant: &Grant, act: SenderAct, sender: &SenderId) -> Result<Self, Refusal> {
        grant.require(Scope::Pairing)?;
        if act.lets_in() {
            grant.require(Scope::Write)?;
        }
        let (actor, client) = (grant.actor().to_owned(), Some(grant.client().to_string()));
        Ok(Self { act, sender: sender.clone(), actor, client })
    }

    /// What the owner decides in a chat.
    ///
    /// # Errors
    /// When the command is not one that decides about senders, or not the owner's.
    pub fn by_chat(act: SenderAct, sender: &SenderId, command: &ChatCommandPermit) -> Result<Self, Refusal> {
        if command.command() != ChatCommand::Pairing || command.speaker() != Speaker::Owner {
            return Err(Refusal::new("not_the_owner", "only the owner decides about senders"));
        }
        let actor = format!("owner:{}", command.sender());
        Ok(Self { act, sender: sender.clone(), actor, client: None })
    }

    /// What the owner decides at the command line, while no gateway runs.
    pub fn by_owner(act: SenderAct, sender: &SenderId, owner: &str) -> Self {
        Self { act, sender: sender.clone(), actor: owner.into(), client: None }
    }

    /// Who decides, as the book names him.
    pub fn actor(&self) -> &str {
        &self.actor
    }
}

impl Permit for SenderActPermit {
    fn entry(&self) -> Entry {
        let target = format!("sender:{}", self.sender);
        let entry = Entry::new(self.actor.clone(), self.act.action(), target, Decision::Allowed)
            .with("channel", self.sender.channel());
        match &self.client {
            None => entry,
            Some(client) => entry.with("client", client.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(id: &str) -> SenderId {
        SenderId::new("irc", "default", "account", id).unwrap()
    }

    #[test]
    fn a_code_is_eight_symbols_that_cannot_be_mistaken() {
        let code = PairingCode::from_random([0, 31, 32, 63, 255, 100, 7, 13]);
        let text = code.secret().expose_secret().to_owned();
        assert_eq!(text, "A9A99EHP");
        assert!(!text.contains(['0', 'O', '1', 'I']));
        for written in ["a9a9-9ehp", " A9A9 9EHP "] {
            assert_eq!(PairingCode::parse(written).unwrap().secret().expose_secret(), text, "{written}");
        }
        for bad in ["", "A9A99EH", "A9A99EHPP", "A9A99EH0", "A9A99EHÄ", "../A9A99E"] {
            assert!(PairingCode::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_digest_belongs_to_one_code_and_one_sender() {
        let code = PairingCode::parse("ABCDEFGH").unwrap();
        let digest = code.digest(&sender("ann"));
        assert!(code.matches(&sender("ann"), &digest) && !digest.contains("ABCDEFGH"));
        assert!(!code.matches(&sender("eve"), &digest));
        assert!(!PairingCode::parse("ABCDEFGJ").unwrap().matches(&sender("ann"), &digest));
        assert!(!code.matches(&sender("ann"), ""));
    }

    #[test]
    fn d_138_strangers_are_told_a_code_and_nothing_of_what_answers() {
        let reply = reply(&PairingCode::parse("ABCDEFGH").unwrap(), 60);
        let text = reply.expose_secret().to_lowercase();
        assert!(text.contains("abcdefgh") && text.contains("60 minutes"));
        for word in ["moltbot", "bot", "assistant", "approve", "cli", "gateway", "owner"] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn d_135_the_sixth_wrong_code_within_an_hour_is_not_compared() {
        let hour = limits::SENDER_GUESSES_MS;
        assert!(require_guess(&[1, 2, 3, 4], 5).is_ok());
        assert_eq!(require_guess(&[1, 2, 3, 4, 5], 6).unwrap_err().code, "too_many_codes");
        assert!(require_guess(&[1, 2, 3, 4, 5], hour + 1).is_ok(), "the first is an hour old");
        assert!(require_guess(&[1, 2, 3, 4, 5], 0).is_err(), "a clock that was set back frees nobody");
    }

    #[test]
    fn only_the_whole_id_is_an_acknowledgement() {
        let ann = sender("ann");
        assert!(require_acknowledged(&ann, Some("irc:default:account:ann")).is_ok());
        for wrong in [None, Some(""), Some("ann"), Some("yes"), Some("irc:default:account:Ann")] {
            assert!(require_acknowledged(&ann, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn d_136_those_that_are_there_stay() {
        assert_eq!(room(limits::SENDER_CODES - 1, 99), Room::Code);
        assert_eq!(room(limits::SENDER_CODES, 0), Room::Waits);
        assert_eq!(room(limits::SENDER_CODES, limits::SENDERS_WAITING), Room::Full);
    }
}
