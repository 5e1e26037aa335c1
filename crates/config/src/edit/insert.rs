//! Adds a member or an element at the end of an object or list, in the manner of its neighbours.

use super::splice;
use crate::path::{is_identifier, quote};
use crate::tree::{Kind, Node};

/// A key as JSON5.
pub(super) fn key(key: &str) -> String {
    if is_identifier(key) { key.to_owned() } else { quote(key) }
}

/// The text with `entry` as the last of what `container` holds.
pub(super) fn into(text: &str, container: &Node, entry: String) -> String {
    let close = container.end.saturating_sub(1);
    let inside = text.get(container.start.saturating_add(1)..close).unwrap_or_default();
    let content_end = close.saturating_sub(inside.len().saturating_sub(inside.trim_end().len()));
    let (last, trailing_comma) = match &container.kind {
        Kind::List { items, trailing_comma } => {
            (items.last().map(|item| (item.start, item.end)), *trailing_comma)
        }
        Kind::Object { members, trailing_comma } => {
            (members.last().map(|member| (member.start, member.value.end)), *trailing_comma)
        }
        Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => (None, false),
    };
    let mut edits = Vec::new();
    if let Some((_, end)) = last.filter(|_| !trailing_comma) {
        edits.push((end, end, ",".to_owned()));
    }
    let comma = if trailing_comma { "," } else { "" };
    let is_list = matches!(container.kind, Kind::List { .. });
    if inside.contains('\n') {
        let indent = indent(text, container, last.map(|(start, _)| start));
        edits.push((content_end, content_end, format!("\n{indent}{entry}{comma}")));
    } else if inside.trim().is_empty() {
        let (before, after) = if is_list { ("", "") } else { (" ", " ") };
        edits.push((container.start.saturating_add(1), close, format!("{before}{entry}{after}")));
    } else {
        edits.push((content_end, content_end, format!(" {entry}{comma}")));
    }
    splice(text, &merged(edits))
}

/// Two edits at one place as one: a comma and what comes after it.
fn merged(edits: Vec<(usize, usize, String)>) -> Vec<(usize, usize, String)> {
    let mut merged: Vec<(usize, usize, String)> = Vec::new();
    for (start, end, new) in edits {
        match merged.last_mut() {
            Some(last) if last.1 == start => {
                last.1 = end;
                last.2.push_str(&new);
            }
            _ => merged.push((start, end, new)),
        }
    }
    merged
}

/// The indentation of an entry: that of the last one when it begins its line, else two more than the
/// container's.
fn indent(text: &str, container: &Node, last: Option<usize>) -> String {
    if let Some(before) =
        last.and_then(|start| line_before(text, start)).filter(|before| before.trim().is_empty())
    {
        return before.to_owned();
    }
    let before = line_before(text, container.start).unwrap_or_default();
    let spaces = before.len().saturating_sub(before.trim_start().len());
    format!("{}  ", before.get(..spaces).unwrap_or_default())
}

/// What stands before an offset on its line.
fn line_before(text: &str, at: usize) -> Option<&str> {
    text.get(..at)?.rsplit('\n').next()
}
