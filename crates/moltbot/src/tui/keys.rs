//! What each key does.

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::app::{App, Effect};
use super::commands;
use super::picker::Kind;
use super::view;
use crate::exit::Exit;

impl App {
    /// A key was pressed.
    pub(super) fn pressed(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let is_leaving = std::mem::take(&mut self.is_leaving);
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.pressed_with_control(key.code, is_leaving);
        }
        if self.picker.is_some() {
            return self.pressed_in_list(key.code);
        }
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.typed("\n"),
            KeyCode::Enter if self.input.text().ends_with('\\') => {
                self.input.end();
                self.input.backspace();
                self.typed("\n");
            }
            KeyCode::Enter => self.enter(),
            KeyCode::Esc => {
                if self.own_runs() > 0 {
                    self.abort();
                }
            }
            KeyCode::Tab => {
                if let Some(rest) = commands::completion(self.input.text()) {
                    self.typed(rest);
                }
            }
            KeyCode::PageUp => self.scroll(self.page(), 0),
            KeyCode::PageDown => self.scroll(0, self.page()),
            KeyCode::Char('b') if alt => self.input.word_left(),
            KeyCode::Char('f') if alt => self.input.word_right(),
            KeyCode::Char(character) if !alt => self.typed(character.encode_utf8(&mut [0; 4])),
            code => self.edited(code),
        }
    }

    /// A text is typed or pasted.
    pub(super) fn typed(&mut self, text: &str) {
        if let Some(picker) = &mut self.picker {
            return text.chars().for_each(|character| picker.look_for(character));
        }
        if !self.input.insert(text) {
            self.conversation.note("a message cannot be longer: what is over is not taken");
        }
    }

    /// Scrolls by these rows, within what there is.
    pub(super) fn scroll(&mut self, up: usize, down: usize) {
        let wanted = self.scrolled.saturating_add(up).saturating_sub(down);
        // How much there is costs to find out, and matters alone to who is not at the end.
        self.scrolled = if wanted == 0 { 0 } else { wanted.min(view::scrollable(self)) };
    }

    fn page(&self) -> usize {
        usize::from(self.size.1 / 2).max(1)
    }

    fn pressed_with_control(&mut self, code: KeyCode, is_leaving: bool) {
        match code {
            KeyCode::Char('c') => self.clear_or_leave(is_leaving),
            KeyCode::Char('d') => self.effects.push(Effect::Leave(Exit::Done)),
            KeyCode::Char('y') => self.allow(),
            KeyCode::Char('n') => self.deny(),
            KeyCode::Char('g') => self.ask_list(Kind::Agent),
            KeyCode::Char('l') => self.ask_list(Kind::Model),
            KeyCode::Char('p') => self.ask_list(Kind::Session),
            KeyCode::Char('o') => self.shows_tools = !self.shows_tools,
            KeyCode::Char('t') => self.shows_thoughts = !self.shows_thoughts,
            KeyCode::Char('r') => self.resend(),
            KeyCode::End => self.scrolled = 0,
            _ if self.picker.is_some() => {}
            KeyCode::Char('j') | KeyCode::Enter => self.typed("\n"),
            KeyCode::Char('a') => self.input.start(),
            KeyCode::Char('e') => self.input.end(),
            KeyCode::Char('h') => self.input.backspace(),
            KeyCode::Char('k') => self.input.delete_to_end(),
            KeyCode::Char('u') => self.input.delete_to_start(),
            KeyCode::Char('w') | KeyCode::Backspace => self.input.delete_word(),
            KeyCode::Left => self.input.word_left(),
            KeyCode::Right => self.input.word_right(),
            _ => {}
        }
    }

    fn clear_or_leave(&mut self, is_leaving: bool) {
        if self.picker.take().is_some() {
            return;
        }
        if !self.input.is_empty() {
            self.input.clear();
        } else if is_leaving {
            self.effects.push(Effect::Leave(Exit::Interrupted));
        } else {
            self.is_leaving = true;
        }
    }

    fn pressed_in_list(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => return self.choose(),
            KeyCode::Esc => {
                self.picker = None;
                return;
            }
            _ => {}
        }
        let Some(picker) = &mut self.picker else { return };
        match code {
            KeyCode::Up => picker.up(),
            KeyCode::Down => picker.down(),
            KeyCode::Backspace => picker.backspace(),
            KeyCode::Char(character) => picker.look_for(character),
            _ => {}
        }
    }

    fn edited(&mut self, code: KeyCode) {
        match code {
            KeyCode::Backspace => self.input.backspace(),
            KeyCode::Delete => self.input.delete(),
            KeyCode::Left => self.input.left(),
            KeyCode::Right => self.input.right(),
            KeyCode::Home => self.input.start(),
            KeyCode::End => self.input.end(),
            KeyCode::Up => self.input.up(),
            KeyCode::Down => self.input.down(),
            _ => {}
        }
    }
}
