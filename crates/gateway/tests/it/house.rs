//! A gateway for one test.

use std::sync::Arc;

use moltbot_agent::Agent;
use moltbot_agent::model::{Models, ProviderKeys};
use moltbot_gateway::{Approvals, Gateway, Parts, StopReason, Stopped};
use moltbot_ledger::export::Origin;
use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_policy::redact::Redactor;
use moltbot_sandbox::Sandbox;
use moltbot_store::Store;
use moltbot_testkit::client::{Client, Connect, Device, SignatureVersion, now_ms};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::raw::{self, HttpAnswer};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The user of this test.
fn state_owner(home: &Home) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    home.state_path().metadata().expect("a state folder").uid()
}

/// A home in which a gateway runs.
pub(crate) struct House {
    pub(crate) home: Home,
    pub(crate) model: ScriptedModel,
    pub(crate) store: Store,
    ledger: Ledger,
    stop: Option<oneshot::Sender<StopReason>>,
    running: JoinHandle<Stopped>,
}

impl House {
    /// A gateway whose model says what it was told.
    pub(crate) async fn echo() -> Self {
        Self::with(ScriptedModel::echo()).await
    }

    /// A gateway with that model.
    pub(crate) async fn with(model: ScriptedModel) -> Self {
        let home = Home::with_model(&model);
        Self::open(home, model).await
    }

    /// A gateway whose config was changed.
    pub(crate) async fn changed(change: impl FnOnce(&mut Value)) -> Self {
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        home.change_config(change);
        Self::open(home, model).await
    }

    /// A gateway in that home.
    pub(crate) async fn open(home: Home, model: ScriptedModel) -> Self {
        let text = home.config_text().expect("a config");
        let loaded = moltbot_config::load(
            text.as_bytes(),
            "moltbot.json",
            &moltbot_config::Surroundings::plain(&|_| None),
        )
        .expect("a valid config");
        let config = Arc::new(loaded.config);
        let state = home.state();
        let ledger =
            Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).expect("a book");
        let store = Store::open(&state, &moltbot_testkit::vault(&state)).expect("a store");
        let sandbox = Sandbox::new(ledger.clone());
        let models = Models::resolve(&config, ProviderKeys::default(), None, ledger.clone()).expect("models");
        let approvals = Approvals::new(&config.tools.exec, state.clone(), ledger.clone(), now_ms);
        let agent = Agent::new(moltbot_agent::Parts {
            config: Arc::clone(&config),
            models,
            store: store.clone(),
            ledger: ledger.clone(),
            sandbox: sandbox.clone(),
            state: state.clone(),
            approvals: Some(Arc::new(approvals.clone())),
            home: home.path().to_owned(),
            redactor: Redactor::default(),
        });
        let parts = Parts {
            channels: Vec::new(),
            config,
            config_json: loaded.value,
            config_path: home.config_path(),
            state,
            ledger: ledger.clone(),
            store: store.clone(),
            agent: agent.expect("agents"),
            approvals,
            sandbox,
            config_file: Arc::new(Fixed),
            servers: Vec::new(),
            origin: Origin { installation: "test".into(), host: "test".into() },
            identity: None,
            handed: moltbot_net::HandedSockets::default(),
            own_addresses: Vec::new(),
            owner: state_owner(&home),
            clock: now_ms,
            zone: jiff::tz::TimeZone::UTC,
            heartbeat_zones: Vec::new(),
        };
        let gateway = Gateway::start(parts).await.expect("a gateway");
        let (stop, stopped) = oneshot::channel();
        let stopping = async { stopped.await.unwrap_or(StopReason::Stop) };
        let running = tokio::spawn(gateway.run_until(stopping));
        Self { home, model, store, ledger, stop: Some(stop), running }
    }

    pub(crate) fn port(&self) -> u16 {
        self.home.port()
    }

    pub(crate) fn token(&self) -> String {
        self.home.token().expect("a token")
    }

    /// The owner's client: the token, and a device of this machine.
    pub(crate) fn owner(&self) -> Connect {
        let device = Device::from_seed(7);
        Connect::to(self.port()).token(&self.token()).device(&device, SignatureVersion::V3)
    }

    /// The owner's client, signed in with all rights.
    pub(crate) async fn client(&self) -> Client {
        self.owner().open().await.unwrap_or_else(|rejection| panic!("{rejection:?}"))
    }

    /// One HTTP request with the token.
    pub(crate) async fn request(&self, method: &str, path: &str, body: &Value) -> HttpAnswer {
        let bearer = format!("Bearer {}", self.token());
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.http(method, path, &[("authorization", &bearer)], &body).await
    }

    /// One HTTP request.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> HttpAnswer {
        tokio::task::block_in_place(|| raw::http(self.port(), method, path, headers, body))
    }

    /// Asks the gateway to stop.
    pub(crate) fn ask_to_stop(&mut self, reason: StopReason) {
        if let Some(stop) = self.stop.take() {
            stop.send(reason).expect("a gateway that runs");
        }
    }

    /// Waits until it has.
    pub(crate) async fn stopped(&mut self) -> Stopped {
        (&mut self.running).await.expect("a gateway that does not panic")
    }

    /// Stops it and starts another in the same home.
    pub(crate) async fn restart(mut self) -> Self {
        self.ask_to_stop(StopReason::Restart);
        self.stopped().await;
        let Self { home, model, store, ledger, .. } = self;
        tokio::task::spawn_blocking(move || {
            store.close();
            ledger.shutdown();
        })
        .await
        .expect("a store and a book that close");
        Self::open(home, model).await
    }
}

/// The config of a test, which does not change.
struct Fixed;

impl moltbot_gateway::ConfigFile for Fixed {
    fn stamp(&self) -> String {
        String::new()
    }

    fn first_stamp(&self) -> String {
        String::new()
    }

    fn text(&self) -> Result<secrecy::zeroize::Zeroizing<String>, String> {
        Ok("{}".to_owned().into())
    }

    fn read(&self) -> Result<moltbot_gateway::ReadAnew, String> {
        Err("the config of a test does not change".into())
    }

    fn judge(&self, _text: &str) -> Result<moltbot_gateway::ReadAnew, String> {
        self.read()
    }

    fn write(&self, _old: &str, _new: &str, _command: &str, _actor: &str) -> Result<(), String> {
        Err("the config of a test does not change".into())
    }

    fn log_as(&self, _logging: &moltbot_config::settings::LoggingConfig) {}
}
