//! A key in memory of its own: never swapped out where the system allows it, in no core dump, erased at the end.
//!
//! It protects against what is left behind (swap, a dump, a child's copy of the memory), not against somebody who may
//! read this process: who can do that has the key.

use memmap2::{Advice, MmapMut};
use zeroize::Zeroize;

/// `N` secret bytes. There is neither `Clone` nor `Debug`: a copy would be somewhere else, and a text anywhere.
pub(crate) struct LockedBytes<const N: usize> {
    /// Pages that nothing else is on: unlocking them unlocks nobody else's. Absent when the system gave none.
    page: Option<MmapMut>,
    /// Where the bytes are when there is no page.
    heap: Box<[u8; N]>,
    locked: bool,
}

impl<const N: usize> LockedBytes<N> {
    /// Bytes that `write` fills in where they stay, so that no copy is left on the stack. They begin as zeros.
    ///
    /// # Errors
    /// Those of `write`; what it wrote is then erased.
    pub(crate) fn fill<E>(write: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Self::zeros();
        write(bytes.bytes_mut())?;
        Ok(bytes)
    }

    /// The same bytes once more, on a page of their own.
    pub(crate) fn copy(&self) -> Self {
        let mut bytes = Self::zeros();
        bytes.bytes_mut().copy_from_slice(&**self);
        bytes
    }

    /// Takes over a key that is elsewhere, and erases it there.
    pub(crate) fn take(from: &mut [u8; N]) -> Self {
        let mut bytes = Self::zeros();
        bytes.bytes_mut().copy_from_slice(from);
        from.zeroize();
        bytes
    }

    /// Whether the memory is locked: it is not where the limit on locked memory (`RLIMIT_MEMLOCK`) is used up.
    pub(crate) const fn is_locked(&self) -> bool {
        self.locked
    }

    fn zeros() -> Self {
        let page = MmapMut::map_anon(N).ok();
        let locked = page.as_ref().is_some_and(protect);
        Self { page, heap: Box::new([0; N]), locked }
    }

    fn bytes_mut(&mut self) -> &mut [u8; N] {
        match self.page.as_deref_mut().and_then(<[u8]>::first_chunk_mut) {
            Some(bytes) => bytes,
            None => &mut self.heap,
        }
    }
}

impl<const N: usize> std::ops::Deref for LockedBytes<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        // The choice is the one of `bytes_mut`: what was written is what is read.
        self.page.as_deref().and_then(<[u8]>::first_chunk).unwrap_or(&self.heap)
    }
}

impl<const N: usize> Drop for LockedBytes<N> {
    fn drop(&mut self) {
        // The page is unlocked when it is unmapped, after this.
        self.bytes_mut().zeroize();
    }
}

/// Whether the system lets this process keep memory out of swap, for those who tell the owner.
pub fn can_lock_memory() -> bool {
    LockedBytes::<32>::zeros().is_locked()
}

/// Keeps a page out of swap, core dumps and children; tells whether it will stay out of swap.
fn protect(page: &MmapMut) -> bool {
    // A child that is not another program yet would have a copy that is not locked. The two advices are the second
    // line (this process is not dumpable, and its children become other programs at once): refusals change nothing.
    for advice in [Advice::DontDump, Advice::DontFork] {
        if let Err(error) = page.advise(advice) {
            tracing::debug!(%error, ?advice, "the memory of a key takes no advice");
        }
    }
    page.lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_where_they_were_written() {
        let filled = LockedBytes::<32>::fill(|bytes| {
            assert_eq!(*bytes, [0; 32]);
            bytes.fill(7);
            Ok::<_, ()>(())
        });
        assert_eq!(**filled.as_ref().ok().unwrap(), [7; 32]);
        let mut key = [9; 32];
        let taken = LockedBytes::take(&mut key);
        assert_eq!((*taken, key), ([9; 32], [0; 32]), "the source is erased");
        assert!(LockedBytes::<32>::fill(|_| Err(())).is_err());
    }

    #[test]
    fn bytes_without_a_page_are_kept_on_the_heap_and_called_unlocked() {
        let mut bytes = LockedBytes { page: None, heap: Box::new([0; 32]), locked: false };
        bytes.bytes_mut().fill(3);
        assert_eq!((*bytes, bytes.is_locked()), ([3; 32], false));
    }

    /// What the kernel says of the memory at `address`: its `VmFlags`, and the kilobytes that are locked.
    fn flags_of(address: usize) -> (String, u64) {
        #[expect(clippy::disallowed_methods, reason = "the test asks the kernel")]
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
            !matches!(bounds, Some((Ok(from), Ok(to))) if (from..to).contains(&address))
        });
        let locked = lines.find_map(|line| line.strip_prefix("Locked:")).unwrap();
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        (format!("{flags} "), locked.trim().trim_end_matches(" kB").parse().unwrap())
    }

    #[test]
    fn a_page_is_locked_and_in_no_dump_and_no_child() {
        let bytes = LockedBytes::take(&mut [1; 32]);
        if !bytes.is_locked() {
            return moltbot_testkit::skip::skip(
                "locked::a_page_is_locked_and_in_no_dump_and_no_child",
                "RLIMIT_MEMLOCK is used up",
            );
        }
        let (flags, locked) = flags_of(bytes.as_ptr().addr());
        assert!(locked >= 4, "{locked} kB");
        for (flag, means) in [(" lo ", "locked"), (" dd ", "in no dump"), (" dc ", "in no child")] {
            assert!(flags.contains(flag), "{means}: {flags}");
        }
    }
}
