//! Limits of what models are asked and shown.

use std::time::Duration;

/// The largest picture that is taken and shown to a model, in bytes, as upstream.
pub const PICTURE_BYTES: u64 = 5 * 1024 * 1024;
/// Pictures of a conversation that a model is shown: the newest.
pub const PICTURES: usize = 8;
/// Bytes of all pictures of one question: what providers take in one request.
pub const PICTURES_BYTES: usize = 16 * 1024 * 1024;
/// How long a provider, or one of its keys, is left alone after it failed, when another can be asked; each time in a row four
/// times as long.
pub const PROVIDER_REST: Duration = Duration::from_secs(60);
/// The same for a key that is refused or has no money: a person has to change that.
pub const PROVIDER_REST_SPENT: Duration = Duration::from_secs(1800);
/// The longest that anything is left alone.
pub const PROVIDER_REST_MAX: Duration = Duration::from_secs(3600);
/// The largest list of a provider's models that is read, in bytes: four hundred with their prices take 600 kB.
pub const MODEL_LIST_BYTES: usize = 4 * 1024 * 1024;
/// How long a provider may take to say which models it has.
pub const MODEL_LIST_WAIT: Duration = Duration::from_secs(20);
/// The largest program that runs a local model, in bytes: it is copied into memory before it is run.
pub const LOCAL_MODEL_PROGRAM_BYTES: u64 = 64 * 1024 * 1024;
/// How long a local model may take to be read, checked and tried: a slow disk gives 50 MB in a second.
pub const LOCAL_MODEL_LOAD: Duration = Duration::from_secs(180);
/// How long the process of a local model waits for the next question before it ends and gives its memory back.
pub const LOCAL_MODEL_IDLE: Duration = Duration::from_secs(600);
/// The largest page of an index of packages that is read, in bytes: a package with a thousand files has 500 kB.
pub const PACKAGE_INDEX_BYTES: usize = 8 * 1024 * 1024;
/// How long an index of packages, or a server with their files, may be silent.
pub const PACKAGE_SILENCE: Duration = Duration::from_secs(60);
/// The largest body of a call of a tool, in bytes: upstream's limit.
pub const TOOL_CALL_BYTES: usize = 2 * 1024 * 1024;
/// Texts of one question for embeddings: what providers take.
pub const EMBEDDINGS: usize = 2048;
/// The largest answer to one, in bytes: 2048 rows of 1024 numbers, or fewer longer ones.
pub const EMBEDDINGS_ANSWER_BYTES: usize = 64 * 1024 * 1024;
