//! The commands. Each one opens what it needs, does its work, prints, and says how it ended.

mod agent;
mod agents;
mod allowance;
mod approvals;
mod chat;
mod clients;
mod config;
mod devices;
mod doctor;
mod files;
mod gateway;
mod hooks;
mod image;
mod ledger;
mod logs;
mod models;
mod nodes;
mod review;
mod sandbox;
mod secrets;
pub(crate) mod security;
mod senders;
mod service;
mod sessions;
mod status;
mod stop;
mod support;
mod system;
mod tui;
mod up;
mod usage;

use clap::CommandFactory as _;

use crate::arguments::{Arguments, Command, Config};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::home::Home;
use crate::{output, serve};

/// The installation, for commands that do not read its config before anything else: what would lower a guard in it is
/// refused by every command that does not repair it.
fn open(environment: Environment) -> anyhow::Result<Home> {
    let home = Home::ensure(environment)?;
    home.require_guarded()?;
    Ok(home)
}

/// Does what the command line asks for.
pub(crate) fn run(command: Command, profile: Option<&str>) -> anyhow::Result<Exit> {
    // What is the same everywhere needs nothing of this installation.
    match command {
        Command::Completion { shell } => return completion(shell),
        Command::Man { command } => return manual(&command),
        Command::Config(Config::Schema) => return config::schema(),
        Command::Tui(_) => tui::require_terminal()?,
        _ => {}
    }
    let environment = Environment::read(profile)?;
    output::plain(environment.no_color);
    environment.notes.iter().for_each(|note| output::note(note));
    match command {
        Command::Agent(options) => serve::block_on(agent::run(&open(environment)?, options)),
        Command::Agents(command) => agents::run(&open(environment)?, command),
        Command::Allowance(command) => allowance::run(&open(environment)?, &command),
        Command::Chat(options) => serve::block_on(chat::run(&open(environment)?, &options)),
        Command::Clients(command) => serve::block_on(clients::run(&open(environment)?, command)),
        Command::Commands(command) => review::run(&environment, command),
        Command::Completion { shell } => completion(shell),
        Command::Approvals(command) => approvals::run(&open(environment)?, &command),
        Command::Config(command) => config::run(environment, command),
        Command::Devices(command) => devices::run(&open(environment)?, &command),
        Command::Doctor(options) => doctor::run(environment, &options),
        Command::Gateway(command) => gateway::run(&Home::ensure(environment)?, command),
        Command::Health(facts) => {
            let home = open(environment)?;
            serve::block_on(status::health(&home, facts))
        }
        Command::Hooks(command) => hooks::run(&open(environment)?, &command),
        Command::Ledger(command) => ledger::run(&open(environment)?, command),
        Command::Logs(options) => logs::run(&open(environment)?, &options),
        Command::Man { command } => manual(&command),
        Command::Models(command) => models::run(&open(environment)?, command),
        Command::Nodes(command) => serve::block_on(nodes::run(&open(environment)?, command)),
        Command::Pairing(command) => senders::pairing(&open(environment)?, &command),
        Command::Sandbox(command) => sandbox::run(&open(environment)?, &command),
        Command::Senders(command) => senders::senders(&open(environment)?, &command),
        Command::Secrets(command) => secrets::run(&open(environment)?, command),
        Command::Security(command) => security::run(environment, &command),
        Command::Service(command) => service::run(environment, &command),
        Command::Sessions(command) => {
            let home = open(environment)?;
            serve::block_on(sessions::run(&home, command))
        }
        Command::Status(options) => {
            let home = open(environment)?;
            serve::block_on(status::run(&home, &options))
        }
        Command::Resume(facts) => stop::resume(&Home::ensure(environment)?, facts),
        Command::Stop(options) => stop::stop(&Home::ensure(environment)?, &options),
        Command::Support(command) => support::run(&environment, &command),
        Command::System(command) => serve::block_on(system::run(&open(environment)?, &command)),
        Command::Tui(options) => serve::block_on(tui::run(&open(environment)?, options)),
        Command::Usage(options) => serve::block_on(usage::run(&open(environment)?, &options)),
        Command::Up(options) => up::run(&Home::ensure(environment)?, &options),
    }
}

fn completion(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "moltbot", &mut script);
    output::piece(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}

/// The manual of the program, or of one of its commands, in the form that `man` reads.
fn manual(names: &[String]) -> anyhow::Result<Exit> {
    let mut command = Arguments::command();
    command.build();
    for name in names {
        let found = command.find_subcommand(name).filter(|found| !found.is_hide_set()).cloned();
        command = found.ok_or_else(|| {
            Exit::Usage
                .because(format!("there is no command {}; `moltbot --help` lists all", names.join(" ")))
        })?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).section("1").render(&mut page)?;
    output::piece(&String::from_utf8(page)?)?;
    Ok(Exit::Done)
}
