//! `keys/secrets.key`: the root keys, how they are wrapped, and what the installation says of itself.
//!
//! ```text
//! moltbot keys v1
//! installation <uuid>
//! generation <how often the file was written>
//! sealed yes|no
//! wrap none | passphrase scrypt 17 8 1 <salt, 64 hex digits> | keyring <item, 32 hex digits> | systemd | file
//! keys <base64url>
//! check <64 hex digits>
//! ```
//!
//! `keys` holds the installation's lasting key, then each root key behind a byte that says which it is. Unless `wrap` is
//! `none` that is an envelope under the wrapping key, bound to the lines above it. `check` is an HMAC-SHA256 of every
//! line above it, by a key that is derived from the lasting key, so that no byte of the file can change unseen.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::envelope::{self, KEY, hex};
use crate::keyring;
use crate::locked::LockedBytes;
use crate::random::{RandomError, random, random_id};

const TITLE: &str = "moltbot keys v1";
/// What is authenticated with the wrapped keys, before the header's own lines.
const PLACE: &str = "keys/secrets.key\n";
/// The least and the greatest cost of a passphrase that is believed: 2^15 is the least that OWASP still names with
/// these parameters, and 2^20 takes a gibibyte.
const LOG_N: std::ops::RangeInclusive<u8> = 15..=20;
/// Bytes of a passphrase's salt.
pub(crate) const SALT: usize = 32;

/// A key that stays in memory for as long as the vault is open.
pub(crate) type RootKey = LockedBytes<KEY>;

/// The file, opened.
pub(crate) struct KeyFile {
    pub(crate) installation: String,
    pub(crate) generation: u64,
    /// Whether plaintext in a sealed place is an error.
    pub(crate) sealed: bool,
    pub(crate) wrap: Wrap,
    pub(crate) keys: Keys,
}

/// The keys in it.
pub(crate) struct Keys {
    /// Stays for as long as the installation does: salts of hashes are derived from it.
    pub(crate) lasting: RootKey,
    /// What is sealed now.
    pub(crate) current: RootKey,
    /// What was sealed before, while a rotation has not ended.
    pub(crate) previous: Option<RootKey>,
    /// The original's master key, for values that it sealed.
    pub(crate) original: Option<RootKey>,
}

/// How the keys are wrapped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Wrap {
    /// By a key in a file that the environment names.
    File,
    /// By a key in the operating system's keyring, in this item.
    Keyring { item: String },
    /// Not at all.
    None,
    /// By a passphrase and scrypt (RFC 7914).
    Passphrase { log_n: u8, salt: [u8; SALT] },
    /// By a credential that systemd hands over.
    Systemd,
}

/// A file whose keys are still wrapped.
pub(crate) struct Wrapped<'a> {
    pub(crate) installation: String,
    pub(crate) wrap: Wrap,
    generation: u64,
    sealed: bool,
    header: String,
    keys: Vec<u8>,
    check: &'a str,
}

/// What makes a file unreadable.
pub(crate) type Fault = &'static str;

impl KeyFile {
    /// New keys for a new installation.
    pub(crate) fn draw() -> Result<Self, RandomError> {
        let keys = Keys { lasting: draw_key()?, current: draw_key()?, previous: None, original: None };
        Ok(Self { installation: random_id()?, generation: 1, sealed: false, wrap: Wrap::None, keys })
    }

    /// The bytes of the file, wrapped by `key` when it is wrapped at all.
    pub(crate) fn encode(&self, key: Option<&RootKey>) -> Result<Zeroizing<Vec<u8>>, envelope::SealError> {
        let header = header(&self.installation, self.generation, self.sealed, &self.wrap);
        let plain = self.keys.encode();
        let kept = match key {
            None => plain,
            Some(key) => Zeroizing::new(envelope::seal(key, &self.installation, &place(&header), &plain)?),
        };
        let body =
            Zeroizing::new(format!("{header}keys {}\n", *Zeroizing::new(URL_SAFE_NO_PAD.encode(&*kept))));
        let check = check(&self.keys.lasting, &body);
        Ok(Zeroizing::new(format!("{}check {check}\n", *body).into_bytes()))
    }
}

