//! A wrapping key in the operating system's keyring: an item of the Secret Service, found by what it is for.
//!
//! Its attributes are `application` (`moltbot`), `installation` (the id) and `key` (the item's id, which the key file
//! names). A keyring that is locked or not there is told as that: nobody is asked to unlock it, because a gateway has nobody
//! to ask, and nothing takes its place. In a build without the feature `keyring` there is none.

#[cfg(feature = "keyring")]
mod service;

use zeroize::Zeroizing;

use crate::envelope::{KEY, hex};
use crate::random::{RandomError, random};
use crate::unlock::UnlockError;

/// Bytes of an item's id.
const ID: usize = 16;

/// An item of an installation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) installation: &'a str,
    pub(crate) id: &'a str,
}

/// The id of a new item: 32 hex digits.
pub(crate) fn draw_id() -> Result<String, RandomError> {
    Ok(hex(&random::<ID>()?))
}

/// Whether a text is the id of an item.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 2 * ID && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The key in an item.
pub(crate) fn read(item: Item<'_>) -> Result<Zeroizing<[u8; KEY]>, UnlockError> {
    let key = service::read(item)?.as_slice().try_into().ok().map(Zeroizing::new);
    key.ok_or_else(|| {
        refused("what its item holds is no key of 32 bytes; rekey with another one, or restore it")
    })
}

/// Keeps a key in a new item, and reads it back: a keyring that loses it at once would lose everything that it wraps.
pub(crate) fn write(item: Item<'_>, key: &[u8; KEY]) -> Result<(), UnlockError> {
    service::write(item, key)?;
    if *read(item)? == *key {
        return Ok(());
    }
    Err(refused("it does not give back what was put into it; use another wrapping"))
}

/// Removes an item. That there is none is no error.
pub(crate) fn remove(item: Item<'_>) -> Result<(), UnlockError> {
    service::remove(item)
}

fn refused(what: impl Into<String>) -> UnlockError {
    UnlockError::Keyring { what: what.into() }
}

#[cfg(not(feature = "keyring"))]
mod service {
    use zeroize::Zeroizing;

    use super::{Item, refused};
    use crate::envelope::KEY;
    use crate::unlock::UnlockError;

    /// What a build without a keyring says.
    fn none<T>(item: Item<'_>) -> Result<T, UnlockError> {
        let Item { installation, id } = item;
        Err(refused(format!(
            "this build has none (item {id} of installation {installation}); use a build with the feature `keyring`, \
             which can also wrap the keys in another way"
        )))
    }

    pub(super) fn read(item: Item<'_>) -> Result<Zeroizing<Vec<u8>>, UnlockError> {
        none(item)
    }

    pub(super) fn write(item: Item<'_>, _: &[u8; KEY]) -> Result<(), UnlockError> {
        none(item)
    }

    pub(super) fn remove(item: Item<'_>) -> Result<(), UnlockError> {
        none(item)
    }
}
