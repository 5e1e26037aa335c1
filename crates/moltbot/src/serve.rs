//! The gateway, put together: each part is opened in the order in which the next one needs it.
//!
//! Nothing here is slow: no model is asked, no TLS is set up and the sandbox is not probed before the gateway
//! listens. Model servers on this machine are looked for only when nothing names a model.

use std::future::Future;
use std::sync::Arc;

use moltbot_agent::model::{LocalModels, ProviderKeys};
use moltbot_agent::{Agent, Parts as AgentParts};
use moltbot_config::settings::{GatewayConfig, GatewayMode};
use moltbot_config::{Loaded, Unsupported, limits};
use moltbot_gateway::{
    Approvals, ConfigFile, Gateway, Parts, SenderError, StartError, StopReason, TailnetError, sending,
};
use moltbot_ledger::{Ledger, anchor};
use moltbot_net::{HandedSockets, ListenError, SharedBook};
use moltbot_policy::authentication::Credential;
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_policy::{Decision, Entry, record};
use moltbot_sandbox::Sandbox;
use moltbot_store::Store;
use moltbot_vault::{History, Lock, LockError, Places};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::background::Ready;
use crate::bots::BotTokens;
use crate::commands::security::at_start;
use crate::desk::Desk;
use crate::exit::Exit;
use crate::home::{self, Home, LOCK, Running};
use crate::log::Levels;
use crate::redacted::redactor;
use crate::{certificate, channels, choosing, clock, credentials, environment, manager, output};

/// One worker answers two hundred thousand calls a second, and what takes long has threads of its own. A second one would be
/// woken for nothing with every connection: a fifth of what a sign-in costs.
const WORKERS: usize = 1;
/// Stack of a thread: the deepest of ours, reading a config of 32 levels, needs a quarter of it.
const STACK_BYTES: usize = 1024 * 1024;
/// Threads that may wait for the disk at once, but for the book, which is waited for by tasks.
const BLOCKING_THREADS: usize = 64;

/// The runtime of the gateway.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    moltbot_sandbox::share_one_heap();
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(WORKERS).thread_stack_size(STACK_BYTES).max_blocking_threads(BLOCKING_THREADS);
    Ok(builder.enable_io().enable_time().build()?)
}

/// Where the gateway's config comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// From its file.
    File,
    /// From the history: the last one that started and served.
    LastKnownGood,
}

/// How a gateway is to be started.
pub(crate) struct Start<'a> {
    /// The port, instead of the config's.
    pub(crate) port: Option<u16>,
    /// Where its config comes from.
    pub(crate) source: Source,
    /// What is logged, to be told what the config says.
    pub(crate) levels: &'a Levels,
}

/// Runs the gateway until a signal stops it. `started` is called once, when it listens.
///
/// The lock comes first, then who can get at the files, then the keys, then the book: only what is recorded opens a
/// secret, and the config is full of them.
pub(crate) fn run(
    home: &Home,
    start: Start<'_>,
    started: impl FnOnce(&Ready) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let handed = manager::sockets()?;
    let mut running = Running::starting();
    let lock = take_lock(home, &running)?;
    require_private(home, &lock, running.started_at_ms)?;
    let stamp = home.file().stamp(&[]);
    let text = config_text(home, start.source)?;
    let ledger = home.ledger()?.clone();
    let Opened { loaded, keys, bots, known } = load(home, &text, &ledger)?;
    ledger.conceal(redactor().clone());
    start.levels.follow(&loaded.config.logging);
    let loaded = on_port(loaded, start.port);
    require_local(&loaded.config.gateway)?;
    Credential::from_config(&loaded.config.gateway.auth).map_err(|error| Exit::Config.because(error))?;
    let notes = lockdown_in_a_line(&ledger).into_iter().chain(warn_of(&loaded.unsupported)).collect();
    let store = Store::open(&home.state, home.vault()?).map_err(|error| home::failed(&error))?;
    let runtime = runtime()?;
    let exit = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let desk = Desk::new(home, &ledger, start.levels, &stamp, &loaded, known);
        let own = Own { keys, bots, handed, config_file: Arc::new(desk) };
        let (gateway, model) = compose(home, loaded, own, &ledger, &store).await?;
        running.port = gateway.port();
        running.addresses = gateway.addresses().iter().copied().take(limits::ADDRESSES_TOLD).collect();
        running.fingerprint = gateway.fingerprint().map(|fingerprint| fingerprint.to_string());
        lock.rewrite(&serde_json::to_vec(&running)?).map_err(|error| home::failed(&error))?;
        let Running { port, pid, .. } = &running;
        tracing::info!(port, pid, model, version = running.version, "the gateway listens");
        for (what, told) in running.reached() {
            tracing::info!(what, told, "the gateway is reached from elsewhere");
        }
        started(&Ready { running, model, notes })?;
        keep_when_good(home, text);
        at_start::rate(home, &ledger, gateway.view());
        Ok(signals.serve(gateway).await)
    });
    if exit.is_ok() {
        // Done even when it cannot be recorded now: a gateway that cannot be stopped is worse.
        let stopped = Entry::new("owner:signal", "gateway.stop", "gateway", Decision::Done);
        ledger.enter_when_possible(stopped.from_reserve());
    }
    // A second signal must not wait for what still runs.
    runtime.shutdown_background();
    store.close();
    ledger.shutdown();
    remember_end(home, &ledger);
    drop(lock);
    exit
}