impl<'a> Wrapped<'a> {
    /// Reads the text of a file. Only the spelling that this program writes is one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let mut lines = text.strip_suffix('\n').ok_or("its last line does not end")?.split('\n');
        let mut line = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        line(TITLE).filter(|rest| rest.is_empty()).ok_or("it does not begin like one")?;
        let installation = line("installation ").ok_or("it names no installation")?.to_owned();
        let generation =
            line("generation ").and_then(|text| text.parse().ok()).ok_or("it has no generation")?;
        let sealed = match line("sealed ") {
            Some("yes") => true,
            Some("no") => false,
            _ => return Err("it does not say whether the installation is sealed"),
        };
        let wrap = line("wrap ").and_then(Wrap::parse).ok_or("it does not say how its keys are wrapped")?;
        let keys = line("keys ")
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or("its keys cannot be read")?;
        let check = line("check ").ok_or("it has no check")?;
        if lines.next().is_some() {
            return Err("it has more lines than it should");
        }
        let header = header(&installation, generation, sealed, &wrap);
        if !text.starts_with(&header) {
            return Err("a line is not spelled as moltbot spells it");
        }
        Ok(Self { installation, wrap, generation, sealed, header, keys, check })
    }

    /// Opens it with the wrapping key, when it has one.
    pub(crate) fn open(self, key: Option<&RootKey>) -> Result<KeyFile, Fault> {
        let plain = match key {
            None => Zeroizing::new(self.keys.clone()),
            Some(key) => envelope::open(key, &self.installation, &place(&self.header), &self.keys).map_err(
                |_| "its keys do not open: the passphrase or the wrapping key is wrong, or it was changed",
            )?,
        };
        let keys = Keys::decode(&plain).ok_or("its keys have not the right length")?;
        let body = Zeroizing::new(format!("{}keys {}\n", self.header, URL_SAFE_NO_PAD.encode(&self.keys)));
        if check(&keys.lasting, &body) != self.check {
            return Err("it was changed: its check is not that of its content");
        }
        let Self { installation, generation, sealed, wrap, .. } = self;
        Ok(KeyFile { installation, generation, sealed, wrap, keys })
    }
}

impl Keys {
    const CURRENT: u8 = 1;
    const PREVIOUS: u8 = 2;
    const ORIGINAL: u8 = 3;

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Large enough from the start: growing would leave copies of keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 * (KEY + 1)));
        bytes.extend_from_slice(&*self.lasting);
        let keys = [
            (Self::CURRENT, Some(&self.current)),
            (Self::PREVIOUS, self.previous.as_ref()),
            (Self::ORIGINAL, self.original.as_ref()),
        ];
        for (kind, key) in keys {
            if let Some(key) = key {
                bytes.push(kind);
                bytes.extend_from_slice(&**key);
            }
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (lasting, mut rest) = bytes.split_first_chunk::<KEY>()?;
        let (mut current, mut previous, mut original) = (None, None, None);
        while let Some((kind, after)) = rest.split_first() {
            let (key, after) = after.split_first_chunk::<KEY>()?;
            let key = key_of(key);
            let slot = match *kind {
                Self::CURRENT => &mut current,
                Self::PREVIOUS => &mut previous,
                Self::ORIGINAL => &mut original,
                _ => return None,
            };
            if slot.replace(key).is_some() {
                return None;
            }
            rest = after;
        }
        Some(Self { lasting: key_of(lasting), current: current?, previous, original })
    }
}

impl Wrap {
    /// Reads how it is wrapped, in the one spelling that is written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let wrap = Self::read(text)?;
        (wrap.to_string() == text).then_some(wrap)
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "file" => return Some(Self::File),
            "none" => return Some(Self::None),
            "systemd" => return Some(Self::Systemd),
            _ => {}
        }
        if let Some(item) = text.strip_prefix("keyring ") {
            return keyring::is_id(item).then(|| Self::Keyring { item: item.to_owned() });
        }
        let (log_n, salt) = text.strip_prefix("passphrase scrypt ")?.split_once(" 8 1 ")?;
        let log_n = log_n.parse().ok().filter(|log_n| LOG_N.contains(log_n))?;
        Some(Self::Passphrase { log_n, salt: *envelope::key_of_hex(salt.as_bytes())? })
    }

    /// Its name, for people and machines.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Keyring { .. } => "keyring",
            Self::None => "none",
            Self::Passphrase { .. } => "passphrase",
            Self::Systemd => "systemd",
        }
    }
}

