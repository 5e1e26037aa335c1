//! The channel that the gateway's own clients speak: `chat.send`, `agent` and chat completions in, chat
//! events out.
//!
//! Pure: parameters become an [`InboundMessage`], a run's progress becomes a [`ChatEvent`]. Who may send is
//! decided elsewhere, and so is what happens to the message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moltbot_config::limits;
use moltbot_protocol::agent::AgentParams;
use moltbot_protocol::chat::{ChatEvent, ChatSendParams, ChatState, ChatText};
use moltbot_protocol::ids::{InvalidId, RunId, SessionKey};
use moltbot_protocol::message::{InboundMessage, ThinkingLevel};
use moltbot_protocol::openai::{ChatCompletionRequest, ChatMessage};
use moltbot_protocol::principal::Principal;
use serde::Deserialize;
use thiserror::Error;

/// The channel's name in the store.
pub const CHANNEL: &str = "webchat";
/// Clients of the gateway share one account: the owner's.
const ACCOUNT: &str = "default";

/// Why a client's message cannot be taken.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// A file that came along cannot be taken.
    #[error("attachment {number} {why}")]
    Attachment {
        /// Its number, from 1.
        number: usize,
        /// Why.
        why: &'static str,
    },
    /// Nothing was said.
    #[error("message is empty; say something")]
    Empty,
    /// A key that names nothing.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// No message of the caller is from a user.
    #[error("Missing user message in `messages`.")]
    NoUserMessage,
    /// A level of thinking that does not exist.
    #[error("thinking level {0:?} is not known; use off, minimal, low, medium, high or xhigh")]
    Thinking(String),
    /// More than [`limits::MESSAGE_CHARS`].
    #[error("message has {0} characters; at most {max} are taken", max = limits::MESSAGE_CHARS)]
    TooLong(usize),
    /// A parameter of a later part of the protocol.
    #[error("{0} is not supported yet; leave it out")]
    Unsupported(&'static str),
}

/// Reads `chat.send`. The idempotency key is the message's id and the run's name: the same key twice is the
/// same message.
///
/// # Errors
/// When the message is empty, too long, or carries what is not supported.
pub fn chat_message(params: ChatSendParams, session: SessionKey) -> Result<InboundMessage, MessageError> {
    let thinking = thinking(params.thinking.as_deref())?;
    let run = RunId::parse(&params.idempotency_key)?;
    let message = message(session, run, params.message, None, params.timeout_ms)?;
    Ok(InboundMessage { thinking, ..message })
}

/// The message that asks for a summary of a session's older messages.
///
/// # Errors
/// When `run` names nothing.
pub fn compact_message(session: SessionKey, run: &str) -> Result<InboundMessage, MessageError> {
    message(session, RunId::parse(run)?, "/compact".into(), None, None)
}

/// Reads `agent`.
///
/// # Errors
/// When the message is empty, too long, or carries what is not supported.
pub fn agent_message(params: AgentParams, session: SessionKey) -> Result<InboundMessage, MessageError> {
    let thinking = thinking(params.thinking.as_deref())?;
    let later: [(&'static str, &Option<String>); 9] = [
        ("accountId", &params.account_id),
        ("channel", &params.channel),
        ("label", &params.label),
        ("lane", &params.lane),
        ("replyChannel", &params.reply_channel),
        ("replyTo", &params.reply_to),
        ("spawnedBy", &params.spawned_by),
        ("threadId", &params.thread_id),
        ("to", &params.to),
    ];
    // Where an answer is to be delivered means nothing when it is not to be.
    let idle = |name| params.deliver == Some(false) && matches!(name, "channel" | "replyChannel");
    if let Some((name, _)) = later.into_iter().find(|(name, value)| value.is_some() && !idle(*name)) {
        return Err(MessageError::Unsupported(name));
    }
    let run = RunId::parse(&params.idempotency_key)?;
    let timeout_ms = params.timeout.map(|seconds| seconds.saturating_mul(1000));
    let message = message(session, run, params.message, params.extra_system_prompt, timeout_ms)?;
    Ok(InboundMessage { thinking, ..message })
}

/// Whether the session of a chat completion has a transcript of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conversation {
    /// The session lives on between requests and holds what was said before.
    Kept,
    /// The session is this request's alone: what was said before is only in the request.
    Once,
}

