//! `moltbot tui`: the full-screen client, in this terminal.
//!
//! Keys are read by a thread, because a terminal cannot be waited for otherwise; it ends with the program.

use std::collections::VecDeque;
use std::time::Duration;

use moltbot_protocol::error::WireError;
use ratatui_crossterm::crossterm::event::{Event as TerminalEvent, read};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use crate::arguments::Tui;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output;
use crate::tui::{App, Effect, Event, Line, Options, Order, Palette, Screen};

/// Events and orders that may wait. Whoever sends more waits.
const WAITING: usize = 256;
/// How long saying goodbye to the gateway may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Refuses to go on where nobody sits at a terminal.
pub(crate) fn require_terminal() -> anyhow::Result<()> {
    if output::is_interactive() {
        return Ok(());
    }
    Err(Exit::Failed.because(
        "standard input and output are no terminal; use `moltbot chat` for lines from a pipe, or `moltbot agent` to ask once",
    ))
}

/// Talks until the person leaves, or a signal says so.
pub(crate) async fn run(home: &Home, options: Tui) -> anyhow::Result<Exit> {
    // Before the screen is taken: what fails here is told as by every command, and a password is asked for.
    let connection = Line::open(home).await?;
    let seed = moltbot_vault::random_id().map_err(|error| home::failed(&error))?;
    let Tui { session, message, history_limit } = options;
    let app = App::new(Options { session, history: history_limit, message, seed }, Screen::size()?);
    let palette = if home.environment.no_color { Palette::Plain } else { Palette::Colours };
    let (events_in, events) = mpsc::channel(WAITING);
    let (orders, orders_out) = mpsc::channel(WAITING);
    let line = Line::new(home.clone(), orders_out, events_in.clone());
    let screen = Screen::take(&app, palette)?;
    read_keys(events_in);
    let talking = Talk { app, screen, orders, connections: 0 };
    let served = tokio::spawn(line.serve(connection));
    let exit = talking.until_left(events).await;
    // The orders are dropped with the talk, so the line says goodbye. One that is just being set up is not waited for.
    if timeout(GOODBYE, served).await.is_err() {
        tracing::debug!("the gateway was not told goodbye");
    }
    exit
}

/// The client and its ends.
struct Talk {
    app: App,
    screen: Screen,
    orders: Sender<Order>,
    /// Connections so far.
    connections: u64,
}

impl Talk {
    async fn until_left(mut self, mut events: Receiver<Event>) -> anyhow::Result<Exit> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        self.screen.show(&self.app)?;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = interrupt.recv() => return Ok(Exit::Interrupted),
                _ = terminate.recv() => return Ok(Exit::Interrupted),
                _ = hang_up.recv() => return Ok(Exit::Interrupted),
            };
            let Some(event) = event else { return Ok(Exit::Interrupted) };
            if let Some(exit) = self.take(event) {
                return Ok(exit);
            }
            // What is there already is taken in before the screen is drawn.
            while let Ok(event) = events.try_recv() {
                if let Some(exit) = self.take(event) {
                    return Ok(exit);
                }
            }
            self.screen.show(&self.app)?;
        }
    }

    fn take(&mut self, event: Event) -> Option<Exit> {
        if matches!(event, Event::Connected(_)) {
            self.connections = self.connections.saturating_add(1);
        }
        let mut effects = VecDeque::from(self.app.handle(event));
        while let Some(effect) = effects.pop_front() {
            let order = match effect {
                Effect::Call { ticket, method, params } => {
                    Order::Call { ticket, method, params, connection: self.connections }
                }
                Effect::Leave(exit) => return Some(exit),
                Effect::Reconnect => Order::Reconnect,
            };
            match self.orders.try_send(order) {
                Ok(()) | Err(TrySendError::Full(Order::Reconnect)) => {}
                // Not waited for: the line may be waiting for us.
                Err(TrySendError::Full(Order::Call { ticket, .. })) => {
                    let error = WireError::unavailable("too many calls wait for the gateway; try again");
                    effects.extend(self.app.handle(Event::Answer(ticket, Err(error))));
                }
                Err(TrySendError::Closed(_)) => return Some(Exit::Failed),
            }
        }
        None
    }
}

/// Keys, pastes and sizes, read by a thread of their own.
fn read_keys(events: Sender<Event>) {
    std::thread::spawn(move || {
        while let Ok(event) = read() {
            let event = match event {
                TerminalEvent::Key(key) => Event::Key(key),
                TerminalEvent::Paste(text) => Event::Pasted(text),
                TerminalEvent::Resize(columns, rows) => Event::Resized(columns, rows),
                TerminalEvent::FocusGained | TerminalEvent::FocusLost | TerminalEvent::Mouse(_) => continue,
            };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    });
}
