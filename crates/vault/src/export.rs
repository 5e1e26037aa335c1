//! Bytes under a passphrase, for taking secrets from one installation to another.
//!
//! ```text
//! moltbot secrets v1
//! wrap passphrase scrypt 17 8 1 <salt, 64 hex digits>
//! sealed <base64url>
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::envelope;
use crate::key_file::{SALT, Wrap};
use crate::random::random;
use crate::unlock;
use crate::vault::VaultError;

const TITLE: &str = "moltbot secrets v1";
/// In place of an installation's id: the file belongs to none.
const ANY: &str = "any";

/// Seals `plain` under a passphrase of at least 15 characters.
///
/// # Errors
/// When the passphrase is too short, or there are no random bytes.
pub fn seal_export(passphrase: &SecretString, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    unlock::require_strong(passphrase)?;
    let salt = random::<SALT>()?;
    let key = unlock::derive(passphrase, unlock::LOG_N, &salt)?;
    let header = format!("{TITLE}\nwrap {}\n", Wrap::Passphrase { log_n: unlock::LOG_N, salt });
    let sealed = envelope::seal(&key, ANY, &header, plain)?;
    Ok(format!("{header}sealed {}\n", URL_SAFE_NO_PAD.encode(sealed)).into_bytes())
}

/// Opens what [`seal_export`] made.
///
/// # Errors
/// When it is something else, the passphrase is wrong, or it was changed.
pub fn open_export(passphrase: &SecretString, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let damaged = |what| VaultError::Export { what };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let mut lines = text.strip_suffix('\n').ok_or_else(|| damaged("its last line does not end"))?.split('\n');
    let mut line = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
    line(TITLE).filter(|rest| rest.is_empty()).ok_or_else(|| damaged("it does not begin like an export"))?;
    let wrap =
        line("wrap ").and_then(Wrap::parse).ok_or_else(|| damaged("it does not say how it is wrapped"))?;
    let sealed = line("sealed ").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let sealed = sealed.ok_or_else(|| damaged("what is sealed cannot be read"))?;
    if lines.next().is_some() {
        return Err(damaged("it has more lines than it should"));
    }
    let Wrap::Passphrase { log_n, salt } = &wrap else {
        return Err(damaged("it is not wrapped by a passphrase"));
    };
    let key = unlock::derive(passphrase, *log_n, salt)?;
    let header = format!("{TITLE}\nwrap {wrap}\n");
    envelope::open(&key, ANY, &header, &sealed)
        .map_err(|_| damaged("it does not open: the passphrase is wrong, or it was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_opens_with_its_passphrase_alone_and_no_byte_of_it_can_change() {
        let passphrase = SecretString::from("correct horse battery");
        let bytes = seal_export(&passphrase, b"all secrets").unwrap();
        assert_eq!(**open_export(&passphrase, &bytes).unwrap(), *b"all secrets");
        assert!(open_export(&SecretString::from("incorrect horse battery"), &bytes).is_err());
        assert!(seal_export(&SecretString::from("too short"), b"x").is_err());
        // Bytes of the salt and of what is sealed cost a derivation each: a sample of them.
        for position in (0..bytes.len()).step_by(29) {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(open_export(&passphrase, &changed).is_err(), "byte {position}");
        }
    }
}
