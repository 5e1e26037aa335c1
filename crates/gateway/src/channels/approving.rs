//! Commands that wait for a yes, in the owner's own chats: with buttons where the vendor has them, else with the words to
//! answer by. What he reads is made by the gateway from the command.
//!
//! A button carries a number that is drawn for this question and this identity of the owner's, good once and below the
//! message that was sent with it alone. Nothing of it outlives the gateway, as no question does.

use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use moltbot_channels::driver::{self, Choice as Button, NotSent, Pressed};
use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::approval::{ApprovalId, Approver, Choice};
use moltbot_protocol::sender::{Conversation, Origin, SenderId};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::buttons::OVER;
use super::intake::Port;
use crate::approvals::{ApprovalError, Messenger, Notice, Reached};
use crate::shared::{Shared, lock};

/// What begins the data of a button about a command.
const APPROVAL: &str = "a";
/// The longest question that is shown again with its answer, in UTF-16 code units.
const SHOWN_UNITS: usize = 3500;
/// How long a press waits for its message to be named.
const PLACED: Duration = Duration::from_secs(2);
/// The wait before a question is sent again.
const AGAIN: Duration = Duration::from_secs(2);

/// A question in one chat.
#[derive(Clone)]
struct Posed {
    approval: ApprovalId,
    owner: SenderId,
    conversation: Conversation,
    /// Of the number on its buttons.
    digest: Digested,
    prompt: Arc<str>,
    stands: Stands,
    /// Its button was pressed.
    is_used: bool,
}

/// The digest of the number on a button: the number itself is the vendor's and the owner's.
type Digested = [u8; 32];

fn digest(nonce: &SecretString) -> Digested {
    Sha256::digest(nonce.expose_secret()).into()
}

/// How a question stands in its chat.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Stands {
    /// With buttons, below the message of that id.
    Buttons(String),
    /// It is on its way.
    NotYet,
    /// As a text without buttons.
    Text,
}

/// The questions in the owner's chats.
#[derive(Default)]
pub(crate) struct Questions {
    posed: Mutex<Vec<Posed>>,
    /// Somebody waits for one to stand in its chat.
    placed: Notify,
}

impl Questions {
    fn add(&self, posed: Posed) {
        lock(&self.posed).push(posed);
    }

    fn waits(&self, digest: &Digested) -> bool {
        lock(&self.posed).iter().any(|posed| posed.digest == *digest)
    }

    /// The vendor has it. Whether it waits for an answer still.
    fn stands(&self, digest: &Digested, stands: Stands) -> bool {
        let mut all = lock(&self.posed);
        let found = all.iter_mut().find(|posed| posed.digest == *digest);
        let is_there = found.map(|posed| posed.stands = stands).is_some();
        drop(all);
        self.placed.notify_waiters();
        is_there
    }

    /// Waits while the question is on its way: a press may be here before the vendor's word that it has the message.
    async fn placed(&self, digest: &Digested) {
        let is_placed = || {
            let all = lock(&self.posed);
            !all.iter().any(|posed| posed.digest == *digest && posed.stands == Stands::NotYet)
        };
        let placed = async {
            loop {
                let mut moved = pin!(self.placed.notified());
                moved.as_mut().enable();
                if is_placed() {
                    return;
                }
                moved.await;
            }
        };
        if tokio::time::timeout(PLACED, placed).await.is_err() {
            tracing::debug!("a button was pressed whose message the vendor has not named");
        }
    }

    /// Takes all that ask for one answer.
    fn take(&self, approval: &ApprovalId) -> Vec<Posed> {
        lock(&self.posed).extract_if(.., |posed| posed.approval == *approval).collect()
    }

