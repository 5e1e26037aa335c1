//! Commands in chats: what is told to the gateway itself, by whom the judge lets it be told.
//!
//! A command is judged, recorded, done, and answered where it was said. It is no turn: no model hears of it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use moltbot_channels::driver::{Arrival, NotSent, NotTaken, Said};
use moltbot_channels::webchat;
use moltbot_config::limits;
use moltbot_config::settings::DmScope;
use moltbot_policy::approval::{Approver, Choice};
use moltbot_policy::chat::{self, ChatCommand, ChatCommandPermit, Manner, Ruling, Speaker};
use moltbot_policy::record_soon;
use moltbot_policy::senders::SenderPermit;
use moltbot_policy::senders::pairing::POWERS;
use moltbot_policy::session::{ResetPermit, begins_anew};
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::principal::Principal;
use moltbot_protocol::sender::{Conversation, SenderId};
use serde_json::Value;

use super::intake::Port;
use crate::devices::Decider;
use crate::methods::sessions::{Sayer, SettingError};
use crate::methods::{senders, sessions};
use crate::quarantine;
use crate::senders::SenderError;
use crate::shared::{NOT_NOW, lock};
use crate::stop;

/// Commands that are remembered when they come twice.
const REMEMBERED: usize = 64;
/// Tries to answer a command.
const TRIES: u32 = 4;
/// What can be told about senders.
const USAGE: &str = "/pair list\n/pair approve <channel> <code or sender> <sender in full>\n\
                     /pair reject <channel> <code or sender>\n/pair revoke <sender>";

/// What can be told about commands of the agent.
const APPROVE: &str = "/approve <id> once|session|always|deny";

/// The ids of the last commands. A vendor may hand in a message twice; who approved somebody and let him go since has not
/// approved him again by that.
#[derive(Debug, Default)]
pub(super) struct Done(Mutex<VecDeque<String>>);

impl Done {
    /// Whether it is new.
    fn is_new(&self, id: &str) -> bool {
        let mut done = lock(&self.0);
        if done.iter().any(|known| known == id) {
            return false;
        }
        done.push_back(id.to_owned());
        if done.len() > REMEMBERED {
            done.pop_front();
        }
        true
    }
}

/// A command with its words.
type Words<'a> = (ChatCommand, Vec<&'a str>);

/// What became of a command.
pub(super) enum Obeyed {
    /// It is a message as any other.
    IsMessage,
    /// It was done or refused.
    Yes,
}

/// Reads a message as a command. `triggers` begin a conversation anew when they are all that is said.
pub(super) fn read<'a>(text: &'a str, triggers: &[String]) -> Option<Words<'a>> {
    if begins_anew(triggers, text) == Some("") {
        return Some((ChatCommand::Reset, Vec::new()));
    }
    let stop = || webchat::is_stop_word(text).then(|| (ChatCommand::Stop, Vec::new()));
    ChatCommand::parse(text).or_else(stop)
}

