//! Attacks of the owner on his own installation, to see whether its controls hold.
//!
//! Each is told to the book before it is tried, and what came of it afterwards: what looks like an attack in the book can be
//! told from one.

use std::collections::BTreeMap;

use crate::record::{Decision, Entry, Permit};

/// The action of a drill that begins, in the book.
const START: &str = "drill.start";
/// The action of one that is over.
const END: &str = "drill.end";
/// The longest name and the longest verdict, in bytes.
const NAME_BYTES: usize = 40;
/// The longest text of what was seen, in characters.
const SEEN_CHARS: usize = 400;

/// Proof that one attack on this machine's own installation may be tried. The network's door takes it for what goes to
/// loopback.
#[derive(Debug)]
#[must_use = "a permit that is dropped tries nothing"]
pub struct DrillPermit {
    name: &'static str,
    actor: String,
}

impl DrillPermit {
    /// For the owner, by the drill's name.
    pub fn for_owner(name: &'static str, actor: impl Into<String>) -> Self {
        Self { name, actor: actor.into() }
    }

    /// The drill's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl Permit for DrillPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), START, self.name, Decision::Allowed)
    }
}

/// What came of a drill, for the book.
#[derive(Debug)]
pub struct DrillEnd {
    /// Its name.
    pub name: &'static str,
    /// `held`, `got through` or `not run`.
    pub verdict: &'static str,
    /// What was seen; no secret.
    pub seen: String,
    /// Who had it done.
    pub actor: String,
}

impl Permit for DrillEnd {
    fn entry(&self) -> Entry {
        let seen: String = self.seen.chars().take(SEEN_CHARS).collect();
        let entry = Entry::new(self.actor.clone(), END, self.name, Decision::Done);
        entry.with("verdict", self.verdict).with("seen", seen)
    }
}

/// The entry of a drill on the owner's command line, which asks a gateway to write it.
pub(crate) fn relayed(
    action: &str,
    target: &str,
    details: &BTreeMap<String, String>,
    actor: &str,
) -> Option<Entry> {
    let is_name =
        |text: &str| text.len() <= NAME_BYTES && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if !is_name(target) {
        return None;
    }
    let entry = |action, decision| Entry::new(actor, action, target, decision).with("relayed", "yes");
    match action {
        START => Some(entry(START, Decision::Allowed)),
        END => {
            let detail = |name: &str, most: usize| -> String {
                details.get(name).map(|text| text.chars().take(most).collect()).unwrap_or_default()
            };
            let entry = entry(END, Decision::Done).with("verdict", detail("verdict", NAME_BYTES));
            Some(entry.with("seen", detail("seen", SEEN_CHARS)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_is_told_as_one_from_here_and_from_the_command_line() {
        let none = BTreeMap::new();
        let start = DrillPermit::for_owner("bad-sign-ins", "cli").entry();
        assert_eq!(relayed(start.action, &start.target, &none, "cli").unwrap(), start.with("relayed", "yes"));
        let end =
            DrillEnd { name: "bad-sign-ins", verdict: "held", seen: "x".repeat(900), actor: "cli".into() };
        let end = end.entry();
        assert_eq!(end.details.get("seen").map(String::len), Some(SEEN_CHARS));
        let details = end.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(relayed(END, &end.target, &details, "cli").unwrap(), end.with("relayed", "yes"));
        for (action, target) in [("drill.other", "a"), (START, "A name"), (START, &*"x".repeat(41))] {
            assert_eq!(relayed(action, target, &none, "cli"), None, "{action} {target}");
        }
    }
}
