//! What this program itself keeps of memory: here because its calls have no safe wrapper, and those are all in one file.

/// Has all threads of this program take memory from one heap. Called before there are many.
///
/// The gateway's threads wait for the disk most of the time, so that they do not wait for each other; but with heaps of their
/// own, which glibc gives them, each keeps what it has freed, and a flood of connections leaves the gateway larger than it was.
/// With another C library nothing is done.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    if !crate::sys::share_one_heap() {
        tracing::debug!("the allocator keeps a heap for each thread");
    }
}

/// Gives memory back to the system that was freed and is kept for later. Takes well under a millisecond for a heap of some
/// megabytes; with another C library nothing is done.
pub fn give_free_memory_back() {
    #[cfg(target_env = "gnu")]
    crate::sys::give_free_pages_back();
}