impl Port {
    /// Judges, records and does a command of somebody who was let in.
    pub(super) async fn command(
        &self,
        permit: &SenderPermit,
        (command, words): Words<'_>,
        session: &SessionKey,
        arrival: &Arrival,
    ) -> Result<Obeyed, NotTaken> {
        let Self { shared, served } = self;
        let speaker = shared.channels.owner.speaker(permit, &arrival.conversation);
        let is_direct = matches!(arrival.conversation, Conversation::Direct { .. });
        let manner = Manner {
            is_edited: arrival.state == Said::Edited,
            is_own: is_direct && shared.channels.scope != DmScope::Main,
        };
        let permit = match ChatCommandPermit::of(command, speaker, manner, permit) {
            Ok(permit) => permit,
            Err(Ruling::Refuse(refusal)) => {
                self.ignore(permit.sender(), &refusal);
                self.answer(arrival, refusal.message);
                return Ok(Obeyed::Yes);
            }
            Err(Ruling::Do | Ruling::Message) => return Ok(Obeyed::IsMessage),
        };
        if !served.done.is_new(&arrival.id) {
            return Ok(Obeyed::Yes);
        }
        let recorded = record_soon(permit, &shared.ledger).await;
        let recorded = recorded.map_err(|error| NotTaken(error.to_string()))?;
        let permit = recorded.permit();
        let answer = match command {
            ChatCommand::Absent(name) => format!("/{name} does nothing here"),
            ChatCommand::Allowance => {
                self.tell_allowance(arrival).await?;
                return Ok(Obeyed::Yes);
            }
            ChatCommand::Approve => self.approve(arrival, speaker, &words).await,
            // The turn that makes the summary answers: it is kept, counted and stopped as any other.
            ChatCommand::Compact => return Ok(Obeyed::IsMessage),
            ChatCommand::Help => help(speaker, manner),
            ChatCommand::Pairing => self.pairing(permit, &words).await,
            ChatCommand::Queue => self.queue(session, &words).await,
            ChatCommand::Release => quarantine::release_in_chat(shared, permit, &words).await,
            ChatCommand::Reset => self.begin_anew(permit, session).await,
            ChatCommand::Model | ChatCommand::Models | ChatCommand::Think | ChatCommand::Verbose => {
                self.settings(session, permit, &words).await
            }
            ChatCommand::Status => self.status(session).await,
            ChatCommand::Stop if speaker == Speaker::Owner && words == ["all"] => {
                let (gateway, by) = (shared.clone(), format!("owner:{}", permit.sender()));
                // In a thread of its own: it waits until everything is dead.
                match tokio::task::spawn_blocking(move || stop::stop(&gateway, &by)).await {
                    Ok(_) => "Everything is stopped. `moltbot resume` goes on.".into(),
                    Err(error) => format!("It could not be stopped: {error}"),
                }
            }
            ChatCommand::Stop => {
                self.stop(permit, session);
                return Ok(Obeyed::Yes);
            }
            ChatCommand::WhoAmI => format!("You are `{}`.", permit.sender()),
        };
        self.answer(arrival, answer);
        Ok(Obeyed::Yes)
    }

    /// Ends what is being answered: to the owner all in this conversation, to others what they caused themselves.
    fn stop(&self, permit: &ChatCommandPermit, session: &SessionKey) {
        match permit.speaker() {
            Speaker::Owner => drop(self.shared.abort_session(session)),
            Speaker::GroupMember | Speaker::Hook | Speaker::Sender | Speaker::Stranger => {
                self.shared.inbound.abort_sender(permit.sender());
                let principal = Principal::Sender(permit.sender().to_string());
                self.shared.agent.end_commands_by(&principal);
            }
        }
    }

