//! `moltbot logs`: the end of the gateway's log, readable or as it is.

use std::time::Duration;

use moltbot_vault::{FileError, ReadFile, StateDir};
use serde_json::Value;

use crate::arguments::Logs;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::log::{FILE, FILE_BYTES, FOLDER};
use crate::output::{self, harmless};

/// The most of a log that is read: a full one and the line that filled it.
const READ_BYTES: u64 = FILE_BYTES + 1024 * 1024;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Prints the last lines, and then what is added.
pub(crate) fn run(home: &Home, options: &Logs) -> anyhow::Result<Exit> {
    let folder = home.state.folder(FOLDER).map_err(|error| home::failed(&error))?;
    let bytes = read(&folder)?;
    let (text, length) = (String::from_utf8_lossy(&bytes), bytes.len());
    let lines: Vec<&str> = text.lines().collect();
    let wanted = usize::try_from(options.lines)?;
    for line in lines.iter().skip(lines.len().saturating_sub(wanted)) {
        print(line, options.json)?;
    }
    if lines.is_empty() && !options.follow {
        output::note("the log is empty: no gateway has run here yet");
    }
    if options.follow { follow(&folder, u64::try_from(length)?, options.json) } else { Ok(Exit::Done) }
}

/// The last lines, as they are; none where nothing was logged.
pub(super) fn last(state: &StateDir, count: usize) -> anyhow::Result<Vec<String>> {
    let Some(folder) = state.find_folder(FOLDER).map_err(|error| home::failed(&error))? else {
        return Ok(Vec::new());
    };
    let bytes = read(&folder)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines.iter().skip(lines.len().saturating_sub(count)).map(|line| (*line).to_owned()).collect())
}

/// Prints whole lines as they are added, until it is interrupted or nobody reads. Of a log that grew only what was added is
/// read.
fn follow(folder: &StateDir, mut seen: u64, as_json: bool) -> anyhow::Result<Exit> {
    loop {
        std::thread::sleep(LOOK);
        let file = match folder.open_file(FILE) {
            // Nothing was logged yet, or it is just turned over.
            Err(FileError::Missing { .. }) => continue,
            opened => opened.map_err(|error| home::failed(&error))?,
        };
        let length = file.len().map_err(|error| home::failed(&error))?;
        if length < seen {
            // Turned over: the file begins anew.
            seen = 0;
        }
        let added = added(&file, seen, length)?;
        let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
        let text = String::from_utf8_lossy(added.get(..whole).unwrap_or_default());
        for line in text.lines() {
            print(line, as_json)?;
        }
        seen = seen.saturating_add(u64::try_from(whole)?);
    }
}

/// The bytes of a log between two places.
fn added(file: &ReadFile, from: u64, to: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from).min(READ_BYTES))?];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let offset = from.saturating_add(u64::try_from(read)?);
        match file.read_at(offset, rest).map_err(|error| home::failed(&error))? {
            0 => break,
            more => read = read.saturating_add(more),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

fn read(folder: &StateDir) -> anyhow::Result<Vec<u8>> {
    let bytes = folder.read(FILE, READ_BYTES).map_err(|error| home::failed(&error))?;
    Ok(bytes.unwrap_or_default())
}

fn print(line: &str, as_json: bool) -> anyhow::Result<()> {
    let readable = if as_json { None } else { readable(line) };
    output::line(&harmless(readable.as_deref().unwrap_or(line)))?;
    Ok(())
}

/// `time LEVEL message name=value …`
fn readable(line: &str) -> Option<String> {
    let Value::Object(mut fields) = serde_json::from_str(line).ok()? else { return None };
    let mut take = |name: &str| fields.remove(name).and_then(|value| Some(value.as_str()?.to_owned()));
    let (time, level, message) = (take("timestamp")?, take("level")?, take("message").unwrap_or_default());
    let time = time.split('.').next().unwrap_or_default().replace('T', " ");
    fields.remove("target");
    let rest: String = fields
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!(" {name}={text}"),
            other => format!(" {name}={other}"),
        })
        .collect();
    Some(format!("{time}Z {level:5} {message}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_readable() {
        let line = r#"{"timestamp":"2026-01-31T12:00:00.5Z","level":"INFO","message":"listening","port":1,"who":"a","target":"x"}"#;
        assert_eq!(readable(line).unwrap(), "2026-01-31 12:00:00Z INFO  listening port=1 who=a");
        assert_eq!(readable("not json"), None);
    }
}
