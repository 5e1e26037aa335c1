//! A password that is kept as its Argon2id hash, in the form of a PHC string: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
//!
//! What is kept lets in nobody who has it, and guessing costs 19 MiB and some 30 ms each. After the password was right
//! once, a digest of it in memory answers for it: each HTTP request is a sign-in, and none may cost that again.

use std::sync::OnceLock;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::digest;
use super::strength::{WeakCredential, check_password};

/// How a hash begins. A password that begins so is taken for none.
const BEGINNING: &str = "$argon2";
/// What is made here: 19 MiB, two passes, one lane (OWASP's first choice).
const MADE: (u32, u32, u32) = (19 * 1024, 2, 1);
/// The least memory that is taken, in KiB, and the least of memory times passes: OWASP's list has nothing cheaper.
const LEAST: (u32, u32) = (7 * 1024, 7 * 1024 * 5);
/// The most memory in KiB, passes and lanes: two are verified at once.
const MOST: (u32, u32, u32) = (256 * 1024, 16, 8);
/// The lengths of salts and of hashes that are taken, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=64;

/// A hash that was read.
pub(super) struct PasswordHash {
    parameters: Params,
    salt: Vec<u8>,
    hash: Zeroizing<Vec<u8>>,
    /// The digest of the password, once it was right.
    proven: OnceLock<[u8; 32]>,
}

impl PasswordHash {
    /// The hash in a config; nothing when it is a password as it is.
    ///
    /// # Errors
    /// When it is a hash of another kind, or one that is too cheap to guess for.
    pub(super) fn parse(text: &SecretString) -> Result<Option<Self>, WeakCredential> {
        let text = text.expose_secret();
        if !text.starts_with(BEGINNING) {
            return Ok(None);
        }
        read(text).map(Some).ok_or(WeakCredential::PasswordHash)
    }

    /// Whether a password is not yet known to be right: then it costs as much as it is meant to.
    pub(super) fn is_slow(&self) -> bool {
        self.proven.get().is_none()
    }

    /// Compares in constant time, whatever was right or wrong before.
    pub(super) fn matches(&self, presented: &SecretString) -> bool {
        let digest = digest(presented.expose_secret());
        if let Some(proven) = self.proven.get() {
            return proven.ct_eq(&digest).into();
        }
        let made = hashed(presented, &self.salt, self.parameters.clone(), self.hash.len());
        let is_right = made.is_some_and(|made| bool::from(made.ct_eq(&self.hash)));
        if is_right {
            // Another one may have been right at the same time: it was the same one.
            self.proven.get_or_init(|| digest);
        }
        is_right
    }

    /// Whether both are the same hash.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.salt == other.salt && bool::from(self.hash.ct_eq(&other.hash))
    }
}

/// The hash of a password that keeps the rules, as a PHC string, with 16 random bytes.
///
/// # Errors
/// Which rule it breaks.
pub fn hash_password(password: &SecretString, salt: &[u8; 16]) -> Result<String, WeakCredential> {
    check_password(password)?;
    let (memory, passes, lanes) = MADE;
    let parameters = Params::new(memory, passes, lanes, None).map_err(|_| WeakCredential::PasswordHash)?;
    let hash = hashed(password, salt, parameters, 32).ok_or(WeakCredential::PasswordHash)?;
    let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    Ok(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}", text(salt), text(&hash)))
}

fn hashed(
    password: &SecretString,
    salt: &[u8],
    parameters: Params,
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut hash = Zeroizing::new(vec![0; length]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    argon2.hash_password_into(password.expose_secret().as_bytes(), salt, &mut hash).ok()?;
    Some(hash)
}

fn read(text: &str) -> Option<PasswordHash> {
    let rest = text.strip_prefix("$argon2id$v=19$")?;
    let [parameters, salt, hash] = rest.split('$').collect::<Vec<_>>().try_into().ok()?;
    let [memory, passes, lanes] = parameters.split(',').collect::<Vec<_>>().try_into().ok()?;
    let number = |text: &str, name: &str| text.strip_prefix(name)?.parse::<u32>().ok();
    let (memory, passes, lanes) = (number(memory, "m=")?, number(passes, "t=")?, number(lanes, "p=")?);
    let (least, least_work) = LEAST;
    let is_dear = memory >= least && u64::from(memory) * u64::from(passes) >= u64::from(least_work);
    let (most, most_passes, most_lanes) = MOST;
    let is_payable = memory <= most && passes <= most_passes && (1..=most_lanes).contains(&lanes);
    let bytes = |text: &str| STANDARD_NO_PAD.decode(text).ok().filter(|bytes| LENGTHS.contains(&bytes.len()));
    let (salt, hash) = (bytes(salt)?, Zeroizing::new(bytes(hash)?));
    let parameters = Params::new(memory, passes, lanes, None).ok().filter(|_| is_dear && is_payable)?;
    Some(PasswordHash { parameters, salt, hash, proven: OnceLock::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery";

    fn parse(text: &str) -> Result<Option<PasswordHash>, WeakCredential> {
        PasswordHash::parse(&text.into())
    }

    #[test]
    fn a_hash_lets_in_its_password_and_neither_itself_nor_another() {
        let made = hash_password(&PASSWORD.into(), &[7; 16]).unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
        let hash = parse(&made).unwrap().unwrap();
        for wrong in ["correct horse batterz", "", &made, "$argon2id$"] {
            assert!(!hash.matches(&wrong.into()), "{wrong}");
        }
        assert!(hash.is_slow() && hash.matches(&PASSWORD.into()) && !hash.is_slow());
        assert!(hash.matches(&PASSWORD.into()) && !hash.matches(&made.as_str().into()));
        assert!(hash.is_same(&parse(&made).unwrap().unwrap()));
        assert!(!hash.is_same(&parse(&hash_password(&PASSWORD.into(), &[8; 16]).unwrap()).unwrap().unwrap()));
    }

    #[test]
    fn d_06_a_hash_of_another_program_counts_when_it_is_dear_enough() {
        // Made by the reference implementation, with the salt `somesaltsomesalt`.
        let known = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$/HetJC6LZ4lnwgLB+wJSS2a9bFu2Kq4HxwNWzoJq2qU";
        assert!(parse(known).unwrap().unwrap().matches(&PASSWORD.into()));
        let (salt, length) = ("c29tZXNhbHRzb21lc2FsdA", "A".repeat(43));
        let with = |parameters: &str| format!("$argon2id$v=19${parameters}${salt}${length}");
        for good in ["m=19456,t=2,p=1", "m=47104,t=1,p=1", "m=7168,t=5,p=1", "m=65536,t=3,p=4"] {
            assert!(parse(&with(good)).unwrap().is_some(), "{good}");
        }
        for bad in [
            "m=4096,t=3,p=1",
            "m=19456,t=1,p=1",
            "m=4294967295,t=2,p=1",
            "m=19456,t=2,p=0",
            "t=2,m=19456,p=1",
            "m=19456,t=2,p=1,x=1",
            "",
        ] {
            assert_eq!(parse(&with(bad)).err(), Some(WeakCredential::PasswordHash), "{bad}");
        }
        for bad in ["$argon2i$v=19$m=65536,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$AAAA", "$argon2id$", "$argon2d"] {
            assert_eq!(parse(bad).err(), Some(WeakCredential::PasswordHash), "{bad}");
        }
        assert!(parse(PASSWORD).unwrap().is_none(), "a password as it is");
        assert_eq!(
            hash_password(&"password12345678".into(), &[7; 16]),
            Err(WeakCredential::GuessablePassword)
        );
    }
}
