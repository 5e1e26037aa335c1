//! Opening a book that was left by another process: the last segment is verified, a torn end is set aside, and
//! anything else that does not fit is tampering.

use std::path::PathBuf;

use moltbot_config::limits;
use moltbot_vault::{AppendFile, StateDir};
use sha2::{Digest, Sha256};

use crate::error::LedgerError;
use crate::record::{Chain, hex};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// The end of a segment's name.
const SEGMENT: &str = ".mlog";
/// Digits of a segment's name: those of the largest number.
const DIGITS: usize = 20;
/// The most that a power cut can tear: what was being flushed, of which nobody was told that it is recorded.
const TEARABLE: usize = limits::LEDGER_BATCH_BYTES + limits::LEDGER_LINE_BYTES;

/// Where the book goes on.
#[derive(Debug)]
pub(crate) struct Position {
    /// The segment.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// The chain so far.
    pub(crate) chain: Chain,
    /// What was set aside.
    pub(crate) torn: Option<Torn>,
}

/// An end that was torn off.
#[derive(Debug)]
pub(crate) struct Torn {
    /// The file it is in now.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: usize,
    /// SHA-256 of it, in hex.
    pub(crate) hash: String,
}

/// The first line that does not fit.
struct Misfit {
    /// Its number in the file, from 1.
    line: u64,
    what: &'static str,
}

/// The name of the segment whose first line is `sequence`.
pub(crate) fn segment_name(sequence: u64) -> String {
    format!("{sequence:0DIGITS$}{SEGMENT}")
}

/// Verifies the last segment in `folder` and finds where the book goes on.
pub(crate) fn find_end(folder: &StateDir) -> Result<Position, LedgerError> {
    let names = folder.list()?;
    let mut segments = names.iter().filter(|name| is_segment(name)).rev();
    let Some(last) = segments.next() else {
        let chain = Chain::genesis();
        return Ok(Position { name: segment_name(chain.sequence), length: 0, chain, torn: None });
    };
    let mut chain = match segments.next() {
        None => Chain::genesis(),
        Some(before) => behind_segment(folder, before)?,
    };
    let tampered = |line, what| LedgerError::Tampered { path: folder.path().join(last), line, what };
    if *last != segment_name(chain.sequence) {
        return Err(tampered(1, "its number is not the next one; a segment before it is missing or was cut"));
    }
    let file = folder.append(last)?;
    let (length, misfit) = scan(&file, &mut chain)?;
    let torn = match misfit {
        None => None,
        Some(Misfit { line, what }) => {
            let tail = read_tail(&file, length, TEARABLE)?;
            if !is_torn(&tail) {
                return Err(tampered(line, what));
            }
            Some(set_aside(folder, last, &file, length, &tail)?)
        }
    };
    Ok(Position { name: last.clone(), length, chain, torn })
}

/// Whether a file is a segment.
pub(crate) fn is_segment(name: &str) -> bool {
    let number = name.strip_suffix(SEGMENT).unwrap_or_default();
    number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The chain behind the last line of a segment that was finished long ago.
fn behind_segment(folder: &StateDir, name: &str) -> Result<Chain, LedgerError> {
    let file = folder.append(name)?;
    let length = file.len()?;
    let window = u64::try_from(limits::LEDGER_LINE_BYTES).unwrap_or(u64::MAX);
    let tail = read_tail(&file, length.saturating_sub(window), limits::LEDGER_LINE_BYTES)?;
    let lines = tail.strip_suffix(b"\n").unwrap_or_default();
    let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Chain::behind(last).map_err(|_| LedgerError::Tampered {
        path: PathBuf::from(file.path()),
        line: 0,
        what: "its last line is not what was written",
    })
}

/// Follows the chain through a segment: the length of what fits, and the first line that does not.
fn scan(file: &AppendFile, chain: &mut Chain) -> Result<(u64, Option<Misfit>), LedgerError> {
    let (mut good, mut line, mut offset) = (0_u64, 1_u64, 0_u64);
    let mut chunk = vec![0; CHUNK];
    let mut pending = Vec::new();
    loop {
        let read = file.read_at(offset, &mut chunk)?;
        let part = chunk.get(..read).unwrap_or_default();
        offset = offset.saturating_add(bytes(part));
        pending.extend_from_slice(part);
        let mut rest = pending.as_slice();
        while let Some((whole, behind)) = split_line(rest) {
            if let Err(what) = chain.check(whole) {
                return Ok((good, Some(Misfit { line, what })));
            }
            good = good.saturating_add(bytes(whole)).saturating_add(1);
            line = line.saturating_add(1);
            rest = behind;
        }
        let ended = part.is_empty() || rest.len() > limits::LEDGER_LINE_BYTES;
        if ended {
            let misfit = Misfit { line, what: "it does not end" };
            return Ok((good, (!rest.is_empty()).then_some(misfit)));
        }
        let done = pending.len().saturating_sub(rest.len());
        pending.drain(..done);
    }
}

fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = text.split_at_checked(end)?;
    Some((line, rest.get(1..)?))
}

/// Whether what does not fit is an end that was being written when the power went: one last line, or blocks
/// that the disk never got and shows as zeros, which no line contains. Longer than `TEARABLE` is neither.
fn is_torn(tail: &[u8]) -> bool {
    if tail.len() > TEARABLE {
        return false;
    }
    match split_line(tail) {
        None | Some((_, [])) => true,
        Some((line, _)) => line.contains(&0),
    }
}

/// What is behind `offset`, and one byte more than `max` at most.
fn read_tail(file: &AppendFile, offset: u64, max: usize) -> Result<Vec<u8>, LedgerError> {
    let mut tail = vec![0; max.saturating_add(1)];
    let mut filled = 0;
    while let Some(free) = tail.get_mut(filled..).filter(|free| !free.is_empty()) {
        let read = file.read_at(offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX)), free)?;
        if read == 0 {
            break;
        }
        filled = filled.saturating_add(read);
    }
    tail.truncate(filled);
    Ok(tail)
}

/// Moves a torn end into a file of its own, so that nothing of the book is ever thrown away.
fn set_aside(
    folder: &StateDir,
    segment: &str,
    file: &AppendFile,
    length: u64,
    tail: &[u8],
) -> Result<Torn, LedgerError> {
    let name = format!("{segment}.torn");
    let mut torn = folder.append(&name)?;
    torn.write_all(tail)?;
    torn.sync_data()?;
    // Only now: a crash in between leaves the end in both places, never in none.
    file.truncate(length)?;
    Ok(Torn { name, bytes: tail.len(), hash: hex(&Sha256::digest(tail)) })
}

fn bytes(slice: &[u8]) -> u64 {
    u64::try_from(slice.len()).unwrap_or(u64::MAX)
}