/// Has the anchors remember the end of a book that was closed. One that does not answer soon is left as it is: the next
/// start finds the book longer, which is no harm.
fn remember_end(home: &Home, ledger: &Ledger) {
    let head = ledger.head();
    let anchors = home.anchors().unwrap_or_default();
    if anchors.is_empty() {
        return;
    }
    let (done, answers) = std::sync::mpsc::channel();
    let remember = move || {
        for path in anchors {
            if let Err(error) = anchor::remember(&path, &head) {
                let anchor = path.display().to_string();
                tracing::error!(
                    anchor,
                    error = home::chain(&error),
                    "the anchor does not remember the end of the book"
                );
            }
        }
        drop(done);
    };
    // The thread is not waited for when a file system holds it.
    drop(std::thread::spawn(remember));
    let waited: Result<(), _> = answers.recv_timeout(limits::LEDGER_SENT_STOP);
    if matches!(waited, Err(std::sync::mpsc::RecvTimeoutError::Timeout)) {
        tracing::error!("an anchor does not answer; it does not remember the end of the book");
    }
}

/// Closes what others can get at, and does not start while that cannot be done.
fn require_private(home: &Home, lock: &Lock, started_ms: u64) -> anyhow::Result<()> {
    let places = Places { config: &home.config_path, extra: &home.environment.credentials_folders };
    let report = moltbot_vault::secure(&home.state, lock, &places, started_ms);
    report.require_private().map_err(|error| Exit::Config.because(error))
}

/// The text of the config to start with.
fn config_text(home: &Home, source: Source) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    match source {
        Source::File => home.text().map(Zeroizing::new),
        Source::LastKnownGood => {
            let good = History::new(&home.state, home.vault()?).last_known_good();
            let good = good.map_err(|error| home::failed(&error))?;
            let good =
                good.ok_or_else(|| Exit::Config.because("no config has worked here for a minute yet"))?;
            tracing::warn!(worked_at_ms = good.at_ms, "the gateway starts with the config that worked last");
            Ok(Zeroizing::new(good.text().to_vec()))
        }
    }
}

/// A config with its secrets opened.
pub(crate) struct Opened {
    pub(crate) loaded: Loaded,
    pub(crate) keys: ProviderKeys,
    pub(crate) bots: BotTokens,
    /// All that must be in no log.
    known: Vec<SecretString>,
}

/// A config's text with its secrets opened, once the book says so.
pub(crate) fn open_text(home: &Home, text: &[u8], ledger: &Ledger) -> anyhow::Result<Loaded> {
    let place = home.config_path.display().to_string();
    let permit = record(SecretPermit::for_owner(SecretAct::Load, place, "gateway"), ledger);
    let permit = permit.map_err(|error| Exit::Busy.because(error))?;
    home.load_recorded(text, &permit, ledger)
}

/// Opens the secrets of the config and of the files of credentials, once the book says so.
pub(crate) fn opened(home: &Home, text: &[u8], ledger: &Ledger) -> anyhow::Result<Opened> {
    let loaded = open_text(home, text, ledger)?;
    let credentials::Opened { mut keys, secrets } = credentials::open(home, &loaded.config, ledger)?;
    environment::add_provider_keys(&mut keys, &loaded.config.env);
    environment::add_proxy(&mut keys)?;
    let bots = BotTokens::find(&loaded.config.channels, &loaded.config.env);
    // From here on no log and no record can have one of them in it.
    let environment = [&home.environment.token, &home.environment.password].into_iter().flatten();
    let known = loaded.secrets.iter().chain(&secrets).chain(environment).cloned();
    let known = known.chain(bots.secrets().cloned());
    let known: Vec<SecretString> = known.chain(keys.clone().values()).collect();
    redactor().hide(&known);
    Ok(Opened { loaded, keys, bots, known })
}

