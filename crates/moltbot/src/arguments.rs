//! The command line: every command, its options, an example and its exit codes.

#[cfg(test)]
mod access;
mod agents;
mod allowance;
mod approvals;
mod clients;
mod commands;
mod config;
mod devices;
#[cfg(test)]
mod documents;
mod gateway;
mod hooks;
mod image;
mod ledger;
mod models;
mod nodes;
mod sandbox;
mod secrets;
mod senders;
mod service;
mod sessions;
mod support;
mod system;
mod tui;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use agents::{AgentIdentity, AgentList, Agents, NewAgent};
pub(crate) use allowance::{Allowance, Limiting, OneHolder};
pub(crate) use approvals::{Allowlist, Approvals, Decision, OneProgram};
pub(crate) use clients::{Clients, Kill};
pub(crate) use commands::{Commands, ReviewOptions, RulesCommand, RulesFile, RulesTest};
pub(crate) use config::Config;
pub(crate) use devices::{Device, Devices, Request};
pub(crate) use gateway::{Gateway, Run};
pub(crate) use hooks::Hooks;
pub(crate) use image::{BuildImage, Containers, Image};
pub(crate) use ledger::{Export, ExportFormat, Ledger, Search, Verify};
pub(crate) use models::{Aliases, Fallbacks, Models, PullOptions, Usage, UsageBy};
pub(crate) use nodes::{Invoke, Nodes, OneNode};
pub(crate) use sandbox::{Explain, Recreate, Sandbox};
pub(crate) use secrets::{
    Audit, Compliance, ComplianceForm, Drills, FailOn, Migrate, Place, ScoreOptions, Secrets, Security,
    WrapKind,
};
pub(crate) use senders::{OneSender, Pairing, PairingRequest, Senders};
pub(crate) use service::{Service, ServiceInstall, ServicePrint};
pub(crate) use sessions::{Key, Sessions};
pub(crate) use support::{Bundle, DoctorOptions, Support};
pub(crate) use system::{Event, Heartbeat, System};
pub(crate) use tui::Tui;

const EXIT_CODES: &str = "\
Exit codes:
  0    it worked
  1    it did not work
  2    the command line is not understood
  69   no gateway runs here, or it does not answer
  75   try again later: another process holds the lock, or the gateway is busy
  77   refused: sign-in or permission
  78   the config is not valid
  124  it took longer than it may
  130  interrupted

Example:
  moltbot up                               start, and say how to go on
  moltbot agent --message \"what is here?\"   ask once";

/// A personal assistant that runs on your own machine: one gateway, your models, tools in a sandbox.
#[derive(Debug, Parser)]
#[command(name = "moltbot", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Use the state folder ~/.moltbot-NAME, with a config of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start moltbot here: config and token at the first time, then the gateway
    #[command(after_help = "\
Example:
  moltbot up --detach

Exit codes: 0 it runs (already), 75 the port or the lock is taken, 78 invalid config, 130 interrupted")]
    Up(Up),
    /// Run, watch, stop or call the gateway
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot gateway status

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Gateway(Gateway),
    /// Talk to the agent; lines from a pipe are sent one after the other
    #[command(after_help = "\
In the chat: /help /new /status /model /stop /exit. Ctrl-C stops the answer, a second one leaves.

Example:
  moltbot chat
  echo \"what can you do?\" | moltbot chat

Exit codes: 0, 1 an answer failed (with a pipe), 69 no gateway, 77 refused, 130 interrupted")]
    Chat(Chat),
    /// Talk to the agent on a full screen: the answer as it is written, tools as they run, commands that wait for your yes
    #[command(after_help = "\
/help in it shows the keys and commands. Enter sends, Esc stops the answer, Ctrl+D leaves.
The gateway is found, and signed in to, as by `moltbot chat`: no credential belongs on the command line.

Example:
  moltbot tui --session notes

Exit codes: 0, 1 there is no terminal here, 69 no gateway, 77 refused, 130 interrupted")]
    Tui(Tui),
    /// Send one message and print the answer
    #[command(after_help = "\
Example:
  moltbot agent --message \"list the files here\" --json --timeout 120

Exit codes: 0, 1 the turn failed, 69 no gateway, 75 busy, 77 refused, 124 timeout, 130 interrupted")]
    Agent(Agent),
    /// See the agents, add one, name one, take one away
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot agents list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Agents(Agents),
    /// See what each used today, and what he may; raise or lower it
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot allowance list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Allowance(Allowance),
    /// See, reset or delete conversations
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot sessions list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Sessions(Sessions),
    /// See the commands that wait for your yes, answer, and keep the list of programs
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot approvals list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Approvals(Approvals),
    /// Stop everything at once: every turn and every process of every sandbox; nothing begins until `resume`
    #[command(after_help = "\
The gateway itself goes on: messages are kept, and their senders are told. `gateway stop` ends the gateway.

Example:
  moltbot stop

Exit codes: 0 stopped, 1 it cannot be kept, 77 the gateway belongs to another user, 124 the gateway did not say so in time")]
    Stop(Stop),
    /// Go on after `stop`: the messages that were kept are answered
    #[command(after_help = "\
Example:
  moltbot resume

