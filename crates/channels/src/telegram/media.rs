//! What is attached to a message: files that can be fetched, and what can only be named.

use super::update::{File, Media};
use crate::driver::Attached;

/// The longest name of a file that is told, in characters.
const NAME: usize = 80;

/// Names what is attached and is no file that is fetched; nothing when there is nothing. `files` says what becomes of those.
pub(super) fn describe(media: &Media, files: Files) -> Option<String> {
    let all = everything(media);
    let files = all.into_iter().filter(|(_, file)| files == Files::Named || file.file_id.is_none());
    let files = files.map(|(what, file)| named(what, file));
    let others = [
        (media.contact.is_some(), "a contact"),
        (media.location.is_some(), "a place on the map"),
        (media.poll.is_some(), "a poll"),
    ];
    let others = others.into_iter().filter(|(is_there, _)| *is_there).map(|(_, what)| what.to_owned());
    let all: Vec<String> = files.chain(others).collect();
    (!all.is_empty()).then(|| format!("[Attached, and not readable here: {}.]", all.join("; ")))
}

/// What becomes of files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Files {
    /// They are fetched.
    Fetched,
    /// They are named, because they were fetched before.
    Named,
}

/// The files that can be fetched.
pub(super) fn files(media: &Media) -> Vec<Attached> {
    let attached = |(what, file): (&str, &File)| {
        let handle = file.file_id.clone()?;
        Some(Attached { handle, what: named(what, file), size: file.file_size })
    };
    everything(media).into_iter().filter_map(attached).collect()
}

fn everything(media: &Media) -> Vec<(&'static str, &File)> {
    let largest = media.photo.iter().max_by_key(|photo| photo.file_size);
    // An animation comes as a document as well.
    let files = [
        ("an animation", media.animation.as_ref()),
        ("a document", media.document.as_ref().filter(|_| media.animation.is_none())),
        ("a photo", largest),
        ("a recording", media.audio.as_ref()),
        ("a sticker", media.sticker.as_ref()),
        ("a video", media.video.as_ref()),
        ("a video message", media.video_note.as_ref()),
        ("a voice message", media.voice.as_ref()),
    ];
    files.into_iter().filter_map(|(what, file)| file.map(|file| (what, file))).collect()
}

fn named(what: &str, file: &File) -> String {
    let mut details: Vec<String> = Vec::new();
    details.extend(file.file_name.as_deref().map(|name| format!("named \"{}\"", shown(name))));
    details.extend(file.mime_type.as_deref().map(shown));
    details.extend(file.emoji.as_deref().map(shown));
    details.extend(file.duration.map(|seconds| format!("{seconds} s")));
    details.extend(file.file_size.map(|bytes| format!("{} kB", bytes.div_ceil(1000))));
    if details.is_empty() { what.to_owned() } else { format!("{what} ({})", details.join(", ")) }
}

/// A text of the sender's without what could end the note that it stands in.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '[' | ']' | '"')).take(NAME).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn described(media: Value) -> Option<String> {
        describe(&serde_json::from_value(media).unwrap(), Files::Named)
    }

    #[test]
    fn what_is_attached_is_named_and_not_opened() {
        for (media, expected) in [
            (json!({}), None),
            (json!({"photo": [{"file_size": 900}, {"file_size": 120_500}]}), Some("a photo (121 kB)")),
            (
                json!({"document": {"file_name": "a\"].txt\n", "mime_type": "text/plain", "file_size": 10}}),
                Some("a document (named \"a.txt\", text/plain, 1 kB)"),
            ),
            (json!({"animation": {}, "document": {}}), Some("an animation")),
            (
                json!({"voice": {"duration": 7, "mime_type": "audio/ogg"}}),
                Some("a voice message (audio/ogg, 7 s)"),
            ),
            (json!({"poll": {"id": "1"}, "sticker": {"emoji": "😀"}}), Some("a sticker (😀); a poll")),
        ] {
            let expected = expected.map(|words| format!("[Attached, and not readable here: {words}.]"));
            assert_eq!(described(media.clone()), expected, "{media}");
        }
    }

    #[test]
    fn files_are_handed_over_with_their_handles_and_the_largest_photo_alone() {
        let media: Media = serde_json::from_value(json!({
            "photo": [{"file_id": "small", "file_size": 9}, {"file_id": "large", "file_size": 90_000}],
            "poll": {"id": "1"},
        }))
        .unwrap();
        let expected =
            Attached { handle: "large".into(), what: "a photo (90 kB)".into(), size: Some(90_000) };
        assert_eq!(files(&media), [expected]);
        let described = describe(&media, Files::Fetched);
        assert_eq!(described.as_deref(), Some("[Attached, and not readable here: a poll.]"));
    }
}
