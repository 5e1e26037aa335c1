//! Records by what they say.

use serde::Serialize;

use super::{QueryError, Reader, Record};
use moltbot_config::limits;

/// What is looked for. Every part that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// What the action begins with, such as `auth.`.
    pub action: Option<String>,
    /// What the actor begins with, such as `agent:` or `device:ab`.
    pub actor: Option<String>,
    /// The conversation.
    pub session: Option<String>,
    /// `allowed`, `done` or `refused`.
    pub decision: Option<String>,
    /// From this time on, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Until this time, in milliseconds since the epoch.
    pub until: Option<i64>,
    /// A text that stands in the target, the actor or a detail; upper and lower case are the same.
    pub text: Option<String>,
    /// How many records at most; [`limits::LEDGER_READ`] when not given, and never more.
    pub limit: Option<usize>,
}

/// What was found, the oldest first.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Matches {
    /// The newest records that match.
    pub records: Vec<Record>,
    /// Whether there are older ones that match.
    pub more: bool,
    /// Lines that are none of a record.
    pub skipped: u64,
}

/// The newest records that match, searched from the end of the book.
///
/// # Errors
/// When the book cannot be read.
pub fn search(reader: &Reader, filter: &Filter) -> Result<Matches, QueryError> {
    let limit = filter.limit.unwrap_or(limits::LEDGER_READ).min(limits::LEDGER_READ);
    let (mut records, mut more) = (Vec::new(), false);
    let skipped = reader.backward(|record| {
        if filter.matches(&record) {
            more = records.len() >= limit;
            if !more {
                records.push(record);
            }
        }
        !more
    })?;
    records.reverse();
    Ok(Matches { records, more, skipped })
}

impl Filter {
    /// Whether a record is one that is looked for.
    pub fn matches(&self, record: &Record) -> bool {
        let begins = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|wanted| text.starts_with(wanted.as_str()))
        };
        let is = |wanted: &Option<String>, text: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| text == Some(wanted.as_str()))
        };
        begins(&self.action, &record.action)
            && begins(&self.actor, &record.actor)
            && is(&self.session, record.session.as_deref())
            && is(&self.decision, Some(&record.decision))
            && self.since.is_none_or(|since| record.millis() >= since)
            && self.until.is_none_or(|until| record.millis() <= until)
            && self.text.as_ref().is_none_or(|text| says(record, &text.to_lowercase()))
    }
}

fn says(record: &Record, text: &str) -> bool {
    let details = record.details.values().map(String::as_str);
    [record.target.as_str(), record.actor.as_str()]
        .into_iter()
        .chain(details)
        .any(|said| said.to_lowercase().contains(text))
}
