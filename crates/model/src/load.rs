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
