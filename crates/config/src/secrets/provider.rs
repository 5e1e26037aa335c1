//! `secrets.providers`: what the references of a config are looked up in.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroize;

use super::Keeper;
use super::program::{Answer, Programs};
use super::reference::SecretRef;
use crate::path::{Step, quote};
use crate::settings::{SecretFileMode, SecretProvider, SecretSource, SecretsConfig};
use crate::substitution::Environment;
use crate::tree::{Kind, Node};
use crate::values::Values;

/// The provider of a reference that names none.
const DEFAULT: &str = "default";

/// A provider with its name.
type Named<'a> = (&'a str, &'a SecretProvider);

/// The providers of a config; nothing when they are not valid, which the judge tells.
pub(super) struct Providers(Option<SecretsConfig>);

impl Providers {
    /// Reads the providers of a config, and nothing else of it.
    pub(super) fn of(root: &Node, environment: &Environment<'_>) -> Self {
        let Some(node) = root.child(&Step::Key("secrets".into())) else {
            return Self(Some(SecretsConfig::default()));
        };
        let skipped = unserved(node);
        Self(SecretsConfig::deserialize(Values { node, skipped: &skipped, environment }).ok())
    }

    /// The secret that a reference leads to.
    pub(super) fn resolve(
        &self,
        reference: &SecretRef,
        environment: &Environment<'_>,
        keeper: &dyn Keeper,
        programs: &Programs,
    ) -> Result<Answer, String> {
        let found = self.provider(reference)?;
        let provider = found.map(|(_, provider)| provider);
        let secret = match reference {
            SecretRef::Env { id, .. } => variable(id, provider, environment)?,
            SecretRef::Exec { id, .. } => match programs.answer(named(found)?, id)? {
                Answer::Secret(secret) => secret,
                Answer::Withheld => return Ok(Answer::Withheld),
            },
            SecretRef::File { id, .. } => file(id, provider, reference, keeper)?,
            SecretRef::Store { .. } => keeper.resolve(reference)?,
        };
        if secret.expose_secret().is_empty() {
            return Err(format!("{reference} is empty"));
        }
        Ok(Answer::Secret(secret))
    }

    /// All of it.
    pub(super) fn config(&self) -> Result<&SecretsConfig, String> {
        self.0.as_ref().ok_or_else(|| "`secrets` is not valid".into())
    }

    /// The provider that a reference names, or that its source has when it names none, with its name. `default` need not
    /// be there.
    pub(super) fn provider<'a>(&'a self, reference: &'a SecretRef) -> Result<Option<Named<'a>>, String> {
        let config = self.config()?;
        let (source, default) = match reference {
            SecretRef::Env { .. } => (SecretSource::Env, &config.defaults.env),
            SecretRef::Exec { .. } => (SecretSource::Exec, &config.defaults.exec),
            SecretRef::File { .. } => (SecretSource::File, &config.defaults.file),
            SecretRef::Store { .. } => {
                return match reference.provider() {
                    None | Some(DEFAULT) => Ok(None),
                    Some(other) => Err(format!("`store` has no provider {}; leave it out", quote(other))),
                };
            }
        };
        let name = reference.provider().or(default.as_deref()).unwrap_or(DEFAULT);
        match config.providers.get(name) {
            Some(provider) if provider.source == source => Ok(Some((name, provider))),
            // Named by its source alone, it is the one that needs no entry.
            Some(_) if name == DEFAULT && reference.provider().is_none() => Ok(None),
            Some(_) => Err(format!("the provider {} is of another `source`", quote(name))),
            None if name == DEFAULT => Ok(None),
            None => Err(format!("there is no provider {} in `secrets.providers`", quote(name))),
        }
    }
}

/// The members of `secrets` that do nothing yet, by the offsets of their keys.
fn unserved(secrets: &Node) -> BTreeSet<usize> {
    const SERVED: [&str; 12] = [
        "allowSymlinkCommand",
        "allowlist",
        "args",
        "command",
        "jsonOnly",
        "maxOutputBytes",
        "mode",
        "passEnv",
        "path",
        "source",
        "timeoutMs",
        "trustedDirs",
    ];
    let others = |node: &Node, served: &[&str]| match &node.kind {
        Kind::Object { members, .. } => members
            .iter()
            .filter(|member| !served.contains(&&*member.key))
            .map(|member| member.start)
            .collect(),
        _ => Vec::new(),
    };
    let mut skipped: BTreeSet<usize> = others(secrets, &["defaults", "providers"]).into_iter().collect();
    if let Some(Kind::Object { members, .. }) =
        secrets.child(&Step::Key("providers".into())).map(|node| &node.kind)
    {
        skipped.extend(members.iter().flat_map(|member| others(&member.value, &SERVED)));
    }
    skipped
}

/// The name of the provider of `exec`, which needs one: it says which program is run.
fn named(found: Option<Named<'_>>) -> Result<&str, String> {
    let missing = "`exec` needs a provider in `secrets.providers`, which names the program";
    found.map(|(name, _)| name).ok_or_else(|| missing.into())
}

fn variable(
    id: &str,
    provider: Option<&SecretProvider>,
    environment: &Environment<'_>,
) -> Result<SecretString, String> {
    let allowed = provider.and_then(|provider| provider.allowlist.as_ref());
    if allowed.is_some_and(|allowed| !allowed.iter().any(|one| one == id)) {
        return Err(format!("the variable `{id}` is not in the `allowlist` of its provider"));
    }
    let value = environment(id).filter(|value| !value.expose_secret().is_empty());
    value.ok_or_else(|| format!("the variable `{id}` of the environment is not set, or is empty"))
}

/// The whole of a file, or the text at a JSON pointer in it.
fn file(
    id: &str,
    provider: Option<&SecretProvider>,
    reference: &SecretRef,
    keeper: &dyn Keeper,
) -> Result<SecretString, String> {
    let Some(provider) = provider else {
        if id == "value" {
            return Err("without a provider, the `id` of `file` is the absolute path of the file".into());
        }
        return keeper.resolve(reference);
    };
    let path = provider.path.as_deref().filter(|path| path.starts_with('/'));
    let path = path.ok_or("the `path` of its provider is not the absolute path of a file")?;
    let whole = SecretRef::File { id: path.to_owned(), provider: None };
    match (provider.mode, id) {
        (SecretFileMode::SingleValue, "value") => keeper.resolve(&whole),
        (SecretFileMode::SingleValue, _) => {
            Err("the file of its provider is one secret, whose `id` is \"value\"".into())
        }
        (SecretFileMode::Json, pointer) => picked(&keeper.resolve(&whole)?, pointer),
    }
}

/// The text at a JSON pointer (RFC 6901). What was read around it is erased.
fn picked(json: &SecretString, pointer: &str) -> Result<SecretString, String> {
    let mut value: Value = serde_json::from_str(json.expose_secret())
        .map_err(|_| "the file of its provider is not JSON".to_owned())?;
    let found = value.pointer(pointer).and_then(Value::as_str).map(SecretString::from);
    erase(&mut value);
    found.ok_or_else(|| format!("the file of its provider has no text at {}", quote(pointer)))
}

/// Erases the texts of a value; their names are no secrets.
fn erase(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(erase),
        Value::Object(members) => members.values_mut().for_each(erase),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
