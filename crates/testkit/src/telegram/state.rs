//! What Telegram knows: chats, updates that wait, messages that were sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::{BOT_ID, BOT_NAME, Call};

/// The kinds of updates that a bot gets without asking for more.
const USUAL: [&str; 7] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "callback_query",
    "my_chat_member",
    "inline_query",
];

/// A message of the bot, as it stands in the chat.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// The chat.
    pub chat: i64,
    /// The topic of a forum.
    pub topic: Option<i64>,
    /// The message's id in its chat.
    pub message: i64,
    /// The text as it was sent.
    pub raw: String,
    /// The text as people see it.
    pub text: String,
    /// Whether it was sent as HTML.
    pub html: bool,
    /// The message that it answers.
    pub reply_to: Option<i64>,
    /// Whether links in it are looked up by Telegram.
    pub previews: bool,
}

pub(super) struct State {
    pub(super) updates: VecDeque<Value>,
    next_update: i64,
    pub(super) allowed: Vec<String>,
    /// The number of the poll that may wait: an older one ends.
    pub(super) poll: u64,
    /// Polls before this number end with their connection: the server went down.
    pub(super) cut: u64,
    pub(super) webhook: Option<Webhook>,
    /// Chats that the bot may write to, with the last message's id.
    chats: BTreeMap<i64, Chat>,
    pub(super) migrated: BTreeMap<i64, i64>,
    pub(super) blocked: BTreeSet<i64>,
    files: BTreeMap<String, Vec<u8>>,
    pub(super) queries: BTreeSet<String>,
    pub(super) sent: Vec<Sent>,
    pub(super) calls: Vec<Call>,
    pub(super) revoked: bool,
    /// The posts to webhooks: the number of the update, and what was answered.
    pub(super) posts: Vec<(i64, Option<u16>)>,
    clock: i64,
}

#[derive(Default)]
struct Chat {
    chat: Value,
    last_message: i64,
}

/// Where updates are posted.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) allowed: Vec<String>,
    pub(super) secret: Option<String>,
    /// When a post failed last, and why.
    pub(super) failed: Option<(i64, String)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            updates: VecDeque::new(),
            next_update: 880_000_001,
            allowed: USUAL.map(str::to_owned).to_vec(),
            poll: 0,
            cut: 0,
            webhook: None,
            chats: BTreeMap::new(),
            migrated: BTreeMap::new(),
            blocked: BTreeSet::new(),
            files: BTreeMap::new(),
            queries: BTreeSet::new(),
            sent: Vec::new(),
            calls: Vec::new(),
            revoked: false,
            posts: Vec::new(),
            clock: 1_900_000_000,
        }
    }
}

impl State {
    /// Ends every long poll that waits.
    pub(super) fn end_polls(&mut self) {
        self.poll += 1;
    }

    pub(super) fn add_group(&mut self, title: &str) -> Value {
        let number = i64::try_from(self.chats.len()).expect("few chats");
        let id = -1_001_000_000_001 - number;
        let chat = json!({"id": id, "type": "supergroup", "title": title});
        self.chats.insert(id, Chat { chat: chat.clone(), last_message: 0 });
        chat
    }

    /// A message of a person; answers its id.
    pub(super) fn message(&mut self, chat: &Value, from: &Value, content: &Value) -> i64 {
        let id = self.next_message(chat);
        let mut message = json!({"message_id": id, "date": self.now(), "chat": chat, "from": from});
        merge(&mut message, content);
        self.push(json!({"message": message}));
        id
    }

    pub(super) fn edited(&mut self, chat: &Value, from: &Value, id: i64, text: &str) {
        let date = self.now();
        let message = json!({
            "message_id": id, "date": date, "edit_date": date + 1, "chat": chat, "from": from, "text": text,
        });
        self.push(json!({"edited_message": message}));
    }

    pub(super) fn push(&mut self, mut update: Value) {
        let kind = update.as_object().and_then(|members| members.keys().next().cloned()).unwrap_or_default();
        if !self.allowed.contains(&kind) {
            return;
        }
        if let Some(id) = update.pointer("/callback_query/id").and_then(Value::as_str) {
            self.queries.insert(id.to_owned());
        }
        merge(&mut update, &json!({"update_id": self.next_update}));
        self.next_update += 1;
        self.updates.push_back(update);
    }

    /// Confirms what is before `offset`; a negative one keeps that many of the last.
    pub(super) fn confirm(&mut self, offset: i64) {
        if offset < 0 {
            let keep = usize::try_from(-offset).unwrap_or(usize::MAX);
            let drop = self.updates.len().saturating_sub(keep);
            self.updates.drain(..drop);
        } else {
            self.updates.retain(|update| update_id(update) >= offset);
        }
    }

    pub(super) fn first(&self, limit: usize) -> Vec<Value> {
        self.updates.iter().take(limit).cloned().collect()
    }

    pub(super) fn now(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    fn next_message(&mut self, chat: &Value) -> i64 {
        let id = chat.get("id").and_then(Value::as_i64).expect("a chat has an id");
        let known = self.chats.entry(id).or_insert_with(|| Chat { chat: chat.clone(), last_message: 0 });
        known.last_message += 1;
        known.last_message
    }

    pub(super) fn chat(&self, id: i64) -> Option<Value> {
        self.chats.get(&id).map(|known| known.chat.clone())
    }

    /// A message of the bot, as the API answers it.
    pub(super) fn keep(&mut self, mut sent: Sent) -> Value {
        let chat = self.chat(sent.chat).expect("a chat that was looked up");
        sent.message = self.next_message(&chat);
        let mut message = json!({
            "message_id": sent.message, "date": self.now(), "chat": chat, "from": bot(), "text": sent.text,
        });
        if let Some(topic) = sent.topic {
            merge(&mut message, &json!({"message_thread_id": topic, "is_topic_message": true}));
        }
        self.sent.push(sent);
        message
    }

    pub(super) fn add_file(&mut self, file_id: &str, bytes: Vec<u8>) {
        self.files.insert(file_id.to_owned(), bytes);
    }

    pub(super) fn file(&self, file_id: &str) -> Option<&Vec<u8>> {
        self.files.get(file_id)
    }

    pub(super) fn file_at(&self, path: &str) -> Option<Vec<u8>> {
        self.file(path.strip_prefix("documents/")?).cloned()
    }
}

/// The bot as Telegram tells of it.
pub(super) fn bot() -> Value {
    json!({"id": BOT_ID, "is_bot": true, "first_name": "Stand-in", "username": BOT_NAME})
}

pub(super) fn update_id(update: &Value) -> i64 {
    update.get("update_id").and_then(Value::as_i64).unwrap_or_default()
}

/// Adds the members of one object to another.
pub(super) fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
}
