//! What a person does here, once it is known what he wants: send, stop, choose, set.

use moltbot_protocol::message::{ThinkingLevel, VerboseLevel};
use moltbot_protocol::method::Method;
use serde_json::{Value, json};

use super::app::{App, Effect, Ticket, UsageShown};
use super::commands::{self, Command, HELP, Line};
use super::picker::{Kind, Picker, Row};
use super::questions::{ALLOW, DENY, Yes};
use super::view;
use crate::exit::Exit;

impl App {
    /// What is typed is entered: a command is done, a message is sent. What cannot be sent stays where it is.
    pub(super) fn enter(&mut self) {
        let text = self.input.text().trim().to_owned();
        if text.is_empty() {
            return;
        }
        match commands::read(&text) {
            Line::Command(command, words) => {
                let words = words.to_owned();
                self.input.take();
                self.obey(command, &words);
            }
            Line::Message => {
                if self.is_connected("nothing was sent, and what you typed stays") && self.knows_where() {
                    self.input.take();
                    self.say(&text);
                }
            }
            Line::Unknown => {
                self.conversation.note(&format!("{text} is not a command; /help shows those there are"));
            }
        }
        self.scrolled = 0;
    }

    /// Sends a message.
    pub(super) fn say(&mut self, text: &str) {
        let run = self.draw_id();
        self.conversation.say(&run, text);
        self.send(&run, text);
    }

    /// Sends again, under its first name, what may not have arrived: the gateway answers it once.
    pub(super) fn resend(&mut self) {
        let Some(said) = self.conversation.unsent() else {
            return self.conversation.note("nothing waits to be sent again");
        };
        let (run, text) = (said.run.clone(), said.text.clone());
        if self.is_connected("nothing was sent again") && self.knows_where() {
            self.conversation.deliver(&run, super::conversation::Delivery::Sent);
            self.send(&run, &text);
        }
    }

    /// Stops what runs in this conversation.
    pub(super) fn abort(&mut self) {
        if self.is_connected("nothing was stopped") {
            let params = json!({"sessionKey": self.session});
            self.call(Ticket::Abort, Method::ChatAbort, params);
        }
    }

    /// A yes to the command that is asked about, once.
    pub(super) fn allow(&mut self) {
        // The screen says so where the question stands.
        if !view::shows_question(self) {
            return;
        }
        match self.questions.allow() {
            Yes::Again => self.conversation.note("this is another command: Ctrl+Y once more allows it"),
            Yes::Impossible => self.conversation.note(
                "this cannot be allowed here, because not all of it is shown or the gateway does not offer it; see `moltbot approvals list --json`",
            ),
            Yes::Nothing => {}
            Yes::To(id) => self.resolve(id, ALLOW),
        }
    }

    /// A no to it.
    pub(super) fn deny(&mut self) {
        if let Some(id) = self.questions.deny() {
            self.resolve(id, DENY);
        }
    }

    /// The selected row of a list is taken.
    pub(super) fn choose(&mut self) {
        let Some(picker) = &self.picker else { return };
        let Some(value) = picker.chosen().map(str::to_owned) else { return };
        let kind = picker.kind();
        if kind == Kind::Settings {
            self.change(&value);
            let rows = self.settings();
            self.picker.iter_mut().for_each(|picker| picker.replace(rows.clone()));
            return;
        }
        self.picker = None;
        match kind {
            Kind::Agent => self.go_to(&format!("agent:{value}:main")),
            Kind::Model => self.patch("model", &value),
            Kind::Session => self.go_to(&value),
            Kind::Settings => {}
        }
    }

    fn obey(&mut self, command: Command, words: &str) {
        match (command, words) {
            (Command::Abort, _) => self.abort(),
            (Command::Agent, "") => self.ask_list(Kind::Agent),
            (Command::Agent, name) => self.go_to(&format!("agent:{name}:main")),
            (Command::Exit, _) => self.effects.push(Effect::Leave(Exit::Done)),
            (Command::Help, _) => self.conversation.note(HELP),
            (Command::Model, "") => self.ask_list(Kind::Model),
            (Command::Model, name) => self.patch("model", name),
            (Command::New, _) => self.reset(),
            (Command::Resend, _) => self.resend(),
            (Command::Session, "") => self.ask_list(Kind::Session),
            (Command::Session, key) => {
                let key =
                    if key.contains(':') { key.to_owned() } else { format!("agent:{}:{key}", self.agent()) };
                self.go_to(&key);
            }
            (Command::Settings, _) => {
                let rows = self.settings();
                self.picker = Some(Picker::new(Kind::Settings, rows));
            }
            (Command::Status, _) => {
                if self.is_connected("nothing is known of it") {
                    self.call(Ticket::Status, Method::Status, json!({}));
                }
            }
            (Command::Think, "") => {
                self.conversation.note(&format!(
                    "think {}; /think {}|default",
                    self.facts.thinking,
                    ThinkingLevel::NAMES.join("|")
                ));
            }
            (Command::Think, level) => self.patch("thinkingLevel", level),
            (Command::Usage, word) => self.show_usage(word),
            (Command::Verbose, "") => {
                self.conversation.note(&format!("/verbose {}|default", VerboseLevel::NAMES.join("|")));
            }
            (Command::Verbose, level) => self.patch("verboseLevel", level),
        }
    }

