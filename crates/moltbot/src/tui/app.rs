//! The state of the client, and how it changes: what happened comes in, what is to be done goes out. Pure: no clock, no
//! terminal, no connection.

use std::collections::VecDeque;

use moltbot_protocol::error::WireError;
use moltbot_protocol::frame::EventFrame;
use moltbot_protocol::method::Method;
use ratatui_crossterm::crossterm::event::KeyEvent;
use serde_json::{Value, json};

use super::conversation::{Conversation, Delivery, ToolState};
use super::events::{self, Chat, Told, ToolEvent};
use super::input::Input;
use super::picker::Picker;
use super::questions::Questions;
use super::text::in_line;
use crate::exit::Exit;

/// Runs that are watched at once. The gateway has a smaller limit of what waits in a conversation.
const RUNS: usize = 100;

/// How the client begins.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The conversation.
    pub(crate) session: String,
    /// How many earlier messages are shown; none for 0.
    pub(crate) history: u32,
    /// What is said first.
    pub(crate) message: Option<String>,
    /// What the names of runs begin with: different for each client.
    pub(crate) seed: String,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The gateway answered a call.
    Answer(Ticket, Result<Value, WireError>),
    /// The gateway let us in, and said this.
    Connected(Value),
    /// The connection is gone.
    Disconnected {
        /// Why.
        why: String,
        /// What becomes of it.
        then: Then,
    },
    /// The gateway told something.
    Heard(EventFrame),
    /// A key was pressed.
    Key(KeyEvent),
    /// A text was pasted.
    Pasted(String),
    /// The screen has this many columns and rows.
    Resized(u16, u16),
}

/// What becomes of a connection that is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Then {
    /// It is tried again when a person wants it.
    Asks,
    /// It is tried again in so many seconds.
    Tries(u64),
}

/// What a call was for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ticket {
    Abort,
    /// What the transcript says of a run that is over.
    After(String),
    Agents,
    Facts,
    /// The transcript of that conversation.
    History(String),
    Models,
    /// A setting of the conversation, in words.
    Patch(String),
    Questions,
    Reset,
    Resolve {
        id: String,
        decision: &'static str,
    },
    Send(String),
    Sessions,
    Status,
    /// How much is thought from now on.
    Thinking,
    /// Whether a run is over that was under way when the connection broke.
    Wait(String),
}

/// Something to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Call the gateway.
    Call { ticket: Ticket, method: Method, params: Value },
    /// Leave.
    Leave(Exit),
    /// Try the connection now.
    Reconnect,
}

/// The connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Link {
    Down { why: String, then: Then },
    Up,
}

/// A turn that waits or works.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) session: String,
    /// All that it said so far, and where the words of its last entry begin in that.
    said: String,
    begin: usize,
    /// Whether it is known that the gateway has it.
    pub(super) is_accepted: bool,
}

/// What is shown of tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UsageShown {
    Full,
    Off,
    Tokens,
}

/// What is known of the conversation and its gateway.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) version: String,
    pub(super) model: String,
    pub(super) thinking: String,
    pub(super) verbose: String,
    /// Tokens read and written by the last run.
    pub(super) last_run: Option<(u64, u64)>,
    /// Tokens of the whole conversation.
    pub(super) total: u64,
}

/// The client.
#[derive(Debug)]
pub(crate) struct App {
    pub(super) link: Link,
    was_connected: bool,
    pub(super) session: String,
    /// Whether the gateway has said what the conversation is really called.
    pub(super) is_settled: bool,
    pub(super) conversation: Conversation,
    pub(super) runs: VecDeque<Run>,
    pub(super) input: Input,
    pub(super) questions: Questions,
    pub(super) picker: Option<Picker>,
    pub(super) facts: Facts,
    pub(super) shows_tools: bool,
    pub(super) shows_thoughts: bool,
    pub(super) usage: UsageShown,
    /// Whether Ctrl+C was pressed with nothing typed, right before.
    pub(super) is_leaving: bool,
    /// Rows that the conversation is scrolled up.
    pub(super) scrolled: usize,
    pub(super) size: (u16, u16),
    /// How many earlier messages are shown.
    pub(super) history: u32,
    /// What is said as soon as there is a conversation to say it in.
    pub(super) first: Option<String>,
    seed: String,
    drawn: u64,
    pub(super) effects: Vec<Effect>,
}

