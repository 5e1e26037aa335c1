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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::tests::Bench;
    use crate::options::LedgerOptions;
    use crate::{Outcome, PublicKey, VerifyOptions, VerifyReport, verify};

    /// A book in many segments and with many keys.
    fn bench(retention: Duration) -> Bench {
        let options = LedgerOptions {
            segment_bytes: 1500,
            checkpoint_records: 3,
            epoch: Duration::ZERO,
            retention,
            ..LedgerOptions::default()
        };
        let mut bench = Bench::with(options);
        fill(&mut bench);
        bench
    }

    fn fill(bench: &mut Bench) {
        for n in 0..20 {
            bench.append(&[&n.to_string()]).unwrap();
        }
    }

    fn verified(bench: &Bench) -> VerifyReport {
        let trust = bench.journal.keys().trust();
        let from_key = Some(PublicKey::of(&trust.origin, trust.first));
        verify(bench.folder.path(), &VerifyOptions { from_key, ..VerifyOptions::default() })
    }

    fn count(bench: &Bench) -> usize {
        list(&bench.folder).unwrap().len()
    }

    #[test]
    fn nothing_is_pruned_before_its_time() {
        let mut bench = bench(Duration::from_secs(3600));
        let before = count(&bench);
        assert_eq!(bench.journal.prune().unwrap(), 0);
        assert_eq!(count(&bench), before);
    }

    #[test]
    fn what_is_left_of_a_pruned_book_is_verified_from_the_first_key() {
        let mut bench = bench(Duration::ZERO);
        let before = verified(&bench);
        let pruned = bench.journal.prune().unwrap();
        assert!(pruned > 3, "{pruned} segments");
        let after = verified(&bench);
        assert_eq!((after.outcome, after.problems.as_slice()), (Outcome::Intact, [].as_slice()));
        assert_eq!((after.pruned, after.public_key), (after.first - 1, before.public_key));
        // Twice, with another start between.
        bench.reopen();
        fill(&mut bench);
        assert!(bench.journal.prune().unwrap() > 3);
        let again = verified(&bench);
        assert_eq!((again.outcome, again.problems.as_slice()), (Outcome::Intact, [].as_slice()));
        assert!(again.first > after.first);
        bench.reopen();
        fill(&mut bench);
        assert_eq!(verified(&bench).outcome, Outcome::Intact);
    }

    #[test]
    fn a_crash_between_the_tombstone_and_the_end_of_the_removal_leaves_a_whole_book() {
        let mut bench = bench(Duration::ZERO);
        let segments = list(&bench.folder).unwrap();
        let kept: Vec<(String, Vec<u8>)> = segments
            .iter()
            .map(|segment| {
                (segment.name.clone(), bench.folder.read(&segment.name, 1 << 20).unwrap().unwrap())
            })
            .collect();
        let pruned = bench.journal.prune().unwrap();
        for missing in (0..pruned).rev() {
            let (name, bytes) = &kept[missing];
            bench.folder.write(name, bytes).unwrap();
            let report = verified(&bench);
            assert_eq!(report.outcome, Outcome::Intact, "{missing} removed: {:?}", report.problems);
        }
        bench.reopen();
        assert!(bench.journal.prune().unwrap() >= pruned, "the next start removes what is left");
    }

    #[test]
    fn what_was_removed_by_somebody_else_is_not_explained_by_a_tombstone() {
        let bench = bench(Duration::ZERO);
        let all = list(&bench.folder).unwrap();
        bench.folder.remove(&all[0].name).unwrap();
        assert_eq!(verified(&bench).outcome, Outcome::Tampered);
        let mut bench = self::bench(Duration::ZERO);
        bench.journal.prune().unwrap();
        fill(&mut bench);
        let left = list(&bench.folder).unwrap();
        bench.folder.remove(&left[0].name).unwrap();
        assert_eq!(verified(&bench).outcome, Outcome::Tampered, "more is missing than the tombstone says");
    }

    #[test]
    fn without_the_way_from_the_first_key_nothing_is_pruned_and_what_was_is_not_believed() {
        let mut bench = bench(Duration::ZERO);
        let epochs = bench.folder.read(crate::keys::EPOCHS, 1 << 20).unwrap().unwrap();
        bench.folder.write(crate::keys::EPOCHS, b"").unwrap();
        assert_eq!(bench.journal.prune().unwrap(), 0);
        bench.folder.write(crate::keys::EPOCHS, &epochs).unwrap();
        assert!(bench.journal.prune().unwrap() > 0);
        assert_eq!(verified(&bench).outcome, Outcome::Intact);
        let mut changed = epochs.clone();
        changed[200] ^= 1;
        bench.folder.write(crate::keys::EPOCHS, &changed).unwrap();
        assert_eq!(verified(&bench).outcome, Outcome::Tampered);
        bench.folder.remove(crate::keys::EPOCHS).unwrap();
        assert_eq!(verified(&bench).outcome, Outcome::Tampered);
    }
}
