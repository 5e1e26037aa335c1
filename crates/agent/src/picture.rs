//! Pictures that people sent, as models are shown them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moltbot_config::limits;

use crate::model::{Picture, Pictures};
use crate::tools::Toolbox;

/// What a picture is, by its first bytes; nothing when it is none that models are shown. Neither its name nor what its
/// sender says decides.
pub fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    match () {
        () if begins(b"\x89PNG\r\n\x1a\n") => Some("image/png"),
        () if begins(b"\xff\xd8\xff") => Some("image/jpeg"),
        () if begins(b"GIF87a") || begins(b"GIF89a") => Some("image/gif"),
        () if begins(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Some("image/webp"),
        () => None,
    }
}

/// Reads these pictures of the workspace, newest first, as many as one question may have. Each is judged and recorded; one
/// that is gone, or is no picture any more, is left out, and the log says so.
pub(crate) async fn load(toolbox: &Toolbox, paths: Vec<String>) -> Pictures {
    let mut pictures = BTreeMap::new();
    let mut room = limits::PICTURES_BYTES;
    for path in paths.into_iter().take(limits::PICTURES) {
        let bytes = match toolbox.read_bytes(&path, limits::PICTURE_BYTES).await {
            Ok(bytes) => bytes,
            Err(why) => {
                tracing::warn!(path, why, "a picture cannot be shown");
                continue;
            }
        };
        let Some(left) = room.checked_sub(bytes.len()) else { break };
        let Some(mime_type) = picture_type(&bytes) else {
            tracing::warn!(path, "a picture is none any more");
            continue;
        };
        room = left;
        pictures.insert(path, Picture { mime_type, base64: STANDARD.encode(&bytes) });
    }
    Arc::new(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_its_bytes_say() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF....WEBPVP8", Some("image/webp")),
            (b"RIFF....WAVE", None),
            (b"<svg onload=alert(1)>", None),
            (b"\x89PNG", None),
            (b"", None),
        ] {
            assert_eq!(picture_type(bytes), expected, "{bytes:?}");
        }
    }
}
