//! What the gateway answers to the client's calls.

use moltbot_protocol::error::WireError;
use moltbot_protocol::method::Method;
use serde_json::{Value, json};

use super::app::{App, Ticket};
use super::conversation::{Delivery, messages, text_of};
use super::picker::{Kind, Picker, Row};
use super::questions::Question;
use super::text::in_line;

impl App {
    /// Takes in an answer.
    pub(super) fn answered(&mut self, ticket: Ticket, answer: Result<Value, WireError>) {
        match answer {
            Ok(answer) => self.succeeded(ticket, &answer),
            Err(error) => self.failed(ticket, &error),
        }
    }

    fn succeeded(&mut self, ticket: Ticket, answer: &Value) {
        match ticket {
            Ticket::Abort => {
                if answer.get("aborted") != Some(&Value::Bool(true)) {
                    self.conversation.note("nothing runs");
                }
            }
            Ticket::After(run) => self.completed(&run, answer),
            Ticket::Agents => self.pick(Kind::Agent, rows(answer, "agents", one_agent)),
            Ticket::Facts => self.learn(answer),
            Ticket::History(session) if session == self.session => self.show_history(answer),
            Ticket::History(_) => {}
            Ticket::Models => self.pick(Kind::Model, rows(answer, "models", one_model)),
            Ticket::Patch(what) => {
                self.conversation.note(&what);
                self.ask_facts();
            }
            Ticket::Questions => self.show_questions(answer),
            Ticket::Reset => {
                self.conversation.clear();
                self.facts.last_run = None;
                self.conversation.note("a new conversation begins");
                self.ask_facts();
            }
            Ticket::Resolve { id, decision } => {
                if self.questions.remove(&id) {
                    self.conversation.note(&format!("approval {}: {decision}", in_line(&id)));
                }
            }
            Ticket::Send(run) => self.sent(&run, answer),
            Ticket::Sessions => self.pick(Kind::Session, rows(answer, "sessions", one_session)),
            Ticket::Status => self.show_status(answer),
            Ticket::Thinking => self.facts.thinking = in_line(text_of(answer, "thinkingLevel")),
            Ticket::Wait(run) => {
                // A run that is over told so while nobody listened.
                if text_of(answer, "status") != "timeout" {
                    self.runs.retain(|known| known.id != run);
                    self.ask_history();
                }
            }
        }
    }

    fn failed(&mut self, ticket: Ticket, error: &WireError) {
        match ticket {
            Ticket::Send(run) => {
                self.runs.retain(|known| known.id != run);
                self.conversation.deliver(&run, Delivery::Refused(in_line(&error.message)));
            }
            Ticket::Resolve { id, .. } => {
                self.questions.give_back(&id);
                self.conversation.failure(&error.message);
            }
            // The run is not known any more: what came of it is in the transcript.
            Ticket::Wait(run) => {
                self.runs.retain(|known| known.id != run);
                self.ask_history();
            }
            // What was to be said first was to be said there, and nowhere else.
            Ticket::History(session) if session == self.session => {
                self.conversation.failure(&error.message);
                let first = self.first.take().unwrap_or_default();
                self.typed(&first);
            }
            Ticket::After(_) | Ticket::Facts | Ticket::Thinking => {
                tracing::debug!(error = error.message, "a look failed")
            }
            _ => self.conversation.failure(&error.message),
        }
    }

    /// The gateway has taken a message, or has done what it says.
    fn sent(&mut self, run: &str, answer: &Value) {
        self.conversation.deliver(run, Delivery::Arrived);
        let is_under_way = matches!(text_of(answer, "status"), "started" | "in_flight");
        if is_under_way {
            self.runs.iter_mut().filter(|known| known.id == run).for_each(|known| known.is_accepted = true);
            return;
        }
        let was_waited_for = self.runs.iter().any(|known| known.id == run);
        self.runs.retain(|known| known.id != run);
        match answer.get("aborted") {
            Some(Value::Bool(true)) => {}
            Some(_) => self.conversation.note("nothing runs"),
            // It was here before, and its answer with it.
            None if was_waited_for && answer.get("runId").is_some() => self.ask_history(),
            None => self.ask_facts(),
        }
    }

    fn show_history(&mut self, answer: &Value) {
        let session = text_of(answer, "sessionKey");
        let before = std::mem::replace(&mut self.session, in_line(session));
        self.runs
            .iter_mut()
            .filter(|run| run.session == before)
            .for_each(|run| run.session.clone_from(&self.session));
        self.is_settled = true;
        self.facts.thinking = in_line(text_of(answer, "thinkingLevel"));
        self.facts.last_run = used(answer);
        if self.history > 0 {
            self.conversation.load(answer);
        }
        self.ask_facts();
        if let Some(first) = self.first.take() {
            self.say(&first);
        }
    }

