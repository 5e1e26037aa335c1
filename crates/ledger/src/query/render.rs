//! Records as text for a terminal: what a terminal would obey is escaped.

use std::fmt::Write as _;

use super::{Explanation, Node, Record};
use crate::record::is_obeyed;

/// A record as one line: number, time, actor, action, target, decision, details.
pub fn line(record: &Record) -> String {
    let Record { seq, ts, actor, action, target, decision, .. } = record;
    let mut text = format!("{seq} {ts} {actor} {action} {target:?} {decision}");
    if let Some(session) = &record.session {
        text.push_str(" session=");
        text.push_str(session);
    }
    for (name, value) in &record.details {
        let value = if value.contains(char::is_whitespace) { format!("{value:?}") } else { value.clone() };
        for part in [" ", name, "=", &value] {
            text.push_str(part);
        }
    }
    visible(&text)
}

/// What a run did, as an indented tree with a line feed behind each record.
pub fn tree(explanation: &Explanation) -> String {
    let mut text = visible(&format!("run {}", explanation.run));
    text.push('\n');
    if let Some(sign_in) = &explanation.sign_in {
        push(&mut text, 1, &line(sign_in));
    }
    explanation.nodes.iter().for_each(|node| branch(&mut text, 1, node));
    if explanation.more {
        push(&mut text, 1, "… and more than is read at once");
    }
    text
}

/// The tree is two levels deep, by how it is made.
fn branch(text: &mut String, depth: usize, node: &Node) {
    push(text, depth, &line(&node.record));
    node.children.iter().for_each(|child| branch(text, depth + 1, child));
}

fn push(text: &mut String, depth: usize, line: &str) {
    text.push_str(&"  ".repeat(depth));
    text.push_str(line);
    text.push('\n');
}

/// The text with escapes for what a terminal would obey.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if !is_obeyed(character) {
            out.push(character);
        } else if write!(out, "\\u{{{:x}}}", u32::from(character)).is_err() {
            return out; // writing to a string does not fail
        }
    }
    out
}