/// Reads the body of a chat completion: the last message of the user is what is said, the instructions of
/// `system` and `developer` are added to the system prompt. The messages between them are what the caller
/// remembers of the conversation; a session that remembers nothing is told of them as context.
///
/// # Errors
/// When no message is from the user, or it is empty or too long.
pub fn completion_message(
    request: &ChatCompletionRequest,
    session: SessionKey,
    run: RunId,
    conversation: Conversation,
) -> Result<InboundMessage, MessageError> {
    let last = request.messages.iter().rposition(|message| message.role == "user");
    let last = last.ok_or(MessageError::NoUserMessage)?;
    let text = request.messages.get(last).map(ChatMessage::text).unwrap_or_default();
    if text.trim().is_empty() {
        return Err(MessageError::NoUserMessage);
    }
    let instructions = request.messages.iter().filter(|message| is_instruction(message));
    let mut extra: Vec<String> = instructions.map(ChatMessage::text).collect();
    if conversation == Conversation::Once {
        extra.extend(earlier(request.messages.get(..last).unwrap_or_default()));
    }
    extra.retain(|part| !part.trim().is_empty());
    let extra = (!extra.is_empty()).then(|| extra.join("\n\n"));
    message(session, run, text, extra, None)
}

fn is_instruction(message: &ChatMessage) -> bool {
    matches!(message.role.as_str(), "system" | "developer")
}

/// What was said before, marked as a report: a caller may write anything there.
fn earlier(messages: &[ChatMessage]) -> Option<String> {
    let said = messages.iter().filter(|message| matches!(message.role.as_str(), "assistant" | "user"));
    let lines: Vec<String> = said.map(|message| format!("[{}]\n{}", message.role, message.text())).collect();
    (!lines.is_empty()).then(|| {
        let lines = lines.join("\n\n");
        format!("Earlier in this conversation, as the client reports it:\n\n{lines}\n\n(End of the report.)")
    })
}

/// An attachment, as clients send it. What it calls itself decides nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    /// Its bytes in base64, alone or as a `data:` URL.
    content: String,
}

/// The bytes of the files that came along. What they are is for who keeps them to say.
///
/// # Errors
/// When there are more than [`limits::FILES_TAKEN`], or one is no base64 or larger than [`limits::PICTURE_BYTES`].
pub fn attachments(attachments: Option<&[serde_json::Value]>) -> Result<Vec<Vec<u8>>, MessageError> {
    let attachments = attachments.unwrap_or_default();
    let failed = |number: usize, why| MessageError::Attachment { number: number.saturating_add(1), why };
    if attachments.len() > limits::FILES_TAKEN {
        return Err(failed(limits::FILES_TAKEN, "is one too many; at most 10 are taken"));
    }
    let largest = usize::try_from(limits::PICTURE_BYTES).unwrap_or(usize::MAX);
    let take = |(number, value): (usize, &serde_json::Value)| {
        let attachment = Attachment::deserialize(value);
        let text = attachment.map_err(|_| failed(number, "has no `content`"))?.content;
        let text = match text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
            Some((_, encoded)) => encoded,
            None => &text,
        };
        let bytes = STANDARD.decode(text.trim()).map_err(|_| failed(number, "is no base64"))?;
        if bytes.len() > largest {
            return Err(failed(number, "is larger than 5 MiB"));
        }
        Ok(bytes)
    };
    attachments.iter().enumerate().map(take).collect()
}

fn thinking(level: Option<&str>) -> Result<Option<ThinkingLevel>, MessageError> {
    let parse =
        |level| ThinkingLevel::parse(level).ok_or_else(|| MessageError::Thinking(String::from(level)));
    level.map(parse).transpose()
}

fn message(
    session: SessionKey,
    run: RunId,
    text: String,
    extra_system_prompt: Option<String>,
    timeout_ms: Option<u64>,
) -> Result<InboundMessage, MessageError> {
    if text.trim().is_empty() {
        return Err(MessageError::Empty);
    }
    for said in [Some(&text), extra_system_prompt.as_ref()].into_iter().flatten() {
        // Characters are at least a quarter of the bytes: short texts need no counting.
        let count = if said.len() > limits::MESSAGE_CHARS { said.chars().count() } else { 0 };
        if count > limits::MESSAGE_CHARS {
            return Err(MessageError::TooLong(count));
        }
    }
    Ok(InboundMessage {
        channel: CHANNEL.into(),
        account: ACCOUNT.into(),
        external_id: run.as_str().into(),
        session,
        origin: None,
        run,
        principal: Principal::Owner,
        text,
        images: Vec::new(),
        extra_system_prompt,
        timeout_ms,
        thinking: None,
        look: None,
        tells: false,
    })
}

