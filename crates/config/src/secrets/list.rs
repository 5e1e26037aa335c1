//! Which secrets a config has, and how each stands in it.

use serde::Serialize;

use super::place::{State, state_of, take_id, walk};
use super::reference::SecretRef;
use crate::load::parse;
use crate::report::{ConfigErrors, Source};

/// One secret of a config, without its value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretEntry {
    /// The setting, as `gateway.auth.token`.
    pub path: String,
    /// The name that it is sealed under, as `agents.list[id=main].memorySearch.remote.apiKey`. Where the config does not
    /// name an element and nothing is sealed yet, `[#]` stands for it.
    pub place: String,
    /// The line of its value, from 1.
    pub line: usize,
    /// How it stands there.
    pub state: SecretState,
}

/// How a secret stands in a config.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "of")]
#[non_exhaustive]
pub enum SecretState {
    /// An empty text.
    Empty,
    /// Sealed by the original.
    Original,
    /// As plaintext.
    Plain,
    /// A reference: `${NAME}`, or what a source and its id say.
    Reference(String),
    /// Sealed.
    Sealed,
}

impl SecretState {
    /// Whether the next change of the config seals it.
    pub const fn is_to_be_sealed(&self) -> bool {
        matches!(self, Self::Original | Self::Plain)
    }
}

/// The secrets in the text of a config, in its order.
///
/// # Errors
/// When the text is not JSON5.
pub fn secrets(text: &str) -> Result<Vec<SecretEntry>, ConfigErrors> {
    let root = parse(text, "the config")?;
    let source = Source::new(text, Vec::new(), text.len());
    let mut found = Vec::new();
    walk(&root, &mut |node, path, place| {
        let mut id = None;
        let state = match (SecretRef::at(node, path), state_of(node, path)) {
            (Some(Ok(reference)), _) => SecretState::Reference(reference.to_string()),
            (Some(Err(wrong)), _) => SecretState::Reference(wrong),
            (None, State::Open) => return true,
            (None, State::Empty) => SecretState::Empty,
            (None, State::Original(_) | State::OriginalObject) => SecretState::Original,
            (None, State::Plain(_) | State::PlainNumber) => SecretState::Plain,
            (None, State::Reference(text)) => SecretState::Reference(text.to_owned()),
            (None, State::Sealed(text)) => {
                id = take_id(text).0;
                SecretState::Sealed
            }
        };
        let (line, _) = source.place(node.start);
        found.push(SecretEntry { path: path.to_string(), place: place.name(id), line, state });
        false
    });
    Ok(found)
}
