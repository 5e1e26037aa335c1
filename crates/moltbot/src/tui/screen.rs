//! The terminal while the client has it: raw, on its other screen, and given back as it was, however the client ends.

use std::io::{self, Stdout, Write as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui_core::backend::Backend as _;
use ratatui_core::layout::Rect;
use ratatui_core::terminal::{Terminal, TerminalOptions, Viewport};
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::Show;
use ratatui_crossterm::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui_crossterm::crossterm::queue;
use ratatui_crossterm::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};

use super::app::App;
use super::view::{Palette, draw};

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The terminal. It is given back when this is dropped, and before a panic says what it has to say.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    size: (u16, u16),
    palette: Palette,
}

impl Screen {
    /// Takes the terminal, of which the client knows how large it is.
    pub(crate) fn take(app: &App, palette: Palette) -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        // From here on it is given back, also when the next step fails.
        let mut screen = Self { terminal: of_size(app.size)?, size: app.size, palette };
        queue!(screen.terminal.backend_mut(), EnterAlternateScreen, EnableBracketedPaste)?;
        screen.terminal.backend_mut().clear()?;
        Ok(screen)
    }

    /// Draws the client.
    pub(crate) fn show(&mut self, app: &App) -> io::Result<()> {
        if self.size != app.size {
            (self.terminal, self.size) = (of_size(app.size)?, app.size);
            self.terminal.backend_mut().clear()?;
        }
        let palette = self.palette;
        self.terminal.draw(|frame| draw(app, frame, palette))?;
        Ok(())
    }

    /// Columns and rows.
    pub(crate) fn size() -> io::Result<(u16, u16)> {
        size()
    }
}

/// A terminal of a fixed size: one that finds its size out asks the terminal where its cursor is, on the line on which the keys
/// come, and waits for the answer.
fn of_size((width, height): (u16, u16)) -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    let viewport = Viewport::Fixed(Rect { x: 0, y: 0, width, height });
    Terminal::with_options(CrosstermBackend::new(io::stdout()), TerminalOptions { viewport })
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, once. A terminal that is gone has nothing to be given back to.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    let given = queue!(out, DisableBracketedPaste, LeaveAlternateScreen, Show)
        .and_then(|()| out.flush())
        .and_then(|()| disable_raw_mode());
    if let Err(error) = given {
        tracing::debug!(%error, "the terminal is gone");
    }
}
