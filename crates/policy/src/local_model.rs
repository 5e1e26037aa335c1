//! Layer 4, sandbox isolation: which model runs on this machine, and behind which walls.
//!
//! A model's file is a stranger's: parsers of such files have been taken over by them. So the process that reads it has no
//! network, sees no file of the owner, writes none, and starts nothing. What it is given is two descriptors.

use moltbot_config::limits;

use crate::command::Ended;
use crate::container::Backend;
use crate::profile::{NetworkAccess, Profile, WorkspaceAccess};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// A local model that is wanted, as the config or the program's own list has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalModel {
    /// What it is called.
    pub name: String,
    /// The SHA-256 of its file, in small hexadecimal digits.
    pub sha256: String,
    /// The size of its file, in bytes.
    pub bytes: u64,
    /// Tokens of question and answer together.
    pub context: u32,
    /// Threads that it computes with.
    pub threads: u16,
}

/// Proof that this model may be run. The sandbox takes nothing else.
///
/// ```compile_fail
/// let forged = moltbot_policy::local_model::LocalModelPermit { profile: todo!(), model: todo!() };
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped runs nothing"]
pub struct LocalModelPermit {
    model: LocalModel,
    profile: Profile,
}

impl LocalModelPermit {
    /// The model.
    pub const fn model(&self) -> &LocalModel {
        &self.model
    }

    /// The walls around it.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What the book is told when its process has ended. `start` is the number of the entry for its start, `program` the
    /// SHA-256 of the program that ran.
    pub fn end_entry(&self, start: u64, ended: &Ended, program: Option<String>) -> Entry {
        let entry = Entry::new("gateway", "model.ended", self.model.name.clone(), Decision::Done);
        let entry = ended.complete(entry, start);
        program.into_iter().fold(entry, |entry, digest| entry.with("program", digest))
    }
}

impl Permit for LocalModelPermit {
    fn entry(&self) -> Entry {
        Entry::new("gateway", "model.start", self.model.name.clone(), Decision::Allowed)
            .with("sha256", self.model.sha256.clone())
            .with("bytes", self.model.bytes.to_string())
            .with("memory", self.profile.memory.to_string())
    }
}

/// Judges whether a model may be run on this machine.
///
/// # Errors
/// When it has no pinned digest, or its file is empty or larger than [`limits::LOCAL_MODEL_FILE_BYTES`].
pub fn judge(model: LocalModel) -> Result<LocalModelPermit, Refusal> {
    let refuse =
        |why: &str| Err(Refusal::new("model_refused", format!("the local model {:?} {why}", model.name)));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if model.sha256.len() != 64 || !model.sha256.bytes().all(is_digit) {
        return refuse(
            "has no SHA-256: set models.local.sha256 to the 64 small hexadecimal digits of its file",
        );
    }
    if model.bytes == 0 || model.bytes > limits::LOCAL_MODEL_FILE_BYTES {
        let why =
            format!("has {} bytes; a file of 1 to {} is run", model.bytes, limits::LOCAL_MODEL_FILE_BYTES);
        return refuse(&why);
    }
    if model.threads == 0 || model.threads > limits::LOCAL_MODEL_THREADS || model.context == 0 {
        return refuse("would compute with no thread or too many, or with no window");
    }
    let profile = walls(model.bytes);
    Ok(LocalModelPermit { model, profile })
}

/// No network, no folder, no file that can be written; and as much memory as the file needs: it is held once as it is, once
/// as the numbers in it, and its tables of words are widened.
fn walls(bytes: u64) -> Profile {
    const MIB: u64 = 1024 * 1024;
    /// A model is asked for as long as the gateway runs, or until nobody asks.
    const LONG: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
    let memory = bytes.saturating_mul(4).saturating_add(1024 * MIB);
    Profile {
        backend: Backend::Embedded,
        workspace: WorkspaceAccess::None,
        network: NetworkAccess::None,
        address_space: memory.saturating_mul(2).saturating_add(2048 * MIB),
        memory,
        processes: 64,
        open_files: 64,
        file_size: 0,
        cpu_seconds: u64::MAX,
        // One page: a size of nothing would be no limit.
        temporary_bytes: 4096,
        disk: 64 * MIB,
        output_bytes: 16 * 1024,
        terminal: false,
        timeout: LONG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> LocalModel {
        LocalModel { name: "small".into(), sha256: "0a".repeat(32), bytes: 100, context: 2048, threads: 1 }
    }

    #[test]
    fn a_model_without_a_digest_or_of_a_size_that_cannot_be_gets_no_permit() {
        assert!(judge(model()).is_ok());
        for wrong in [
            LocalModel { sha256: String::new(), ..model() },
            LocalModel { sha256: "0A".repeat(32), ..model() },
            LocalModel { sha256: "0a".repeat(31), ..model() },
            LocalModel { bytes: 0, ..model() },
            LocalModel { bytes: limits::LOCAL_MODEL_FILE_BYTES + 1, ..model() },
            LocalModel { threads: 0, ..model() },
            LocalModel { threads: limits::LOCAL_MODEL_THREADS + 1, ..model() },
            LocalModel { context: 0, ..model() },
        ] {
            assert_eq!(judge(wrong.clone()).unwrap_err().code, "model_refused", "{wrong:?}");
        }
    }

    #[test]
    fn its_walls_have_no_network_no_folder_and_no_file_to_write() {
        let permit = judge(model()).unwrap();
        let profile = permit.profile();
        assert_eq!((profile.workspace, profile.network), (WorkspaceAccess::None, NetworkAccess::None));
        assert_eq!((profile.backend.clone(), profile.file_size), (Backend::Embedded, 0));
        assert!(profile.memory > 4 * permit.model().bytes && profile.temporary_bytes > 0);
    }
}