/// Whether a message stops everything, in all conversations.
pub fn is_stop_all(text: &str) -> bool {
    text.split_whitespace().map(str::to_lowercase).eq(["/stop", "all"])
}

/// Whether a message is a word that stops the conversation's runs instead of adding one.
pub fn is_stop_word(text: &str) -> bool {
    let word = text.trim().to_lowercase();
    matches!(word.as_str(), "/stop" | "/abort" | "stop" | "esc" | "abort" | "wait" | "exit" | "interrupt")
}

/// Whether a message asks what its sender used today, which no model is asked.
pub fn is_allowance_word(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("/allowance")
}

/// Writes the chat events of one run, numbered from 0.
#[derive(Debug)]
pub struct ChatProgress {
    run: String,
    session: String,
    next: u64,
}

impl ChatProgress {
    /// The events of that run.
    pub fn new(run: &RunId, session: &SessionKey) -> Self {
        Self { run: run.as_str().into(), session: session.as_str().into(), next: 0 }
    }

    /// More text; `text` is all of it so far.
    pub fn delta(&mut self, text: &str, now_ms: u64) -> ChatEvent {
        self.event(ChatState::Delta, Some(ChatText::new(text, now_ms)))
    }

    /// The whole answer.
    pub fn finished(&mut self, text: &str, stop_reason: &str, now_ms: u64) -> ChatEvent {
        let message = (!text.is_empty()).then(|| ChatText::new(text, now_ms));
        ChatEvent { stop_reason: Some(stop_reason.into()), ..self.event(ChatState::Final, message) }
    }

    /// The end of a run that a person stopped, with what was said until then.
    pub fn aborted(&mut self, text: &str, now_ms: u64) -> ChatEvent {
        let message = (!text.is_empty()).then(|| ChatText::new(text, now_ms));
        ChatEvent { stop_reason: Some("aborted".into()), ..self.event(ChatState::Aborted, message) }
    }

    /// The end of a run that failed.
    pub fn failed(&mut self, error: &str) -> ChatEvent {
        ChatEvent { error_message: Some(error.into()), ..self.event(ChatState::Error, None) }
    }

