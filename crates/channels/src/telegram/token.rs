//! A bot's token, which is in the path of every request.

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// The fewest characters of the second half.
const SECRET: usize = 30;

/// What tells Telegram which bot speaks. Never shown: neither by `Debug`, nor in an error or a URL.
#[derive(Clone, Debug)]
pub struct BotToken(SecretString);

/// Why a text is no bot token. Does not repeat it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "it does not look like a bot token: digits, a colon, and at least 30 letters, digits, `-` and `_`; copy it from @BotFather"
)]
pub struct NoBotToken;

impl BotToken {
    /// Reads a token; spaces and ends of lines around it are left out, as files have them.
    ///
    /// # Errors
    /// When it cannot be one. It is then safe to put into a path: nothing else than its own characters is in it.
    pub fn parse(text: &SecretString) -> Result<Self, NoBotToken> {
        let text = text.expose_secret().trim();
        let (id, secret) = text.split_once(':').ok_or(NoBotToken)?;
        let is_id = (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_secret = (SECRET..=100).contains(&secret.len()) && secret.bytes().all(is_part);
        if is_id && is_secret { Ok(Self(SecretString::from(text))) } else { Err(NoBotToken) }
    }

    /// The path of a method below `root`.
    pub(super) fn path(&self, root: &str, method: &str) -> SecretString {
        format!("{}/bot{}/{method}", root.trim_end_matches('/'), self.0.expose_secret()).into()
    }

    /// The path of a file below `root`.
    pub(super) fn file_path(&self, root: &str, path: &str) -> SecretString {
        format!("{}/file/bot{}/{path}", root.trim_end_matches('/'), self.0.expose_secret()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "7000000001:AAH-canary_0123456789abcdefghijklmno";

    #[test]
    fn a_token_is_read_and_never_shown() {
        let token = BotToken::parse(&format!(" {TOKEN}\n").into()).unwrap();
        let path = token.path("/", "getMe");
        assert_eq!(path.expose_secret(), format!("/bot{TOKEN}/getMe"));
        let told = format!("{token:?} {path:?}");
        assert!(!told.contains("canary") && !told.contains("7000000001"), "{told}");
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_without_being_repeated() {
        for text in
            ["", "canary", "1:short", &TOKEN.replace(':', ""), &format!("{TOKEN}/../x"), &format!("x{TOKEN}")]
        {
            let refused = BotToken::parse(&text.into()).unwrap_err();
            assert!(!refused.to_string().contains("canary"), "{text}");
        }
    }
}
