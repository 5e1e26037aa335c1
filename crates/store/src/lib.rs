//! State that outlives a process: inbox, turns, transcripts, outbox, sessions.
#![forbid(unsafe_code)]
