//! From a descriptor to a model that answers.
//!
//! The file is read once. What is measured, hashed and built are the same bytes: nobody can change them in between.

use std::io::Cursor;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::AssertUnwindSafe;

use candle_core::quantized::gguf_file::Content;
use moltbot_config::limits::LOCAL_MODEL_FILE_BYTES;
use rustix::fs::FileType;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::control::Load;
use crate::engine::Engine;
use crate::failure::{Code, Failure};
use crate::gguf::Head;
use crate::memory;
use crate::plan::Plan;
use crate::template::Template;
use crate::vocabulary::Vocabulary;
use crate::work::Speaker;

/// A model that has answered once.
pub(crate) struct Loaded {
    pub(crate) speaker: Speaker,
    /// What is said of it on the control socket.
    pub(crate) ready: Value,
}

/// Loads the model in `file` on this thread, which will serve it.
pub(crate) fn load(load: &Load, file: &OwnedFd) -> Result<Loaded, Failure> {
    // Whatever a file makes a library do: it is the file's failure, said in a packet.
    let loaded = std::panic::catch_unwind(AssertUnwindSafe(|| built(load, file)));
    loaded.unwrap_or_else(|_| Err(Code::Format.because("the file makes the engine fail; take another file")))
}

fn built(load: &Load, file: &OwnedFd) -> Result<Loaded, Failure> {
    let memory = memory::allowed();
    let bytes = contents(file, memory)?;
    compare(&bytes, &load.sha256)?;
    let head = Head::read(&bytes)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let plan = Plan::of(&head, length, load.context, memory)?;
    memory::limit(plan.memory)?;
    let template = Template::read(head.text("tokenizer.chat_template"))?;
    let content = Content::read(&mut Cursor::new(&bytes))
        .map_err(|cause| Code::Format.explained("the file cannot be read", &cause))?;
    let words = Vocabulary::of(&content, &head)?;
    let engine = Engine::new(&bytes, content, &plan)?;
    drop(bytes);
    let mut speaker = Speaker { engine, words, template };
    let failed = |cause: candle_core::Error| Code::Engine.explained("the model does not compute", &cause);
    speaker.warm_up().map_err(failed)?;
    speaker.greet()?;
    let ready = json!({
        "name": load.name,
        "architecture": plan.architecture.name(),
        "context": plan.context,
        "parameters": plan.parameters,
        "bytes": length,
    });
    Ok(Loaded { speaker, ready })
}

/// All bytes of a file, once.
fn contents(file: &OwnedFd, memory: u64) -> Result<Vec<u8>, Failure> {
    let failed = |cause: rustix::io::Errno| Code::Read.explained("the file cannot be read", &cause);
    let kind = rustix::fs::fstat(file).map_err(failed)?;
    if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
        return Err(Code::Read.because("what was handed over is no file; hand over the model's .gguf file"));
    }
    let size = u64::try_from(kind.st_size).unwrap_or(0);
    if size > LOCAL_MODEL_FILE_BYTES.min(memory) {
        return Err(Code::Memory.because(format!(
            "the file has {} MiB, and there is room for {}; take a smaller model",
            size >> 20,
            LOCAL_MODEL_FILE_BYTES.min(memory) >> 20
        )));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|cause| Code::Memory.explained("the file does not fit", &cause))?;
    bytes.resize(size, 0);
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let offset = u64::try_from(done).unwrap_or(u64::MAX);
        match rustix::io::pread(file.as_fd(), rest, offset).map_err(failed)? {
            0 => return Err(Code::Read.because("the file became shorter while it was read; try again")),
            read => done += read,
        }
    }
    Ok(bytes)
}

/// Compares what was read with what was asked for.
fn compare(bytes: &[u8], asked: &str) -> Result<(), Failure> {
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(asked) {
        return Ok(());
    }
    Err(Code::Hash.because(format!(
        "the file's SHA-256 is {found}, and {} was asked for; fetch the file again",
        asked.to_ascii_lowercase()
    )))
}

#[cfg(test)]
#[path = "../tests/it/files.rs"]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod files;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::fs::MemfdFlags;

    use super::files::File;
    use super::*;

    /// What becomes of a file, without the net that catches what the engine throws.
    fn outcome(bytes: &[u8]) -> Result<Loaded, Failure> {
        let file = rustix::fs::memfd_create("model", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&file, bytes).unwrap();
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        built(&Load { name: "a".into(), sha256, context: 256, threads: 1 }, &file)
    }

    /// Numbers that are likely to be believed, or to be too much.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0_u64..20,
            any::<u64>(),
            any::<u32>().prop_map(u64::from),
            Just(u64::MAX),
            Just(u64::from(u32::MAX)),
            (0_u32..64).prop_map(|bit| 1 << bit),
        ]
    }

    #[test]
    fn an_unchanged_file_is_built() {
        for architecture in ["llama", "qwen2"] {
            assert!(outcome(&File::random(architecture).bytes()).is_ok());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        /// The head of a file says everything that is allocated. It is changed at up to three places, by one to eight bytes, and
        /// perhaps the file is cut: it is built, or refused, and nothing else. The process may have no more memory than the
        /// file's measures need: an allocation without measure would end it.
        #[test]
        fn a_changed_file_is_built_or_refused(
            qwen in any::<bool>(),
            changes in proptest::collection::vec((0_f64..1.0, number(), 1_usize..=8), 1..4),
            cut in proptest::option::weighted(0.1, 0_f64..1.0),
        ) {
            let mut bytes = File::random(if qwen { "qwen2" } else { "llama" }).bytes();
            let numbers: u64 = Head::read(&bytes).unwrap().tensors().map(|tensor| tensor.bytes).sum();
            let head = bytes.len() - usize::try_from(numbers).unwrap();
            let place = |share: f64, from: usize, to: usize| {
                let thousandths = (0..1000).take_while(|part| f64::from(*part) / 1000.0 < share).count();
                from + (to - from) * thousandths / 1000
            };
            for (share, number, width) in changes {
                // Most of a head is words. In front of them are the measures, behind them the places of tensors.
                let start = match number % 3 {
                    0 => place(share, 0, 800),
                    1 => place(share, head - 1800, head),
                    _ => place(share, 0, head),
                };
                for (offset, byte) in number.to_le_bytes().into_iter().take(width).enumerate() {
                    if let Some(old) = bytes.get_mut(start + offset) {
                        *old = byte;
                    }
                }
            }
            if let Some(share) = cut {
                bytes.truncate(place(share, 0, bytes.len()));
            }
            if let Err(failure) = outcome(&bytes) {
                prop_assert!(!failure.message.is_empty() && failure.message.len() < 1000, "{}", failure);
            }
        }
    }
}