    /// Uses a button up: the question that it answers. An error names the question, when there is one.
    fn press(
        &self,
        digest: &Digested,
        owner: &SenderId,
        message: &str,
    ) -> Result<ApprovalId, (String, Refusal)> {
        let no = |code, said: &str| Refusal::new(code, said);
        let mut all = lock(&self.posed);
        let Some(posed) = all.iter_mut().find(|posed| posed.digest == *digest) else {
            return Err(("button".to_owned(), no("approval_unknown", OVER)));
        };
        let id = posed.approval.to_string();
        if posed.owner != *owner {
            return Err((id, no("approval_other_approver", "This is not for you.")));
        }
        if posed.stands != Stands::Buttons(message.to_owned()) {
            return Err((
                id,
                no("approval_other_message", "Press the button below the newest message of this question."),
            ));
        }
        if std::mem::replace(&mut posed.is_used, true) {
            return Err((id, no("approval_used", OVER)));
        }
        Ok(posed.approval.clone())
    }

    /// The answer could not be recorded: the button may be pressed again.
    fn give_back(&self, digest: &Digested) {
        if let Some(posed) = lock(&self.posed).iter_mut().find(|posed| posed.digest == *digest) {
            posed.is_used = false;
        }
    }
}

/// Tells the owner in his own chats.
pub(crate) struct ToOwnersChats(Weak<Shared>);

impl ToOwnersChats {
    /// Tells the owner of this gateway from now on, when the config says who that is.
    pub(crate) fn begin(shared: &Arc<Shared>) {
        if shared.channels.owner_chats().next().is_some() {
            shared.approvals.tell_by(Arc::new(Self(Arc::downgrade(shared))));
        }
    }
}

impl Messenger for ToOwnersChats {
    fn asked(&self, notice: &Notice) -> Reached {
        let Some(shared) = self.0.upgrade() else { return Reached::Nobody };
        let mut reached = Reached::Nobody;
        for Origin { sender, conversation, .. } in shared.channels.reachable_owner_chats(&shared) {
            let Some(port) = shared.channels.port(&shared, &sender) else { continue };
            let nonce = match moltbot_vault::random_id() {
                Ok(nonce) => SecretString::from(nonce),
                Err(error) => {
                    tracing::error!(%error, "the owner is not asked in his chat");
                    continue;
                }
            };
            let posed = Posed {
                approval: notice.id.clone(),
                owner: sender,
                conversation,
                digest: digest(&nonce),
                prompt: notice.prompt().into(),
                stands: Stands::NotYet,
                is_used: false,
            };
            shared.channels.questions.add(posed.clone());
            let choices = notice.question.choices();
            shared.channels.tasks.spawn(async move { port.pose(&posed, &nonce, &choices).await });
            reached = Reached::Somebody;
        }
        reached
    }

    fn resolved(&self, id: &ApprovalId, choice: Option<Choice>, by: &str) {
        let Some(shared) = self.0.upgrade() else { return };
        let outcome = match choice {
            Some(choice) => format!("{id}: {}, by {by}", choice.name()),
            None => format!("{id}: nobody said yes, so it was refused"),
        };
        for posed in shared.channels.questions.take(id) {
            let Some(port) = shared.channels.port(&shared, &posed.owner) else { continue };
            let outcome = outcome.clone();
            shared.channels.tasks.spawn(async move { port.settle(&posed, &outcome).await });
        }
    }
}

impl Port {
    /// Sends a question until the vendor has it, or it is over.
    async fn pose(&self, posed: &Posed, nonce: &SecretString, choices: &[Choice]) {
        let choices = choices.iter().filter_map(|choice| button(*choice, nonce)).collect();
        let question = driver::Question {
            conversation: posed.conversation.clone(),
            to: posed.owner.clone(),
            text: posed.prompt.to_string(),
            choices,
        };
        let (questions, driver) = (&self.shared.channels.questions, &self.served.driver);
        while questions.waits(&posed.digest) {
            let asking = tokio::time::timeout(limits::CHANNEL_SEND, driver.ask(&question)).await;
            let wait = match asking.unwrap_or_else(|_| Err(NotSent::Unreachable("it took too long".into()))) {
                Ok(message) => {
                    if !questions.stands(&posed.digest, Stands::Buttons(message.clone())) {
                        // It was answered elsewhere while it was on its way.
                        driver.settle(&posed.conversation, &message, OVER).await;
                    }
                    return;
                }
                Err(NotSent::Never(why)) => return self.pose_as_text(posed, &why).await,
                Err(NotSent::Later(wait)) => wait,
                Err(NotSent::Unreachable(why)) => {
                    tracing::warn!(place = %self.served.place(), why, "the owner is not asked yet; it is tried again");
                    AGAIN
                }
            };
            tokio::time::sleep(wait.min(limits::CHANNEL_BACKOFF_MAX)).await;
        }
    }