    fn completed(&mut self, run: &str, answer: &Value) {
        if text_of(answer, "sessionKey") == self.session {
            self.facts.last_run = used(answer);
            self.facts.thinking = in_line(text_of(answer, "thinkingLevel"));
            self.conversation.complete(run, answer);
        }
    }

    fn show_questions(&mut self, answer: &Value) {
        let asked = answer.get("approvals").and_then(Value::as_array).into_iter().flatten();
        asked.filter_map(Question::read).for_each(|question| self.questions.add(question));
    }

    /// What the list of conversations says of this one.
    fn learn(&mut self, answer: &Value) {
        let rows = answer.get("sessions").and_then(Value::as_array).into_iter().flatten();
        let own = rows.into_iter().find(|row| text_of(row, "key") == self.session);
        let chosen = own.filter(|row| !text_of(row, "model").is_empty());
        let model = chosen.or(answer.get("defaults"));
        self.facts.model = model.map(model_name).unwrap_or_default();
        self.facts.verbose = own.map_or_else(String::new, |row| in_line(text_of(row, "verboseLevel")));
        self.facts.total = own.and_then(|row| row.get("totalTokens")?.as_u64()).unwrap_or_default();
    }

    fn show_status(&mut self, answer: &Value) {
        let told = |name: &str| in_line(text_of(answer, name));
        let (version, model) = (told("version"), told("model"));
        let run = self.facts.last_run.map_or_else(
            || "no run yet".to_owned(),
            |(read, written)| format!("last run {read} tokens read, {written} written"),
        );
        let facts = &self.facts;
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let text = format!(
            "gateway {version}, its model: {model}\nsession {}\nmodel {}, think {}, verbose {}\n{run}, {} in the conversation\n{} running",
            self.session,
            or(&facts.model, "none"),
            or(&facts.thinking, "off"),
            or(&facts.verbose, "as the config says"),
            facts.total,
            self.own_runs(),
        );
        self.conversation.note(&text);
    }

    fn pick(&mut self, kind: Kind, rows: Vec<Row>) {
        if rows.is_empty() {
            return self.conversation.note("there is nothing to choose from");
        }
        self.picker = Some(Picker::new(kind, rows));
    }

    /// Asks for what a list is to show.
    pub(super) fn ask_list(&mut self, kind: Kind) {
        if !self.is_connected("there is no list") {
            return;
        }
        match kind {
            Kind::Agent => self.call(Ticket::Agents, Method::AgentsList, json!({})),
            Kind::Model => {
                let params = json!({"agentId": self.agent()});
                self.call(Ticket::Models, Method::ModelsList, params);
            }
            Kind::Session => {
                let params = json!({
                    "agentId": self.agent(), "includeGlobal": false, "includeUnknown": false,
                    "includeDerivedTitles": true, "limit": 200,
                });
                self.call(Ticket::Sessions, Method::SessionsList, params);
            }
            Kind::Settings => {}
        }
    }
}

fn rows(answer: &Value, name: &str, row: impl Fn(&Value) -> Row) -> Vec<Row> {
    answer.get(name).and_then(Value::as_array).into_iter().flatten().map(row).collect()
}

fn one_agent(agent: &Value) -> Row {
    Row::new(text_of(agent, "id"), text_of(agent, "name"))
}

fn one_model(model: &Value) -> Row {
    let (provider, id, name) = (text_of(model, "provider"), text_of(model, "id"), text_of(model, "name"));
    Row::new(&format!("{provider}/{id}"), if name == id { "" } else { name })
}

fn one_session(session: &Value) -> Row {
    let label = text_of(session, "label");
    let about = if label.is_empty() { text_of(session, "derivedTitle") } else { label };
    Row::new(text_of(session, "key"), about)
}

/// The name of a model, with its provider where that is known.
fn model_name(value: &Value) -> String {
    let (provider, model) = (text_of(value, "modelProvider"), text_of(value, "model"));
    in_line(&if provider.is_empty() { model.to_owned() } else { format!("{provider}/{model}") })
}

/// Tokens that the last run of a history read and wrote.
fn used(history: &Value) -> Option<(u64, u64)> {
    let messages: Vec<&Value> = messages(history).collect();
    let begin = messages.iter().rposition(|message| text_of(message, "role") == "user")?;
    let of_run = messages.get(begin..).unwrap_or_default();
    let usages = of_run.iter().filter_map(|message| message.get("usage"));
    usages.map(tokens).reduce(|one, two| (one.0.saturating_add(two.0), one.1.saturating_add(two.1)))
}

fn tokens(usage: &Value) -> (u64, u64) {
    let of = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or_default();
    let read = of("input").saturating_add(of("cacheRead")).saturating_add(of("cacheWrite"));
    (read, of("output"))
}
