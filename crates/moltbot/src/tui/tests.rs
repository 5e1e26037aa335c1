//! The client without a terminal and without a gateway: events in, effects and screens out.

mod properties;

use moltbot_protocol::error::WireError;
use moltbot_protocol::frame::EventFrame;
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::app::{App, Effect, Event, Options, Then, Ticket};
use super::view::{Palette, draw};
use crate::exit::Exit;

const MAIN: &str = "agent:main:main";

/// A client, and what it wants done.
struct Stage {
    app: App,
    effects: Vec<Effect>,
}

fn options(message: Option<&str>) -> Options {
    Options { session: "main".into(), history: 200, message: message.map(Into::into), seed: "run".into() }
}

fn key(code: KeyCode) -> Event {
    Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn control(character: char) -> Event {
    Event::Key(KeyEvent::new(KeyCode::Char(character), KeyModifiers::CONTROL))
}

fn heard(event: &str, payload: &Value) -> Event {
    Event::Heard(
        serde_json::from_value::<EventFrame>(json!({"type": "event", "event": event, "payload": payload}))
            .unwrap(),
    )
}

fn chat(run: &str, state: &str, text: &str) -> Event {
    let content = json!([{"type": "text", "text": text}]);
    let message = json!({"role": "assistant", "content": content});
    heard(
        "chat",
        &json!({"runId": run, "sessionKey": MAIN, "state": state, "message": message, "errorMessage": text}),
    )
}

fn agent(run: &str, stream: &str, data: &Value) -> Event {
    heard("agent", &json!({"runId": run, "sessionKey": MAIN, "stream": stream, "data": data}))
}

fn asked(id: &str, command: &str) -> Event {
    let prompt = format!("Approval {id}: may this command run?\n  | {command}\nwhere     in the sandbox\n");
    heard(
        "exec.approval.requested",
        &json!({"id": id, "prompt": prompt, "decisions": ["allow-once", "deny"]}),
    )
}

fn history(messages: &Value) -> Value {
    json!({"sessionKey": MAIN, "sessionId": "s", "thinkingLevel": "off", "messages": messages})
}

fn hello() -> Event {
    Event::Connected(json!({"server": {"version": "0.1.0"}}))
}

impl Stage {
    fn empty() -> Self {
        Self { app: App::new(options(None), (60, 16)), effects: Vec::new() }
    }

    /// A client that is connected, with this transcript.
    fn with(messages: &Value) -> Self {
        let mut stage = Self::empty();
        stage.on(hello());
        stage.answer(&Ticket::History("main".into()), &history(messages));
        let sessions = json!([{"key": MAIN, "modelProvider": "p", "model": "m", "totalTokens": 99}]);
        stage.answer(&Ticket::Facts, &json!({"sessions": sessions}));
        stage.effects.clear();
        stage
    }

    fn on(&mut self, event: Event) {
        self.effects.extend(self.app.handle(event));
    }

    fn answer(&mut self, ticket: &Ticket, answer: &Value) {
        self.on(Event::Answer(ticket.clone(), Ok(answer.clone())));
    }

    fn refuse(&mut self, ticket: Ticket, why: &str) {
        self.on(Event::Answer(ticket, Err(WireError::invalid(why))));
    }

    fn type_and_enter(&mut self, text: &str) {
        self.on(Event::Pasted(text.into()));
        self.on(key(KeyCode::Enter));
    }

    /// The calls that it wants since the last time, with their parameters.
    fn calls(&mut self) -> Vec<(&'static str, Value)> {
        let calls = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Call { method, params, .. } => Some((method.name(), params)),
            Effect::Leave(_) | Effect::Reconnect => None,
        });
        calls.collect()
    }

    /// The names of the methods that it wants called.
    fn methods(&mut self) -> Vec<&'static str> {
        self.calls().into_iter().map(|(method, _)| method).collect()
    }

    /// Why it wants to leave.
    fn left(&mut self) -> Option<Exit> {
        self.effects.drain(..).find_map(|effect| match effect {
            Effect::Leave(exit) => Some(exit),
            Effect::Call { .. } | Effect::Reconnect => None,
        })
    }

    fn screen(&mut self) -> String {
        screen(&self.app).to_string()
    }

    #[track_caller]
    fn shows(&mut self, text: &str) {
        let screen = self.screen();
        assert!(screen.contains(text), "no {text:?} in\n{screen}");
    }
}

