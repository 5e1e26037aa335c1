//! Containers that are not needed any more: idle for long, or old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bollard::Docker;
use moltbot_config::limits;
use moltbot_ledger::Ledger;
use moltbot_policy::container::{Container, due, permit_removal};
use moltbot_policy::record_soon;
use tokio::time::Instant;

use super::engine::{self, EngineError};

/// When the containers of this process were used last. One that an earlier process has left counts from when it is first
/// seen.
#[derive(Default)]
pub(super) struct Uses {
    known: Mutex<HashMap<String, Use>>,
}

#[derive(Clone, Copy)]
struct Use {
    running: u32,
    last: Instant,
    idle: Duration,
    age: Duration,
}

/// A use that ends when this is dropped.
pub(super) struct InUse {
    uses: Arc<Uses>,
    name: String,
}

impl Uses {
    /// A command begins.
    pub(super) fn begin(self: &Arc<Self>, container: &Container) -> InUse {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let running = known.get(&container.name).map_or(0, |known| known.running).saturating_add(1);
        let now = Use { running, last: Instant::now(), idle: container.idle, age: container.age };
        known.insert(container.name.clone(), now);
        InUse { uses: Arc::clone(self), name: container.name.clone() }
    }

    /// How a container was used; one that is not known yet is noted as used now.
    fn of(&self, name: &str) -> Use {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let shortest = |of: fn(&Use) -> Duration| known.values().map(of).min().unwrap_or(Duration::MAX);
        let unknown = Use {
            running: 0,
            last: Instant::now(),
            idle: shortest(|one| one.idle),
            age: shortest(|one| one.age),
        };
        *known.entry(name.to_owned()).or_insert(unknown)
    }

    fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut known = self.uses.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&self.name) {
            known.running = known.running.saturating_sub(1);
            known.last = Instant::now();
        }
    }
}

/// Removes what is due, every few minutes, for as long as the containers of this process are.
pub(super) fn keep_pruning(engine: Docker, uses: &Arc<Uses>, ledger: Ledger, installation: String) {
    let uses: Weak<Uses> = Arc::downgrade(uses);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(limits::CONTAINER_PRUNE).await;
            let Some(uses) = uses.upgrade() else { return };
            if let Err(error) = prune(&engine, &uses, &ledger, &installation).await {
                tracing::warn!(%error, "containers that are due cannot be removed");
            }
        }
    });
}

/// Removes the containers that are due and in which nothing runs.
async fn prune(engine: &Docker, uses: &Uses, ledger: &Ledger, installation: &str) -> Result<(), EngineError> {
    for row in engine::list(engine, installation).await?.into_iter().filter_map(engine::row) {
        let known = uses.of(&row.name);
        let made = Duration::from_millis(engine::now_ms().saturating_sub(row.created_ms));
        let Some(why) = due(made, known.last.elapsed(), known.idle, known.age).filter(|_| known.running == 0)
        else {
            continue;
        };
        let recorded = record_soon(permit_removal(&row.name, why, "gateway"), ledger).await;
        let permit = recorded.map_err(|error| EngineError::said(error.to_string()))?.into_permit();
        engine::remove(engine, permit.name()).await?;
        uses.forget(&row.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use moltbot_config::settings::DockerConfig;
    use moltbot_ledger::LedgerOptions;
    use moltbot_testkit::engine::{Engine, IMAGE};
    use moltbot_vault::StateDir;

    use super::*;

    /// A container with our labels, made so many hours ago.
    fn make(engine: &Engine, name: &str, installation: &str, hours: u64) {
        let made = engine::now_ms() - hours * 3_600_000;
        let labels = [
            "moltbot.sandbox=1".to_owned(),
            format!("moltbot.installation={installation}"),
            format!("moltbot.createdAtMs={made}"),
        ];
        let labels = labels.iter().flat_map(|label| ["--label", label.as_str()]).collect::<Vec<_>>();
        engine.ask(&[&["create", "--name", name], labels.as_slice(), &[IMAGE, "true"]].concat());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_old_or_idle_goes_and_what_is_used_or_somebody_elses_stays() {
        let Some(real) = Engine::start("what_is_old_or_idle_goes_and_what_is_used_or_somebody_elses_stays")
        else {
            return;
        };
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
        let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
        let engine = engine::connect(Path::new(real.socket())).await.unwrap();
        let tag = format!("prune{}", std::process::id());
        let docker = DockerConfig { container_prefix: format!("{tag}-"), ..DockerConfig::default() };
        let uses = Arc::new(Uses::default());
        let container = |scope: &str| Container::of(&docker, scope, Vec::new());
        // Idle at once; used; in use though old; of an earlier process.
        drop(uses.begin(&Container { idle: Duration::ZERO, ..container("idle") }));
        drop(uses.begin(&container("used")));
        let _in_use = uses.begin(&container("busy"));
        for (scope, hours) in [("idle", 1), ("used", 1), ("busy", 400), ("old", 400)] {
            make(&real, &container(scope).name, &tag, hours);
        }
        make(&real, &format!("{tag}-other"), "somebody", 400);
        prune(&engine, &uses, &ledger, &tag).await.unwrap();
        let left = real.ask(&["ps", "--all", "--filter", &format!("name={tag}-"), "--format", "{{.Names}}"]);
        let mut left: Vec<&str> = left.lines().collect();
        left.sort_unstable();
        let mut expected = [container("busy").name, format!("{tag}-other"), container("used").name];
        expected.sort_unstable();
        assert_eq!(left, expected);
        for name in expected {
            real.ask(&["rm", "--force", &name]);
        }
    }
}
