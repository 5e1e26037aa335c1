//! A temporary home with everything that takes turns.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use moltbot_agent::model::{Models, ProviderKeys};
use moltbot_agent::{Agent, AgentError, Parts, TurnEvent, TurnReport};
use moltbot_config::Config;
use moltbot_config::settings::{ModelChoice, ModelConfig, ProviderConfig};
use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_policy::redact::Redactor;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::message::{InboundMessage, Message};
use moltbot_protocol::principal::Principal;
use moltbot_sandbox::Sandbox;
use moltbot_store::{Accepted, PendingTurn, Store};
use moltbot_testkit::skip::skip;
use moltbot_vault::StateDir;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// When everything happens.
pub(crate) const NOW: u64 = 1_795_420_800_000;

/// A home with one gateway's worth of state.
pub(crate) struct House {
    pub(crate) home: TempDir,
    pub(crate) state: StateDir,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) sandbox: Sandbox,
    pub(crate) agent: Agent,
    runs: AtomicU64,
}

/// What a watcher saw, a word for each event.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

impl House {
    /// A home whose agent asks the model at `base_url`, or none.
    pub(crate) fn new(base_url: Option<&str>) -> Self {
        Self::with(base_url, |_| {})
    }

    /// The same with other settings.
    pub(crate) fn with(base_url: Option<&str>, change: impl FnOnce(&mut Config)) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self::open(home, base_url, change).map_err(|error| error.to_string()).unwrap()
    }

    /// Opens what is in `home`, as a gateway does at its start. Its sandbox has no helper: nothing can run.
    pub(crate) fn open(
        home: TempDir,
        base_url: Option<&str>,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, AgentError> {
        let helper = home.path().join("no-helper");
        Self::open_with_helper(home, helper, base_url, change)
    }

    /// A home where commands can run; nothing, and a note, where they cannot.
    pub(crate) async fn with_commands(test: &str, base_url: &str) -> Option<Self> {
        // The sandbox's own tests build their helper beside this test's folder.
        let here = std::env::current_exe().unwrap();
        let helper = here.parent().and_then(Path::parent).unwrap().join("moltbot-sandbox-helper");
        if !helper.exists() {
            skip(test, "the sandbox's helper is not built; run the tests of moltbot-sandbox first");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let house = Self::open_with_helper(home, helper, Some(base_url), |_| {});
        let house = house.map_err(|error| error.to_string()).unwrap();
        match house.sandbox.posture().await {
            Ok(_) => Some(house),
            Err(unavailable) => {
                skip(test, &unavailable.reason);
                None
            }
        }
    }

    fn open_with_helper(
        home: TempDir,
        helper: PathBuf,
        base_url: Option<&str>,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, AgentError> {
        let mut config = config(base_url);
        change(&mut config);
        let config = Arc::new(config);
        let state = StateDir::open_or_create(&home.path().join(".moltbot")).unwrap();
        let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
        let store = Store::open(&state, &moltbot_testkit::vault(&state)).unwrap();
        let sandbox = Sandbox::with_helper(helper, ledger.clone());
        let keys = ProviderKeys::default();
        let parts = Parts {
            models: Models::resolve(&config, keys, None, ledger.clone()).unwrap(),
            config,
            store: store.clone(),
            ledger: ledger.clone(),
            sandbox: sandbox.clone(),
            state: state.clone(),
            approvals: None,
            home: home.path().into(),
            redactor: Redactor::default(),
        };
        let agent = Agent::new(parts)?;
        Ok(Self { home, state, store, ledger, sandbox, agent, runs: AtomicU64::new(0) })
    }

    /// Stops everything and leaves the home as a stopped gateway does.
    pub(crate) fn stop(self) -> TempDir {
        self.store.close();
        self.ledger.shutdown();
        self.home
    }

    /// A message in the main session that was accepted.
    pub(crate) async fn accept(&self, text: &str) -> PendingTurn {
        self.accept_in("main", text, |_| {}).await
    }

    /// A message in any session, changed before it is accepted.
    pub(crate) async fn accept_in(
        &self,
        session: &str,
        text: &str,
        change: impl FnOnce(&mut InboundMessage),
    ) -> PendingTurn {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut message = InboundMessage {
            channel: "webchat".into(),
            account: "default".into(),
            external_id: format!("message-{number}"),
            session: SessionKey::parse(session, &AgentId::main()).unwrap(),
            run: RunId::parse(&format!("run-{number}")).unwrap(),
            principal: Principal::Owner,
            text: text.into(),
            images: Vec::new(),
            extra_system_prompt: None,
            origin: None,
            timeout_ms: None,
            thinking: None,
            look: None,
            tells: false,
        };
        change(&mut message);
        match self.store.accept(&message, NOW).await.unwrap() {
            Accepted::Fresh(turn) => turn,
            Accepted::Duplicate(status) => panic!("a duplicate: {status:?}"),
        }
    }

    /// Takes a turn to its end.
    pub(crate) async fn take(&self, turn: PendingTurn) -> TurnReport {
        self.agent
            .take_turn(
                turn,
                &|_| {},
                &|_, _| Ok(()),
                &|_| Box::pin(async {}),
                CancellationToken::new(),
                &|| NOW,
            )
            .await
    }

    /// Says something in the main session and waits for the end.
    pub(crate) async fn say(&self, text: &str) -> TurnReport {
        let turn = self.accept(text).await;
        self.take(turn).await
    }

    /// The transcript of a session, a line for each message.
    pub(crate) async fn transcript(&self, session: &str) -> Vec<String> {
        let key = SessionKey::parse(session, &AgentId::main()).unwrap();
        let history = self.store.history(&key, 1000).await.unwrap();
        history.messages.iter().map(line).collect()
    }

    /// A file of the main workspace.
    pub(crate) fn file(&self, name: &str) -> Option<String> {
        let folder = self.state.folder("workspace").unwrap();
        folder.read(name, 1_000_000).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Everything that is in the book, as text.
    pub(crate) fn book(&self) -> String {
        let folder = self.state.folder("ledger").unwrap();
        let names = folder.list().unwrap();
        let files = names
            .iter()
            .filter(|name| name.ends_with(".mlog"))
            .filter_map(|name| folder.read(name, 10_000_000).unwrap());
        files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }

    /// Whether there is something at a path of the home.
    pub(crate) fn has(&self, path: &str) -> bool {
        Path::new(self.home.path()).join(path).exists()
    }
}

/// Settings with one provider named `scripted`.
fn config(base_url: Option<&str>) -> Config {
    let mut config = Config::default();
    let Some(base_url) = base_url else { return config };
    let model: ModelConfig = serde_json::from_value(serde_json::json!({"id": "small"})).expect("a model");
    let provider =
        ProviderConfig { base_url: Some(base_url.into()), models: vec![model], ..ProviderConfig::default() };
    config.models.providers.insert("scripted".into(), provider);
    config.agents.defaults.model = Some(ModelChoice::One("scripted/small".into()));
    config
}

fn line(message: &Message) -> String {
    match message {
        Message::Assistant { content, stop_reason, error_message, .. } => {
            let calls = content
                .iter()
                .filter(|part| matches!(part, moltbot_protocol::message::Part::ToolCall { .. }));
            let error = error_message.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
            format!("assistant {stop_reason:?} {} calls: {}{error}", calls.count(), message.text())
        }
        Message::ToolResult { tool_name, is_error, .. } => {
            format!("{tool_name} {}: {}", if *is_error { "failed" } else { "did" }, message.text())
        }
        Message::User { .. } => format!("user: {}", message.text()),
    }
}

/// A watcher that notes what it sees.
pub(crate) fn watcher() -> (Seen, impl Fn(TurnEvent<'_>) + Send + Sync) {
    let seen = Seen::default();
    let noted = seen.clone();
    let watch = move |event: TurnEvent<'_>| {
        noted.lock().unwrap().push(match event {
            TurnEvent::Ended(report) => format!("ended {:?}", report.state),
            TurnEvent::Started { run, .. } => format!("started {run}"),
            TurnEvent::Absorbed(report) => format!("absorbed {}", report.run),
            TurnEvent::CompactionStarted => "compaction".to_owned(),
            TurnEvent::CompactionEnded { messages, error } => format!("compacted {messages} {error:?}"),
            TurnEvent::Text { text, .. } => format!("text {text}"),
            TurnEvent::ToolEnded { id, is_error, .. } => format!("tool {id} ended, error: {is_error}"),
            TurnEvent::ToolStarted { id, name, .. } => format!("tool {id} {name}"),
        });
    };
    (seen, watch)
}