Exit codes: 0 (also when nothing was stopped), 69 the gateway does not answer, 75 it cannot be recorded, 77 refused")]
    Resume(Facts),
    /// See who is signed in to the gateway, and end it
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot clients list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Clients(Clients),
    /// Judge commands without running them, and see the rules
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot commands review 'ls -la'

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Commands(Commands),
    /// See which devices may sign in, approve, refuse and revoke them
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot devices list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Devices(Devices),
    /// See devices that offer commands, approve them, and have them do one
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot nodes list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Nodes(Nodes),
    /// See which programs may cause a turn, and what such a turn may do
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot hooks list

Exit codes: 0, 78 the gateway would not start with them"
    )]
    Hooks(Hooks),
    /// See who asks to be let in on chat channels, and approve, refuse or revoke them
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot pairing approve irc ABCD2345

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Pairing(Pairing),
    /// See which walls stand around a session, and remove folders and containers of sessions
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot sandbox explain

Exit codes: each command has its own"
    )]
    Sandbox(Sandbox),
    /// See who was decided about on chat channels, block and unblock them
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot senders list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Senders(Senders),
    /// See, choose and test the models
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot models status

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Models(Models),
    /// See what was used in the last days, and what it cost
    #[command(after_help = "\
Example:
  moltbot usage --days 7 --by session

Exit codes: 0, 69 no gateway, 77 refused")]
    Usage(Usage),
    /// Tell the agent something, and see what comes of its looking around by itself
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot system event --text \"the parcel is here\" --mode now

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    System(System),
    /// Check, read or change the config
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot config validate

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Config(Config),
    /// Keep secrets sealed: set, show, rotate, move
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot secrets status

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Secrets(Secrets),
    /// Security of this installation
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot security audit
  moltbot security decrypt --export plain.json

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Security(Security),
    /// Check, read and export the book of what was done
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot ledger verify

Exit codes: each command has its own"
    )]
    Ledger(Ledger),
    /// Say what runs here, and where everything is
    #[command(after_help = "\
Example:
  moltbot status --all

Exit codes: 0 (also when no gateway runs: it says so), 78 invalid config")]
    Status(Status),
    /// Ask the gateway whether its parts work
    #[command(after_help = "\
Example:
  moltbot health --json

Exit codes: 0 well, 1 a part does not work, 69 no gateway, 77 refused")]
    Health(Facts),
    /// Show the gateway's log
    #[command(after_help = "\
Example:
  moltbot logs --lines 50 --follow

Exit codes: 0, 1 the log cannot be read, 130 interrupted")]
    Logs(Logs),
    /// Find what would stop moltbot here, and how to fix it
    #[command(after_help = "\
Example:
  moltbot doctor --fix

Exit codes: 0 nothing would stop it, 1 something would, or could not be put right")]
    Doctor(DoctorOptions),
    /// Have systemd start the gateway
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot service install

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Service(Service),
    /// Gather what somebody who helps needs to know
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot support bundle --out support.json

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Support(Support),
    /// Print the completion script of a shell
    #[command(after_help = "\
Example:
  moltbot completion bash > ~/.local/share/bash-completion/completions/moltbot

Exit codes: 0, 2 unknown shell")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the manual of moltbot, or of one of its commands, for `man`
    #[command(after_help = "\
Example:
  moltbot man models pull | man -l -

Exit codes: 0, 2 there is no such command")]
    Man {
        /// The command; moltbot itself when absent
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
}

/// Options of `stop`.
#[derive(Args, Debug, Default)]
pub(crate) struct Stop {
    /// All of it, which is what happens anyway
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `up`.
#[derive(Args, Debug, Default)]
pub(crate) struct Up {
    /// Go on in the background, and write to the log file
    #[arg(long)]
    pub(crate) detach: bool,
    /// The port to listen on, instead of the config's; 0 takes a free one
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// Open the chat in this terminal; the gateway goes on in the background
    #[arg(long)]
    pub(crate) chat: bool,
}

/// Options of `chat`.
#[derive(Args, Debug)]
pub(crate) struct Chat {
    /// The conversation
    #[arg(long, value_name = "KEY", default_value = "main")]
    pub(crate) session: String,
    /// How many earlier messages to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) history: u32,
}

/// Options of `agent`.
#[derive(Args, Debug)]
pub(crate) struct Agent {
    /// What is said
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: String,
    /// The conversation, by its id
    #[arg(long, value_name = "ID")]
    pub(crate) session_id: Option<String>,
    /// The agent that answers
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Print {runId, sessionKey, status, text, usage, toolCalls} as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The longest time it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
}

/// Options of `status`.
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Everything: sandbox, agents, models, sessions
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `logs`.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// How many of the last lines
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) lines: u32,
    /// Go on, and print what is added
    #[arg(long)]
    pub(crate) follow: bool,
    /// Print the lines as they are: JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of a command that prints facts.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_an_example_and_its_exit_codes() {
        Arguments::command().debug_assert();
        assert_documented(&Arguments::command());
    }

    fn assert_documented(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for part in ["Example:", "Exit codes:"] {
            assert!(help.contains(part), "{} has no {part}", command.get_name());
        }
        command.get_subcommands().for_each(assert_documented);
    }
}
