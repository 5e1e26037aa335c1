//! Command line and composition root.
#![forbid(unsafe_code)]

fn main() {}
