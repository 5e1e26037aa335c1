//! Changing secrets in the text of a config; comments and everything else stay as they are.

use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use super::place::{Place, State, state_of, take_id, unseal, walk, with_id};
use super::reference::SecretRef;
use super::{Keeper, number};
use crate::edit::{EditError, set, splice};
use crate::load::parse;
use crate::path::{Path, quote};
use crate::redact::is_secret_path;
use crate::substitution::{escape, unescape};
use crate::tree::Node;

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
/// When the text is not JSON5, a secret cannot be sealed or opened, or a reference is not valid.
pub fn seal_all(text: &str, keeper: &dyn Keeper) -> Result<Sealed, EditError> {
    let (text, paths) = edit_all(text, &|spot| {
        let plain = match state_of(spot.node, spot.path) {
            State::Plain(plain) if number::is_marked(plain) => {
                return Err("a secret does not begin with NUL; correct it".into());
            }
            State::Plain(plain) => SecretString::from(plain),
            State::PlainNumber => number::marked(spot.text),
            State::Original(_) | State::OriginalObject => {
                match unseal(spot.node, spot.path, spot.place, keeper) {
                    Some(plain) => plain?,
                    None => return Ok(None),
                }
            }
            State::Open | State::Empty | State::Reference(_) | State::Sealed(_) => return Ok(None),
        };
        seal_for(spot.place, &plain, keeper).map(Some)
    })?;
    Ok(Sealed { text: text.to_string(), paths })
}

/// Seals again what was not sealed with the newest key.
///
/// # Errors
/// When the text is not JSON5, a secret does not open or cannot be sealed, or a reference is not valid.
pub fn reseal_all(text: &str, keeper: &dyn Keeper) -> Result<Sealed, EditError> {
    let (text, paths) = edit_all(text, &|spot| {
        let State::Sealed(sealed) = state_of(spot.node, spot.path) else { return Ok(None) };
        let (id, bare) = take_id(sealed);
        let place = spot.place.name(id);
        if keeper.is_current(&place, &bare) {
            return Ok(None);
        }
        seal_for(spot.place, &keeper.unseal(&place, &bare)?, keeper).map(Some)
    })?;
    Ok(Sealed { text: text.to_string(), paths })
}

/// The text with every secret in plaintext, for going back to another program. References stay.
///
/// # Errors
/// When the text is not JSON5, a secret does not open, or a reference is not valid.
pub fn unseal_all(text: &str, keeper: &dyn Keeper) -> Result<Zeroizing<String>, EditError> {
    let (text, _) = edit_all(text, &|spot| {
        let Some(plain) = unseal(spot.node, spot.path, spot.place, keeper) else { return Ok(None) };
        let plain = plain?;
        Ok(Some(match number::of(&plain) {
            Some((number, _)) => number.to_owned(),
            None => quote(plain.expose_secret()),
        }))
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
    if SecretRef::at(node, &path).is_some() {
        return Err(secret("it is a reference, and its value is elsewhere".into()));
    }
    let plain = match state_of(node, &path) {
        State::Plain(plain) => return Ok(unescape(plain).into()),
        State::PlainNumber => return Ok(node.to_json().to_string().into()),
        State::Reference(name) => {
            return Err(secret(format!("it is the reference {name}, and its value is in the environment")));
        }
        State::Sealed(_) | State::Original(_) | State::OriginalObject => {
            let place = Place::of(&root, &path);
            place.require_unique().map_err(secret)?;
            unseal(node, &path, &place, keeper)
        }
        State::Open | State::Empty => None,
    };
    let nothing = || secret("no secret stands there; `moltbot config get` shows what does".into());
    let plain = plain.ok_or_else(nothing)?.map_err(secret)?;
    Ok(match number::of(&plain) {
        Some((_, number)) => number.to_json().to_string().into(),
        None => unescape(plain.expose_secret()).into(),
    })
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
    if !is_secret_path(&parsed) {
        return Err(secret("no secret belongs there; `moltbot config set` sets it".into()));
    }
    if value.expose_secret().is_empty() || value.expose_secret().contains('\0') {
        return Err(secret("a secret is not empty and has no NUL in it".into()));
    }
    // First its place, which depends on what is around it.
    let with_room = set(text, path, "\"\"")?;
    let place = Place::of(&parse(&with_room, "the config")?, &parsed);
    place.require_unique().map_err(secret)?;
    let plain = SecretString::from(escape(value.expose_secret()));
    let sealed = seal_for(&place, &plain, keeper).map_err(secret)?;
    set(&with_room, path, &sealed)
}

/// What stands in the text for a secret at `place`, in quotes.
fn seal_for(place: &Place, plain: &SecretString, keeper: &dyn Keeper) -> Result<String, String> {
    if !place.needs_id() {
        return Ok(quote(&keeper.seal(&place.name(None), plain)?));
    }
    let id = keeper.draw_id()?;
    Ok(quote(&with_id(&keeper.seal(&place.name(Some(&id)), plain)?, &id)))
}

/// A value that may be changed.
struct Spot<'a> {
    node: &'a Node,
    /// How it is written.
    text: &'a str,
    path: &'a Path,
    place: &'a Place,
}

type Edit<'a> = dyn Fn(&Spot<'_>) -> Result<Option<String>, String> + 'a;

/// Replaces each value for which `edit` gives another, and names those. What is replaced is erased.
fn edit_all(text: &str, edit: &Edit<'_>) -> Result<(Zeroizing<String>, Vec<String>), EditError> {
    let root = parse(text, "the config")?;
    let (mut edits, mut paths, mut failed) = (Vec::new(), Vec::new(), None);
    walk(&root, &mut |node, path, place| {
        if failed.is_some() {
            return false;
        }
        let new = match SecretRef::at(node, path) {
            // What it refers to is elsewhere.
            Some(Ok(_)) => return false,
            // What is none may have a secret in it, which would stay as it is.
            Some(Err(wrong)) => Err(wrong),
            None => {
                let text = text.get(node.start..node.end).unwrap_or_default();
                edit(&Spot { node, text, path, place })
            }
        };
        // Two that one id names could stand for each other.
        match new.and_then(|new| if new.is_some() { place.require_unique().map(|()| new) } else { Ok(new) }) {
            Ok(None) => true,
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
    let whole = Zeroizing::new(splice(text, &edits));
    edits.iter_mut().for_each(|(_, _, new)| new.zeroize());
    match failed {
        Some(error) => Err(error),
        None => Ok((whole, paths)),
    }
}
