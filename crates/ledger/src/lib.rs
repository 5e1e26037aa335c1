//! The book: what is about to happen and what did, chained.
#![forbid(unsafe_code)]
