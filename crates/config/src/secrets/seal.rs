//! Changing secrets in the text of a config; comments and everything else stay as they are.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::place::{Place, State, state_of, take_id, walk, with_id};
use super::{Keeper, NUMBER};
use crate::edit::{EditError, set, splice};
use crate::load::parse;
use crate::path::{Path, quote};
use crate::report::ConfigErrors;
use crate::substitution::escape;
use crate::tree::{Kind, Node};

/// A text in which no secret stands as plaintext.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// The text.
    pub text: String,
    /// The settings that were sealed just now.
    pub paths: Vec<String>,
}

/// Seals every secret that stands in the text as plaintext or in the original's form. References stay, and so does what
/// is sealed already.
///
/// # Errors
/// When the text is not JSON5, or a secret cannot be sealed or opened.
pub fn seal_all(text: &str, keeper: &dyn Keeper) -> Result<Sealed, EditError> {
    let (text, paths) = edit_all(text, &|root, node, path| {
        let plain = match state_of(node, path) {
            State::Plain(plain) => SecretString::from(plain),
            State::PlainNumber => SecretString::from(format!("{NUMBER}{}", node.to_json())),
            State::Original(sealed) => keeper.unseal_original(&path.to_string(), sealed)?,
            State::OriginalObject => {
                keeper.unseal_original(&path.to_string(), &node.to_json().to_string())?
            }
            State::Open | State::Empty | State::Reference(_) | State::Sealed(_) => return Ok(None),
        };
        seal_for(root, path, &plain, keeper).map(Some)
    })?;
    Ok(Sealed { text: text.to_string(), paths })
}

/// Seals again what was not sealed with the newest key.
///
/// # Errors
/// When the text is not JSON5, or a secret does not open or cannot be sealed.
pub fn reseal_all(text: &str, keeper: &dyn Keeper) -> Result<Sealed, EditError> {
    let (text, paths) = edit_all(text, &|root, node, path| {
        let State::Sealed(sealed) = state_of(node, path) else { return Ok(None) };
        let (id, bare) = take_id(sealed);
        let place = Place::of(root, path).name(id);
        if keeper.is_current(&place, &bare) {
            return Ok(None);
        }
        let plain = keeper.unseal(&place, &bare)?;
        seal_for(root, path, &plain, keeper).map(Some)
    })?;
    Ok(Sealed { text: text.to_string(), paths })
}

/// The text with every secret in plaintext, for going back to another program. References stay.
///
/// # Errors
/// When the text is not JSON5, or a secret does not open.
pub fn unseal_all(text: &str, keeper: &dyn Keeper) -> Result<Zeroizing<String>, EditError> {
    let (text, _) = edit_all(text, &|root, node, path| {
        let plain = match state_of(node, path) {
            State::Sealed(sealed) => unseal_at(root, path, sealed, keeper)?,
            State::Original(sealed) => keeper.unseal_original(&path.to_string(), sealed)?,
            State::OriginalObject => {
                keeper.unseal_original(&path.to_string(), &node.to_json().to_string())?
            }
            State::Open | State::Empty | State::Plain(_) | State::PlainNumber | State::Reference(_) => {
                return Ok(None);
            }
        };
        let plain = plain.expose_secret();
        Ok(Some(plain.strip_prefix(NUMBER).map_or_else(|| quote(plain), str::to_owned)))
    })?;
    Ok(text)
}

