//! Verifies a book as it lies on the disk, in one pass, writing nothing.
//!
//! What is believed without proof is named: without [`VerifyOptions::from_key`] the key that the book itself says it
//! was begun with, and without a head from elsewhere that the book is not an older copy of itself.

use std::path::{Path, PathBuf};

use moltbot_config::{hole, limits};
use moltbot_policy::with_causes;
use moltbot_vault::{FileError, LockError, StateDir};

use crate::follow::{Follower, Known, Place, head_of};
use crate::head::Head;
use crate::ledger::LOCK;
use crate::note::PublicKey;
use crate::opening::HEAD;
use crate::own;
use crate::record::action_of;
use crate::segments::{Lines, Next, Segment, TEARABLE, is_torn, list, read_tail};
use crate::statements;

/// What a book is compared with.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The key that it must have been begun with.
    pub from_key: Option<PublicKey>,
    /// A head that it must have.
    pub expect_head: Option<Head>,
    /// A head that is trusted: the segments before the one in which it is are not read.
    pub from_checkpoint: Option<Head>,
}

/// What a verification says, from the best to the worst but for the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All of it is what was written. Repairs that are recorded count as that.
    Intact,
    /// The end is torn, as by a crash; the next start repairs it.
    Torn,
    /// It is a whole book that ends too early.
    Truncated,
    /// Something was changed, inserted, taken out or moved.
    Tampered,
    /// It cannot be told.
    Unknown,
}

impl Outcome {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Torn => "torn",
            Self::Truncated => "truncated",
            Self::Tampered => "tampered",
            Self::Unknown => "unknown",
        }
    }

    /// The exit code of `moltbot ledger verify`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Intact => 0,
            Self::Torn => 3,
            Self::Tampered => 4,
            Self::Truncated => 5,
            Self::Unknown => 6,
        }
    }
}

/// Something that does not fit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What it means.
    pub outcome: Outcome,
    /// The file, or the book's folder.
    pub path: PathBuf,
    /// The line in it, from 1; 0 where it is none.
    pub line: u64,
    /// What does not fit.
    pub what: String,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The worst of what was found.
    pub outcome: Outcome,
    /// Everything that does not fit, in the order of the book.
    pub problems: Vec<Problem>,
    /// Records that were verified.
    pub records: u64,
    /// Segments that were read.
    pub segments: u64,
    /// The number of the first record there is.
    pub first: u64,
    /// The number of the last record that fits; 0 when there is none.
    pub last: u64,
    /// The end of what fits.
    pub head: Option<Head>,
    /// Checkpoints whose tree was compared.
    pub checkpoints: u64,
    /// Signatures that were looked at: a later one vouches for those before it.
    pub signatures: u64,
    /// Keys that came after the first.
    pub epochs: u64,
    /// The key that the book was begun with.
    pub public_key: Option<PublicKey>,
    /// Repairs of torn ends that are recorded.
    pub recovered: u64,
    /// The number of the last record that was pruned; 0 when none was.
    pub pruned: u64,
    /// Whether the book was closed by the process that wrote it.
    pub is_closed: bool,
    /// Whether a process was writing it meanwhile.
    pub is_open: bool,
}

/// Verifies the book in `folder`, which is the one with the segments in it.
pub fn verify(folder: &Path, options: &VerifyOptions) -> VerifyReport {
    let mut walk = Walk::new(folder, options);
    if let Err(error) = walk.run(folder, options) {
        let path = folder.to_owned();
        walk.report.problems.push(Problem { outcome: Outcome::Unknown, path, line: 0, what: error });
    }
    walk.conclude()
}

struct Walk {
    path: PathBuf,
    report: VerifyReport,
    follower: Follower,
    /// Whether the next segment is believed about what was before it.
    is_lost: bool,
}

impl Walk {
    fn new(folder: &Path, options: &VerifyOptions) -> Self {
        let mut known = Vec::new();
        for (head, by) in
            [(&options.expect_head, "the expected head"), (&options.from_checkpoint, "the checkpoint")]
        {
            known.extend(head.iter().flat_map(|head| head.known(by)));
        }
        let mut follower = Follower::new(known);
        follower.from_key.clone_from(&options.from_key);
        let report = VerifyReport {
            outcome: Outcome::Intact,
            problems: Vec::new(),
            records: 0,
            segments: 0,
            first: 0,
            last: 0,
            head: None,
            checkpoints: 0,
            signatures: 0,
            epochs: 0,
            public_key: None,
            recovered: 0,
            pruned: 0,
            is_closed: false,
            is_open: false,
        };
        Self { path: folder.to_owned(), report, follower, is_lost: false }
    }