/// The same, with what the log is to say of it.
fn load(home: &Home, text: &[u8], ledger: &Ledger) -> anyhow::Result<Opened> {
    let opened = opened(home, text, ledger)?;
    let loaded = &opened.loaded;
    for check in [moltbot_posture::shut_off, moltbot_posture::walls] {
        let check = check(&loaded.config.agents);
        if let Some(fix) = &check.fix {
            tracing::error!(fix, "{}", check.what);
        }
    }
    for moved in &loaded.migrated {
        let (from, to) = (&moved.from, &moved.to);
        tracing::warn!(
            from,
            to,
            "a key of an older generation is read; `moltbot config migrate` writes it anew"
        );
    }
    for secret in &loaded.plain {
        let (setting, line) = (&secret.path, secret.line);
        tracing::warn!(
            setting,
            line,
            "a secret stands in the config as plaintext; it is sealed at the next change"
        );
    }
    Ok(opened)
}

/// The config as it is now, opened and judged like at a start, with all that must be in no log.
pub(crate) fn load_anew(
    home: &Home,
    text: &[u8],
    ledger: &Ledger,
) -> anyhow::Result<(Loaded, Vec<SecretString>)> {
    let Opened { loaded, known, .. } = load(home, text, ledger)?;
    Ok((loaded, known))
}

fn on_port(mut loaded: Loaded, port: Option<u16>) -> Loaded {
    if let Some(port) = port {
        loaded.config.gateway.port = port;
    }
    loaded
}