/// The secret at `path`, as it stands in the text: a reference is not followed, and told as an error.
///
/// # Errors
/// When there is none, it is a reference, or it does not open.
pub fn secret_at(text: &str, path: &str, keeper: &dyn Keeper) -> Result<SecretString, EditError> {
    let path = Path::parse(path)?;
    let root = parse(text, "the config")?;
    let node = root.at(&path).ok_or_else(|| EditError::NotSet { path: path.to_string() })?;
    let secret = |because: String| EditError::Secret { path: path.to_string(), because };
    if super::reference::SecretRef::at(node).is_some() {
        return Err(secret("it is a reference, and its value is elsewhere".into()));
    }
    let plain = match state_of(node, &path) {
        State::Plain(plain) => return Ok(SecretString::from(plain)),
        State::PlainNumber => return Ok(SecretString::from(node.to_json().to_string())),
        State::Sealed(sealed) => unseal_at(&root, &path, sealed, keeper),
        State::Original(sealed) => keeper.unseal_original(&path.to_string(), sealed),
        State::OriginalObject => keeper.unseal_original(&path.to_string(), &node.to_json().to_string()),
        State::Reference(name) => {
            Err(format!("it is the reference {name}, and its value is in the environment"))
        }
        State::Open | State::Empty => {
            Err("no secret stands there; `moltbot config get` shows what does".into())
        }
    };
    let plain = plain.map_err(secret)?;
    let shown = plain.expose_secret().strip_prefix(NUMBER).map(SecretString::from);
    Ok(shown.unwrap_or_else(|| crate::substitution::unescape(plain.expose_secret()).into()))
}

/// The text with one secret set, sealed.
///
/// # Errors
/// When there is no room for it at the path, no secret belongs there, or it cannot be sealed.
pub fn set_secret(
    text: &str,
    path: &str,
    value: &SecretString,
    keeper: &dyn Keeper,
) -> Result<String, EditError> {
    let parsed = Path::parse(path)?;
    let secret = |because: String| EditError::Secret { path: parsed.to_string(), because };
    if !crate::redact::is_secret_path(&parsed) {
        return Err(secret("no secret belongs there; `moltbot config set` sets it".into()));
    }
    if value.expose_secret().is_empty() || value.expose_secret().contains('\0') {
        return Err(secret("a secret is not empty and has no NUL in it".into()));
    }
    // First its place, which depends on what is around it.
    let with_room = set(text, path, "\"\"")?;
    let root = parse(&with_room, "the config")?;
    let plain = SecretString::from(escape(value.expose_secret()));
    let sealed = seal_for(&root, &parsed, &plain, keeper).map_err(secret)?;
    set(&with_room, path, &sealed)
}

fn unseal_at(root: &Node, path: &Path, sealed: &str, keeper: &dyn Keeper) -> Result<SecretString, String> {
    let (id, bare) = take_id(sealed);
    keeper.unseal(&Place::of(root, path).name(id), &bare)
}

/// What stands in the text for a secret at `path`, in quotes.
fn seal_for(root: &Node, path: &Path, plain: &SecretString, keeper: &dyn Keeper) -> Result<String, String> {
    let place = Place::of(root, path);
    if !place.needs_id() {
        return Ok(quote(&keeper.seal(&place.name(None), plain)?));
    }
    let id = keeper.draw_id()?;
    Ok(quote(&with_id(&keeper.seal(&place.name(Some(&id)), plain)?, &id)))
}

type Edit<'a> = dyn Fn(&Node, &Node, &Path) -> Result<Option<String>, String> + 'a;

/// Replaces each value for which `edit` gives another, and names those.
fn edit_all(text: &str, edit: &Edit<'_>) -> Result<(Zeroizing<String>, Vec<String>), EditError> {
    let root: Node = parse(text, "the config").map_err(|errors: ConfigErrors| EditError::Config(errors))?;
    let (mut edits, mut paths, mut failed) = (Vec::new(), Vec::new(), None);
    walk(&root, &mut |node, path| {
        // What a reference refers to is elsewhere; its own members are no secrets.
        let is_reference = super::reference::SecretRef::at(node).is_some();
        if failed.is_some() || (is_reference && crate::redact::is_secret_path(path)) {
            return false;
        }
        match edit(&root, node, path) {
            Ok(None) => matches!(node.kind, Kind::List { .. } | Kind::Object { .. }),
            Ok(Some(new)) => {
                edits.push((node.start, node.end, new));
                paths.push(path.to_string());
                false
            }
            Err(because) => {
                failed = Some(EditError::Secret { path: path.to_string(), because });
                false
            }
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok((Zeroizing::new(splice(text, &edits)), paths)),
    }
}
