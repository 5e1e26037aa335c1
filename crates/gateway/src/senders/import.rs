//! Senders that another gateway program let in: `credentials/<channel>-allowFrom.json`, read once.
//!
//! The file is removed when what it says is on the disk, so that who is revoked here does not come back with the next
//! start. Codes in `<channel>-pairing.json` stand there in plaintext and live for an hour: the file is removed, and its
//! senders ask again. A file that cannot be read stops the start: it is never an empty list.

use moltbot_config::limits;
use moltbot_policy::senders::pairing::{SenderAct, SenderActPermit};
use moltbot_protocol::sender::SenderId;
use moltbot_store::{Decided, KnownSender, SenderChange, SenderFact};
use moltbot_vault::{FileError, StateDir};
use serde::Deserialize;
use serde_json::Value;

use super::{SenderError, Senders};
use crate::shared::lock;

const FOLDER: &str = "credentials";

/// A channel whose files are read.
pub struct ImportedChannel<'a> {
    /// Its name.
    pub name: &'a str,
    /// Reads an entry in the vendor's own form.
    pub read: &'a (dyn Fn(&str) -> Option<SenderId> + Sync),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AllowFile {
    version: u64,
    allow_from: Vec<Value>,
}

#[derive(Deserialize)]
struct PairingFile {
    version: u64,
    requests: Vec<Value>,
}

impl Senders {
    /// Imports the files of a channel, if there are any.
    ///
    /// # Errors
    /// When a file cannot be read or is not as expected, or what it says cannot be recorded or kept.
    pub async fn import(&self, state: &StateDir, channel: &ImportedChannel<'_>) -> Result<(), SenderError> {
        let allow = format!("{}-allowFrom.json", channel.name);
        let pairing = format!("{}-pairing.json", channel.name);
        let failed = |error: FileError| import_error(&allow, &error);
        if !state.list().map_err(failed)?.iter().any(|name| name == FOLDER) {
            return Ok(());
        }
        let folder = state.folder(FOLDER).map_err(failed)?;
        if let Some(file) = read::<AllowFile>(&folder, &allow)? {
            require_version(&allow, file.version)?;
            for entry in &file.allow_from {
                self.take_over(&allow, channel, entry).await?;
            }
            remove(&folder, &allow)?;
            tracing::warn!(file = allow, "the senders of this file were taken over and the file was removed");
        }
        if let Some(file) = read::<PairingFile>(&folder, &pairing)? {
            require_version(&pairing, file.version)?;
            let requests = file.requests.len();
            remove(&folder, &pairing)?;
            tracing::warn!(
                file = pairing,
                requests,
                "this file held codes in plaintext; its senders ask again"
            );
        }
        Ok(())
    }

    async fn take_over(
        &self,
        file: &str,
        channel: &ImportedChannel<'_>,
        entry: &Value,
    ) -> Result<(), SenderError> {
        let entry = match entry {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(import_error(file, &"an entry is neither text nor number")),
        };
        let Some(sender) = (channel.read)(&entry) else {
            let entry: String = entry.chars().take(limits::SENDER_NAME_CHARS).collect();
            tracing::warn!(file, entry = %entry.escape_debug(), "an entry is no immutable id; it lets nobody in");
            return Ok(());
        };
        let _alone = self.changing.lock().await;
        let number = {
            let mut facts = lock(&self.facts);
            // What was decided here counts.
            if facts.known(&sender).is_some() {
                return Ok(());
            }
            facts.require_room()?;
            facts.next_number()
        };
        let permit = SenderActPermit::by_gateway(SenderAct::Import, &sender);
        let (decided_ms, by) = ((self.clock)(), permit.actor().to_owned());
        let known = KnownSender { id: sender, name: None, standing: Decided::Approved, decided_ms, by };
        let keep = vec![(number, SenderFact::Known(known))];
        self.change(permit, SenderChange { keep, forget: Vec::new() }).await
    }
}

/// A file, if it is there.
fn read<T: for<'de> Deserialize<'de>>(folder: &StateDir, name: &str) -> Result<Option<T>, SenderError> {
    let bytes = folder.read(name, limits::SENDERS_FILE_BYTES).map_err(|error| import_error(name, &error))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let parsed = serde_json::from_slice(&bytes).map_err(|error| {
        // Not what stands there: that may be a code.
        import_error(
            name,
            &format!("it is not as expected in line {}, column {}", error.line(), error.column()),
        )
    });
    parsed.map(Some)
}

fn require_version(file: &str, version: u64) -> Result<(), SenderError> {
    if version == 1 { Ok(()) } else { Err(import_error(file, &format!("its version is {version}, not 1"))) }
}

fn remove(folder: &StateDir, name: &str) -> Result<(), SenderError> {
    match folder.remove(name) {
        Ok(()) | Err(FileError::Missing { .. }) => Ok(()),
        Err(error) => Err(import_error(name, &error)),
    }
}

fn import_error(file: &str, detail: &impl ToString) -> SenderError {
    SenderError::Import { file: file.into(), detail: detail.to_string() }
}
