//! An update as something that a person said, or why it is nothing that anybody said to us.
//!
//! Who speaks is the numeric id of a user, which never changes; names only are shown. What bots, channels and anonymous
//! administrators post has no person behind it that could be judged, so it is left out.

use moltbot_protocol::sender::{Conversation, SenderId};

use super::media::{self, Files};
use super::update::{Below, CallbackQuery, Entity, Me, Message, Replied, Update, User};
use crate::driver::{Arrival, Press, Said};

/// The channel's name.
pub const CHANNEL: &str = "telegram";
/// Users that stand for others: the relay of channels into their groups, the anonymous administrator, and the one who
/// posts as a channel.
const NOBODY: [i64; 3] = [777_000, 1_087_968_824, 136_817_688];
/// The longest text of another message that comes along, in characters.
const QUOTED: usize = 1000;
/// The longest name that is shown, in characters.
const NAME: usize = 80;

/// What an update is to us.
#[derive(Debug)]
pub(super) enum Reading {
    /// Nothing that a person said to us, and why.
    Nothing(&'static str),
    /// A group has another id now: that, and the one before.
    Moved(i64, i64),
    /// A button that somebody pressed.
    Pressed(Box<PressedButton>),
    /// Something that a person said.
    Said(Box<Arrival>),
}

/// A press, and what Telegram wants to know of it.
#[derive(Debug)]
pub(super) struct PressedButton {
    pub(super) press: Press,
    /// The press, which is to be answered.
    pub(super) query: String,
    /// The message that the buttons stand below.
    pub(super) message: i64,
    pub(super) chat: i64,
}

/// Reads an update for `account`, whose user on Telegram is `me`.
pub(super) fn read(update: Update, account: &str, me: &Me) -> Reading {
    match (update.message, update.edited_message, update.callback_query) {
        (Some(message), _, _) => read_message(&message, Said::New, account, me),
        (None, Some(message), _) => read_message(&message, Said::Edited, account, me),
        (None, None, Some(query)) => read_press(query, account),
        (None, None, None) => Reading::Nothing("it is no message"),
    }
}

/// A press by a person below a message of ours.
fn read_press(query: CallbackQuery, account: &str) -> Reading {
    let CallbackQuery { id, from, message, data } = query;
    let (Some(Below { message_id, chat }), Some(data)) = (message, data) else {
        return Reading::Nothing("it is no button of ours, or too old");
    };
    if from.is_bot || NOBODY.contains(&from.id) {
        return Reading::Nothing("no person is behind it");
    }
    let Ok(sender) = SenderId::new(CHANNEL, account, "user", &from.id.to_string()) else {
        return Reading::Nothing("its sender has no usable id");
    };
    let conversation = match chat.kind.as_str() {
        "private" if chat.id == from.id => Conversation::Direct { to: from.id.to_string() },
        _ => Conversation::Group { id: chat.id.to_string(), thread: None },
    };
    let press = Press { sender, conversation, message: message_id.to_string(), data };
    Reading::Pressed(Box::new(PressedButton { press, query: id, message: message_id, chat: chat.id }))
}

fn read_message(message: &Message, state: Said, account: &str, me: &Me) -> Reading {
    if let Some(to) = message.migrate_to_chat_id {
        return Reading::Moved(message.chat.id, to);
    }
    let Some(from) = &message.from else { return Reading::Nothing("nobody is named as its sender") };
    if from.is_bot || NOBODY.contains(&from.id) || message.sender_chat.is_some() {
        return Reading::Nothing("no person is behind it");
    }
    let Some(conversation) = conversation(message, from) else {
        return Reading::Nothing("it is neither from a person to us alone nor in a group");
    };
    let (said, entities) = match (&message.text, &message.caption) {
        (Some(text), _) => (text.as_str(), message.entities.as_slice()),
        (None, Some(caption)) => (caption.as_str(), message.caption_entities.as_slice()),
        (None, None) => ("", [].as_slice()),
    };
    let (words, is_addressed) = without_mention(said, entities, me);
    // What is changed was fetched when it was new.
    let (files, kept) = match state {
        Said::Edited => (Vec::new(), Files::Named),
        Said::New => (media::files(&message.media), Files::Fetched),
    };
    let attached = media::describe(&message.media, kept);
    // A mention alone is all that was said.
    let words = if words.trim().is_empty() { said } else { words.as_str() };
    if words.trim().is_empty() && attached.is_none() && files.is_empty() {
        return Reading::Nothing("it has no words");
    }
    let Ok(sender) = SenderId::new(CHANNEL, account, "user", &from.id.to_string()) else {
        return Reading::Nothing("its sender has no usable id");
    };
    let reply = message.reply_to_message.as_deref().filter(|reply| is_real(reply, message));
    let answers_us = reply.is_some_and(|reply| reply.from.as_ref().is_some_and(|user| user.id == me.id));
    Reading::Said(Box::new(Arrival {
        id: id_of(message, state),
        sender,
        name: name_of(from),
        conversation,
        mentioned: is_addressed || answers_us,
        text: whole_text(words.trim(), attached, message, reply.filter(|_| !answers_us)),
        state,
        message: Some(message.message_id.to_string()),
        files,
    }))
}

/// Ids of messages are unique in a chat alone; a change has a time of its own.
fn id_of(message: &Message, state: Said) -> String {
    let id = format!("{}:{}", message.chat.id, message.message_id);
    match state {
        Said::Edited => format!("{id}:{}", message.edit_date.unwrap_or_default()),
        Said::New => id,
    }
}

/// Direct is only what Telegram says is private and with this very person.
fn conversation(message: &Message, from: &User) -> Option<Conversation> {
    match message.chat.kind.as_str() {
        "private" if message.chat.id == from.id => Some(Conversation::Direct { to: from.id.to_string() }),
        "group" | "supergroup" => {
            let thread = message.message_thread_id.filter(|_| message.is_topic_message);
            let thread = thread.map(|thread| thread.to_string());
            Some(Conversation::Group { id: message.chat.id.to_string(), thread })
        }
        _ => None,
    }
}

/// Whether a message really answers another one: in a topic, all that answer nothing "answer" the topic's beginning.
fn is_real(reply: &Replied, message: &Message) -> bool {
    !(message.is_topic_message && message.message_thread_id == Some(reply.message_id))
}

/// The words without a mention of us, and whether there was one. `/command@us` becomes `/command`.
fn without_mention(text: &str, entities: &[Entity], me: &Me) -> (String, bool) {
    let mut words = String::with_capacity(text.len());
    let (mut at, mut is_addressed) = (0, false);
    for entity in entities {
        let Some((start, end)) = bytes_of(text, entity).filter(|(start, _)| *start >= at) else { continue };
        let Some(marked) = text.get(start..end) else { continue };
        let kept = match entity.kind.as_str() {
            "mention" if is_us(marked.trim_start_matches('@'), me) => "",
            "text_mention" if entity.user.as_ref().is_some_and(|user| user.id == me.id) => "",
            "bot_command" => match marked.split_once('@') {
                Some((command, name)) if is_us(name, me) => command,
                Some(_) | None => continue,
            },
            _ => continue,
        };
        is_addressed = true;
        words.push_str(text.get(at..start).unwrap_or_default());
        words.push_str(kept);
        at = end;
    }
    words.push_str(text.get(at..).unwrap_or_default());
    (words, is_addressed)
}

fn is_us(name: &str, me: &Me) -> bool {
    !me.username.is_empty() && name.eq_ignore_ascii_case(&me.username)
}

/// The range of an entity in bytes; nothing when it is not in the text, or ends in the middle of a character.
fn bytes_of(text: &str, entity: &Entity) -> Option<(usize, usize)> {
    let end = entity.offset.checked_add(entity.length)?;
    Some((byte_at(text, entity.offset)?, byte_at(text, end)?))
}

fn byte_at(text: &str, units: usize) -> Option<usize> {
    let mut passed = 0;
    for (at, character) in text.char_indices() {
        if passed == units {
            return Some(at);
        }
        passed += character.len_utf16();
    }
    (passed == units).then_some(text.len())
}

/// The words with what belongs to them: words of others that the sender passes on or refers to are marked as such.
fn whole_text(words: &str, attached: Option<String>, message: &Message, reply: Option<&Replied>) -> String {
    let mut parts = Vec::new();
    if let Some(quoted) = reply.and_then(|reply| quoted(reply, message)) {
        parts.push(quoted);
    }
    if message.forward_origin.is_some() || message.via_bot.is_some() {
        parts.push("[Not the sender's own words: passed on from somebody else.]".to_owned());
    }
    if !words.is_empty() {
        parts.push(words.to_owned());
    }
    parts.extend(attached);
    parts.join("\n\n")
}

/// What the message answers, line by line behind a mark.
fn quoted(reply: &Replied, message: &Message) -> Option<String> {
    let chosen = message.quote.as_ref().map(|quote| quote.text.as_str());
    let text = chosen.or(reply.text.as_deref()).or(reply.caption.as_deref())?;
    let short: String = text.chars().take(QUOTED).collect();
    let lines: Vec<String> = short.lines().map(|line| format!("> {line}")).collect();
    let by = match (&reply.sender_chat, &reply.from) {
        (None, Some(user)) => name_of(user),
        _ => None,
    };
    let by = by.map_or_else(String::new, |name| format!(" of {name}"));
    (!lines.is_empty()).then(|| format!("[In answer to a message{by}:]\n{}", lines.join("\n")))
}

/// What a user is called: shown, and of no other meaning.
fn name_of(user: &User) -> Option<String> {
    let mut name = [Some(user.first_name.as_str()), user.last_name.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(username) = &user.username {
        name.push_str(&format!(" (@{username})"));
    }
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME).collect();
    let name = name.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn me() -> Me {
        Me { id: 99, username: "our_bot".into() }
    }

    fn read_json(update: Value) -> Reading {
        read(serde_json::from_value(update).unwrap(), "default", &me())
    }

    fn said(message: Value) -> Arrival {
        let mut whole = json!({
            "message_id": 5, "date": 1, "from": {"id": 1, "is_bot": false, "first_name": "Ann", "username": "ann"},
            "chat": {"id": -100, "type": "supergroup", "title": "G"},
        });
        whole.as_object_mut().unwrap().extend(message.as_object().unwrap().clone());
        match read_json(json!({"update_id": 1, "message": whole})) {
            Reading::Said(arrival) => *arrival,
            other => panic!("{other:?}"),
        }
    }

    fn entity(kind: &str, offset: usize, length: usize) -> Value {
        json!({"type": kind, "offset": offset, "length": length})
    }

    #[test]
    fn a_direct_message_is_its_senders() {
        let arrival = said(json!({"chat": {"id": 1, "type": "private"}, "text": " hi "}));
        let sender = SenderId::parse("telegram:default:user:1").unwrap();
        let expected = Arrival {
            id: "1:5".into(),
            sender,
            name: Some("Ann (@ann)".into()),
            conversation: Conversation::Direct { to: "1".into() },
            mentioned: false,
            text: "hi".into(),
            state: Said::New,
            message: Some("5".into()),
            files: Vec::new(),
        };
        assert_eq!(arrival, expected);
    }

    #[test]
    fn a_group_message_is_for_us_when_it_names_us_or_answers_us() {
        let us = json!({"message_id": 3, "from": {"id": 99, "is_bot": true}, "text": "before"});
        let them = json!({"message_id": 3, "from": {"id": 98, "first_name": "Bob"}, "text": "one\ntwo"});
        let text_mention = json!({"type": "text_mention", "offset": 0, "length": 2, "user": {"id": 99}});
        for (message, mentioned, text) in [
            (json!({"text": "hi all"}), false, "hi all"),
            (json!({"text": "😀 @Our_Bot hi", "entities": [entity("mention", 3, 8)]}), true, "😀  hi"),
            (json!({"text": "@our_bot2 hi", "entities": [entity("mention", 0, 9)]}), false, "@our_bot2 hi"),
            (json!({"text": "@our_bot hi"}), false, "@our_bot hi"),
            (json!({"text": "us hi", "entities": [text_mention]}), true, "hi"),
            (json!({"text": "/help@our_bot x", "entities": [entity("bot_command", 0, 13)]}), true, "/help x"),
            (
                json!({"text": "/help@other x", "entities": [entity("bot_command", 0, 11)]}),
                false,
                "/help@other x",
            ),
            (json!({"text": "/help x", "entities": [entity("bot_command", 0, 5)]}), false, "/help x"),
            (json!({"text": "go on", "reply_to_message": us}), true, "go on"),
            (
                json!({"text": "see", "reply_to_message": them}),
                false,
                "[In answer to a message of Bob:]\n> one\n> two\n\nsee",
            ),
            (json!({"caption": "@our_bot", "caption_entities": [entity("mention", 0, 8)]}), true, "@our_bot"),
            (json!({"text": "@our_bot", "entities": [entity("mention", 0, 999)]}), false, "@our_bot"),
            (json!({"text": "😀x", "entities": [entity("mention", 1, 1)]}), false, "😀x"),
        ] {
            let arrival = said(message.clone());
            assert_eq!((arrival.mentioned, arrival.text.as_str()), (mentioned, text), "{message}");
        }
    }

    #[test]
    fn a_topic_is_a_conversation_of_its_own() {
        let begun = json!({"message_id": 7, "from": {"id": 99, "is_bot": true}, "forum_topic_created": {"name": "T"}});
        let topic =
            json!({"text": "x", "is_topic_message": true, "message_thread_id": 7, "reply_to_message": begun});
        let arrival = said(topic);
        assert_eq!(arrival.conversation, Conversation::Group { id: "-100".into(), thread: Some("7".into()) });
        assert!(!arrival.mentioned, "what is in a topic that we began is no answer to us");
        let thread = said(json!({"text": "x", "message_thread_id": 7}));
        assert_eq!(thread.conversation, Conversation::Group { id: "-100".into(), thread: None });
    }

    #[test]
    fn a_change_has_an_id_of_its_own() {
        let message = json!({
            "message_id": 5, "date": 1, "edit_date": 9, "text": "now", "from": {"id": 1, "first_name": "Ann"},
            "chat": {"id": 1, "type": "private"},
        });
        let Reading::Said(arrival) = read_json(json!({"edited_message": message})) else {
            panic!("it is said")
        };
        assert_eq!((arrival.id.as_str(), arrival.state), ("1:5:9", Said::Edited));
    }

    #[test]
    fn what_no_person_said_to_us_is_left_out() {
        let base = json!({
            "message_id": 5, "date": 1, "text": "hi", "from": {"id": 1, "first_name": "Ann"},
            "chat": {"id": -100, "type": "supergroup"},
        });
        for change in [
            json!({"from": null}),
            json!({"from": {"id": 2, "is_bot": true, "first_name": "Bot"}}),
            json!({"from": {"id": 777_000, "first_name": "Telegram"}}),
            json!({"from": {"id": 1_087_968_824, "is_bot": true, "first_name": "Group"}, "sender_chat": {"id": -100, "type": "supergroup"}}),
            json!({"sender_chat": {"id": -200, "type": "channel"}}),
            json!({"chat": {"id": -100, "type": "channel"}}),
            json!({"chat": {"id": 1}}),
            json!({"chat": {"id": 2, "type": "private"}}),
            json!({"text": null, "new_chat_members": [{"id": 99}]}),
            json!({"text": "  "}),
        ] {
            let mut message = base.clone();
            message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let reading = read_json(json!({"message": message}));
            assert!(matches!(reading, Reading::Nothing(_)), "{change}: {reading:?}");
        }
        assert!(matches!(read_json(json!({"channel_post": base})), Reading::Nothing(_)));
        for press in [
            json!({"id": "1", "from": {"id": 1}, "data": "x"}),
            json!({"id": "1", "from": {"id": 1}, "message": {"message_id": 1, "chat": {"id": 1, "type": "private"}}}),
            json!({"id": "1", "from": {"id": 1, "is_bot": true}, "data": "x", "message": {"message_id": 1, "chat": {"id": 1, "type": "private"}}}),
        ] {
            let reading = read_json(json!({"callback_query": press}));
            assert!(matches!(reading, Reading::Nothing(_)), "{press}: {reading:?}");
        }
    }

    #[test]
    fn who_pressed_is_alone_only_in_his_own_chat() {
        for (chat, alone) in [
            (json!({"id": 1, "type": "private"}), true),
            (json!({"id": 2, "type": "private"}), false),
            (json!({"id": -1, "type": "supergroup"}), false),
            (json!({"id": 1}), false),
        ] {
            let press = json!({"id": "q", "from": {"id": 1}, "data": "x", "message": {"message_id": 7, "chat": chat}});
            let Reading::Pressed(pressed) = read_json(json!({"callback_query": press})) else {
                panic!("{press}")
            };
            assert_eq!(matches!(pressed.press.conversation, Conversation::Direct { .. }), alone, "{press}");
            assert_eq!((pressed.query.as_str(), pressed.message), ("q", 7));
            assert!(!format!("{pressed:?}").contains("\"x\""), "what a button carries is shown nowhere");
        }
    }

    #[test]
    fn a_group_that_became_another_is_told() {
        let message = json!({
            "message_id": 5, "date": 1, "migrate_to_chat_id": -1005, "from": {"id": 1, "first_name": "Ann"},
            "chat": {"id": -5, "type": "group"},
        });
        let reading = read_json(json!({"message": message}));
        assert!(matches!(reading, Reading::Moved(-5, -1005)), "{reading:?}");
    }

    #[test]
    fn words_of_others_are_marked() {
        let passed_on = said(json!({"text": "buy", "forward_origin": {"type": "hidden_user"}}));
        assert_eq!(passed_on.text, "[Not the sender's own words: passed on from somebody else.]\n\nbuy");
    }

    #[test]
    fn a_name_is_short_and_has_no_control_characters() {
        let from = json!({"id": 1, "first_name": format!("A\u{1b}[31m{}", "x".repeat(200))});
        let name = said(json!({"text": "x", "from": from})).name.unwrap();
        assert!(name.chars().count() <= 80 && !name.contains('\u{1b}'), "{name}");
    }
}
