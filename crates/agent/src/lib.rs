//! One turn: transcript, model, tools, reply.
#![forbid(unsafe_code)]
