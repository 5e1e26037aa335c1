//! What changes between two configs, in lines that have no secret in them.

use std::collections::BTreeMap;

use crate::load::parse;
use crate::path::{Path, quote};
use crate::redact::{counts_tokens, has_password, is_secret_path};
use crate::report::ConfigErrors;
use crate::secrets::walk;
use crate::substitution::is_pure_reference;
use crate::tree::{Kind, Node};

/// The longest value that a line shows, in characters.
const SHOWN: usize = 60;

/// A value as a line may show it, and its whole for comparison.
#[derive(PartialEq)]
struct Leaf {
    whole: String,
    shown: String,
}

/// The settings that differ, one line each: `gateway.port: 18789 -> 18790`. Secrets are `***`.
///
/// # Errors
/// When one of the texts is not JSON5.
pub fn diff(old: &str, new: &str) -> Result<Vec<String>, ConfigErrors> {
    let (old, new) = (leaves(old)?, leaves(new)?);
    let paths: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let line = |path: &String| match (old.get(path), new.get(path)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!("{path}: {} -> {}", old.shown, new.shown)),
        (None, Some(new)) => Some(format!("{path}: added {}", new.shown)),
        (Some(old), None) => Some(format!("{path}: removed {}", old.shown)),
        (None, None) => None,
    };
    Ok(paths.into_iter().filter_map(line).collect())
}

/// Every value that holds no other, by its path.
fn leaves(text: &str) -> Result<BTreeMap<String, Leaf>, ConfigErrors> {
    let root = parse(text, "the config")?;
    let mut found = BTreeMap::new();
    walk(&root, &mut |node, path, _| {
        let is_leaf = match &node.kind {
            Kind::List { items, .. } => items.is_empty(),
            Kind::Object { members, .. } => members.is_empty(),
            Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => true,
        };
        if is_leaf {
            let whole = node.to_json().to_string();
            found.insert(path.to_string(), Leaf { shown: shown(node, path, &whole), whole });
        }
        true
    });
    Ok(found)
}

fn shown(node: &Node, path: &Path, whole: &str) -> String {
    match &node.kind {
        Kind::Text(text) if is_pure_reference(text) => text.to_string(),
        Kind::Text(text) if is_secret_path(path) || has_password(text) => "***".into(),
        Kind::Text(text) if text.chars().count() > SHOWN => {
            quote(&text.chars().take(SHOWN).chain(['…']).collect::<String>())
        }
        Kind::Text(text) => quote(text),
        Kind::Number(_) if is_secret_path(path) && !counts_tokens(path) => "***".into(),
        _ => whole.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_without_secrets() {
        let old = "{ gateway: { port: 1, auth: { token: 'old', mode: 'token' } }, list: [1, 2], env: { N: 5 }, agents: { defaults: { contextTokens: 5 } } }";
        let new = "{ agents: { defaults: { contextTokens: 6 } }, gateway: { port: 2, auth: { token: 'new' } }, list: [1], env: { N: 6 }, talk: { apiKey: '${K}' }, ui: {} }";
        assert_eq!(
            diff(old, new).unwrap(),
            [
                "agents.defaults.contextTokens: 5 -> 6",
                "env.N: *** -> ***",
                "gateway.auth.mode: removed \"token\"",
                "gateway.auth.token: *** -> ***",
                "gateway.port: 1 -> 2",
                "list[1]: removed 2",
                "talk.apiKey: added ${K}",
                "ui: added {}",
            ]
        );
        assert_eq!(diff(old, old).unwrap(), Vec::<String>::new());
    }
}