fn screen(app: &App) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(app.size.0, app.size.1)).unwrap();
    terminal.draw(|frame| draw(app, frame, Palette::Colours)).unwrap();
    terminal.backend().clone()
}

fn transcript() -> Value {
    json!([
        {"role": "user", "content": [{"type": "text", "text": "What is in the file?"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "I read it first."},
            {"type": "toolCall", "id": "call_0", "name": "read", "arguments": {"path": "a.txt"}},
        ], "usage": {"input": 10, "output": 2}},
        {"role": "toolResult", "toolCallId": "call_0", "toolName": "read", "content": [{"type": "text", "text": "apples\npears"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Apples and pears, 日本語 and 👍."}],
         "usage": {"input": 20, "cacheRead": 5, "output": 3}},
    ])
}

#[test]
fn a_conversation_looks_like_this() {
    let mut stage = Stage::with(&transcript());
    stage.on(Event::Pasted("and now\na second line".into()));
    insta::assert_snapshot!("a_conversation", stage.screen());
    stage.on(control('o'));
    stage.on(control('t'));
    insta::assert_snapshot!("a_conversation_with_everything", stage.screen());
}

#[test]
fn a_question_looks_like_this() {
    let mut stage = Stage::with(&json!([]));
    stage.type_and_enter("remove it");
    stage.answer(&Ticket::Send("run-1".into()), &json!({"runId": "run-1", "status": "started"}));
    stage.on(agent(
        "run-1",
        "tool",
        &json!({"phase": "start", "toolCallId": "c", "name": "exec", "args": {"command": "rm x"}}),
    ));
    stage.on(asked("a1", "rm x"));
    stage.on(asked("a2", "rm y"));
    insta::assert_snapshot!("a_question", stage.screen());
}

#[test]
fn a_list_looks_like_this() {
    let mut stage = Stage::with(&json!([]));
    stage.on(control('l'));
    assert_eq!(stage.methods(), ["models.list"]);
    let models = json!([{"provider": "p", "id": "one", "name": "one"}, {"provider": "q", "id": "two", "name": "Second"}]);
    stage.answer(&Ticket::Models, &json!({"models": models}));
    stage.on(key(KeyCode::Down));
    insta::assert_snapshot!("a_list", stage.screen());
    stage.on(key(KeyCode::Enter));
    assert_eq!(stage.calls(), [("sessions.patch", json!({"key": MAIN, "model": "q/two"}))]);
}

#[test]
fn with_the_connection_come_the_transcript_and_what_waits_and_then_the_first_message() {
    let mut stage = Stage { app: App::new(options(Some("hello")), (60, 16)), effects: Vec::new() };
    stage.on(hello());
    assert_eq!(
        stage.calls(),
        [("chat.history", json!({"sessionKey": "main", "limit": 200})), ("exec.approval.list", json!({})),]
    );
    stage.answer(&Ticket::History("main".into()), &history(&json!([])));
    let calls = stage.calls();
    assert_eq!(calls[0].0, "sessions.list");
    let sent = json!({"sessionKey": MAIN, "message": "hello", "deliver": false, "idempotencyKey": "run-1"});
    assert_eq!(calls[1], ("chat.send", sent));
    stage.shows("on its way");
    stage.shows("running, Esc stops it");
}

#[test]
fn a_first_message_for_a_conversation_that_is_refused_is_said_nowhere_else() {
    let mut stage = Stage { app: App::new(options(Some("hello")), (60, 16)), effects: Vec::new() };
    stage.on(hello());
    stage.refuse(Ticket::History("main".into()), "no such agent");
    stage.shows("no such agent");
    assert_eq!(stage.app.input.text(), "hello");
    stage.on(key(KeyCode::Enter));
    assert!(!stage.methods().contains(&"chat.send"));
    stage.on(control('c'));
    stage.type_and_enter("/session agent:main:main");
    stage.answer(&Ticket::History(MAIN.into()), &history(&json!([])));
    assert!(!stage.methods().contains(&"chat.send"));
}

#[test]
fn an_answer_grows_and_ends() {
    let mut stage = Stage::with(&json!([]));
    stage.type_and_enter("hello");
    assert_eq!(stage.methods(), ["chat.send"]);
    stage.answer(&Ticket::Send("run-1".into()), &json!({"runId": "run-1", "status": "started"}));
    stage.on(chat("run-1", "delta", "It"));
    stage.on(chat("run-1", "delta", "It is"));
    stage.shows("  It is ");
    stage.on(agent("run-1", "tool", &json!({"phase": "start", "toolCallId": "c", "name": "ls", "args": {}})));
    stage.shows("→ ls (runs) {}");
    stage.on(agent(
        "run-1",
        "tool",
        &json!({"phase": "result", "toolCallId": "c", "name": "ls", "isError": true, "result": "no\nway"}),
    ));
    stage.shows("→ ls (failed) {}");
    stage.shows("← no ");
    stage.on(chat("run-1", "delta", "It is blue."));
    stage.on(chat("run-1", "final", "It is blue."));
    let screen = stage.screen();
    assert!(
        screen.contains("   blue.") && screen.contains("idle"),
        "what comes behind a tool stands behind it:\n{screen}"
    );
    assert_eq!(screen.matches("It is").count(), 1, "nothing is said twice:\n{screen}");
    assert_eq!(stage.methods(), ["chat.history", "sessions.list"], "what was not told is asked for");
    stage.answer(&Ticket::After("run-1".into()), &history(&transcript()));
    stage.shows("35 in, 5 out");
}

#[test]
fn other_conversations_are_not_shown_and_other_peoples_runs_in_this_one_are() {
    let mut stage = Stage::with(&json!([]));
    let of_other = json!({"runId": "x", "sessionKey": "agent:main:other", "state": "delta", "message": {"content": [{"text": "secret"}]}});
    stage.on(heard("chat", &of_other));
    stage.on(chat("y", "delta", "from elsewhere"));
    let screen = stage.screen();
    assert!(
        !screen.contains("secret") && screen.contains("from elsewhere") && screen.contains("running"),
        "{screen}"
    );
}

#[test]
fn escape_stops_what_runs_and_nothing_else() {
    let mut stage = Stage::with(&json!([]));
    stage.on(key(KeyCode::Esc));
    assert!(stage.effects.is_empty());
    stage.type_and_enter("hello");
    stage.calls();
    stage.on(key(KeyCode::Esc));
    assert_eq!(stage.calls(), [("chat.abort", json!({"sessionKey": MAIN}))]);
    stage.on(chat("run-1", "aborted", ""));
    stage.shows("stopped");
    stage.shows("idle");
}

#[test]
fn leaving_takes_ctrl_d_or_ctrl_c_twice() {
    let mut stage = Stage::with(&json!([]));
    stage.on(Event::Pasted("typed".into()));
    stage.on(control('c'));
    assert!(stage.app.input.is_empty() && stage.left().is_none(), "the first clears what is typed");
    stage.on(control('c'));
    stage.shows("Ctrl+C again leaves");
    stage.on(key(KeyCode::Char('x')));
    stage.on(control('c'));
    stage.on(control('c'));
    assert_eq!(stage.left(), None, "a key in between begins anew");
    stage.on(control('c'));
    assert_eq!(stage.left(), Some(Exit::Interrupted));
    stage.on(control('d'));
    assert_eq!(stage.left(), Some(Exit::Done));
    stage.type_and_enter("/exit");
    assert_eq!(stage.left(), Some(Exit::Done));
}

#[test]
fn a_command_is_allowed_by_its_key_alone_and_once() {
    let mut stage = Stage::with(&json!([]));
    stage.on(asked("a1", "rm x"));
    stage.on(asked("a2", "rm y"));
    for event in [key(KeyCode::Enter), key(KeyCode::Char('y')), key(KeyCode::Char('a')), key(KeyCode::Esc)] {
        stage.on(event);
        assert!(!stage.methods().contains(&"exec.approval.resolve"), "what is typed answers nothing");
    }
    stage.on(control('y'));
    stage.on(control('y'));
    stage.on(control('n'));
    let resolve =
        |id: &str, decision: &str| ("exec.approval.resolve", json!({"id": id, "decision": decision}));
    assert_eq!(stage.calls(), [resolve("a1", "allow-once")], "one answer to one question");
    stage.shows("answered");
    stage.on(heard("exec.approval.resolved", &json!({"id": "a1", "decision": "allow-once"})));
    stage.on(control('y'));
    assert_eq!(stage.calls(), [], "the next question is not answered by a key that was meant for the last");
    stage.shows("another command");
    stage.on(control('n'));
    assert_eq!(stage.calls(), [resolve("a2", "deny")]);
    stage.refuse(Ticket::Resolve { id: "a2".into(), decision: "deny" }, "cannot be recorded");
    stage.on(control('n'));
    assert_eq!(stage.calls(), [resolve("a2", "deny")], "an answer without effect can be given again");
    stage.answer(&Ticket::Resolve { id: "a2".into(), decision: "deny" }, &json!({"ok": true}));
    assert!(stage.app.questions.first().is_none());
}

#[test]
fn what_does_not_fit_on_the_screen_is_not_allowed() {
    let mut stage = Stage::with(&json!([]));
    stage.on(asked("a1", &"x".repeat(900)));
    stage.on(control('y'));
    assert_eq!(stage.calls(), []);
    stage.shows("Ctrl+N denies it; the rest does not fit");
    stage.on(Event::Resized(100, 40));
    stage.on(control('y'));
    assert_eq!(stage.methods(), ["exec.approval.resolve"]);
}

#[test]
fn a_break_loses_nothing_that_was_typed_or_sent() {
    let mut stage = Stage::with(&json!([]));
    stage.type_and_enter("sent");
    stage.on(Event::Pasted("typed".into()));
    stage.on(asked("a1", "rm x"));
    stage.effects.clear();
    let broke = || Event::Disconnected { why: "the connection\u{1b}[2J broke".into(), then: Then::Tries(2) };
    stage.on(broke());
    stage.shows("NOT CONNECTED, tried again in 2 s: the connection<U+001B>");
    stage.shows("not acknowledged; Ctrl+R sends it again");
    assert!(stage.app.questions.first().is_none(), "an old question is not answered");
    for event in [key(KeyCode::Enter), control('r'), control('p')] {
        stage.on(event);
        assert!(stage.effects.drain(..).all(|effect| matches!(effect, Effect::Reconnect)));
    }
    assert_eq!(stage.app.input.text(), "typed");
    stage.on(hello());
    stage.answer(&Ticket::History(MAIN.into()), &history(&transcript()));
    stage.calls();
    stage.shows("not acknowledged");
    stage.on(control('r'));
    let sent = json!({"sessionKey": MAIN, "message": "sent", "deliver": false, "idempotencyKey": "run-1"});
    assert_eq!(stage.calls(), [("chat.send", sent)], "under the same name, so that it is answered once");
    stage.answer(&Ticket::Send("run-1".into()), &json!({"runId": "run-1", "status": "ok"}));
    assert_eq!(stage.methods(), ["chat.history"], "the gateway had it, and the answer with it");
    stage.on(control('r'));
    stage.shows("nothing waits to be sent again");
}

#[test]
fn a_run_that_ended_while_nobody_listened_is_over() {
    let mut stage = Stage::with(&json!([]));
    stage.type_and_enter("hello");
    stage.answer(&Ticket::Send("run-1".into()), &json!({"runId": "run-1", "status": "started"}));
    stage.on(chat("run-1", "delta", "half"));
    stage.on(Event::Disconnected { why: "gone".into(), then: Then::Asks });
    stage.shows("Enter tries again");
    stage.effects.clear();
    stage.on(hello());
    assert_eq!(stage.methods(), ["chat.history", "exec.approval.list", "agent.wait"]);
    stage.answer(&Ticket::Wait("run-1".into()), &json!({"runId": "run-1", "status": "timeout"}));
    stage.shows("running");
    stage.answer(&Ticket::Wait("run-1".into()), &json!({"runId": "run-1", "status": "ok"}));
    stage.shows("idle");
}

#[test]
fn what_the_gateway_refuses_is_said_and_can_be_sent_again() {
    let mut stage = Stage::with(&json!([]));
    stage.type_and_enter("hello");
    stage.refuse(Ticket::Send("run-1".into()), "the gateway is\u{7} full");
    stage.shows("not taken: the gateway is<U+0007> full");
    stage.shows("idle");
    stage.calls();
    stage.type_and_enter("/session other");
    assert_eq!(stage.calls(), [], "it is not left behind");
    stage.on(control('r'));
    assert_eq!(stage.methods(), ["chat.send"]);
    stage.shows("on its way");
}

#[test]
fn commands_do_what_they_say() {
    let mut stage = Stage::with(&json!([]));
    for (line, expected) in [
        (
            "/think high",
            vec![
                ("sessions.patch", json!({"key": MAIN, "thinkingLevel": "high"})),
                ("chat.history", json!({"sessionKey": MAIN, "limit": 1})),
            ],
        ),
        ("/verbose default", vec![("sessions.patch", json!({"key": MAIN, "verboseLevel": null}))]),
        ("/model p/m", vec![("sessions.patch", json!({"key": MAIN, "model": "p/m"}))]),
        ("/new", vec![("sessions.reset", json!({"key": MAIN}))]),
        ("/abort", vec![("chat.abort", json!({"sessionKey": MAIN}))]),
        ("/status", vec![("status", json!({}))]),
        ("/agents", vec![("agents.list", json!({}))]),
        ("/session notes", vec![("chat.history", json!({"sessionKey": "agent:main:notes", "limit": 200}))]),
    ] {
        stage.type_and_enter(line);
        assert_eq!(stage.calls(), expected, "{line}");
        assert!(stage.app.input.is_empty(), "{line}");
    }
    stage.type_and_enter("too early");
    assert_eq!(stage.calls(), [], "nothing is said before it is known where");
    assert_eq!(stage.app.input.text(), "too early");
    stage.on(control('c'));
    let notes = json!({"sessionKey": "agent:main:notes", "messages": []});
    stage.answer(&Ticket::History("agent:main:notes".into()), &notes);
    stage.type_and_enter("/agent work");
    assert_eq!(stage.calls().last().unwrap().1["sessionKey"], "agent:work:main");
    stage.type_and_enter("/nonsense");
    stage.shows("/nonsense is not a command");
}

#[test]
fn settings_are_switched_in_their_list() {
    let mut stage = Stage::with(&transcript());
    stage.type_and_enter("/settings");
    stage.shows("what tools bring: off");
    stage.on(key(KeyCode::Enter));
    stage.shows("what tools bring: on");
    stage.on(key(KeyCode::Down));
    stage.on(key(KeyCode::Down));
    stage.on(key(KeyCode::Enter));
    stage.shows("tokens: full");
    stage.on(key(KeyCode::Esc));
    stage.shows("99 in all");
    stage.shows("pears");
}

#[test]
fn scrolling_ends_where_the_conversation_does() {
    let lines: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
    let mut stage =
        Stage::with(&json!([{"role": "assistant", "content": [{"type": "text", "text": lines.join("\n")}]}]));
    stage.shows("line 39");
    (0..50).for_each(|_| stage.on(key(KeyCode::PageUp)));
    stage.shows("line 0 ");
    stage.on(key(KeyCode::PageDown));
    stage.on(key(KeyCode::PageDown));
    (0..50).for_each(|_| stage.on(key(KeyCode::PageDown)));
    stage.shows("line 39");
    assert_eq!(stage.app.scrolled, 0);
}

#[test]
fn without_colour_there_is_none() {
    let stage = Stage::with(&transcript());
    let mut terminal = Terminal::new(TestBackend::new(60, 16)).unwrap();
    terminal.draw(|frame| draw(&stage.app, frame, Palette::Plain)).unwrap();
    let cells = &terminal.backend().buffer().content;
    let plain = ratatui_core::buffer::Cell::EMPTY.style();
    assert!(cells.iter().all(|cell| cell.style() == plain));
    assert!(screen(&stage.app).buffer().content.iter().any(|cell| cell.style() != plain), "else there is");
}

#[test]
fn every_size_is_drawn() {
    let mut stage = Stage::with(&transcript());
    stage.on(Event::Pasted("日本 typed\nin lines".into()));
    stage.on(asked("a1", "rm x"));
    for rows in 1..=60 {
        for columns in (1..=200).step_by(if rows < 12 { 1 } else { 7 }) {
            stage.on(Event::Resized(columns, rows));
            stage.on(key(KeyCode::PageUp));
            let buffer = screen(&stage.app).buffer().clone();
            assert_eq!((buffer.area.width, buffer.area.height), (columns, rows));
        }
    }
    stage.on(Event::Resized(20, 5));
    insta::assert_snapshot!("a_small_screen", stage.screen());
}
