//! `exec-approvals.json` on the disk.

use moltbot_policy::approval::{ApprovalsFile, FILE, FILE_BYTES};
use moltbot_policy::{Book as _, Decision, Entry, with_causes};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ApprovalError, Approvals, Inside};
use crate::shared::lock;

/// What a change of the file was made from.
#[derive(Clone, Copy, Debug)]
pub enum Revision<'a> {
    /// The file with this hash.
    Hash(&'a str),
    /// No file.
    None,
}

impl Inside {
    /// The file, and its hash; nothing listed when there is none.
    pub(super) fn file(&self) -> Result<(ApprovalsFile, Option<String>), ApprovalError> {
        let Some(text) = self.state.read(FILE, FILE_BYTES)? else {
            return Ok((ApprovalsFile::default(), None));
        };
        let file = ApprovalsFile::parse(&text).map_err(|error| ApprovalError::File(with_causes(&error)))?;
        Ok((file, Some(hash(&text))))
    }

    fn write(&self, file: &ApprovalsFile) -> Result<(), ApprovalError> {
        Ok(self.state.write(FILE, file.text().as_bytes())?)
    }

    /// Puts programs on an agent's list. The book knows of it from the answer that says so.
    pub(super) fn list_programs(&self, agent: &str, paths: &[String]) -> Result<(), ApprovalError> {
        let _alone = lock(&self.changing);
        let (mut file, _) = self.file()?;
        let entries = paths.iter().map(|path| Ok((path.clone(), new_id()?)));
        let entries = entries.collect::<Result<Vec<_>, ApprovalError>>()?;
        file.add(agent, &entries).map_err(|error| ApprovalError::File(error.to_string()))?;
        self.write(&file)
    }

    pub(super) fn note_used(
        &self,
        entries: &[String],
        script: &str,
        path: &str,
    ) -> Result<(), ApprovalError> {
        let _alone = lock(&self.changing);
        let (mut file, _) = self.file()?;
        file.used(entries, script, path, (self.clock)());
        self.write(&file)
    }
}

impl Approvals {
    /// The file for whoever may change it, without its secret. May block.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&self) -> Result<Value, ApprovalError> {
        let (file, hash) = self.inner.file()?;
        let path = self.inner.state.path().join(FILE).display().to_string();
        Ok(json!({"path": path, "exists": hash.is_some(), "hash": hash, "file": file.shown()}))
    }

    /// Replaces the file, when it still is what the change was made from. Recorded first. May block.
    ///
    /// # Errors
    /// When it has changed since, is no such file, or cannot be recorded or written.
    pub fn set(&self, file: Value, base: Revision<'_>, actor: &str) -> Result<Value, ApprovalError> {
        let _alone = lock(&self.inner.changing);
        // One that cannot be read is replaced by who knows its hash; nothing of it is taken over.
        let before = self.inner.state.read(FILE, FILE_BYTES)?;
        require_same(before.as_deref(), base)?;
        let new = ApprovalsFile::of(file).map_err(|error| ApprovalError::File(error.to_string()))?;
        let new = match before.as_deref().map(ApprovalsFile::parse) {
            Some(Ok(before)) => new.with_secret_of(&before),
            Some(Err(_)) | None => new,
        };
        let entry = Entry::new(actor, "approvals.set", FILE, Decision::Allowed)
            .with("hash", hash(new.text().as_bytes()))
            .with("before", before.as_deref().map_or_else(|| "none".into(), hash));
        self.inner.ledger.enter(entry)?;
        self.inner.write(&new)?;
        self.kept()
    }
}

fn require_same(before: Option<&[u8]>, base: Revision<'_>) -> Result<(), ApprovalError> {
    let known = before.map(hash);
    match (known, base) {
        (None, _) => Ok(()),
        (Some(_), Revision::None) => Err(ApprovalError::File(
            "exec approvals base hash required; re-run exec.approvals.get and retry".into(),
        )),
        (Some(known), Revision::Hash(base)) if known == base => Ok(()),
        (Some(_), Revision::Hash(_)) => Err(ApprovalError::File(
            "exec approvals changed since last load; re-run exec.approvals.get and retry".into(),
        )),
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_id() -> Result<String, ApprovalError> {
    moltbot_vault::random_id().map_err(|error| ApprovalError::Random(error.to_string()))
}
