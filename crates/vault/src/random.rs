//! Randomness of the operating system, and what is drawn from it.

use moltbot_policy::authentication::token_from;
use secrecy::SecretString;
use thiserror::Error;
use zeroize::Zeroizing;

/// Draws of a token before giving up. One draw in 10⁶ breaks the rules; three in a row are a broken source.
const TOKEN_DRAWS: usize = 3;

/// Why there is no randomness.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RandomError {
    /// The operating system gave none.
    #[error("the operating system gives no random bytes; check that /dev/urandom can be read")]
    Silent {
        /// What it said.
        source: getrandom::Error,
    },
    /// It gave bytes that no fair source gives.
    #[error("the operating system's random bytes repeat themselves; do not use this machine for keys")]
    Unfair,
}

/// `N` random bytes, fit for keys.
///
/// # Errors
/// When the operating system has none.
pub fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|source| RandomError::Silent { source })?;
    Ok(bytes)
}

/// A new gateway token: 256 random bits in 43 base64url characters that keep the rules for tokens.
///
/// # Errors
/// When the operating system has no randomness, or only such that breaks the rules again and again.
pub fn draw_token() -> Result<SecretString, RandomError> {
    for _ in 0..TOKEN_DRAWS {
        let bytes = Zeroizing::new(random::<32>()?);
        if let Ok(token) = token_from(&bytes) {
            return Ok(token);
        }
    }
    Err(RandomError::Unfair)
}

/// A random id: UUID version 4, in lower case with hyphens.
///
/// # Errors
/// When the operating system has no randomness.
pub fn random_id() -> Result<String, RandomError> {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x2 << 62;
    const FIXED: u128 = (0xf << 76) | (0x3 << 62);
    let bits = u128::from_be_bytes(random()?) & !FIXED | VERSION | VARIANT;
    let part = |shift: u32, width: u32| (bits >> shift) & ((1 << width) - 1);
    let (time, middle, version) = (part(96, 32), part(80, 16), part(64, 16));
    let (variant, node) = (part(48, 16), part(0, 48));
    Ok(format!("{time:08x}-{middle:04x}-{version:04x}-{variant:04x}-{node:012x}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn drawn_tokens_differ_and_keep_the_rules() {
        let tokens: HashSet<String> =
            (0..50).map(|_| draw_token().unwrap().expose_secret().to_owned()).collect();
        assert_eq!(tokens.len(), 50);
        assert!(tokens.iter().all(|token| token.len() == 43));
    }

    #[test]
    fn a_random_id_is_a_uuid_of_version_4() {
        let ids: HashSet<String> = (0..200).map(|_| random_id().unwrap()).collect();
        assert_eq!(ids.len(), 200);
        for id in ids {
            let parts: Vec<&str> = id.split('-').collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
        }
    }
}
