//! Numbers that are secret: sealed as the text of the file, behind a mark by which they come back as numbers.

use secrecy::{ExposeSecret, SecretString};

use crate::reader;
use crate::tree::{Kind, Number};

/// Stands before a number that was sealed. No text is sealed that begins so.
const MARK: &str = "\0number:";

/// What is sealed for a number that stands in the file as `text`.
pub(super) fn marked(text: &str) -> SecretString {
    format!("{MARK}{text}").into()
}

/// Whether a text would come back as a number.
pub(super) fn is_marked(text: &str) -> bool {
    text.starts_with(MARK)
}

/// The number that was sealed, as it stood in the file and as it is; nothing when it was a text.
pub(super) fn of(plain: &SecretString) -> Option<(&str, Number)> {
    let text = plain.expose_secret().strip_prefix(MARK)?;
    match reader::read(text) {
        Ok((node, _)) => match node.kind {
            Kind::Number(number) => Some((text, number)),
            _ => None,
        },
        Err(_) => None,
    }
}
