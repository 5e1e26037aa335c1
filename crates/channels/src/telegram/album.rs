//! Albums: several files that a person sends at once come as messages of their own, and are one message to us.
//!
//! Telegram keeps what is not confirmed, so what belongs together is gathered from what it tells, and nothing is kept here.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::driver::Arrival;

/// The album that an update belongs to: its number, in a chat, of a person.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Album {
    group: String,
    chat: i64,
    from: i64,
}

#[derive(Deserialize)]
struct Outer {
    message: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    media_group_id: Option<String>,
    chat: Id,
    from: Option<Id>,
}

#[derive(Deserialize)]
struct Id {
    id: i64,
}

/// The album of an update; nothing when it belongs to none.
pub(super) fn of(update: &RawValue) -> Option<Album> {
    let Inner { media_group_id, chat, from } = serde_json::from_str::<Outer>(update.get()).ok()?.message?;
    Some(Album { group: media_group_id?, chat: chat.id, from: from?.id })
}

/// How many of the updates, from the first on, are one message.
pub(super) fn length(updates: &[Box<RawValue>]) -> usize {
    let Some(album) = updates.first().and_then(|update| of(update)) else { return 1 };
    updates.iter().take_while(|update| of(update).as_ref() == Some(&album)).count().max(1)
}

/// The messages of an album as one: known by its first, said when any was said to us, with all words and files.
pub(super) fn join(mut messages: Vec<Arrival>) -> Option<Arrival> {
    let rest = messages.split_off(messages.len().min(1));
    let mut whole = messages.pop()?;
    for Arrival { text, files, mentioned, .. } in rest {
        whole.files.extend(files);
        whole.mentioned |= mentioned;
        if !text.is_empty() {
            let between = if whole.text.is_empty() { "" } else { "\n\n" };
            whole.text = format!("{}{between}{text}", whole.text);
        }
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn update(group: Option<&str>, from: i64) -> Box<RawValue> {
        let message = json!({"media_group_id": group, "chat": {"id": 1}, "from": {"id": from}});
        RawValue::from_string(json!({"update_id": 1, "message": message}).to_string()).unwrap()
    }

    #[test]
    fn what_belongs_together_is_of_one_album_and_one_person() {
        for (updates, expected) in [
            (vec![update(Some("a"), 1), update(Some("a"), 1), update(Some("b"), 1)], 2),
            (vec![update(Some("a"), 1), update(Some("a"), 2)], 1),
            (vec![update(None, 1), update(None, 1)], 1),
            (vec![update(Some("a"), 1), update(None, 1), update(Some("a"), 1)], 1),
            (vec![], 1),
        ] {
            assert_eq!(length(&updates), expected, "{updates:?}");
        }
    }
}
