//! That the owner has the system's service manager start moltbot, or no longer.

use crate::record::{Decision, Entry, Permit};

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceAct {
    /// The unit is written.
    Install,
    /// It is taken away.
    Uninstall,
}

impl ServiceAct {
    const ALL: [Self; 2] = [Self::Install, Self::Uninstall];

    /// The action, as the book has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Install => "service.install",
            Self::Uninstall => "service.uninstall",
        }
    }
}

/// Proof that a unit may be written or taken away.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct ServicePermit {
    act: ServiceAct,
    unit: String,
    actor: String,
}

impl ServicePermit {
    /// For the owner, by the unit's path.
    pub fn for_owner(act: ServiceAct, unit: impl Into<String>, actor: impl Into<String>) -> Self {
        Self { act, unit: unit.into(), actor: actor.into() }
    }
}

impl Permit for ServicePermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), self.act.name(), self.unit.clone(), Decision::Allowed)
    }
}

/// The entry of such a permit on the owner's command line, which asks a gateway to write it.
pub(crate) fn relayed(action: &str, target: &str, actor: &str) -> Option<Entry> {
    let act = ServiceAct::ALL.into_iter().find(|act| act.name() == action)?;
    Some(ServicePermit::for_owner(act, target, actor).entry().with("relayed", "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_acts_are_relayed_and_no_other() {
        for act in ServiceAct::ALL {
            let entry = ServicePermit::for_owner(act, "/u/moltbot.service", "cli").entry();
            assert_eq!(relayed(act.name(), "/u/moltbot.service", "cli"), Some(entry.with("relayed", "yes")));
        }
        assert_eq!(relayed("service.start", "/u/moltbot.service", "cli"), None);
    }
}
