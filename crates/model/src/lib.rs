//! One local language model, in a process of its own.
//!
//! A model's file is the work of strangers, and the libraries that read it are large. So they are in no process that holds
//! keys, conversations or a way to the network: the gateway starts this one, hands it the file and then connections, over the
//! one socket that it has. It verifies the file, builds the model, shuts every door behind itself (`lockdown`) and answers.
//!
//! It holds no door, and decides nothing: who may ask, and what may come of an answer, is the gateway's.
#![forbid(unsafe_code)]

mod answer;
mod calls;
mod control;
mod engine;
mod failure;
mod gguf;
mod http;
mod load;
mod lockdown;
mod memory;
mod plan;
mod program;
mod refusal;
mod request;
mod serve;
mod spoken;
mod template;
mod vocabulary;
mod work;

pub use program::run;
