//! `moltbot up`: the one command of a fresh machine.

use crate::arguments::{Chat, Up};
use crate::background::{self, Ready};
use crate::commands::chat;
use crate::commands::models::pulling;
use crate::exit::Exit;
use crate::home::{Home, Running};
use crate::log::{self, Console};
use crate::output::{self, Paint};
use crate::serve::{Source, Start};
use crate::{clock, serve};

/// Starts the gateway, or says that it runs.
pub(crate) fn run(home: &Home, options: &Up) -> anyhow::Result<Exit> {
    if let Some(running) = home.running()? {
        say_running(&running)?;
        return if options.chat { open_chat(home) } else { Ok(Exit::Done) };
    }
    offer_model(home)?;
    if options.detach || options.chat {
        return detached(home, options);
    }
    let levels = log::start(&home.state, Console::Shown)?;
    let start = Start { port: options.port, source: Source::File, levels: &levels };
    serve::run(home, start, |started| say_started(home, started, "Ctrl-C here, or `moltbot gateway stop`"))
}

/// Offers a model where there would be none. The book that it is recorded in is closed before the gateway opens it.
fn offer_model(home: &Home) -> anyhow::Result<()> {
    if !output::is_interactive() {
        return Ok(());
    }
    if home.is_new {
        // Its book is open already, and stays open.
        return pulling::offer(home);
    }
    let before = Home::ensure(home.environment.clone())?;
    let offered = pulling::offer(&before);
    before.close_book();
    offered
}

/// Starts the gateway in the background, and the chat when that is asked for.
fn detached(home: &Home, options: &Up) -> anyhow::Result<Exit> {
    start_detached(home, options.port)?;
    if options.chat { open_chat(home) } else { Ok(Exit::Done) }
}

fn say_started(home: &Home, ready: &Ready, stop: &str) -> anyhow::Result<()> {
    let Ready { running: running @ Running { port, pid, .. }, model, notes } = ready;
    let title = if home.is_new { "moltbot is set up and runs" } else { "moltbot runs" };
    output::line(&output::paint(title, Paint::Strong))?;
    output::line(&format!("address  http://127.0.0.1:{port} (pid {pid})"))?;
    for (name, told) in running.reached() {
        output::line(&format!("{name:8} {told}"))?;
    }
    output::line(&format!("token    {}", home.credential_place()))?;
    output::line(&format!("model    {model}"))?;
    output::line("chat     `moltbot chat`, or `moltbot agent --message \"…\"`")?;
    output::line(&format!("stop     {stop}"))?;
    notes.iter().for_each(|note| output::note(note));
    Ok(())
}

fn say_running(running: &Running) -> anyhow::Result<()> {
    let Running { pid, port, started_at_ms, .. } = running;
    let since = clock::duration(clock::now_ms().saturating_sub(*started_at_ms));
    output::line(&format!("moltbot runs already: http://127.0.0.1:{port} (pid {pid}, for {since})"))?;
    output::line("chat     `moltbot chat`")?;
    output::line("stop     `moltbot gateway stop`")?;
    Ok(())
}

fn open_chat(home: &Home) -> anyhow::Result<Exit> {
    serve::block_on(chat::run(home, &Chat { session: "main".into(), history: 10 }))
}

/// Starts the gateway in the background and says where it is.
pub(crate) fn start_detached(home: &Home, port: Option<u16>) -> anyhow::Result<()> {
    let ready = background::start(home, port)?;
    say_started(home, &ready, "`moltbot gateway stop`")
}
