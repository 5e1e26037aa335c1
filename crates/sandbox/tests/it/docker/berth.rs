//! A room whose commands run in a container.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moltbot_config::settings::DockerConfig;
use moltbot_ledger::query::Reader;
use moltbot_policy::container::{Backend, Container};
use moltbot_policy::profile::Profile;
use moltbot_sandbox::{Exit, Outcome, RunError};
use moltbot_testkit::engine::{Engine, IMAGE};
use moltbot_vault::StateDir;
use rustix::fs::{Gid, Uid};

use crate::room::{Room, profile, text};

/// The user in containers, and who owns the workspace.
pub(crate) const USER: u32 = 54_321;

pub(crate) struct Berth {
    pub(crate) room: Room,
    pub(crate) docker: DockerConfig,
    pub(crate) engine: Engine,
}

impl Berth {
    pub(crate) fn new(test: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let engine = Engine::start(test)?;
        let room = Room::new();
        rustix::fs::chown(room.workspace(), Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).unwrap();
        let docker = DockerConfig {
            container_prefix: format!("t{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
            image: IMAGE.into(),
            socket: engine.socket().to_str().unwrap().into(),
            ..DockerConfig::default()
        };
        Some(Self { room, docker, engine })
    }

    /// Puts a file into the workspace that belongs to its owner, as the folders above it do.
    pub(crate) fn put(&self, name: &str, text: &str) {
        self.room.put(name, text);
        let (uid, gid) = (Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)));
        let path = self.room.workspace().join(name);
        for part in path.ancestors().take_while(|part| *part != self.room.workspace()) {
            rustix::fs::chown(part, uid, gid).unwrap();
        }
    }

    pub(crate) fn container(&self) -> Container {
        Container::of(&self.docker, "agent:main:main", Vec::new())
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile_of(self.container())
    }

    pub(crate) fn profile_of(&self, container: Container) -> Profile {
        Profile {
            backend: Backend::Docker(Arc::new(container)),
            timeout: Duration::from_secs(60),
            ..profile()
        }
    }

    pub(crate) async fn run(&self, script: &str) -> Outcome {
        self.room.run_with(script, self.profile()).await.unwrap()
    }

    pub(crate) async fn run_in(&self, container: Container, script: &str) -> Result<Outcome, RunError> {
        self.room.run_with(script, self.profile_of(container)).await
    }

    pub(crate) async fn output(&self, script: &str) -> String {
        let outcome = self.run(script).await;
        let text = text(&outcome);
        assert_eq!(outcome.exit, Exit::Code(0), "{script} wrote {text}");
        text
    }

    /// The id of the container, by the engine's own word.
    pub(crate) fn id(&self) -> String {
        self.engine.ask(&["inspect", "--format", "{{.Id}}", &self.container().name])
    }

    /// What the book has of an action.
    pub(crate) fn told(&self, action: &str) -> Vec<serde_json::Value> {
        let state = StateDir::open_or_create(&self.room.home.path().join("state")).unwrap();
        let records = Reader::of(state.folder("ledger").unwrap()).tail(200).unwrap();
        let values = records.into_iter().map(|record| serde_json::to_value(&record).unwrap());
        values.filter(|value| value["action"] == action).collect()
    }

    /// Containers with this test's prefix.
    pub(crate) fn names(&self) -> Vec<String> {
        let filter = format!("name={}", self.docker.container_prefix);
        let said = self.engine.ask(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]);
        said.lines().map(str::to_owned).collect()
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        for name in self.names() {
            self.engine.docker(&["rm", "--force", "--volumes", &name]);
        }
    }
}
