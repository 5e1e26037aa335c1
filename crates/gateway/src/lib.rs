//! Connections, method dispatch, inbound routing.
#![forbid(unsafe_code)]
