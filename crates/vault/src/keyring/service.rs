//! The Secret Service over the session bus. What is asked crosses the bus encrypted (its `dh-ietf1024-sha256-aes128-cbc-pkcs7`),
//! which keeps it from those who watch a bus, not from those who are the owner.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use secret_service::{EncryptionType, Error, SecretService};
use zeroize::Zeroizing;

use super::{Item, refused};
use crate::envelope::KEY;
use crate::unlock::UnlockError;

/// How long the keyring may take. One that is there answers in milliseconds; one that asks somebody, never where nobody is.
const ANSWER: Duration = Duration::from_secs(5);
const CONTENT: &str = "application/octet-stream";
const UNLOCK: &str =
    "unlock it by logging in to the desktop, or with `gnome-keyring-daemon --unlock`, then try again";

/// Why the keyring did not do it.
enum Refusal {
    /// It is there, and locked.
    Locked,
    /// There is no such item.
    Missing,
    /// Something of it failed.
    Service(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

pub(super) fn read(item: Item<'_>) -> Result<Zeroizing<Vec<u8>>, UnlockError> {
    ask(async {
        let service = SecretService::connect(EncryptionType::Dh).await?;
        let found = service.search_items(attributes(item)).await?;
        match (found.unlocked.first(), found.locked.is_empty()) {
            (Some(one), _) => Ok(Zeroizing::new(one.get_secret().await?)),
            (None, true) => Err(Refusal::Missing),
            (None, false) => Err(Refusal::Locked),
        }
    })
}

pub(super) fn write(item: Item<'_>, key: &[u8; KEY]) -> Result<(), UnlockError> {
    ask(async {
        let service = SecretService::connect(EncryptionType::Dh).await?;
        // The one that lasts: what is in another may be gone at the next login.
        let collection = service.get_default_collection().await?;
        if collection.is_locked().await? {
            return Err(Refusal::Locked);
        }
        let label = format!("moltbot: key of {}", item.installation);
        collection.create_item(&label, attributes(item), key, true, CONTENT).await?;
        Ok(())
    })
}

pub(super) fn remove(item: Item<'_>) -> Result<(), UnlockError> {
    ask(async {
        let service = SecretService::connect(EncryptionType::Dh).await?;
        let found = service.search_items(attributes(item)).await?;
        for one in &found.unlocked {
            one.delete().await?;
        }
        if found.locked.is_empty() { Ok(()) } else { Err(Refusal::Locked) }
    })
}

fn attributes(item: Item<'_>) -> HashMap<&str, &str> {
    HashMap::from([("application", "moltbot"), ("installation", item.installation), ("key", item.id)])
}

/// Runs a question on a thread and a runtime of its own: whoever asks may be on one, and must not wait for ever.
fn ask<T: Send>(question: impl Future<Output = Result<T, Refusal>> + Send) -> Result<T, UnlockError> {
    let answer = std::thread::scope(|scope| scope.spawn(|| wait(question)).join());
    answer.unwrap_or_else(|_| Err(refused("its client failed; see the log")))
}

fn wait<T>(question: impl Future<Output = Result<T, Refusal>>) -> Result<T, UnlockError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| refused(format!("it cannot be asked: {error}")))?;
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, question).await });
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Refusal::Locked | Refusal::Service(Error::Locked | Error::Prompt))) => {
            Err(refused(format!("it is locked; {UNLOCK}")))
        }
        Ok(Err(Refusal::Missing)) => {
            let fix = "it may be that of another user or machine: start moltbot where its keys were wrapped";
            Err(refused(format!("it has no item for this installation; {fix}, or restore its backup")))
        }
        Ok(Err(Refusal::Service(error))) => {
            let fix = "a Secret Service must run on the session bus (DBUS_SESSION_BUS_ADDRESS), unlocked";
            Err(refused(format!("it does not answer: {error}; {fix}")))
        }
        Err(_) => Err(refused(format!("it did not answer within {} s; {UNLOCK}", ANSWER.as_secs()))),
    }
}
