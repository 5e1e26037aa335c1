//! The door to the disk: owner-only, atomic files, opened by handle.
#![forbid(unsafe_code)]
