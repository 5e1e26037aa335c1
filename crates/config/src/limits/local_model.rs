//! Limits of the local model's process.

/// Connections that it serves at once: the gateway's turns of one hour of a busy house do not need as many.
pub const LOCAL_MODEL_CONNECTIONS: usize = 8;
/// Questions that wait while it answers one. A small model answers in half a minute: who is ninth would wait for minutes.
pub const LOCAL_MODEL_QUEUE: usize = 8;
/// The largest request, in bytes: no context that it has holds more text than that.
pub const LOCAL_MODEL_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// The largest file, in bytes. What a processor answers with while a person waits is smaller, and four times as much memory
/// is taken.
pub const LOCAL_MODEL_FILE_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// The longest context, in tokens: with more, a question takes minutes on a processor before the first word.
pub const LOCAL_MODEL_CONTEXT: usize = 32 * 1024;
/// The shortest context that is worth a start, in tokens.
pub const LOCAL_MODEL_CONTEXT_LEAST: usize = 64;
/// Threads that it computes with at most.
pub const LOCAL_MODEL_THREADS: u16 = 16;
/// Entries of a file's metadata. Files have thirty.
pub const LOCAL_MODEL_METADATA: u64 = 1024;
/// Elements of all lists of a file's metadata: the largest vocabularies, with their merges and kinds, have 800,000. The
/// engine takes 32 bytes for each.
pub const LOCAL_MODEL_ELEMENTS: u64 = 2 * 1024 * 1024;
/// Tensors of a file. A model of 80 layers has a thousand.
pub const LOCAL_MODEL_TENSORS: u64 = 4096;
/// The largest chat template, in bytes. The longest in use have 12 kB.
pub const LOCAL_MODEL_TEMPLATE_BYTES: usize = 128 * 1024;
/// Steps of a chat template's program for one question: a hundred thousand messages' worth. The file says what the program is.
pub const LOCAL_MODEL_TEMPLATE_STEPS: u64 = 4_000_000;
/// What a chat template may write for one question, in bytes: the largest request, with marks in it.
pub const LOCAL_MODEL_PROMPT_BYTES: usize = 4 * LOCAL_MODEL_REQUEST_BYTES;
/// Stop texts of one request, as upstream.
pub const LOCAL_MODEL_STOPS: usize = 4;
/// The longest stop text, in bytes: that much of an answer is held back at most.
pub const LOCAL_MODEL_STOP_BYTES: usize = 256;
