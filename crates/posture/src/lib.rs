//! What is configured and what is true here.
#![forbid(unsafe_code)]
