//! Which names say that what is assigned to them is secret.

/// The longest name that is looked at, in bytes.
pub(super) const LONGEST: usize = 64;

/// What a name without its separators ends in when it tells of a secret.
const TELLING: [&str; 18] = [
    "accesskey",
    "accountkey",
    "apikey",
    "authkey",
    "clientkey",
    "credential",
    "credentials",
    "encryptionkey",
    "masterkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "signingkey",
    "subscriptionkey",
    "token",
];
/// What tells only as a word of its own: `bypass` is none.
const WORDS: [&str; 3] = ["pass", "pwd", "sig"];
/// Names of headers that hold credentials.
const HEADERS: [&str; 2] = ["authorization", "proxyauthorization"];
const COOKIES: [&str; 2] = ["cookie", "setcookie"];

/// What a name tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Telling {
    /// It is a header with a scheme and a credential.
    Authorization,
    /// It is a header with several values.
    Cookie,
    /// Nothing.
    Nothing,
    /// Its value is secret.
    Secret,
}

/// What `name` tells.
pub(super) fn telling(name: &[u8]) -> Telling {
    let ends = &|end: &&str| end.len() <= name.len() && ends_in(name, end.as_bytes());
    let is = &|word: &&str| ends(word) && letters(name).count() == word.len();
    if HEADERS.iter().any(is) {
        Telling::Authorization
    } else if COOKIES.iter().any(is) {
        Telling::Cookie
    } else if TELLING.iter().any(ends) || WORDS.iter().any(|word| has_word(name, word)) || shouts_key(name) {
        Telling::Secret
    } else {
        Telling::Nothing
    }
}

/// Whether a name without its separators and its case ends so.
fn ends_in(name: &[u8], end: &[u8]) -> bool {
    let mut letters = letters(name);
    end.iter().rev().all(|byte| letters.next() == Some(*byte))
}

/// The letters and digits of a name, the last first, in lower case.
fn letters(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().rev().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase)
}

/// Whether the last word of a name is this one.
fn has_word(name: &[u8], word: &str) -> bool {
    let last = name.rsplit(|byte| matches!(byte, b'_' | b'-' | b'.')).next();
    last.is_some_and(|last| last.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether it is the name of a variable such as `MY_KEY`.
fn shouts_key(name: &[u8]) -> bool {
    name.ends_with(b"_KEY") && !name.iter().any(u8::is_ascii_lowercase)
}

/// Whether a byte may stand in a name.
pub(super) const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}