impl App {
    /// A client that is not connected yet.
    pub(crate) fn new(options: Options, size: (u16, u16)) -> Self {
        let Options { session, history, message, seed } = options;
        Self {
            link: Link::Down { why: "connecting".into(), then: Then::Tries(0) },
            was_connected: false,
            session,
            is_settled: false,
            conversation: Conversation::default(),
            runs: VecDeque::new(),
            input: Input::default(),
            questions: Questions::default(),
            picker: None,
            facts: Facts::default(),
            shows_tools: false,
            shows_thoughts: false,
            usage: UsageShown::Tokens,
            is_leaving: false,
            scrolled: 0,
            size,
            history,
            first: message,
            seed,
            drawn: 0,
            effects: Vec::new(),
        }
    }

    /// Takes in what happened; what is to be done.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Answer(ticket, answer) => self.answered(ticket, answer),
            Event::Connected(hello) => self.connected(&hello),
            Event::Disconnected { why, then } => self.disconnected(&why, then),
            Event::Heard(frame) => self.told(events::read(&frame)),
            Event::Key(key) => self.pressed(key),
            Event::Pasted(text) => self.typed(&text),
            Event::Resized(columns, rows) => {
                self.size = (columns, rows);
                self.scroll(0, 0);
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Has the gateway called.
    pub(super) fn call(&mut self, ticket: Ticket, method: Method, params: Value) {
        self.effects.push(Effect::Call { ticket, method, params });
    }

    /// Whether the gateway can be called; says so when not, and has the connection tried.
    pub(super) fn is_connected(&mut self, what: &str) -> bool {
        let Link::Down { why, .. } = &self.link else { return true };
        let note = format!("not connected ({why}): {what}");
        self.conversation.note(&note);
        self.effects.push(Effect::Reconnect);
        false
    }

    /// A name for a run that no other has.
    pub(super) fn draw_id(&mut self) -> String {
        self.drawn = self.drawn.saturating_add(1);
        format!("{}-{}", self.seed, self.drawn)
    }

    /// The agent of the conversation.
    pub(super) fn agent(&self) -> &str {
        self.session.strip_prefix("agent:").and_then(|rest| rest.split(':').next()).unwrap_or("main")
    }

    /// The runs of this conversation.
    pub(super) fn own_runs(&self) -> usize {
        self.runs.iter().filter(|run| run.session == self.session).count()
    }

    pub(super) fn begin_run(&mut self, id: &str, is_accepted: bool) {
        if self.runs.iter().any(|run| run.id == id) {
            return;
        }
        if self.runs.len() >= RUNS {
            self.runs.pop_front();
        }
        let (id, session) = (id.to_owned(), self.session.clone());
        self.runs.push_back(Run { id, session, said: String::new(), begin: 0, is_accepted });
    }

    /// A run is over. What was not told of it is asked for.
    pub(super) fn end_run(&mut self, id: &str) {
        self.runs.retain(|run| run.id != id);
        if self.own_runs() == 0 {
            self.conversation.tools_are_over();
        }
        let params = json!({"sessionKey": self.session, "limit": 50});
        self.call(Ticket::After(id.to_owned()), Method::ChatHistory, params);
        self.ask_facts();
    }

    /// Asks for the transcript, which says what the conversation is called.
    pub(super) fn ask_history(&mut self) {
        let params = json!({"sessionKey": self.session, "limit": self.history.max(1)});
        self.call(Ticket::History(self.session.clone()), Method::ChatHistory, params);
    }

    pub(super) fn ask_facts(&mut self) {
        let params = json!({"search": self.session, "agentId": self.agent(), "limit": 20});
        self.call(Ticket::Facts, Method::SessionsList, params);
    }

    fn connected(&mut self, hello: &Value) {
        self.link = Link::Up;
        let version = hello.pointer("/server/version").and_then(Value::as_str).unwrap_or_default();
        self.facts.version = in_line(version);
        if std::mem::replace(&mut self.was_connected, true) {
            self.conversation.note("connected again");
        }
        self.ask_history();
        self.call(Ticket::Questions, Method::ExecApprovalList, json!({}));
        let under_way: Vec<String> = self.runs.iter().map(|run| run.id.clone()).collect();
        for run in under_way {
            let params = json!({"runId": run, "timeoutMs": 1});
            self.call(Ticket::Wait(run), Method::AgentWait, params);
        }
    }

    fn disconnected(&mut self, why: &str, then: Then) {
        self.link = Link::Down { why: in_line(why), then };
        self.questions.clear();
        self.picker = None;
        self.runs.retain(|run| run.is_accepted);
        for run in &mut self.runs {
            (run.said, run.begin) = (String::new(), 0);
        }
        if self.conversation.lose() {
            self.conversation.failure(
                "the connection broke before the gateway took the last message: it may have it or not. Ctrl+R sends it again; it is not answered twice",
            );
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Asked(question) => self.questions.add(question),
            Told::Chat { run, session, state } if session == self.session => self.chat(&run, state),
            Told::Chat { run, state, .. } => {
                if !matches!(state, Chat::Delta(_)) {
                    self.runs.retain(|known| known.id != run);
                }
            }
            Told::Resolved { id, decision } => {
                if self.questions.remove(&id) {
                    let decision = if decision.is_empty() { "nobody answered" } else { &decision };
                    self.conversation.note(&format!("approval {}: {}", in_line(&id), in_line(decision)));
                }
            }
            Told::Shutdown => self.conversation.note("the gateway stops"),
            Told::Started { run, session } if session == self.session => self.begin_run(&run, true),
            Told::Tool { session, id, tool } if session == self.session => match tool {
                ToolEvent::Began(name, arguments) => self.conversation.tool_began(&id, &name, &arguments),
                ToolEvent::Ended(failed, result) => {
                    let state = if failed { ToolState::Failed } else { ToolState::Done };
                    self.conversation.tool_ended(&id, state, result.as_deref());
                }
            },
            Told::Other | Told::Started { .. } | Told::Tool { .. } => {}
        }
    }

    fn chat(&mut self, run: &str, state: Chat) {
        match state {
            Chat::Delta(text) => {
                self.begin_run(run, true);
                self.spoke(run, &text);
                return;
            }
            Chat::Final(text) => {
                self.begin_run(run, true);
                self.spoke(run, &text);
            }
            Chat::Aborted => self.conversation.note("stopped"),
            Chat::Error(error) => self.conversation.failure(&error),
        }
        // What was said of it came from a gateway that has it.
        self.conversation.deliver(run, Delivery::Arrived);
        self.end_run(run);
    }

    /// A run has said this so far. What comes behind a tool's entry gets an entry of its own.
    fn spoke(&mut self, id: &str, text: &str) {
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else { return };
        if text.trim().is_empty() || run.said.ends_with(text) {
            return;
        }
        let continues = text.starts_with(&run.said);
        let in_place = self.conversation.ends_with_answer_of(id);
        if !continues {
            run.begin = 0;
        } else if !in_place {
            run.begin = run.said.len();
        }
        text.clone_into(&mut run.said);
        let words = text.get(run.begin..).unwrap_or(text);
        if !words.trim().is_empty() {
            self.conversation.answer(id, words.trim_start_matches('\n'), continues && in_place);
        }
    }
}
