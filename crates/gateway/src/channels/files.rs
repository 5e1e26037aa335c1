//! Files that people send who were let in: fetched, named by us, and kept for the turn that answers.

use std::sync::Arc;

use moltbot_agent::picture_type;
use moltbot_channels::driver::{Attached, NotFetched, Place};
use moltbot_config::limits;
use moltbot_protocol::message::{InboundMessage, SentImage};
use sha2::{Digest as _, Sha256};

use super::Served;
use crate::shared::Shared;

/// What became of the files of a message.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// What the agent is told of them.
    pub(super) told: Vec<String>,
    /// Those of them that are pictures.
    pub(super) images: Vec<SentImage>,
    /// What the sender is told of those that were not taken.
    pub(super) refused: Vec<String>,
}

/// Takes the files of a message, one after the other and within a time for all.
pub(super) async fn take(
    shared: &Arc<Shared>,
    served: &Arc<Served>,
    message: &InboundMessage,
    files: &[Attached],
) -> Taken {
    let mut taken = Taken::default();
    let until = tokio::time::Instant::now() + limits::FILES_WAIT;
    for (number, file) in files.iter().enumerate() {
        let kept = if number >= limits::FILES_TAKEN {
            Err(format!("a message has {} files at most", limits::FILES_TAKEN))
        } else {
            let keeping = keep(shared, served, message, number, file);
            tokio::time::timeout_at(until, keeping).await.unwrap_or_else(|_| Err("it took too long".into()))
        };
        match kept {
            Ok((told, image)) => {
                taken.told.push(told);
                taken.images.extend(image);
            }
            Err(why) => {
                tracing::info!(place = %served.place(), run = %message.run, why, "a file is not taken");
                taken.told.push(format!("[Attached, and not readable here: {}: {why}.]", file.what));
                taken.refused.push(format!("I did not take {}: {why}.", file.what));
            }
        }
    }
    taken
}

/// Keeps one file. Answers what the agent is told.
async fn keep(
    shared: &Arc<Shared>,
    served: &Arc<Served>,
    message: &InboundMessage,
    number: usize,
    file: &Attached,
) -> Result<(String, Option<SentImage>), String> {
    let fetched = served.driver.fetch(file).await;
    let bytes = fetched.map_err(|error: NotFetched| error.to_string())?;
    let Kind { end, mime, is_words } = kind_of(&bytes);
    let fits = u64::try_from(bytes.len()).is_ok_and(|size| size <= limits::PICTURE_BYTES);
    let picture = picture_type(&bytes).filter(|_| fits);
    let name = format!("{}.{end}", stem(served.place(), message, number));
    let path = shared.agent.keep_received(message, &name, bytes).await?;
    let seen = match picture {
        Some(_) => "; a model that sees is shown it",
        None if is_words => "",
        None => "; it cannot be shown to you, only read as a file",
    };
    let told = format!("[Attached: {}. It is the file {path} ({mime}{seen}).]", file.what);
    Ok((told, picture.map(|mime| SentImage { mime_type: mime.into(), path })))
}

/// Keeps the pictures that a client of ours sent with a message, which says where they are.
///
/// # Errors
/// A sentence: when one is no picture, or cannot be kept.
pub(crate) async fn keep_pictures(
    shared: &Shared,
    message: &mut InboundMessage,
    pictures: Vec<Vec<u8>>,
) -> Result<(), String> {
    let mut told = Vec::with_capacity(pictures.len());
    for (number, bytes) in pictures.into_iter().enumerate() {
        let number = number.saturating_add(1);
        let no_picture = || format!("attachment {number} is no picture: PNG, JPEG, GIF and WebP are taken");
        let mime_type = picture_type(&bytes).ok_or_else(no_picture)?;
        let digest = hex_start(&format!("{}:{}", message.channel, message.external_id));
        let name = format!("webchat-{digest}-{number}.{}", kind_of(&bytes).end);
        let path = shared.agent.keep_received(message, &name, bytes).await?;
        told.push(format!(
            "[Attached: a picture. It is the file {path} ({mime_type}; a model that sees is shown it).]"
        ));
        message.images.push(SentImage { mime_type: mime_type.into(), path });
    }
    if !told.is_empty() {
        message.text = [message.text.trim_end(), &told.join("\n")].join("\n\n");
    }
    Ok(())
}

/// The same for the same file of the same message: what is taken again after a crash is the same file.
fn stem(place: &Place, message: &InboundMessage, number: usize) -> String {
    let digest = hex_start(&format!("{place}:{}", message.external_id));
    format!("{}-{digest}-{}", place.channel, number.saturating_add(1))
}

/// The first 16 digits of a text's digest.
fn hex_start(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What a file is, by its first bytes: neither its name nor what its sender says decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Kind {
    end: &'static str,
    mime: &'static str,
    /// Whether the agent sees all of it by reading.
    is_words: bool,
}

fn kind_of(bytes: &[u8]) -> Kind {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let later = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let (end, mime) = match () {
        () if begins(b"\x89PNG\r\n\x1a\n") => ("png", "image/png"),
        () if begins(b"\xff\xd8\xff") => ("jpg", "image/jpeg"),
        () if begins(b"GIF87a") || begins(b"GIF89a") => ("gif", "image/gif"),
        () if begins(b"RIFF") && later(8, b"WEBP") => ("webp", "image/webp"),
        () if begins(b"RIFF") && later(8, b"WAVE") => ("wav", "audio/wav"),
        () if begins(b"%PDF-") => ("pdf", "application/pdf"),
        () if begins(b"OggS") => ("ogg", "audio/ogg"),
        () if begins(b"ID3") || begins(b"\xff\xfb") => ("mp3", "audio/mpeg"),
        () if later(4, b"ftyp") => ("mp4", "video/mp4"),
        () if begins(b"\x1aE\xdf\xa3") => ("webm", "video/webm"),
        () if begins(b"PK\x03\x04") => ("zip", "application/zip"),
        () if begins(b"\x1f\x8b") => ("gz", "application/gzip"),
        () if is_text(bytes) => return Kind { end: "txt", mime: "text/plain", is_words: true },
        () => ("bin", "application/octet-stream"),
    };
    Kind { end, mime, is_words: false }
}

/// Whether bytes are words: UTF-8 without control characters other than ends of lines and tabs.
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_bytes_say() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], "png"),
            (b"\xff\xd8\xff\xe0", "jpg"),
            (b"RIFF....WEBPVP8", "webp"),
            (b"....ftypisom", "mp4"),
            (b"%PDF-1.7", "pdf"),
            (b"PK\x03\x04", "zip"),
            ("#!/bin/sh\nrm -rf gr\u{fc}n\n".as_bytes(), "txt"),
            (b"\x7fELF\x02", "bin"),
            (b"a\x00b", "bin"),
            (b"\x1b[2J", "bin"),
            (b"", "txt"),
        ] {
            assert_eq!(kind_of(bytes).end, expected, "{bytes:?}");
        }
    }
}