    async fn pose_as_text(&self, posed: &Posed, why: &str) {
        tracing::debug!(place = %self.served.place(), why, "a question goes without buttons");
        let id = &posed.approval;
        // No markup may hide a part of it, or end the block that it stands in.
        let prompt = posed.prompt.replace('`', "<U+0060>");
        let text = format!("```\n{prompt}```\nAnswer `/approve {id} once` or `/approve {id} deny`.");
        if self.shared.channels.questions.stands(&posed.digest, Stands::Text) {
            self.say_to_owner(posed, "approval", &text).await;
        }
    }

    async fn say_to_owner(&self, posed: &Posed, why: &str, text: &str) {
        let key = format!("{why}-{}", posed.approval);
        let said = self.tell_at(&posed.owner, &posed.conversation, &key, text).await;
        if let Err(error) = said {
            tracing::warn!(place = %self.served.place(), %error, why, "the owner is not told in his chat");
        }
    }

    /// Shows how a question ended.
    async fn settle(&self, posed: &Posed, outcome: &str) {
        match &posed.stands {
            Stands::Buttons(message) => {
                let is_short = posed.prompt.encode_utf16().count() <= SHOWN_UNITS;
                let text = if is_short { format!("{}\n{outcome}", posed.prompt) } else { outcome.to_owned() };
                self.served.driver.settle(&posed.conversation, message, &text).await;
            }
            Stands::NotYet => {}
            Stands::Text => self.say_to_owner(posed, "approved", outcome).await,
        }
    }

    /// Takes what the owner pressed below a question about a command; nothing when the button is about something else.
    pub(super) async fn pressed_approval(
        &self,
        sender: &SenderId,
        message: &str,
        data: &SecretString,
    ) -> Option<Pressed> {
        let (nonce, choice) = read(data)?;
        let say = |notice: &str| Some(Pressed { notice: notice.to_owned(), text: None });
        let (questions, approvals) = (&self.shared.channels.questions, &self.shared.approvals);
        let pressed = digest(&nonce);
        questions.placed(&pressed).await;
        let id = match questions.press(&pressed, sender, message) {
            Ok(id) => id,
            Err((id, refusal)) => {
                approvals.note_refused(&sender.to_string(), &id, &refusal);
                return say(&refusal.message);
            }
        };
        let by = Approver::Person { sender, is_owner: true, in_group: false };
        match approvals.decide(id.as_str(), choice, by).await {
            // The message is changed when all are told.
            Ok(id) => say(&format!("{id}: {}", choice.name())),
            Err(ApprovalError::Refused(refusal)) => say(&refusal.message),
            Err(error) => {
                tracing::error!(%error, "what the owner pressed has no effect");
                questions.give_back(&pressed);
                say("It could not be recorded, so nothing was decided. Press again.")
            }
        }
    }
}

/// The button for an answer; nothing for one that is given with more thought.
fn button(choice: Choice, nonce: &SecretString) -> Option<Button> {
    let (label, which) = match choice {
        Choice::AllowAlways => return None,
        Choice::AllowForSession => ("Allow this for an hour", 's'),
        Choice::AllowOnce => ("Allow once", 'o'),
        Choice::Deny => ("Deny", 'd'),
    };
    let data = format!("{APPROVAL}:{}:{which}", nonce.expose_secret()).into();
    Some(Button { label: label.to_owned(), data })
}

/// The number on a button, and what it answers.
fn read(data: &SecretString) -> Option<(SecretString, Choice)> {
    let rest = data.expose_secret().strip_prefix(APPROVAL)?.strip_prefix(':')?;
    let (nonce, which) = rest.split_once(':')?;
    let choice = match which {
        "d" => Choice::Deny,
        "o" => Choice::AllowOnce,
        "s" => Choice::AllowForSession,
        _ => return None,
    };
    Some((SecretString::from(nonce), choice))
}