    fn send(&mut self, run: &str, text: &str) {
        self.begin_run(run, false);
        let params =
            json!({"sessionKey": self.session, "message": text, "deliver": false, "idempotencyKey": run});
        self.call(Ticket::Send(run.to_owned()), Method::ChatSend, params);
        self.scrolled = 0;
    }

    /// Whether it is known which conversation this is: before that, a message could go into another one.
    fn knows_where(&mut self) -> bool {
        if !self.is_settled {
            self.conversation.note(
                "which conversation this is is not known yet; nothing was sent, and what you typed stays",
            );
        }
        self.is_settled
    }

    fn resolve(&mut self, id: String, decision: &'static str) {
        let params = json!({"id": id, "decision": decision});
        self.call(Ticket::Resolve { id, decision }, Method::ExecApprovalResolve, params);
    }

    /// Goes to another conversation.
    fn go_to(&mut self, session: &str) {
        if !self.is_connected("this conversation stays") {
            return;
        }
        if !self.has_sent_all() {
            return;
        }
        self.session = session.to_owned();
        self.is_settled = false;
        self.conversation.clear();
        self.facts.last_run = None;
        self.scrolled = 0;
        self.ask_history();
    }

    /// Whether every message arrived: leaving one behind would lose it.
    fn has_sent_all(&mut self) -> bool {
        let has_all = self.conversation.has_arrived();
        if !has_all {
            self.conversation
                .note("a message here did not arrive, or may not have: Ctrl+R sends it again, then go on");
        }
        has_all
    }

    fn reset(&mut self) {
        if self.is_connected("the conversation goes on") && self.knows_where() && self.has_sent_all() {
            let params = json!({"key": self.session});
            self.call(Ticket::Reset, Method::SessionsReset, params);
        }
    }

    fn patch(&mut self, name: &str, value: &str) {
        if !self.is_connected("nothing was changed") || !self.knows_where() {
            return;
        }
        let told = format!(
            "{}: {value}",
            match name {
                "thinkingLevel" => "think",
                "verboseLevel" => "verbose",
                other => other,
            }
        );
        let value = if matches!(value, "default" | "reset") { Value::Null } else { json!(value) };
        let params = json!({"key": self.session, name: value});
        self.call(Ticket::Patch(told), Method::SessionsPatch, params);
        if name == "thinkingLevel" {
            // The level that counts is told with the transcript.
            let params = json!({"sessionKey": self.session, "limit": 1});
            self.call(Ticket::Thinking, Method::ChatHistory, params);
        }
    }

    fn show_usage(&mut self, word: &str) {
        self.usage = match word {
            "full" => UsageShown::Full,
            "off" => UsageShown::Off,
            "tokens" => UsageShown::Tokens,
            _ => {
                let total = self.facts.total;
                let text = format!(
                    "{total} tokens in this conversation; /usage off|tokens|full, and `moltbot usage` for the days"
                );
                return self.conversation.note(&text);
            }
        };
    }

    fn settings(&self) -> Vec<Row> {
        let is = |on: bool| if on { "on" } else { "off" };
        let usage = match self.usage {
            UsageShown::Full => "full",
            UsageShown::Off => "off",
            UsageShown::Tokens => "tokens",
        };
        vec![
            Row::new("tools", &format!("what tools bring: {}", is(self.shows_tools))),
            Row::new("thinking", &format!("what the model thought: {}", is(self.shows_thoughts))),
            Row::new("usage", &format!("tokens: {usage}")),
        ]
    }

    fn change(&mut self, setting: &str) {
        match setting {
            "tools" => self.shows_tools = !self.shows_tools,
            "thinking" => self.shows_thoughts = !self.shows_thoughts,
            _ => {
                self.usage = match self.usage {
                    UsageShown::Full => UsageShown::Off,
                    UsageShown::Off => UsageShown::Tokens,
                    UsageShown::Tokens => UsageShown::Full,
                };
            }
        }
    }
}
