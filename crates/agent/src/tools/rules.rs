//! The rules for commands: those of the program, and the owner's file in the state folder.
//!
//! The file is read for each command, so that a change holds at once; it is parsed anew only when it changed. With a
//! file that cannot be used no command runs.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::command::{RULES_FILE, Rules};
use moltbot_vault::StateDir;
use tokio::task::spawn_blocking;

/// Where the rules come from.
#[derive(Clone)]
pub(crate) struct RulesSource {
    state: StateDir,
    /// The owner's file as it was read last, and what it came to.
    known: Arc<Mutex<Option<Read>>>,
}

/// A file as it was read, and what it came to.
type Read = (Vec<u8>, Arc<Rules>);

/// The rules in force.
pub(crate) enum InForce {
    BuiltIn(&'static Rules),
    Owners(Arc<Rules>),
}

impl Deref for InForce {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        match self {
            Self::BuiltIn(rules) => rules,
            Self::Owners(rules) => rules,
        }
    }
}

impl RulesSource {
    pub(crate) fn of(state: StateDir) -> Self {
        Self { state, known: Arc::default() }
    }

    /// The rules as they are now.
    pub(crate) async fn current(&self) -> Result<InForce, Refusal> {
        let source = self.clone();
        spawn_blocking(move || source.read())
            .await
            .map_err(|_| Refusal::new("rules_unreadable", super::stopped()))?
    }

    fn read(&self) -> Result<InForce, Refusal> {
        let broken = |error: &dyn std::error::Error| Refusal::new("rules_unreadable", super::sentence(error));
        let Some(bytes) =
            self.state.read(RULES_FILE, limits::COMMAND_RULES_BYTES).map_err(|error| broken(&error))?
        else {
            return Rules::built_in().map(InForce::BuiltIn).map_err(|error| broken(&error));
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rules)) = known.as_ref().filter(|(read, _)| *read == bytes) {
            return Ok(InForce::Owners(rules.clone()));
        }
        let path = self.state.path().join(RULES_FILE);
        let rules = Rules::with_owners(&String::from_utf8_lossy(&bytes), &path.display().to_string());
        let rules = Arc::new(rules.map_err(|error| broken(&error))?);
        *known = Some((bytes, rules.clone()));
        Ok(InForce::Owners(rules))
    }
}