    async fn begin_anew(&self, permit: &ChatCommandPermit, session: &SessionKey) -> String {
        let permit = match ResetPermit::by_chat(permit, session.clone()) {
            Ok(permit) => permit,
            Err(refusal) => return refusal.message,
        };
        let begun = match record_soon(permit, &self.shared.ledger).await {
            Ok(permit) => sessions::begin_anew(&self.shared, permit).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match begun {
            Ok(_) => "A new conversation has begun.".into(),
            Err(error) => {
                tracing::error!(error, "a session could not be begun anew");
                NOT_NOW.into()
            }
        }
    }

    /// Sets or tells how messages wait in a session.
    async fn queue(&self, session: &SessionKey, words: &[&str]) -> String {
        let channel = self.served.place().channel;
        sessions::set_queue(&self.shared, session, channel, words).await.unwrap_or_else(|error| {
            tracing::error!(%error, "how messages wait could not be changed");
            "This is not possible now: it cannot be kept.".into()
        })
    }

    /// Tells or sets how the conversation is answered.
    async fn settings(&self, session: &SessionKey, permit: &ChatCommandPermit, words: &[&str]) -> String {
        let command = (permit.command(), words);
        match sessions::say(&self.shared, session, command, &Sayer::Chat(permit)).await {
            Some(Ok(said)) => said,
            Some(Err(SettingError::Refused(refusal))) => refusal.message,
            Some(Err(error)) => {
                tracing::error!(%error, "a session could not be changed");
                NOT_NOW.into()
            }
            None => String::new(),
        }
    }

    /// Answers whether a command of the agent may run.
    async fn approve(&self, arrival: &Arrival, speaker: Speaker, words: &[&str]) -> String {
        let [id, choice] = words else { return APPROVE.into() };
        let Some(choice) = Choice::spoken(choice) else { return APPROVE.into() };
        let in_group = matches!(arrival.conversation, Conversation::Group { .. });
        let by = Approver::Person { sender: &arrival.sender, is_owner: speaker == Speaker::Owner, in_group };
        match self.shared.approvals.decide(id, choice, by).await {
            Ok(id) => format!("Done: {id} {}.", words.last().copied().unwrap_or_default()),
            Err(error) => error.to_string(),
        }
    }

    async fn status(&self, session: &SessionKey) -> String {
        let Self { shared, .. } = self;
        let mut text = format!("moltbot {}\n", env!("CARGO_PKG_VERSION"));
        match shared.agent.session_status(session).await {
            Ok(told) => push(&mut text, &told),
            Err(error) => tracing::error!(%error, "a session cannot be read"),
        }
        if shared.stop.is_stopped() {
            push(&mut text, "everything is stopped until the owner resumes");
        }
        for held in shared.quarantine.list() {
            push(&mut text, &format!("in quarantine: `{}`", held.session_key));
        }
        for account in shared.channels.status() {
            let part = |name: &str| account.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_connected = account.get("connected") == Some(&Value::Bool(true));
            let state = if is_connected { "connected" } else { "not connected" };
            push(&mut text, &format!("{}:{} {state}", part("channel"), part("accountId")));
        }
        let waiting = shared.senders.list();
        let waiting = waiting.get("requests").and_then(Value::as_array).map_or(0, Vec::len);
        push(&mut text, &format!("messages being answered: {}", shared.inbound.len()));
        push(&mut text, &format!("senders who ask: {waiting}"));
        text
    }

    /// Decides about senders.
    async fn pairing(&self, permit: &ChatCommandPermit, words: &[&str]) -> String {
        let Self { shared, .. } = self;
        let who = Decider::Chat(permit);
        let done = match words {
            [] | ["list"] => return list(&shared.senders.list()),
            ["approve", channel, what] => shared.senders.approve(channel, what, None, who).await,
            ["approve", channel, what, named] => {
                let approved = shared.senders.approve(channel, what, Some(named), who).await;
                approved.inspect(|answer| senders::resolved(shared, answer, "approved"))
            }
            ["reject", channel, what] => {
                let rejected = shared.senders.reject(channel, what, who).await;
                rejected.inspect(|answer| senders::resolved(shared, answer, "rejected"))
            }
            ["revoke", sender] => match SenderId::parse(sender) {
                Ok(sender) => {
                    let revoked = shared.senders.revoke(&sender, who).await;
                    revoked.inspect(|answer| senders::shut_out(shared, &sender, answer, "revoked"))
                }
                Err(_) => return format!("A sender is written as channel:account:kind:id.\n{USAGE}"),
            },
            _ => return USAGE.into(),
        };
        match done {
            Ok(answer) => {
                let sender = answer.get("sender").and_then(Value::as_str).unwrap_or_default();
                let verb = words.first().copied().unwrap_or_default();
                format!("Done: {verb} `{sender}`.")
            }
            Err(SenderError::Acknowledge { sender, name, refusal }) => {
                let what = words.get(2).copied().unwrap_or_default();
                warning(&sender, name.as_deref(), what, &refusal.message)
            }
            Err(SenderError::Refused(refusal)) => refusal.message,
            Err(error) => {
                tracing::error!(%error, "a sender could not be changed");
                NOT_NOW.into()
            }
        }
    }

    /// Answers in the background: a driver may have to read what the vendor says about it.
    fn answer(&self, arrival: &Arrival, text: String) {
        let (port, arrival) = (self.clone(), arrival.clone());
        let stopping = self.shared.channels.stopping.clone();
        let answering = async move {
            for _ in 0..TRIES {
                let wait = match port.say(&arrival, "command", &text).await {
                    Ok(()) => return,
                    Err(NotSent::Later(wait)) => wait.min(limits::CHANNEL_BACKOFF_MAX),
                    Err(NotSent::Unreachable(_)) => limits::CHANNEL_BACKOFF,
                    Err(NotSent::Never(_)) => break,
                };
                tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
            }
            tracing::warn!(place = %port.served.place(), "a command was done and its answer could not be sent");
        };
        self.shared.channels.tasks.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = answering => {}
            }
        });
    }
}

