//! One answer on its way to the screen: deltas carry all the text so far, the screen gets what is new.

use moltbot_protocol::event;
use moltbot_protocol::frame::{EventFrame, ResponseFrame};
use serde_json::Value;

use crate::client::outcome;
use crate::output::{self, Paint, harmless};

/// One answer.
pub(super) struct Run {
    /// Its name.
    pub(super) id: String,
    /// Whether it was asked to stop.
    pub(super) stopping: bool,
    /// The call that began it.
    request: String,
    /// What is on the screen, unfiltered.
    shown: String,
}

impl Run {
    pub(super) fn new(id: String, request: String) -> Self {
        Self { id, request, shown: String::new(), stopping: false }
    }

    /// The answer to `chat.send`: only a refusal ends the run.
    pub(super) fn answered(&self, response: ResponseFrame) -> anyhow::Result<Option<bool>> {
        if response.id != self.request {
            return Ok(None);
        }
        match outcome(response) {
            Ok(_) => Ok(None),
            Err(error) => {
                output::note(&format!("error: {}", harmless(&error.message)));
                Ok(Some(false))
            }
        }
    }

    /// Shows an event. `Some` when the run ended, and whether it ended well.
    pub(super) fn show(&mut self, frame: &EventFrame, with_tools: bool) -> anyhow::Result<Option<bool>> {
        let Some(payload) = frame.payload.as_ref().filter(|payload| text(payload, "/runId") == self.id)
        else {
            return Ok(None);
        };
        match frame.event.as_str() {
            event::CHAT => self.show_chat(payload),
            event::AGENT if with_tools => self.show_tool(payload).map(|()| None),
            _ => Ok(None),
        }
    }

    fn show_chat(&mut self, payload: &Value) -> anyhow::Result<Option<bool>> {
        let words = text(payload, "/message/content/0/text");
        match text(payload, "/state") {
            "delta" => {
                self.show_words(words)?;
                Ok(None)
            }
            "final" => {
                self.show_words(words)?;
                output::line("")?;
                Ok(Some(true))
            }
            "aborted" => {
                output::line(&output::paint(" (stopped)", Paint::Dim))?;
                Ok(Some(false))
            }
            "error" => {
                if !self.shown.is_empty() {
                    output::line("")?;
                }
                output::note(&format!("error: {}", harmless(text(payload, "/errorMessage"))));
                Ok(Some(false))
            }
            _ => Ok(None),
        }
    }

    /// Prints what is new. A text that does not continue what is shown (the model began again after a tool)
    /// goes on a line of its own.
    fn show_words(&mut self, words: &str) -> anyhow::Result<()> {
        if words.is_empty() || words == self.shown {
            return Ok(());
        }
        match words.strip_prefix(self.shown.as_str()) {
            Some(new) => output::piece(&harmless(new))?,
            None => output::piece(&format!("\n{}", harmless(words)))?,
        }
        words.clone_into(&mut self.shown);
        Ok(())
    }

    fn show_tool(&mut self, payload: &Value) -> anyhow::Result<()> {
        if text(payload, "/stream") != "tool" || text(payload, "/data/phase") != "start" {
            return Ok(());
        }
        let arguments = payload.pointer("/data/args").or(payload.pointer("/data/arguments"));
        let arguments = arguments.map(ToString::to_string).unwrap_or_default();
        let break_line = if self.shown.is_empty() { "" } else { "\n" };
        let call = format!("→ {} {}", harmless(text(payload, "/data/name")), harmless(&arguments));
        output::line(&format!("{break_line}{}", output::paint(&call, Paint::Dim)))?;
        Ok(())
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}