    fn run(&mut self, folder: &Path, options: &VerifyOptions) -> Result<(), String> {
        let folder = StateDir::open_to_read(folder).map_err(|error| with_causes(&error))?;
        // What somebody writes meanwhile is on disk before it is remembered, so the register is read first.
        self.report.is_open = is_open(&folder)?;
        self.remember(&folder)?;
        let segments = list(&folder).map_err(|error| with_causes(&error))?;
        let start = self.start(&segments, options);
        for (at, segment) in segments.iter().enumerate().skip(start) {
            self.report.segments = self.report.segments.saturating_add(1);
            let is_last = at.saturating_add(1) == segments.len();
            self.segment(&folder, segment, at, is_last).map_err(|error| with_causes(&error))?;
        }
        self.settle(&segments);
        if !segments.is_empty() && start == 0 {
            self.require_beginning(&folder, &segments).map_err(|error| with_causes(&error))?;
        }
        self.compare_known(&segments);
        if segments.is_empty() && self.report.problems.is_empty() {
            return Err("there is no book".into());
        }
        if self.follower.trust.is_none() && options.from_key.is_some() && self.report.problems.is_empty() {
            return Err("the book has no key yet, so the given one cannot be compared".into());
        }
        Ok(())
    }

    /// Takes in what the book's own register remembers.
    fn remember(&mut self, folder: &StateDir) -> Result<(), String> {
        let bytes = folder.read(HEAD, limits::LEDGER_HEAD_BYTES).map_err(|error| with_causes(&error))?;
        let Some(bytes) = bytes else { return Ok(()) };
        match std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<Head>().ok()) {
            Some(head) => {
                let known: Vec<Known> = std::mem::take(&mut self.follower.known);
                let known = known.into_iter().chain(head.known(HEAD)).collect();
                let from_key = self.follower.from_key.take();
                self.follower = Follower::new(known);
                self.follower.from_key = from_key;
            }
            None => self.found(Outcome::Tampered, Some(HEAD), 1, "it does not hold a head of the book"),
        }
        Ok(())
    }

    /// The segment in which reading begins.
    fn start(&mut self, segments: &[Segment], options: &VerifyOptions) -> usize {
        let first = segments.first().map_or(0, |segment| segment.first);
        self.report.first = first;
        self.is_lost = first > 1;
        let Some(head) = &options.from_checkpoint else { return 0 };
        let at = segments.iter().rposition(|segment| segment.first <= head.sequence).unwrap_or_default();
        if at > 0 {
            self.is_lost = true;
            self.report.first = segments.get(at).map_or(first, |segment| segment.first);
            // What was before is committed to by the trusted head, and not compared with anything else.
            let from = self.report.first;
            self.follower.known.retain(|known| known.sequence >= from);
        }
        at
    }

    fn segment(
        &mut self,
        folder: &StateDir,
        segment: &Segment,
        at: usize,
        is_last: bool,
    ) -> Result<(), FileError> {
        let mut lines = Lines::of(folder, &segment.name)?;
        let (mut line, mut length) = (0_u64, 0_u64);
        let what = loop {
            line = line.saturating_add(1);
            let bytes = match lines.next()? {
                Next::End => return Ok(()),
                // A line that is being written has no end yet. What follows by now is for the next time.
                Next::Partial if is_last && self.report.is_open => return Ok(()),
                Next::Partial => break "it does not end",
                Next::Line(bytes) => bytes,
            };
            if line == 1
                && let Err(what) = self.enter(segment, bytes)
            {
                break what;
            }
            if let Err(what) = self.follower.follow(bytes, Place { segment: at, line }) {
                break what;
            }
            length = length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).saturating_add(1);
        };
        if is_last {
            let tail = read_tail(&folder.open_file(&segment.name)?, length, TEARABLE)?;
            if is_torn(&tail, length) {
                self.found(Outcome::Torn, Some(&segment.name), line, what);
                return Ok(());
            }
        }
        self.found(Outcome::Tampered, Some(&segment.name), line, what);
        self.is_lost = true;
        Ok(())
    }

    /// Enters a segment by its first line.
    fn enter(&mut self, segment: &Segment, line: &[u8]) -> Result<(), &'static str> {
        if action_of(line) == own::TAMPERED.as_bytes()
            && let Some(found) = head_of(line).and_then(|claims| claims.tampering)
        {
            let what = format!("the book says that it was changed: {}", found.what);
            self.report.problems.push(Problem {
                outcome: Outcome::Tampered,
                path: found.path,
                line: found.line,
                what,
            });
            self.is_lost = true;
        }
        if self.is_lost && segment.first > 1 {
            self.follower.believe(line)?;
            self.follower.require_first_key()?;
        }
        self.is_lost = false;
        if segment.first != self.follower.chain.sequence() {
            return Err("its number is not the next one; a segment before it is missing or was cut");
        }
        Ok(())
    }

    fn settle(&mut self, segments: &[Segment]) {
        if let Err((place, what)) = self.follower.settle() {
            let name = segments.get(place.segment).map(|segment| segment.name.clone());
            self.found(Outcome::Tampered, name.as_deref(), place.line, what);
        }
    }

    /// A book that does not begin with its first record must say why, and how its keys came to be.
    fn require_beginning(&mut self, folder: &StateDir, segments: &[Segment]) -> Result<(), FileError> {
        let before = self.report.first.saturating_sub(1);
        let name = segments.first().map(|segment| segment.name.clone());
        let signed = self.follower.signed;
        let stones: Vec<_> = self
            .follower
            .tombstones
            .iter()
            .filter(|(at, _)| *at <= signed)
            .map(|(_, stone)| stone.clone())
            .collect();
        let mut is_explained = before == 0;
        let mut ends = self.follower.ends.clone();
        let first_line =
            name.as_deref().map(|name| crate::segments::first_line(folder, name)).transpose()?.flatten();
        let claims = first_line.as_deref().and_then(head_of);
        if let Some((claims, Ok((_, _, previous)))) =
            claims.as_ref().zip(first_line.as_deref().map(crate::record::read_alone))
        {
            ends.push((claims.tree.size(), previous, claims.tree.root()));
        }
        for stone in stones {
            let end = ends.iter().find(|(size, _, _)| *size == stone.last);
            let is_right = end.is_none_or(|(_, hash, root)| {
                *hash == stone.hash && crate::note::encode_root(root) == stone.root
            });
            if !is_right {
                self.found(
                    Outcome::Tampered,
                    name.as_deref(),
                    0,
                    "what was pruned is not what the book says",
                );
            }
            is_explained |= end.is_some() && is_right && stone.first <= before && before <= stone.last;
        }
        let is_evidence = claims
            .as_ref()
            .and_then(|claims| claims.tampering.as_ref())
            .is_some_and(|found| found.sequence == before.saturating_add(1));
        if !is_explained && !is_evidence {
            let what = "what was before it is missing, and nothing says that it was pruned";
            self.found(Outcome::Tampered, name.as_deref(), 1, what);
        }
        if let Some(claims) = claims.filter(|_| before > 0 && !is_evidence)
            && !statements::lead_to(folder, &claims.trust)?
        {
            self.found(
                Outcome::Tampered,
                Some(crate::keys::EPOCHS),
                0,
                "it does not lead to the key of the book",
            );
        }
        Ok(())
    }

    /// Compares the book with what others remember of it.
    fn compare_known(&mut self, segments: &[Segment]) {
        let last = self.follower.chain.tree.size();
        let is_torn = self.report.problems.iter().any(|problem| problem.outcome == Outcome::Torn);
        let file = |sequence: u64| {
            segments
                .iter()
                .rev()
                .find(|segment| segment.first <= sequence)
                .map(|segment| segment.name.clone())
        };
        for known in std::mem::take(&mut self.follower.contradicted) {
            let what = format!("record {} is not the one that {} remembers", known.sequence, known.by);
            self.found(Outcome::Tampered, file(known.sequence).as_deref(), 0, what);
        }
        let is_tampered = self.report.problems.iter().any(|problem| problem.outcome == Outcome::Tampered);
        for known in std::mem::take(&mut self.follower.known) {
            // The line that a crash tore may be the one that was about to be remembered.
            let is_the_torn_one = is_torn && known.sequence == last.saturating_add(1) && known.by == HEAD;
            if !is_the_torn_one && !is_tampered {
                let what = format!(
                    "the book ends with record {last}, but {} remembers record {}",
                    known.by, known.sequence
                );
                self.found(Outcome::Truncated, file(last).as_deref(), 0, what);
            }
        }
        for known in std::mem::take(&mut self.follower.unmet) {
            if known.by != HEAD {
                let what = format!("record {} of {} was pruned or not read", known.sequence, known.by);
                self.found(Outcome::Unknown, None, 0, what);
            }
        }
    }

    fn found(&mut self, outcome: Outcome, file: Option<&str>, line: u64, what: impl Into<String>) {
        let path = file.map_or_else(|| self.path.clone(), |file| self.path.join(file));
        if self.report.problems.len() < limits::LEDGER_PROBLEMS {
            self.report.problems.push(Problem { outcome, path, line, what: what.into() });
        }
    }

    fn conclude(self) -> VerifyReport {
        let Self { mut report, follower, .. } = self;
        let has = |outcome| report.problems.iter().any(|problem| problem.outcome == outcome);
        report.outcome = [Outcome::Tampered, Outcome::Truncated, Outcome::Unknown, Outcome::Torn]
            .into_iter()
            .find(|outcome| has(*outcome))
            .filter(|_| !hole!("changed-ledger"))
            .unwrap_or(Outcome::Intact);
        report.records = follower.records;
        report.last = follower.chain.tree.size();
        report.head = (follower.records > 0).then(|| follower.head());
        report.checkpoints = follower.checkpoints;
        report.signatures = follower.signatures;
        report.epochs = follower.epochs;
        report.public_key = follower.trust.as_ref().map(|trust| PublicKey::of(&trust.origin, trust.first));
        report.recovered = follower.recovered;
        report.pruned = follower.pruned;
        report.is_closed = follower.is_closed;
        report
    }
}

/// Whether a process writes the book.
fn is_open(folder: &StateDir) -> Result<bool, String> {
    match folder.peek_lock(LOCK) {
        Ok(holder) => Ok(holder.is_some()),
        // A copy may lie where no file can be locked, or have a lock that is not ours to look at.
        Err(LockError::File { .. } | LockError::Held { .. }) => Ok(false),
        Err(error) => Err(with_causes(&error)),
    }
}