    fn event(&mut self, state: ChatState, message: Option<ChatText>) -> ChatEvent {
        let seq = self.next;
        self.next = self.next.saturating_add(1);
        ChatEvent {
            run_id: self.run.clone(),
            session_key: self.session.clone(),
            seq,
            state,
            message,
            error_message: None,
            stop_reason: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use moltbot_protocol::ids::AgentId;
    use serde_json::json;

    use super::*;

    fn session() -> SessionKey {
        SessionKey::main_of(&AgentId::main())
    }

    fn chat(value: serde_json::Value) -> Result<InboundMessage, MessageError> {
        let mut whole = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k1"});
        for (name, part) in value.as_object().unwrap() {
            whole[name] = part.clone();
        }
        chat_message(serde_json::from_value(whole).unwrap(), session())
    }

    #[test]
    fn a_chat_message_keeps_its_key_as_id_and_run() {
        let message = chat(json!({"timeoutMs": 5})).unwrap();
        assert_eq!((message.external_id.as_str(), message.run.as_str()), ("k1", "k1"));
        assert_eq!((&*message.channel, message.timeout_ms), ("webchat", Some(5)));
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_a_sentence() {
        for (params, expected) in [
            (json!({"message": "  "}), MessageError::Empty),
            (json!({"message": "ä".repeat(200_001)}), MessageError::TooLong(200_001)),
            (json!({"thinking": "deep"}), MessageError::Thinking("deep".into())),
            (json!({"idempotencyKey": ""}), MessageError::Id(InvalidId::Run)),
        ] {
            assert_eq!(chat(params.clone()).unwrap_err(), expected, "{params}");
        }
        assert!(chat(json!({"message": "ä".repeat(200_000), "attachments": [], "thinking": "low"})).is_ok());
    }

    #[test]
    fn attachments_are_base64_of_a_bounded_size() {
        let large = STANDARD.encode(vec![0; 5 * 1024 * 1024 + 1]);
        let failed = |number, why| Err(MessageError::Attachment { number, why });
        for (value, expected) in [
            (json!([]), Ok(vec![])),
            (
                json!([{"content": "aGk="}, {"content": "data:image/png;base64,aGk="}]),
                Ok(vec![b"hi".to_vec(); 2]),
            ),
            (json!([{"content": "aGk="}, {}]), failed(2, "has no `content`")),
            (json!([{"content": "?"}]), failed(1, "is no base64")),
            (json!([{"content": large}]), failed(1, "is larger than 5 MiB")),
            (
                json!(vec![json!({"content": "aGk="}); 11]),
                failed(11, "is one too many; at most 10 are taken"),
            ),
        ] {
            let found = attachments(value.as_array().map(Vec::as_slice));
            assert_eq!(found, expected);
        }
        assert_eq!(attachments(None), Ok(vec![]));
    }

    #[test]
    fn parameters_of_later_parts_are_refused_when_they_are_set() {
        let agent =
            |value: serde_json::Value| agent_message(serde_json::from_value(value).unwrap(), session());
        let set = json!({"message": "hi", "idempotencyKey": "k", "channel": "telegram"});
        assert_eq!(agent(set).unwrap_err(), MessageError::Unsupported("channel"));
        let plain = json!({"message": "hi", "idempotencyKey": "k", "timeout": 3, "deliver": false, "channel": "whatsapp"});
        assert_eq!(agent(plain).unwrap().timeout_ms, Some(3000));
    }

    fn completion(
        messages: serde_json::Value,
        conversation: Conversation,
    ) -> Result<InboundMessage, MessageError> {
        let request = serde_json::from_value(json!({"messages": messages})).unwrap();
        completion_message(&request, session(), RunId::parse("r").unwrap(), conversation)
    }

    #[test]
    fn a_completion_says_the_last_message_of_the_user() {
        let messages = json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "1"},
            {"role": "developer", "content": [{"type": "text", "text": "no lists"}]},
            {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "image_url"}]},
        ]);
        let once = completion(messages.clone(), Conversation::Once).unwrap();
        assert_eq!(once.text, "two");
        let expected = "be brief\n\nno lists\n\nEarlier in this conversation, as the client reports it:\n\n[user]\none\n\n[assistant]\n1\n\n(End of the report.)";
        assert_eq!(once.extra_system_prompt.as_deref(), Some(expected));
        let kept = completion(messages, Conversation::Kept).unwrap();
        assert_eq!(kept.extra_system_prompt.as_deref(), Some("be brief\n\nno lists"));
    }

    #[test]
    fn a_completion_without_words_of_a_user_is_refused() {
        for messages in [json!([]), json!([{"role": "system", "content": "x"}]), json!([{"role": "user"}])] {
            let error = completion(messages.clone(), Conversation::Once).unwrap_err();
            assert_eq!(error.to_string(), "Missing user message in `messages`.", "{messages}");
        }
    }

    #[test]
    fn stop_words_stop_and_sentences_do_not() {
        for word in ["/stop", " STOP ", "esc", "abort", "wait", "exit", "interrupt"] {
            assert!(is_stop_word(word), "{word}");
        }
        for text in ["stop it", "", "please wait", "/stop all"] {
            assert!(!is_stop_word(text), "{text}");
        }
        assert!(is_stop_all(" /STOP  all ") && !is_stop_all("/stop") && !is_stop_all("stop all of it"));
    }

    #[test]
    fn events_of_a_run_are_numbered_from_zero() {
        let mut progress = ChatProgress::new(&RunId::parse("r").unwrap(), &session());
        let delta = serde_json::to_value(progress.delta("he", 7)).unwrap();
        let text = json!({"role": "assistant", "content": [{"type": "text", "text": "he"}], "timestamp": 7});
        assert_eq!(
            delta,
            json!({"runId": "r", "sessionKey": "agent:main:main", "seq": 0, "state": "delta", "message": text})
        );
        assert_eq!(progress.finished("hello", "stop", 8).seq, 1);
        assert_eq!(progress.aborted("", 9).message.map(|_| ()), None);
        assert_eq!(progress.failed("no model").error_message.as_deref(), Some("no model"));
    }
}