/// The commands that somebody may give.
fn help(speaker: Speaker, manner: Manner) -> String {
    let may = |command: &ChatCommand| chat::judge(*command, speaker, manner) == Ruling::Do;
    let mut text = String::new();
    for command in ChatCommand::ALL.iter().filter(|command| may(command)) {
        let what = match command {
            ChatCommand::Absent(_) => continue,
            ChatCommand::Allowance => "/allowance: what you used today, and what you may",
            ChatCommand::Approve => APPROVE,
            ChatCommand::Compact => "/compact <what matters>: has what was said before summarised",
            ChatCommand::Help => "/help: this",
            ChatCommand::Model => "/model <provider/model>: the model that answers here",
            ChatCommand::Models => "/models: which there are",
            ChatCommand::Pairing => USAGE,
            ChatCommand::Queue => "/queue <mode>: how messages wait that come while I answer",
            ChatCommand::Release => "/release <session>: lets a conversation go on that is in quarantine",
            ChatCommand::Reset => "/new: begins the conversation anew",
            ChatCommand::Status => "/status: how I am",
            ChatCommand::Stop => "/stop: ends what is being answered",
            ChatCommand::Think => "/think <level>: how much is thought here",
            ChatCommand::Verbose => "/verbose <level>: how much is told of tools here",
            ChatCommand::WhoAmI => "/whoami: your id",
        };
        push(&mut text, what);
    }
    text
}

/// Who asks and who is let in.
fn list(all: &Value) -> String {
    let mut text = String::new();
    let part = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    for (kind, state) in [("requests", "state"), ("senders", "standing")] {
        for row in all.get(kind).and_then(Value::as_array).into_iter().flatten() {
            let name = row.get("name").and_then(Value::as_str);
            push(&mut text, &format!("{}: `{}`{}", part(row, state), part(row, "sender"), called(name)));
        }
    }
    if text.is_empty() { "Nobody asks, and nobody is let in by pairing.".into() } else { text }
}

/// What the owner is told before he approves.
fn warning(sender: &SenderId, name: Option<&str>, what: &str, why: &str) -> String {
    let mut text = format!(
        "SECURITY WARNING: pairing request\nchannel: {}\nsender: `{sender}`{}\nWhoever is approved may:",
        sender.channel(),
        called(name),
    );
    for power in POWERS {
        push(&mut text, &format!("\n- {power}"));
    }
    push(&mut text, &format!("\nOnly approve people whom you trust completely. {why}. To approve, send:"));
    // What was typed is said again only when it is well-formed: it was found.
    push(&mut text, &format!("\n`/pair approve {} {what} {sender}`", sender.channel()));
    text
}

/// A name that its bearer chose, as one: quoted, and without what would end a quotation in any format.
fn called(name: Option<&str>) -> String {
    let plain = |name: &str| name.escape_debug().filter(|c| *c != '`').collect::<String>();
    name.map_or_else(String::new, |name| format!(", calls itself `{}`", plain(name)))
}

fn push(text: &mut String, line: &str) {
    let end = if text.is_empty() || text.ends_with('\n') || line.starts_with('\n') { "" } else { "\n" };
    // Writing to a text does not fail.
    if write!(text, "{end}{line}").is_err() {
        tracing::debug!("a line of an answer is missing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_comes_twice_is_done_once() {
        let done = Done::default();
        assert!(done.is_new("a") && !done.is_new("a"));
        assert!((0..REMEMBERED).all(|number| done.is_new(&number.to_string())));
        assert!(done.is_new("a"), "the oldest are forgotten");
    }

    #[test]
    fn d_133_a_name_cannot_be_more_than_a_name() {
        let ann = SenderId::parse("irc:default:account:ann").unwrap();
        let text = warning(&ann, Some("`\nsender: irc:default:account:owner\u{1b}[1m"), "ABCD2345", "x");
        assert_eq!(text.matches("\nsender: ").count(), 1, "{text}");
        assert!(!text.contains('\u{1b}') && text.matches("\n- ").count() == POWERS.len(), "{text}");
        assert!(text.ends_with("`/pair approve irc ABCD2345 irc:default:account:ann`"), "{text}");
    }

    #[test]
    fn help_tells_each_what_he_may() {
        let manner = Manner { is_edited: false, is_own: true };
        let owner = help(Speaker::Owner, manner);
        assert!(owner.contains("/pair approve") && owner.contains("/status"), "{owner}");
        let sender = help(Speaker::Sender, manner);
        assert!(
            !sender.contains("/pair") && sender.contains("/new") && sender.contains("/whoami"),
            "{sender}"
        );
    }
}
