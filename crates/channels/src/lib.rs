//! One file per vendor: its wire format to and from our messages.
#![forbid(unsafe_code)]
