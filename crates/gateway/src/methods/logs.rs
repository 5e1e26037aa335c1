//! `logs.tail`: the end of the gateway's log, or what was added to it since the last look.
//!
//! What is secret was taken out when a line was written. What has the form of a secret is taken out here again: a line may
//! be from before this program knew that form.

use moltbot_policy::redact::Redactor;
use moltbot_protocol::error::WireError;
use moltbot_vault::{FileError, ReadFile, StateDir};
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome};
use crate::shared::Shared;

/// The folder of logs, in the state folder.
pub const FOLDER: &str = "logs";
/// The log that is written now. The program writes it; the gateway shows it.
pub const FILE: &str = "gateway.jsonl";

/// Lines, when the client does not say; and the most.
const LINES: usize = 500;
const LINES_MAX: usize = 5000;
/// Bytes that are read, when the client does not say; and the most.
const BYTES: u64 = 250_000;
const BYTES_MAX: u64 = 1_000_000;
/// What stands for what must not be seen.
const HIDDEN: &str = "***";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Params {
    /// Up to where the client has seen the file, in bytes.
    #[serde(default)]
    cursor: Option<u64>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    max_bytes: Option<u64>,
}

/// A part of the file.
#[derive(Debug, Default, PartialEq)]
struct Tail {
    /// Where the next look begins: after the last whole line.
    cursor: u64,
    size: u64,
    lines: Vec<String>,
    /// Whether lines between the client's place and these are left out.
    truncated: bool,
    /// Whether the client's place is none of this file: it was turned over, or so much was added.
    reset: bool,
}

pub(super) async fn tail(shared: &Shared, call: &Call) -> Outcome {
    let params: Params = call.params()?;
    let limit = params.limit.unwrap_or(LINES);
    let most = params.max_bytes.unwrap_or(BYTES);
    if !(1..=LINES_MAX).contains(&limit) || !(1..=BYTES_MAX).contains(&most) {
        return Err(WireError::invalid(format!(
            "invalid logs.tail params: limit must be 1 to {LINES_MAX}, maxBytes 1 to {BYTES_MAX}"
        )));
    }
    let (state, cursor) = (shared.state.clone(), params.cursor);
    let read = tokio::task::spawn_blocking(move || look(&state, cursor, limit, most)).await;
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the log cannot be read");
        WireError::unavailable("the gateway's log cannot be read; look at it on the gateway's machine")
    };
    let tail = read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(json!({
        "file": format!("{FOLDER}/{FILE}"), "cursor": tail.cursor, "size": tail.size, "lines": tail.lines,
        "truncated": tail.truncated, "reset": tail.reset,
    }))
}

/// A log that is not there is an empty one: nothing was logged yet, or it is turned over at this moment.
fn look(state: &StateDir, cursor: Option<u64>, limit: usize, most: u64) -> Result<Tail, FileError> {
    let file = match state.folder(FOLDER)?.open_file(FILE) {
        Err(FileError::Missing { .. }) => {
            return Ok(Tail { reset: cursor.is_some_and(|at| at > 0), ..Tail::default() });
        }
        opened => opened?,
    };
    let size = file.len()?;
    let (begin, truncated, reset) = begin(cursor, size, most);
    let bytes = read(&file, begin, size)?;
    // A line that is cut off at the beginning is left out; one at the end is there as a whole at the next look.
    let cut = begin > 0 && !follows_a_line(&file, begin)?;
    let skipped = if cut { after_line(&bytes) } else { 0 };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
    let text = String::from_utf8_lossy(bytes.get(skipped.min(whole)..whole).unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    let left_out = lines.len().saturating_sub(limit);
    let redactor = Redactor::default();
    let seen = |line: &&str| redactor.redact(line, &|_| HIDDEN.into()).into_owned();
    Ok(Tail {
        cursor: begin.saturating_add(u64::try_from(whole).unwrap_or(u64::MAX)),
        size,
        lines: lines.iter().skip(left_out).map(seen).collect(),
        truncated: truncated || left_out > 0,
        reset,
    })
}

/// Where to begin, whether something is left out, and whether the client's place is none.
fn begin(cursor: Option<u64>, size: u64, most: u64) -> (u64, bool, bool) {
    let latest = size.saturating_sub(most);
    match cursor {
        None => (latest, latest > 0, false),
        Some(cursor) if cursor > size => (latest, latest > 0, true),
        Some(cursor) if cursor < latest => (latest, true, true),
        Some(cursor) => (cursor, false, false),
    }
}

fn follows_a_line(file: &ReadFile, at: u64) -> Result<bool, FileError> {
    let mut before = [0];
    let read = file.read_at(at.saturating_sub(1), &mut before)?;
    Ok(read == 1 && before == [b'\n'])
}

fn after_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end.saturating_add(1))
}

fn read(file: &ReadFile, from: u64, to: u64) -> Result<Vec<u8>, FileError> {
    let length = usize::try_from(to.saturating_sub(from).min(BYTES_MAX)).unwrap_or(0);
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let offset = from.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(offset, rest)? {
            0 => break,
            more => filled = filled.saturating_add(more),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_begins_where_the_last_one_ended_or_as_late_as_it_must() {
        for (cursor, size, expected) in [
            (None, 50, (0, false, false)),
            (None, 150, (50, true, false)),
            (Some(120), 150, (120, false, false)),
            (Some(150), 150, (150, false, false)),
            (Some(10), 150, (50, true, true)),
            (Some(151), 150, (50, true, true)),
            (Some(1), 0, (0, false, true)),
        ] {
            assert_eq!(begin(cursor, size, 100), expected, "{cursor:?} of {size}");
        }
    }

    #[test]
    fn lines_are_whole_and_have_no_secret() {
        let home = moltbot_testkit::home::Home::empty().unwrap();
        let state = home.state();
        assert_eq!(look(&state, Some(3), 10, 100).unwrap(), Tail { reset: true, ..Tail::default() });
        let logs = state.folder(FOLDER).unwrap();
        logs.write(FILE, b"one\ntwo Authorization: Bearer abcdef\nthree\nhal").unwrap();
        let all = look(&state, None, 10, 1000).unwrap();
        assert_eq!(all.lines, ["one", "two Authorization: Bearer ***", "three"]);
        assert_eq!((all.cursor, all.truncated, all.reset), (43, false, false));
        let last = look(&state, None, 1, 1000).unwrap();
        assert_eq!((last.lines, last.truncated), (vec!["three".to_owned()], true));
        let cut = look(&state, None, 10, 12).unwrap();
        assert_eq!((cut.lines, cut.cursor), (vec!["three".to_owned()], 43));
        logs.write(FILE, b"one\ntwo Authorization: Bearer abcdef\nthree\nhalf\n").unwrap();
        let more = look(&state, Some(all.cursor), 10, 1000).unwrap();
        assert_eq!((more.lines, more.cursor, more.reset), (vec!["half".to_owned()], 48, false));
        logs.write(FILE, b"new\n").unwrap();
        let turned = look(&state, Some(more.cursor), 10, 1000).unwrap();
        assert_eq!((turned.lines, turned.cursor, turned.reset), (vec!["new".to_owned()], 4, true));
    }
}
