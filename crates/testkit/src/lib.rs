//! A scripted model, a client, a temporary home. For tests only.
#![forbid(unsafe_code)]
