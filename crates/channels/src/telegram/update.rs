//! What the Bot API tells, as far as it is used here. Members that are not named are not read: the vendor adds some every month.

use serde::Deserialize;

/// The answer to any call.
#[derive(Debug, Deserialize)]
pub(super) struct Answer<T> {
    pub(super) ok: bool,
    pub(super) result: Option<T>,
    pub(super) error_code: Option<u16>,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) parameters: Parameters,
}

/// What a refusal asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Parameters {
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    /// The id that a group has now.
    pub(super) migrate_to_chat_id: Option<i64>,
}

/// Something that happened.
#[derive(Debug, Deserialize)]
pub(super) struct Update {
    pub(super) edited_message: Option<Message>,
    pub(super) message: Option<Message>,
}

/// The number of an update, which is read even where the rest cannot be.
#[derive(Debug, Deserialize)]
pub(super) struct UpdateId {
    pub(super) update_id: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) message_id: i64,
    pub(super) chat: Chat,
    pub(super) from: Option<User>,
    /// Set where somebody speaks as a chat: an anonymous administrator, or a channel.
    pub(super) sender_chat: Option<Chat>,
    pub(super) message_thread_id: Option<i64>,
    #[serde(default)]
    pub(super) is_topic_message: bool,
    pub(super) edit_date: Option<i64>,
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) entities: Vec<Entity>,
    pub(super) caption: Option<String>,
    #[serde(default)]
    pub(super) caption_entities: Vec<Entity>,
    pub(super) forward_origin: Option<serde::de::IgnoredAny>,
    pub(super) via_bot: Option<serde::de::IgnoredAny>,
    pub(super) quote: Option<Quote>,
    pub(super) reply_to_message: Option<Box<Replied>>,
    #[serde(flatten)]
    pub(super) media: Media,
    pub(super) migrate_to_chat_id: Option<i64>,
}

/// The message that another one answers.
#[derive(Debug, Deserialize)]
pub(super) struct Replied {
    pub(super) message_id: i64,
    pub(super) from: Option<User>,
    pub(super) sender_chat: Option<Chat>,
    pub(super) text: Option<String>,
    pub(super) caption: Option<String>,
}

/// The words of another message that the sender chose.
#[derive(Debug, Deserialize)]
pub(super) struct Quote {
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Chat {
    pub(super) id: i64,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) is_bot: bool,
    #[serde(default)]
    pub(super) first_name: String,
    pub(super) last_name: Option<String>,
    pub(super) username: Option<String>,
}

/// A range of a text, in UTF-16 code units.
#[derive(Debug, Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) user: Option<User>,
}

/// What is attached.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Media {
    pub(super) animation: Option<File>,
    pub(super) audio: Option<File>,
    pub(super) contact: Option<serde::de::IgnoredAny>,
    pub(super) document: Option<File>,
    pub(super) location: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(super) photo: Vec<File>,
    pub(super) poll: Option<serde::de::IgnoredAny>,
    pub(super) sticker: Option<File>,
    pub(super) video: Option<File>,
    pub(super) video_note: Option<File>,
    pub(super) voice: Option<File>,
}

/// A file that Telegram keeps.
#[derive(Debug, Default, Deserialize)]
pub(super) struct File {
    pub(super) file_size: Option<u64>,
    pub(super) file_name: Option<String>,
    pub(super) mime_type: Option<String>,
    /// Seconds.
    pub(super) duration: Option<u64>,
    /// What a sticker stands for.
    pub(super) emoji: Option<String>,
}

/// Our own account.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Me {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) username: String,
}

/// Where Telegram posts updates, if anywhere.
#[derive(Debug, Deserialize)]
pub(super) struct WebhookInfo {
    /// When a post failed last, in seconds since 1970.
    pub(super) last_error_date: Option<i64>,
    #[serde(default)]
    pub(super) last_error_message: String,
    #[serde(default)]
    pub(super) pending_update_count: u64,
    #[serde(default)]
    pub(super) url: String,
}
