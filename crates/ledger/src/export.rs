//! The book in the forms that other systems read. Every event carries the installation and the record's number, so
//! that one that is sent twice is recognised.

mod ocsf;
mod otlp;
mod syslog;

use std::io;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use thiserror::Error;

use crate::head::Head;
use crate::query::{Item, QueryError, Reader, Record};
use crate::record::is_obeyed;

/// A form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The lines of the book as they are.
    Jsonl,
    /// Events of the Open Cybersecurity Schema Framework, one a line.
    Ocsf,
    /// OpenTelemetry's log requests, one record each, one a line.
    Otlp,
    /// RFC 5424, one message a line.
    Syslog,
}

impl Format {
    /// Every form, by its name.
    pub const ALL: [Self; 4] = [Self::Jsonl, Self::Ocsf, Self::Otlp, Self::Syslog];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Ocsf => "ocsf",
            Self::Otlp => "otlp",
            Self::Syslog => "syslog",
        }
    }
}

/// Where the records come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The installation's id.
    pub installation: String,
    /// The machine's name; empty when it is not known.
    pub host: String,
}

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exported {
    /// Records.
    pub records: u64,
    /// The number of the last of them, to go on behind; 0 when there was none.
    pub last: u64,
    /// Lines of the book that are none of a record.
    pub skipped: u64,
}

/// Why the book could not be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The book could not be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// What takes the export failed.
    #[error(
        "the export cannot be written; look at where it goes, then start again behind the last record there"
    )]
    Write(#[from] io::Error),
}

/// Writes the records of a range of numbers to `out`.
///
/// # Errors
/// When the book cannot be read or `out` does not take it.
pub fn write(
    reader: &Reader,
    origin: &Origin,
    format: Format,
    range: RangeInclusive<u64>,
    out: &mut impl io::Write,
) -> Result<Exported, ExportError> {
    let mut records = reader.range(range)?;
    let mut exported = Exported { records: 0, last: 0, skipped: 0 };
    while let Some((record, line)) = records.next_line()? {
        match format {
            Format::Jsonl => out.write_all(&line)?,
            Format::Ocsf => out.write_all(to_line(&ocsf::event(&record, origin)).as_bytes())?,
            Format::Otlp => out.write_all(
                to_line(&otlp::request(vec![otlp::log_record(&record, origin)], origin)).as_bytes(),
            )?,
            Format::Syslog => out.write_all(syslog::message(&record, origin).as_bytes())?,
        }
        out.write_all(b"\n")?;
        exported.records = exported.records.saturating_add(1);
        exported.last = record.seq;
    }
    out.flush()?;
    exported.skipped = records.skipped();
    Ok(exported)
}

/// What is sent to a syslog server over TLS: a message for each item, with its length in front (RFC 5425). `at` is the
/// time of what is no record.
pub fn syslog(items: &[Item], origin: &Origin, at: Timestamp) -> Vec<u8> {
    let mut frames = Vec::new();
    for item in items {
        let message = match item {
            Item::Gap { first, last } => syslog::gap(*first, *last, origin, at),
            Item::Record(record) => syslog::message(record, origin),
        };
        frame(&message, &mut frames);
    }
    frames
}

/// The head of the book as a message of its own, with its length in front. What stands behind the structured data is
/// what `moltbot ledger verify --expect-head` takes.
pub fn syslog_head(head: &Head, origin: &Origin, at: Timestamp) -> Vec<u8> {
    let mut framed = Vec::new();
    frame(&syslog::head(head, origin, at), &mut framed);
    framed
}

fn frame(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
}

/// One request of OTLP over HTTP, in JSON, with a log record for each item. `at` is the time of what is no record.
pub fn otlp(items: &[Item], origin: &Origin, at: Timestamp) -> Vec<u8> {
    let records = items.iter().map(|item| match item {
        Item::Gap { first, last } => otlp::gap(*first, *last, origin, at),
        Item::Record(record) => otlp::log_record(record, origin),
    });
    to_line(&otlp::request(records.collect(), origin)).into_bytes()
}

/// A time by the milliseconds since the epoch; the epoch where that is none.
pub fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

/// How bad it is that something happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Severity {
    /// Somebody should look at it now.
    High,
    /// As it should be.
    Informational,
    /// Something was refused.
    Low,
}

impl Severity {
    fn of(record: &Record) -> Self {
        const ALARMS: [&str; 8] = [
            "alarm.",
            "detect.",
            "drill.failed",
            "ledger.disk_full",
            "ledger.dropped",
            "ledger.recovered",
            "ledger.tampered",
            "session.quarantine",
        ];
        let is_alarm = record.action == "command.attempt" && record.detail("severity") == Some("high");
        if is_alarm || ALARMS.iter().any(|alarm| record.action.starts_with(alarm)) {
            Self::High
        } else if record.is_refused() {
            Self::Low
        } else {
            Self::Informational
        }
    }
}

/// What it is called that records are not there: no action of the book, which cannot have it.
const GAP: &str = "ledger.gap";

/// That records are not there, for those who read along.
fn missing(first: u64, last: u64) -> String {
    format!("records {first} to {last} of the book are not there any more: pruned, or no records")
}

/// One sentence for those who read along.
fn sentence(record: &Record) -> String {
    let Record { actor, action, target, decision, .. } = record;
    format!("{actor} {action} {target} {decision}")
}

/// A JSON value as one line in which no terminal finds anything to obey.
fn to_line(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if !text.contains(is_obeyed) {
        return text;
    }
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) {
            crate::record::write_escape(&mut line, character);
        } else {
            line.push(character);
        }
    }
    line
}
