//! Opening a book that was left by another process: its end is verified, a torn end is set aside, and anything else
//! that does not fit is tampering, after which the book goes on in a part of its own beside the evidence.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use moltbot_config::limits;
use moltbot_vault::{AppendFile, StateDir, Vault};
use sha2::{Digest, Sha256};

use crate::anchor;
use crate::error::LedgerError;
use crate::follow::{Follower, Known, Place, head_of};
use crate::head::Head;
use crate::keys::{FILE, KeyFile, KeyFileError, keep_statement};
use crate::note::origin;
use crate::own::{Tampering, Trust};
use crate::record::{Chain, hex, sequence_of};
use crate::segments::{
    LARGEST, Lines, Next, Segment, TEARABLE, first_line, is_torn, last_line, list, meet, read_tail,
    segment_name,
};

/// The file that remembers the head of the book when it was closed.
pub(crate) const HEAD: &str = "head";

/// Where the book goes on.
#[derive(Debug)]
pub(crate) struct Position {
    /// The segment.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// When it was begun.
    pub(crate) begun: Timestamp,
    /// The chain so far.
    pub(crate) chain: Chain,
    /// Records up to here are signed for.
    pub(crate) signed: u64,
    /// The number of the last record that was pruned.
    pub(crate) pruned: u64,
    /// When the last record was written.
    pub(crate) last: Timestamp,
    /// How the last process ended.
    pub(crate) before: &'static str,
    /// What was set aside.
    pub(crate) torn: Option<Torn>,
    /// Tampering that nobody has accepted.
    pub(crate) tampering: Option<Tampering>,
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

/// What does not fit.
#[derive(Debug)]
struct Misfit {
    /// The file; the folder when there is none.
    file: Option<String>,
    line: u64,
    what: String,
}

impl Misfit {
    fn of(file: Option<&str>, line: u64, what: impl Into<String>) -> Self {
        Self { file: file.map(str::to_owned), line, what: what.into() }
    }
}

/// Who remembers a head of the book, and which.
type Remembered = Vec<(String, Result<Head, Misfit>)>;

/// The end of a book as it was found.
struct End {
    follower: Follower,
    segments: Vec<Segment>,
    /// Bytes of the last segment that fit.
    length: u64,
    /// What does not, when it is a torn end.
    tail: Option<Vec<u8>>,
    misfit: Option<Misfit>,
}

/// Finds where the book in `folder` goes on, and the keys that sign it. `anchors` are files that remember its head.
pub(crate) fn open(
    folder: &StateDir,
    vault: &Vault,
    anchors: &[PathBuf],
    now: Timestamp,
) -> Result<(Position, KeyFile), LedgerError> {
    let (mut known, mut misfits) = (Vec::new(), Vec::new());
    for (by, head) in remembered(folder, anchors)? {
        match head {
            Ok(head) => known.extend(head.known(&by)),
            Err(misfit) => misfits.push(misfit),
        }
    }
    let reach = known.iter().map(|known| known.sequence).max().unwrap_or_default();
    let mut end = walk(folder, known)?;
    misfits.extend(end.misfit.take());
    let (mut keys, misfit) =
        reconcile(KeyFile::load(folder, vault), end.follower.trust.as_ref(), vault, now)?;
    misfits.extend(misfit);
    if misfits.is_empty() {
        misfits.extend(unmet(folder, &end)?);
    }
    // What does not fit is told by its first part: the file before what others remember of it.
    match misfits.into_iter().next() {
        None => Ok((go_on(folder, end, now)?, keys.take().map_or_else(|| KeyFile::draw(now), Ok)?)),
        Some(misfit) => {
            let keys = match keys.take() {
                Some(keys) => keys,
                None => replace_keys(folder, now)?,
            };
            Ok((begin_part(folder, end, misfit, reach, now)?, keys))
        }
    }
}

/// Where the book in `folder` goes on, for somebody without its keys; nothing when there is none, or something in it does
/// not fit.
pub(crate) fn end_of(
    folder: &StateDir,
    anchors: &[PathBuf],
    now: Timestamp,
) -> Result<Option<Position>, LedgerError> {
    let mut known = Vec::new();
    for (by, head) in remembered(folder, anchors)? {
        let Ok(head) = head else { return Ok(None) };
        known.extend(head.known(&by));
    }
    let end = walk(folder, known)?;
    if end.misfit.is_some() || end.follower.chain.tree.size() == 0 || unmet(folder, &end)?.is_some() {
        return Ok(None);
    }
    go_on(folder, end, now).map(Some)
}

/// What the book's own register and the anchors remember.
fn remembered(folder: &StateDir, anchors: &[PathBuf]) -> Result<Remembered, LedgerError> {
    let mut found = Vec::new();
    if let Some(bytes) = folder.read(HEAD, limits::LEDGER_HEAD_BYTES)? {
        let head = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        let head = head.ok_or_else(|| Misfit::of(Some(HEAD), 1, "it does not hold a head of the book"));
        found.push((HEAD.to_owned(), head));
    }
    for path in anchors {
        let by = path.display().to_string();
        match anchor::read(path) {
            Ok(None) => {}
            Ok(Some(head)) => found.push((by, Ok(head))),
            Err(anchor::AnchorError::Damaged { .. }) => {
                let what = "it does not hold a head of the book";
                found.push((by.clone(), Err(Misfit { file: Some(by), line: 1, what: what.into() })));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Follows the book from the last segment that says what was before it.
fn walk(folder: &StateDir, known: Vec<Known>) -> Result<End, LedgerError> {
    let segments = list(folder)?;
    let mut follower = Follower::new(known);
    let mut start = 0;
    for (at, segment) in segments.iter().enumerate().rev() {
        if let Some(line) = first_line(folder, &segment.name)?.filter(|line| head_of(line).is_some()) {
            if let Err(what) = follower.believe(&line) {
                tracing::debug!(segment = segment.name, what, "the head of a segment does not hold");
            }
            start = at;
            break;
        }
    }
    let mut end = End { follower, segments: Vec::new(), length: 0, tail: None, misfit: None };
    end.misfit = first_gap(folder, &segments, start)?;
    for (at, segment) in segments.iter().enumerate().skip(start) {
        if end.misfit.is_some() {
            break;
        }
        if segment.first != end.follower.chain.sequence() {
            let what = "its number is not the next one; a segment before it is missing or was cut";
            end.misfit = Some(Misfit::of(Some(&segment.name), 1, what));
            break;
        }
        let is_last = at.saturating_add(1) == segments.len();
        walk_segment(folder, segment, at, is_last, &mut end)?;
    }
    if end.misfit.is_none()
        && let Err((place, what)) = end.follower.settle()
    {
        let name = segments.get(place.segment).map(|segment| segment.name.as_str());
        end.misfit = Some(Misfit::of(name, place.line, what));
    }
    if end.misfit.is_none() {
        end.misfit = no_beginning(folder, &segments, end.follower.pruned)?;
    }
    end.segments = segments;
    Ok(end)
}

/// Whether the book begins where it should: what was before it was pruned, or is evidence beside it.
fn no_beginning(folder: &StateDir, segments: &[Segment], pruned: u64) -> Result<Option<Misfit>, LedgerError> {
    if let Some(first) = segments.first().filter(|first| first.first > pruned.saturating_add(1)) {
        let is_tampered = first_line(folder, &first.name)?
            .as_deref()
            .and_then(head_of)
            .is_some_and(|claims| claims.tampering.is_some_and(|found| found.sequence == first.first));
        if !is_tampered {
            let what = "what was before it is missing, and nothing says that it was pruned";
            return Ok(Some(Misfit::of(Some(&first.name), 1, what)));
        }
    }
    Ok(None)
}

/// The first place before `start` where two segments do not meet.
fn first_gap(folder: &StateDir, segments: &[Segment], start: usize) -> Result<Option<Misfit>, LedgerError> {
    for (one, other) in segments.iter().zip(segments.iter().skip(1)).take(start) {
        // What was before tampering need not fit what came after it.
        let claims = first_line(folder, &other.name)?.as_deref().and_then(head_of);
        let is_part =
            claims.and_then(|claims| claims.tampering).is_some_and(|found| found.sequence == other.first);
        if !is_part && !meet(folder, one, other)? {
            let what = "it does not carry on the segment before it";
            return Ok(Some(Misfit::of(Some(&other.name), 1, what)));
        }
    }
    Ok(None)
}

fn walk_segment(
    folder: &StateDir,
    segment: &Segment,
    at: usize,
    is_last: bool,
    end: &mut End,
) -> Result<(), LedgerError> {
    let mut lines = Lines::of(folder, &segment.name)?;
    let mut line = 0_u64;
    end.length = 0;
    let what = loop {
        line = line.saturating_add(1);
        let bytes = match lines.next()? {
            Next::End => return Ok(()),
            Next::Partial => break "it does not end",
            Next::Line(bytes) => bytes,
        };
        if let Err(what) = end.follower.follow(bytes, Place { segment: at, line }) {
            break what;
        }
        end.length =
            end.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).saturating_add(1);
    };
    if is_last {
        let tail = read_tail(&folder.open_file(&segment.name)?, end.length, TEARABLE)?;
        if is_torn(&tail, end.length) {
            end.tail = Some(tail);
            return Ok(());
        }
    }
    end.misfit = Some(Misfit::of(Some(&segment.name), line, what));
    Ok(())
}

/// What others remember and the book does not have.
fn unmet(folder: &StateDir, end: &End) -> Result<Option<Misfit>, LedgerError> {
    let follower = &end.follower;
    let last = follower.chain.tree.size();
    let file = |sequence| end.segments.iter().rev().find(|segment| segment.first <= sequence);
    let other = |known: &Known| {
        let what = format!("record {} is not the one that {} remembers", known.sequence, known.by);
        Misfit::of(file(known.sequence).map(|segment| segment.name.as_str()), 0, what)
    };
    if let Some(known) = follower.contradicted.first() {
        return Ok(Some(other(known)));
    }
    for known in &follower.known {
        // The line that a crash tore may be the one that was about to be remembered.
        let is_torn = end.tail.is_some() && known.sequence == last.saturating_add(1) && known.by == HEAD;
        if !is_torn {
            let what = format!(
                "the book ends with record {last}, but {} remembers record {}",
                known.by, known.sequence
            );
            return Ok(Some(Misfit::of(end.segments.last().map(|segment| segment.name.as_str()), 0, what)));
        }
    }
    for known in follower.unmet.iter().filter(|known| known.sequence > follower.pruned) {
        let Some(hash) = known.hash else { continue };
        let Some(segment) = file(known.sequence) else { return Ok(Some(other(known))) };
        if !holds(folder, &segment.name, known.sequence, &hash)? {
            return Ok(Some(other(known)));
        }
    }
    Ok(None)
}

/// Whether a segment has the record `sequence` with that hash.
fn holds(folder: &StateDir, name: &str, sequence: u64, hash: &[u8]) -> Result<bool, LedgerError> {
    let mut lines = Lines::of(folder, name)?;
    while let Next::Line(line) = lines.next()? {
        if sequence_of(line) == Some(sequence) {
            return Ok(crate::record::read_alone(line).is_ok_and(|(_, own, _)| own == hash));
        }
    }
    Ok(false)
}

/// Whether the signing key is the one of the book, and which it is to go on with; none when a new one is needed.
fn reconcile(
    file: Result<Option<KeyFile>, KeyFileError>,
    trust: Option<&Trust>,
    vault: &Vault,
    now: Timestamp,
) -> Result<(Option<KeyFile>, Option<Misfit>), LedgerError> {
    let misfit = |what| Some(Misfit::of(Some(FILE), 0, what));
    let mut file = match file {
        Err(KeyFileError::File(error)) => return Err(error.into()),
        Err(KeyFileError::Form | KeyFileError::Seal(_)) => {
            return Ok((None, misfit("the signing key is not what was written")));
        }
        Ok(None) if trust.is_some() => return Ok((None, misfit("the signing key of the book is missing"))),
        Ok(None) => return Ok((None, None)),
        Ok(Some(file)) => file,
    };
    match trust {
        None if file.begun => {
            Ok((Some(file), Some(Misfit::of(None, 0, "the book was signed, and what was signed is gone"))))
        }
        None => Ok((Some(file), None)),
        Some(trust) if trust.origin != origin(vault.installation()) => {
            Ok((Some(file), Some(Misfit::of(None, 0, "the book is that of another installation"))))
        }
        Some(trust) => {
            let is_it = file.adopt(trust, now);
            Ok((
                Some(file),
                (!is_it).then(|| Misfit::of(Some(FILE), 0, "the signing key is not the one of the book")),
            ))
        }
    }
}

/// Makes room for a new signing key; the file that is none any more is kept.
fn replace_keys(folder: &StateDir, now: Timestamp) -> Result<KeyFile, LedgerError> {
    if folder.list()?.iter().any(|name| name == FILE) {
        folder.rename(FILE, &format!("{FILE}.{}", now.as_second()))?;
    }
    KeyFile::draw(now)
}

/// Goes on behind the last record, after what a crash tore was set aside.
fn go_on(folder: &StateDir, mut end: End, now: Timestamp) -> Result<Position, LedgerError> {
    let chain = end.follower.chain.clone();
    let name = end.segments.last().map_or_else(|| segment_name(chain.sequence()), |last| last.name.clone());
    if let Some(note) = end.follower.last_statement.take() {
        keep_statement(folder, &note)?;
    }
    let torn = match end.tail.take() {
        None => None,
        Some(tail) => {
            forget(folder, &end.follower)?;
            Some(set_aside(folder, &name, &folder.append(&name)?, end.length, &tail)?)
        }
    };
    let begun = first_line(folder, &name).ok().flatten().and_then(|line| time_of(&line)).unwrap_or(now);
    let last =
        last_record(folder, &end.segments)?.and_then(|line| time_of(&line)).unwrap_or(Timestamp::UNIX_EPOCH);
    let before = match chain.tree.size() {
        0 => "nothing",
        _ if end.follower.is_closed => "stopped",
        _ => "not recorded",
    };
    let End { length, follower, .. } = end;
    let Follower { signed, pruned, tampering, .. } = follower;
    Ok(Position { name, length, begun, chain, signed, pruned, last, before, torn, tampering })
}

fn last_record(folder: &StateDir, segments: &[Segment]) -> Result<Option<Vec<u8>>, LedgerError> {
    for segment in segments.iter().rev() {
        if let Some(line) = last_line(folder, &segment.name)?.filter(|line| !line.is_empty()) {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// When a line says that it was written.
pub(crate) fn time_of(line: &[u8]) -> Option<Timestamp> {
    const MEMBER: &[u8] = br#","ts":""#;
    let at = line.windows(MEMBER.len()).position(|window| window == MEMBER)?.saturating_add(MEMBER.len());
    let text = line.get(at..)?.split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Makes the register remember no more than what is left, before a torn end of which it may know is set aside.
fn forget(folder: &StateDir, follower: &Follower) -> Result<(), LedgerError> {
    if follower.known.iter().any(|known| known.by == HEAD) {
        folder.write(HEAD, format!("{}\n", follower.head()).as_bytes())?;
    }
    Ok(())
}

/// Begins a part of its own beside what was tampered with, which stays as it is.
fn begin_part(
    folder: &StateDir,
    end: End,
    misfit: Misfit,
    reach: u64,
    now: Timestamp,
) -> Result<Position, LedgerError> {
    let mut last = reach.min(LARGEST);
    for segment in end.segments.iter().filter(|segment| segment.first <= LARGEST) {
        last = last.max(segment.first);
    }
    if let Some(segment) = end.segments.iter().rfind(|segment| segment.first <= LARGEST) {
        last = last.max(last_readable(folder, segment)?);
    }
    let mut chain = end.follower.chain;
    if chain.tree.size() > last {
        chain = Chain::genesis();
    }
    chain.tree.pad(last);
    let path = match &misfit.file {
        Some(file) if Path::new(file).is_absolute() => PathBuf::from(file),
        Some(file) => folder.path().join(file),
        None => folder.path().to_owned(),
    };
    let sequence = chain.sequence();
    let tampering = Some(Tampering { path, line: misfit.line, what: misfit.what, sequence });
    Ok(Position {
        name: segment_name(sequence),
        length: 0,
        begun: now,
        chain,
        signed: last,
        pruned: end.follower.pruned,
        last: Timestamp::UNIX_EPOCH,
        before: "tampered",
        torn: None,
        tampering,
    })
}

/// The largest number that a line of the segment can have and claims.
fn last_readable(folder: &StateDir, segment: &Segment) -> Result<u64, LedgerError> {
    let mut lines = Lines::of(folder, &segment.name)?;
    let (mut last, mut bound) = (segment.first, segment.first);
    while let Next::Line(line) = lines.next()? {
        bound = bound.saturating_add(1);
        last = last.max(sequence_of(line).filter(|number| *number <= bound).unwrap_or_default());
    }
    Ok(last)
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
