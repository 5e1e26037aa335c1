//! Everything that one message caused: who sent it, what was judged and by which rule, what ran, what left.

use serde::Serialize;

use super::{QueryError, Reader, Record};
use moltbot_config::limits;

/// What one run did, as a tree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Explanation {
    /// The run.
    pub run: String,
    /// The sign-in of who sent the message: the last one before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<Record>,
    /// The message, with what it caused beneath it; several when it was taken up again after a stop, and without
    /// the message when the book does not have it any more.
    pub nodes: Vec<Node>,
    /// Whether there is more than was read.
    pub more: bool,
    /// Lines of the book that are none of a record.
    pub skipped: u64,
}

/// A record with what it led to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Node {
    /// The record.
    pub record: Record,
    /// What it led to, in order.
    pub children: Vec<Node>,
}

/// The entry for a message that was taken.
const MESSAGE: &str = "message.accept";

/// Finds what a run did; nothing when the book does not know it. Reads back from the end of the book to the
/// message, and on to the sign-in of its sender.
///
/// # Errors
/// When the book cannot be read.
pub fn explain(reader: &Reader, run: &str) -> Result<Option<Explanation>, QueryError> {
    let mut records: Vec<Record> = Vec::new();
    let (mut sender, mut sign_in, mut more) = (None::<String>, None, false);
    let skipped = reader.backward(|record| {
        if sender.as_ref().is_some_and(|sender| is_sign_in(&record, sender)) {
            sign_in = Some(record);
            return false;
        }
        if is_of(&record, run) {
            more = records.len() >= limits::LEDGER_READ;
            if record.action == MESSAGE {
                sender = Some(record.actor.clone());
            }
            if !more || sender.is_some() {
                records.push(record);
            }
        }
        true
    })?;
    records.reverse();
    let found = !records.is_empty();
    let nodes = tree(records);
    Ok(found.then(|| Explanation { run: run.to_owned(), sign_in, nodes, more, skipped }))
}

fn is_sign_in(record: &Record, actor: &str) -> bool {
    record.action == "auth.sign_in" && record.actor == actor && !record.is_refused()
}

fn is_of(record: &Record, run: &str) -> bool {
    record.run() == Some(run) || record.action == MESSAGE && record.target == run
}

/// What ended goes beneath what began, and all of it beneath the message.
fn tree(records: Vec<Record>) -> Vec<Node> {
    let mut roots: Vec<Node> = Vec::new();
    for record in records {
        let siblings = match roots.last_mut() {
            Some(root) if root.record.action == MESSAGE && record.action != MESSAGE => &mut root.children,
            _ => &mut roots,
        };
        let began = siblings.iter_mut().rev().find(|node| is_end_of(&record, &node.record));
        let node = |record| Node { record, children: Vec::new() };
        match began {
            Some(began) => began.children.push(node(record)),
            None => siblings.push(node(record)),
        }
    }
    roots
}

/// Whether a record tells the end of what another began: by the number that it names, else by what it is about.
fn is_end_of(end: &Record, start: &Record) -> bool {
    let area = |record: &Record, verb: &str| record.action.strip_suffix(verb).map(str::to_owned);
    let same = area(end, ".end").is_some_and(|ended| area(start, ".start") == Some(ended));
    match end.detail("start").and_then(|number| number.parse::<u64>().ok()) {
        Some(number) => same && start.seq == number,
        None => same && start.target == end.target,
    }
}
