//! The original's files of credentials, `auth-profiles.json` and `oauth.json`: what is secret in them, and the keys of
//! providers. They are sealed, listed and opened by the same functions as a config.

use secrecy::SecretString;

use super::open::{Part, open};
use super::place::walk;
use super::{Keeper, is_secret_path};
use crate::edit::EditError;
use crate::load::parse;
use crate::path::{Path, Step};
use crate::substitution::{Environment, expand, is_pure_reference};
use crate::tree::{Kind, Node};

/// What a file of credentials holds.
#[derive(Debug, Default)]
pub struct SignIns {
    /// The keys of providers (profiles of the type `api_key`), in the order in which they are to be tried: the file's
    /// `order` for the provider, then that of the file.
    pub api_keys: Vec<ApiKey>,
    /// Every secret in it, for taking them out of logs and records.
    pub secrets: Vec<SecretString>,
}

/// The key of a provider.
#[derive(Debug)]
pub struct ApiKey {
    /// The profile's id, such as `openai:default`.
    pub profile: String,
    /// The provider's name.
    pub provider: String,
    /// The key.
    pub key: SecretString,
}

/// Opens what a file of credentials holds; `${NAME}` alone stands for a variable.
///
/// # Errors
/// When it is not JSON5, a secret does not open, or a variable is not set.
pub fn sign_ins(
    text: &str,
    keeper: &dyn Keeper,
    environment: &Environment<'_>,
) -> Result<SignIns, EditError> {
    let mut root = parse(text, "the file")?;
    let opened = open(&mut root, Part::Whole, text.len(), keeper, environment);
    if let Some(fault) = opened.faults.into_iter().next() {
        return Err(EditError::Secret { path: fault.path, because: fault.message });
    }
    let (mut secrets, mut failed) = (Vec::new(), None);
    walk(&root, &mut |node, path, _| {
        if is_secret_path(path) {
            match value_of(node, environment) {
                Ok(value) => secrets.extend(value),
                Err(because) => failed = Some(EditError::Secret { path: path.to_string(), because }),
            }
        }
        failed.is_none()
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(SignIns { api_keys: api_keys(&root, environment), secrets }),
    }
}

/// The text at a node, with its variable's value when it is one; nothing when it is empty or no text.
fn value_of(node: &Node, environment: &Environment<'_>) -> Result<Option<SecretString>, String> {
    let Kind::Text(text) = &node.kind else { return Ok(None) };
    if !is_pure_reference(text) {
        return Ok((!text.is_empty()).then(|| SecretString::from(&**text)));
    }
    match expand(text, environment) {
        Ok(value) => Ok(Some(SecretString::from(value.expose()))),
        Err(_) => Err(format!("the variable of {} is not set", &**text)),
    }
}

fn api_keys(root: &Node, environment: &Environment<'_>) -> Vec<ApiKey> {
    let profiles = match root.child(&Step::Key("profiles".into())).map(|node| &node.kind) {
        Some(Kind::Object { members, .. }) => members.as_slice(),
        _ => &[],
    };
    let mut keys: Vec<ApiKey> =
        profiles.iter().filter_map(|member| api_key(&member.key, &member.value, environment)).collect();
    keys.sort_by_cached_key(|key| turn_of(root, key));
    keys
}

fn api_key(profile: &str, node: &Node, environment: &Environment<'_>) -> Option<ApiKey> {
    let text = |key: &str| match &node.child(&Step::Key(key.to_owned()))?.kind {
        Kind::Text(text) => Some(text.to_string()),
        _ => None,
    };
    if text("type")? != "api_key" {
        return None;
    }
    let key = value_of(node.child(&Step::Key("key".into()))?, environment).ok().flatten()?;
    Some(ApiKey { profile: profile.to_owned(), provider: text("provider")?, key })
}

/// Its place in the file's `order` for its provider; behind all others without one.
fn turn_of(root: &Node, key: &ApiKey) -> usize {
    let order = Path(vec![Step::Key("order".into()), Step::Key(key.provider.clone())]);
    let Some(Kind::List { items, .. }) = root.at(&order).map(|node| &node.kind) else { return usize::MAX };
    let names = |item: &Node| matches!(&item.kind, Kind::Text(text) if **text == *key.profile);
    items.iter().position(names).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::{NoKeys, SecretState, secrets};

    const FILE: &str = r#"{"version": 1, "profiles": {
        "openai:b": {"type": "api_key", "provider": "openai", "key": "sk-b", "email": "a@b.c"},
        "openai:a": {"type": "api_key", "provider": "openai", "key": "sk-a"},
        "anthropic:token": {"type": "token", "provider": "anthropic", "token": "t-1", "expires": 5},
        "google:o": {"type": "oauth", "provider": "google", "access": "o-1", "refresh": "o-2", "clientId": "c"},
        "mistral:env": {"type": "api_key", "provider": "mistral", "key": "${MISTRAL}"},
        "empty:e": {"type": "api_key", "provider": "empty", "key": ""}
    }, "order": {"openai": ["openai:a", "openai:b"]}, "usageStats": {"openai:a": {"lastUsed": 1}}}"#;

    fn environment(name: &str) -> Option<SecretString> {
        (name == "MISTRAL").then(|| "sk-m".into())
    }

    #[test]
    fn the_keys_come_in_their_order_and_every_secret_is_known() {
        let found = sign_ins(FILE, &NoKeys, &environment).unwrap();
        let keys: Vec<_> =
            found.api_keys.iter().map(|it| (it.provider.as_str(), it.key.expose_secret())).collect();
        assert_eq!(keys, [("openai", "sk-a"), ("openai", "sk-b"), ("mistral", "sk-m")]);
        let all: Vec<_> = found.secrets.iter().map(|it| it.expose_secret()).collect();
        assert_eq!(all, ["sk-b", "sk-a", "t-1", "o-1", "o-2", "sk-m"]);
        assert!(sign_ins(FILE, &NoKeys, &|_: &str| None).is_err(), "a variable that is not set");
        assert!(sign_ins("{", &NoKeys, &environment).is_err());
    }

    #[test]
    fn what_is_secret_in_a_file_of_credentials_is_found_and_nothing_else() {
        let plain = |text: &str| -> Vec<String> {
            let found = secrets(text).unwrap().into_iter().filter(|it| it.state == SecretState::Plain);
            found.map(|it| it.path).collect()
        };
        assert_eq!(plain(FILE).len(), 5, "{:?}", plain(FILE));
        let oauth =
            r#"{"anthropic": {"type": "oauth", "access": "a", "refresh": "b", "expires": 17, "email": "c"}}"#;
        assert_eq!(plain(oauth), ["anthropic.access", "anthropic.refresh"]);
    }
}
