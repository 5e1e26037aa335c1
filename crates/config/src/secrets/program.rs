//! What programs are asked for: each provider's once, for all that a config wants of it.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

use super::open::Part;
use super::place::walk;
use super::provider::Providers;
use super::reference::SecretRef;
use super::{Asked, Keeper};
use crate::path::{Step, quote};
use crate::schema;
use crate::tree::Node;

/// The answers, by provider.
pub(super) struct Programs(BTreeMap<String, Result<Asked, String>>);

/// What a program has for one reference.
pub(super) enum Answer {
    /// This.
    Secret(SecretString),
    /// Nobody was asked.
    Withheld,
}

impl Programs {
    /// Asks every program that a setting wants something of.
    pub(super) fn ask(root: &Node, part: Part, providers: &Providers, keeper: &dyn Keeper) -> Self {
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        walk(root, &mut |node, path, _| {
            if matches!(path.0.first(), Some(Step::Key(key)) if !part.has(key)) {
                return false;
            }
            let Some(reference) = SecretRef::at(node, path) else { return true };
            if let Ok(reference) = reference
                && let SecretRef::Exec { id, .. } = &reference
                && schema::serves(path)
                && let Ok(Some((name, _))) = providers.provider(&reference)
            {
                wanted.entry(name.to_owned()).or_default().insert(id.clone());
            }
            false
        });
        let ask = |(provider, ids): (String, BTreeSet<String>)| {
            let asked = providers.config().and_then(|config| keeper.ask(config, &provider, &ids));
            (provider, asked)
        };
        Self(wanted.into_iter().map(ask).collect())
    }

    /// What the program of `provider` has for `id`.
    pub(super) fn answer(&self, provider: &str, id: &str) -> Result<Answer, String> {
        match self.0.get(provider) {
            Some(Ok(Asked::Answered(answers))) => match answers.get(id) {
                Some(answer) => answer.clone().map(Answer::Secret),
                None => Err(format!("the program of {} gave nothing for {}", quote(provider), quote(id))),
            },
            Some(Ok(Asked::Withheld)) => Ok(Answer::Withheld),
            Some(Err(message)) => Err(message.clone()),
            None => Err(format!("the program of {} was not asked", quote(provider))),
        }
    }
}