/// Keeps the config as one that works, once it has served for a while.
fn keep_when_good(home: &Home, text: Zeroizing<Vec<u8>>) {
    let home = home.clone();
    tokio::spawn(async move {
        tokio::time::sleep(limits::KNOWN_GOOD).await;
        let keep = move || {
            let Ok(vault) = home.vault() else { return };
            match History::new(&home.state, vault).mark_good(&text, clock::now_ms()) {
                Ok(()) => tracing::debug!("the config is kept as one that works"),
                Err(error) => {
                    tracing::warn!(error = home::chain(&error), "the config is not kept as one that works")
                }
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(keep).await {
            tracing::warn!(%error, "the config is not kept as one that works");
        }
    });
}

/// That the gateway is locked down, and where the book was changed.
fn lockdown_in_a_line(ledger: &Ledger) -> Option<String> {
    let found = ledger.lockdown()?;
    Some(format!(
        "locked down: the book was changed ({}, line {}: {}); chat can be read and nothing is done. Look with `moltbot \
         ledger verify`; `moltbot gateway stop` and `moltbot ledger accept` go on",
        found.path.display(),
        found.line,
        output::harmless(&found.what)
    ))
}

/// Logs each setting that would restrict something and has no effect, with what holds instead; gives a line for the
/// terminal that counts all settings without effect.
fn warn_of(unsupported: &[Unsupported]) -> Option<String> {
    let total = unsupported.len();
    let mut noted = 0;
    for Unsupported { path, line, note, .. } in unsupported {
        if let Some(note) = note {
            noted += 1;
            tracing::warn!(setting = path, line, instead = note, "a setting is not supported yet");
        }
    }
    (total > 0).then(|| {
        format!(
            "settings of the config that are not supported yet: {total}, {noted} of them with a note on what holds \
             instead; `moltbot config validate` lists them"
        )
    })
}

/// What a gateway presents to others, and what it asks of who wants in.
struct Own {
    keys: ProviderKeys,
    bots: BotTokens,
    handed: HandedSockets,
    config_file: Arc<dyn ConfigFile>,
}

/// Opens the parts above the ledger and the store, and listens.
async fn compose(
    home: &Home,
    loaded: Loaded,
    own: Own,
    ledger: &Ledger,
    store: &Store,
) -> anyhow::Result<(Gateway, String)> {
    let Own { keys, bots, handed, config_file } = own;
    let config = Arc::new(loaded.config);
    let sandbox = Sandbox::new(ledger.clone());
    let local = LocalModels::new(&config.models.local, &home.state, sandbox.clone(), ledger.clone());
    let models = choosing::models(&config, keys, &local, ledger).await?;
    let model = models.describe_choice();
    let approvals = Approvals::new(&config.tools.exec, home.state.clone(), ledger.clone(), clock::now_ms);
    let agent = Agent::new(AgentParts {
        config: Arc::clone(&config),
        models,
        store: store.clone(),
        ledger: ledger.clone(),
        sandbox: sandbox.clone(),
        state: home.state.clone(),
        approvals: Some(Arc::new(approvals.clone())),
        home: home.environment.home.clone(),
        redactor: redactor().clone(),
    });
    let agent = agent.map_err(|error| Exit::Config.because(home::chain(&error)))?;
    let book: SharedBook = Arc::new(ledger.clone());
    let servers = sending::servers(&config.ledger, &book);
    let servers = servers.map_err(|error| Exit::Config.because(home::chain(&error)))?;
    let own_addresses = certificate::own_addresses(&config.gateway)?;
    let identity = certificate::identity(home, &config.gateway, &own_addresses, ledger)?;
    let channels = channels::of(&config.channels, &bots, &book)?;
    let zone = clock::zone(home.environment.zone.as_deref());
    let heartbeat_zones = clock::zones_of_hours(&config.agents, &zone);
    let heartbeat_zones = heartbeat_zones.map_err(|message| Exit::Config.because(message))?;
    let gateway = Gateway::start(Parts {
        channels,
        config,
        config_json: loaded.value,
        config_path: home.config_path.clone(),
        state: home.state.clone(),
        ledger: ledger.clone(),
        store: store.clone(),
        agent,
        approvals,
        sandbox,
        config_file,
        servers,
        origin: home.origin()?,
        identity,
        handed,
        own_addresses,
        owner: rustix::process::geteuid().as_raw(),
        clock: clock::now_ms,
        zone,
        heartbeat_zones,
    });
    Ok((gateway.await.map_err(|error| not_started(&error))?, model))
}

/// A config that names another machine's gateway does not start one here.
fn require_local(gateway: &GatewayConfig) -> anyhow::Result<()> {
    match gateway.mode {
        GatewayMode::Local => Ok(()),
        GatewayMode::Remote => Err(Exit::Config.because(
            "gateway.mode is \"remote\", so no gateway runs here; set it to \"local\" with `moltbot config set gateway.mode '\"local\"'`",
        )),
    }
}

fn take_lock(home: &Home, running: &Running) -> anyhow::Result<Lock> {
    home.state.lock(LOCK, &serde_json::to_vec(running)?).map_err(|error| match &error {
        LockError::Held { contents, .. } => match home::describe(contents) {
            Ok(other) => Exit::Busy.because(format!(
                "a gateway runs here already (pid {}, port {}); stop it with `moltbot gateway stop`",
                other.pid, other.port
            )),
            Err(starting) => starting,
        },
        _ => home::failed(&error),
    })
}

/// A taken port is a reason to try again; a refused bind is a matter of the config.
fn not_started(error: &StartError) -> anyhow::Error {
    let exit = match error {
        StartError::Listen(
            ListenError::Foreign { .. } | ListenError::NotAsked { .. } | ListenError::OwnSocket(_),
        )
        | StartError::Tailnet(TailnetError::Denied | TailnetError::Forwards(_) | TailnetError::Refused(_)) => {
            Exit::Config
        }
        StartError::Announce(_)
        | StartError::Listen(_)
        | StartError::Tailnet(_)
        | StartError::Unrecorded(_) => Exit::Busy,
        StartError::Binding(_)
        | StartError::Credential(_)
        | StartError::Heartbeat(_)
        | StartError::Hooks(_)
        | StartError::Refused(_)
        | StartError::Senders(SenderError::Import { .. })
        | StartError::Webhook(_) => Exit::Config,
        _ => Exit::Failed,
    };
    exit.because(home::chain(error))
}

/// The signals that stop a gateway; the terminal's end is one. SIGUSR1 says that another one follows, so that clients come back.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    restart: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            restart: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> StopReason {
        tokio::select! {
            _ = self.hangup.recv() => StopReason::Stop,
            _ = self.interrupt.recv() => StopReason::Stop,
            _ = self.restart.recv() => StopReason::Restart,
            _ = self.terminate.recv() => StopReason::Stop,
        }
    }

    /// Serves until the first signal, then drains; a second signal ends that too.
    async fn serve(&mut self, gateway: Gateway) -> Exit {
        let (first, heard) = tokio::sync::oneshot::channel();
        // The sender is dropped only when all of this is given up.
        let serving = gateway.run_until(async { heard.await.unwrap_or(StopReason::Stop) });
        tokio::pin!(serving);
        let reason = tokio::select! {
            _ = &mut serving => return Exit::Done,
            reason = self.next() => reason,
        };
        tracing::info!(?reason, "the gateway stops");
        manager::stopping();
        output::note("stopping: running answers are finished first; a second Ctrl-C stops at once");
        if first.send(reason).is_err() {
            return Exit::Done;
        }
        tokio::select! {
            stopped = &mut serving => {
                tracing::info!(unfinished = stopped.unfinished, "the gateway has stopped");
                Exit::Done
            }
            _ = self.next() => Exit::Interrupted,
        }
    }
}

/// Runs what a command does on a runtime of its own, of one thread.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    Builder::new_current_thread().enable_io().enable_time().build()?.block_on(work)
}
