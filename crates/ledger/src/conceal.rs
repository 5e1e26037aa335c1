//! What must not be seen, taken out of entries before they are written.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit as _, Mac as _};
use moltbot_policy::Entry;
use moltbot_policy::redact::Redactor;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::record::hex;

/// What stands in front of the HMAC of a value.
const MARK: &str = "hmac:";
/// What stands for a value where no key is known: it cannot be looked for.
const HIDDEN: &str = "***";

/// Puts `hmac:<64 hex>` in place of what a [`Redactor`] finds: HMAC-SHA256 of the value under a key of the
/// installation, so that the book can be searched for a value and does not tell it.
#[derive(Clone, Default)]
pub struct Conceal {
    redactor: Redactor,
    key: Option<Zeroizing<[u8; 32]>>,
}

impl std::fmt::Debug for Conceal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conceal")
    }
}

impl Conceal {
    /// What `redactor` finds is concealed under `key`.
    pub const fn new(redactor: Redactor, key: Zeroizing<[u8; 32]>) -> Self {
        Self { redactor, key: Some(key) }
    }

    /// What stands in the book for a value: what `moltbot ledger hash` prints and `search` looks for.
    pub fn value(&self, value: &str) -> String {
        let mac = self.key.as_ref().and_then(|key| Hmac::<Sha256>::new_from_slice(key.as_slice()).ok());
        match mac {
            None => HIDDEN.into(),
            Some(mac) => {
                let digest = mac.chain_update(value.trim().as_bytes()).finalize().into_bytes();
                format!("{MARK}{}", hex(&digest))
            }
        }
    }

    /// The entry without what must not be seen in its target and details.
    pub(crate) fn entry<'a>(&self, entry: &'a Entry) -> Cow<'a, Entry> {
        let conceal = |text: &str| match self.redactor.redact(text, &|value| self.value(value)) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text),
        };
        let mut concealed = Cow::Borrowed(entry);
        if let Some(target) = conceal(&entry.target) {
            concealed.to_mut().target = target;
        }
        for (name, value) in &entry.details {
            if let Some(value) = conceal(value) {
                concealed.to_mut().details.insert(name, value);
            }
        }
        concealed
    }
}
