//! How strong a shared credential must be. The two numbers of the promise, and what the numbers alone let through: see
//! [`guessable`].

mod guessable;

use std::collections::HashSet;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

const TOKEN_CHARS: usize = 32;
const TOKEN_DISTINCT: usize = 20;
const PASSWORD_CHARS: usize = 15;
const PASSWORD_DISTINCT: usize = 5;

/// Why a credential is not one. The texts name the rule, never the value.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WeakCredential {
    /// Token mode without a token.
    #[error(
        "Invalid gateway token: none is set; run `moltbot up`, which makes one, or set gateway.auth.token"
    )]
    NoToken,
    /// Password mode without a password.
    #[error(
        "Invalid gateway password: none is set; set gateway.auth.password to at least {PASSWORD_CHARS} characters"
    )]
    NoPassword,
    /// Shorter than the rule.
    #[error(
        "Invalid gateway token: Token must be at least {TOKEN_CHARS} characters; make one with `openssl rand -base64 32`"
    )]
    Short,
    /// Fewer different characters than the rule, and only hex digits.
    #[error(
        "Invalid gateway token: hex has only 16 different characters and {TOKEN_DISTINCT} are needed; make one with `openssl rand -base64 32`"
    )]
    Hex,
    /// Fewer different characters than the rule.
    #[error(
        "Invalid gateway token: Token must have higher entropy (at least {TOKEN_DISTINCT} unique chars); make one with `openssl rand -base64 32`"
    )]
    Uniform,
    /// A sequence, a repetition, common words, or an example.
    #[error(
        "Invalid gateway token: it contains a sequence, a repetition or a published example, or consists of common words; make one with `openssl rand -base64 32`"
    )]
    Guessable,
    /// A password that is tried early.
    #[error(
        "Invalid gateway password: it is a sequence, a repetition or an example, or consists of common words; take four words that have nothing to do with each other"
    )]
    GuessablePassword,
    /// A password's hash that is none that is taken.
    #[error(
        "Invalid gateway password: it begins as a hash and is none that is taken; make one with `moltbot secrets hash-password`"
    )]
    PasswordHash,
    /// Not printable ASCII, or with white space.
    #[error("Invalid gateway token: only printable ASCII characters without spaces are allowed")]
    Alphabet,
    /// A password shorter than the rule, or with too few different characters.
    #[error(
        "Invalid gateway password: it must have at least {PASSWORD_CHARS} characters, {PASSWORD_DISTINCT} of them different"
    )]
    Password,
}

/// The token, when it keeps the rules. White space around it is a copying accident and does not count.
///
/// # Errors
/// Which rule it breaks.
pub fn check_token(token: &SecretString) -> Result<SecretString, WeakCredential> {
    let text = token.expose_secret().trim();
    if text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(WeakCredential::Alphabet);
    }
    if text.len() < TOKEN_CHARS {
        return Err(WeakCredential::Short);
    }
    let distinct = text.chars().collect::<HashSet<_>>().len();
    if distinct < TOKEN_DISTINCT {
        let hex = text.chars().all(|c| c.is_ascii_hexdigit());
        return Err(if hex { WeakCredential::Hex } else { WeakCredential::Uniform });
    }
    if guessable::is_guessable(text) {
        return Err(WeakCredential::Guessable);
    }
    Ok(SecretString::from(text))
}

/// The password, when it keeps the rules.
pub(super) fn check_password(password: &SecretString) -> Result<SecretString, WeakCredential> {
    let text = password.expose_secret();
    let distinct = text.chars().collect::<HashSet<_>>().len();
    if text.chars().count() < PASSWORD_CHARS || distinct < PASSWORD_DISTINCT {
        return Err(WeakCredential::Password);
    }
    if guessable::is_guessable(text) {
        return Err(WeakCredential::GuessablePassword);
    }
    Ok(password.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_02_d_03_d_05_a_token_keeps_the_rules_or_is_named_weak() {
        for (token, expected) in [
            ("", Err(WeakCredential::Short)),
            ("short", Err(WeakCredential::Short)),
            ("abcdefghijklmnopqrstuvwxyz123456", Err(WeakCredential::Guessable)),
            ("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Err(WeakCredential::Hex)),
            ("your-32-character-token-here-abcdefgh", Err(WeakCredential::Uniform)),
            ("YOUR-gateway-token-here-q8Zr3VtLx0Nw", Err(WeakCredential::Guessable)),
            ("Replace-Me-q8Zr3VtLx0NwYbE5mKc7HdPf", Err(WeakCredential::Guessable)),
            ("Xq3Zr8VtLx0Nw-Xq3Zr8VtLx0Nw-Xq3Zr8VtLx0Nw-Yb", Err(WeakCredential::Uniform)),
            ("q8Zr3VtLx0NwYbE5mKc7q8Zr3VtLx0NwYbE5mKc7q8Z", Err(WeakCredential::Guessable)),
            ("Welcome-Dragon-Monkey-Football-Sunshine-2026!", Err(WeakCredential::Guessable)),
            ("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", Err(WeakCredential::Uniform)),
            ("q8Zr3VtLx0NwYbE5mKc7HdPf\u{e9}J2sGuA9o1QiT", Err(WeakCredential::Alphabet)),
            ("q8Zr3VtLx0NwYbE5mKc7 HdPfJ2sGuA9o1QiT", Err(WeakCredential::Alphabet)),
            (" q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM\n", Ok(())),
        ] {
            assert_eq!(check_token(&token.into()).map(|_| ()), expected, "token {token:?}");
        }
    }

    #[test]
    fn d_06_a_password_has_fifteen_characters() {
        assert_eq!(check_password(&"1".into()).err(), Some(WeakCredential::Password));
        assert_eq!(check_password(&"aaaaaaaaaaaaaaaaaaaa".into()).err(), Some(WeakCredential::Password));
        for common in [
            "password12345678",
            "password1234567",
            "P4ssw0rd-P4ssw0rd!",
            "qwertyuiopasdfgh",
            "MyPasswordIsSecret!",
            "abcdeabcdeabcdeabcde",
            "Administrator2026!",
            "987654321012345",
        ] {
            let found = check_password(&common.into()).err();
            assert_eq!(found, Some(WeakCredential::GuessablePassword), "{common}");
        }
        for good in
            ["correct horse battery", "r7!Kq-29xVb_tLm0", "lila Nashorn isst Kohl", "9471-2836-5550-1847"]
        {
            assert!(check_password(&good.into()).is_ok(), "{good}");
        }
    }
}
