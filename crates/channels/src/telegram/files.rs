//! Files that people send: asked for by their handle, and fetched from where Telegram says that they are.
//!
//! The token is in that path as well; neither it nor the path is in an error or a log. What a sender calls a file is no part
//! of any request.

use moltbot_config::limits;
use moltbot_net::{FetchError, Method, Request};
use secrecy::SecretString;
use serde_json::json;

use super::Telegram;
use super::update::FilePlace;
use crate::driver::{Attached, NotFetched};

/// Bytes.
const MEGABYTE: u64 = 1_000_000;

impl Telegram {
    /// Fetches a file, no larger than `most` bytes whatever its sender or Telegram says.
    pub(super) async fn download(&self, file: &Attached, most: u64) -> Result<Vec<u8>, NotFetched> {
        let too_large = || NotFetched::TooLarge(most / MEGABYTE);
        let failed = |why: String| NotFetched::Failed(why);
        if file.size.is_some_and(|size| size > most) {
            return Err(too_large());
        }
        let way = self.way().ok_or_else(|| failed("Telegram is not connected".into()))?;
        let ask = json!({"file_id": file.handle});
        let place: FilePlace = way
            .api
            .call("getFile", &ask, limits::TELEGRAM_IDLE)
            .await
            .map_err(|error| failed(error.to_string()))?;
        if place.file_size.is_some_and(|size| size > most) {
            return Err(too_large());
        }
        let path = place.file_path.filter(|path| is_plain(path));
        let path = path.ok_or_else(|| failed("Telegram names no place of it".into()))?;
        let path: SecretString = way.api.token.file_path(way.api.root.path(), &path);
        let url = way.api.root.clone();
        let request = Request {
            method: Method::Get,
            url,
            headers: Vec::new(),
            body: None,
            idle: limits::TELEGRAM_IDLE,
        };
        let response =
            way.api.door.send_at(&path, request).await.map_err(|error| failed(error.to_string()))?;
        if response.status != 200 {
            return Err(failed(format!("Telegram answered with status {}", response.status)));
        }
        let mut body = response.stream(usize::try_from(most).unwrap_or(usize::MAX));
        let mut bytes = Vec::new();
        loop {
            match body.chunk().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => return Ok(bytes),
                Err(FetchError::TooLarge { .. }) => return Err(too_large()),
                Err(error) => return Err(failed(error.to_string())),
            }
        }
    }
}

/// Whether a path is one that Telegram gives: it goes into the path of a request, next to the token.
fn is_plain(path: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    path.len() <= 200 && path.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_nowhere_else() {
        assert!(is_plain("documents/file_12.jpg"));
        for path in ["", "/etc/passwd", "../getMe", "a/../b", "a//b", "a?b", "a#b", "a%2e", "a b", "a/."] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
