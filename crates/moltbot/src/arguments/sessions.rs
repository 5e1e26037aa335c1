//! The commands of `sessions`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Facts;

/// Commands of `sessions`.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// List conversations, the latest first
    #[command(after_help = "\
Example:
  moltbot sessions list --json

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// Show a conversation
    #[command(after_help = "\
Example:
  moltbot sessions show main

Exit codes: 0, 1 there is no such key, 69 no gateway, 77 refused")]
    Show {
        /// The conversation's key
        key: String,
        /// How many messages
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin a conversation anew under the same key
    #[command(after_help = "\
Example:
  moltbot sessions reset main

Exit codes: 0, 1 there is no such session, 69 no gateway, 77 refused")]
    Reset(Key),
    /// Let a conversation go on that is in quarantine after an attempt to leave the sandbox
    ///
    /// Nothing runs in it before that. What was said stays in it: `sessions reset` begins it anew without.
    #[command(after_help = "\
Example:
  moltbot sessions release agent:main:telegram:group:-100

Exit codes: 0, 1 it is not in quarantine, 69 no gateway, 77 refused")]
    Release(Key),
    /// Write a whole conversation to standard output as JSON lines, as earlier programs kept it
    #[command(after_help = "\
Example:
  moltbot sessions export main > main.jsonl

Exit codes: 0, 1 there is no such session, 69 no gateway, 77 refused")]
    Export {
        /// The conversation's key, or its session id
        key: String,
    },
    /// Add a conversation from a file of JSON lines, as `sessions export` and other programs of this kind write it
    ///
    /// It begins under that key, which must not be there yet. Pictures, and branches of a conversation that were left, are not
    /// taken; what was left out is told.
    #[command(after_help = "\
Example:
  moltbot sessions import agent:main:old ~/.clawdbot/agents/main/sessions/ID.jsonl

Exit codes: 0, 1 the file is no transcript, or the key is there, 69 no gateway, 77 refused")]
    Import {
        /// The conversation's key
        key: String,
        /// The file
        file: PathBuf,
        /// Print JSON: {key, sessionId, messages, leftOut}
        #[arg(long)]
        json: bool,
    },
    /// Look for a text in every conversation; upper and lower case are the same
    ///
    /// Everything that is kept is opened and read: there is no index on the disk.
    #[command(after_help = "\
Example:
  moltbot sessions search \"the blue door\"

Exit codes: 0, 1 nothing was found, 69 no gateway, 77 refused")]
    Search {
        /// The text
        text: String,
        /// Print JSON lines of {key, role, timestamp, text}
        #[arg(long)]
        json: bool,
    },
    /// Delete a conversation and its transcript
    #[command(after_help = "\
Example:
  moltbot sessions delete agent:main:notes

Exit codes: 0, 1 there is no such session, 69 no gateway, 77 refused")]
    Delete(Key),
}

/// One conversation.
#[derive(Args, Debug)]
pub(crate) struct Key {
    /// The conversation's key
    pub(crate) key: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