impl fmt::Display for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring { item } => write!(f, "keyring {item}"),
            Self::Passphrase { log_n, salt } => write!(f, "passphrase scrypt {log_n} 8 1 {}", hex(salt)),
            plain => f.write_str(plain.name()),
        }
    }
}

/// A new key.
pub(crate) fn draw_key() -> Result<RootKey, RandomError> {
    LockedBytes::fill(|bytes| {
        *bytes = random()?;
        Ok(())
    })
}

/// A copy of bytes on a page of its own.
fn key_of(bytes: &[u8; KEY]) -> RootKey {
    LockedBytes::take(&mut Zeroizing::new(*bytes))
}

fn header(installation: &str, generation: u64, sealed: bool, wrap: &Wrap) -> String {
    let sealed = if sealed { "yes" } else { "no" };
    format!("{TITLE}\ninstallation {installation}\ngeneration {generation}\nsealed {sealed}\nwrap {wrap}\n")
}

fn place(header: &str) -> String {
    format!("{PLACE}{header}")
}

/// The HMAC of the lines above a check, whose first one tells what they are.
pub(crate) fn check(lasting: &RootKey, body: &str) -> String {
    let (key, _) = Hkdf::<Sha256>::extract(Some(b"moltbot key file check"), &**lasting);
    // An HMAC takes a key of any length.
    Hmac::<Sha256>::new_from_slice(&key)
        .map(|mac| hex(&mac.chain_update(body.as_bytes()).finalize().into_bytes()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(wrap: Wrap) -> KeyFile {
        let mut file = KeyFile::draw().unwrap();
        file.wrap = wrap;
        file.keys.previous = Some(draw_key().unwrap());
        file
    }

    fn read(bytes: &[u8], key: Option<&RootKey>) -> Result<KeyFile, Fault> {
        Wrapped::parse(bytes)?.open(key)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let key = draw_key().unwrap();
        let wraps = [
            (Wrap::None, None),
            (Wrap::File, Some(&key)),
            (Wrap::Keyring { item: "0123456789abcdef".repeat(2) }, Some(&key)),
            (Wrap::Systemd, Some(&key)),
            (Wrap::Passphrase { log_n: 17, salt: [9; SALT] }, Some(&key)),
        ];
        for (wrap, key) in wraps {
            let written = file(wrap.clone());
            let read = read(&written.encode(key).unwrap(), key).unwrap();
            assert_eq!((&read.installation, read.generation, &read.wrap), (&written.installation, 1, &wrap));
            assert_eq!(*read.keys.current, *written.keys.current);
            assert_eq!(read.keys.previous.as_deref(), written.keys.previous.as_deref());
            assert!(read.keys.original.is_none() && !read.sealed);
        }
    }

    #[test]
    fn every_changed_byte_of_the_file_is_refused() {
        let key = draw_key().unwrap();
        for (wrap, key) in [(Wrap::None, None), (Wrap::Passphrase { log_n: 17, salt: [9; SALT] }, Some(&key))]
        {
            let bytes = file(wrap).encode(key).unwrap();
            for position in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[position] ^= 1 << bit;
                    assert!(read(&changed, key).is_err(), "byte {position}, bit {bit}");
                }
            }
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length], key).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_cost_that_is_too_low_or_too_high_is_not_believed() {
        for (log_n, taken) in [(1, false), (14, false), (15, true), (20, true), (21, false), (63, false)] {
            let text = format!("passphrase scrypt {log_n} 8 1 {}", "0".repeat(64));
            assert_eq!(Wrap::parse(&text).is_some(), taken, "{log_n}");
        }
        for item in ["keyring", "keyring ", "keyring 0123", &format!("keyring {}", "G".repeat(32))] {
            assert!(Wrap::parse(item).is_none(), "{item}");
        }
        assert!(Wrap::parse(&format!("passphrase scrypt 17 9 1 {}", "0".repeat(64))).is_none());
    }
}
