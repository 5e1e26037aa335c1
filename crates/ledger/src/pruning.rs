//! Old segments are removed as a whole. What is left of them is a tombstone: what was removed, and the hash and the
//! root of the tree at its end, signed before anything is removed.

use jiff::SignedDuration;
use moltbot_vault::FileError;

use crate::disk::Disk;
use crate::error::LedgerError;
use crate::follow::head_of;
use crate::journal::{Journal, Sign};
use crate::note::encode_root;
use crate::opening::time_of;
use crate::own::{self, Claims, Tombstone};
use crate::record::{Hex, read_alone};
use crate::segments::{Segment, first_line, list};
use crate::statements;

impl<D: Disk> Journal<D> {
    /// Removes the segments that ended longer ago than is kept, and tells how many.
    pub(crate) fn prune(&mut self) -> Result<usize, LedgerError> {
        self.is_pruning_due = false;
        if self.tampering.is_some() {
            // What was before is evidence.
            return Ok(0);
        }
        let segments = list(self.disk.folder())?;
        let Some((count, claims, hash)) = self.find_old(&segments)? else { return Ok(0) };
        if !statements::reach(self.disk.folder(), &claims.trust)? {
            tracing::warn!(
                "the book is not pruned: without old records its keys could not be followed any more"
            );
            return Ok(0);
        }
        let first = segments.first().map_or(1, |segment| segment.first);
        let (last, root) = (claims.tree.size(), encode_root(&claims.tree.root()));
        self.append(&[own::pruned(&Tombstone { first, last, hash, root })], Sign::Now)?;
        self.pruned = last;
        for segment in segments.iter().take(count) {
            match self.disk.remove(&segment.name) {
                Ok(()) | Err(FileError::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    /// How many segments ended too long ago, and what the one behind them says about them.
    fn find_old(&self, segments: &[Segment]) -> Result<Option<(usize, Claims, Hex)>, LedgerError> {
        let kept = SignedDuration::try_from(self.options.retention).unwrap_or(SignedDuration::MAX);
        let mut found = None;
        for (count, next) in segments.iter().enumerate().skip(1) {
            let Some(line) = first_line(self.disk.folder(), &next.name)? else { break };
            let is_old = time_of(&line).is_some_and(|begun| self.now().duration_since(begun) >= kept);
            let Some((claims, Ok((_, _, hash)))) = head_of(&line).map(|claims| (claims, read_alone(&line)))
            else {
                break;
            };
            if !is_old || claims.tree.size() > self.signed || next.first > self.signed {
                break;
            }
            found = Some((count, claims, hash));
        }
        Ok(found)
    }
}
