//! Whatever is typed, pasted, told and answered, in whatever order.

use moltbot_protocol::error::WireError;
use proptest::prelude::*;
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::super::app::{Event, Then, Ticket};
use super::{MAIN, Stage, agent, asked, chat, hello, history, screen, transcript};

/// Texts with what is dangerous and what is wide in them.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "word ",
        "\n",
        "日本",
        "👍🏽",
        "e\u{301}",
        "\u{1b}[2J",
        "\u{1b}]52;c;YQ==\u{7}",
        "\u{202e}",
        "\u{200d}",
        "\t",
        "\\",
        "/",
        "/model x",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_key() -> impl Strategy<Value = Event> {
    let code = prop_oneof![
        any::<char>().prop_map(KeyCode::Char),
        prop::sample::select("abcdefghijklmnopqrstuvwxyz".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        prop::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Tab,
            KeyCode::Backspace,
            KeyCode::Delete,
            KeyCode::Left,
            KeyCode::Right,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::PageUp,
            KeyCode::PageDown,
            KeyCode::F(1),
        ]),
    ];
    (code, 0_u8..8)
        .prop_map(|(code, bits)| Event::Key(KeyEvent::new(code, KeyModifiers::from_bits_truncate(bits))))
}

fn any_event() -> impl Strategy<Value = Event> {
    let states = prop::sample::select(vec!["delta", "final", "aborted", "error", "else"]);
    let runs = prop::sample::select(vec!["run-1", "run-2", "x"]);
    let tickets = prop::sample::select(vec![
        Ticket::Abort,
        Ticket::After("run-1".into()),
        Ticket::Agents,
        Ticket::Facts,
        Ticket::History("main".into()),
        Ticket::History(MAIN.into()),
        Ticket::Models,
        Ticket::Patch("x".into()),
        Ticket::Questions,
        Ticket::Reset,
        Ticket::Resolve { id: "a".into(), decision: "deny" },
        Ticket::Send("run-1".into()),
        Ticket::Sessions,
        Ticket::Status,
        Ticket::Thinking,
        Ticket::Wait("run-1".into()),
    ]);
    let answers = prop_oneof![
        Just(json!({})), Just(Value::Null), Just(history(&transcript())), text().prop_map(Value::String),
        text().prop_map(|text| json!({"models": [{"id": text}], "agents": [{"id": text}], "sessions": [{"key": text}], "aborted": false})),
        text().prop_map(|text| json!({"sessionKey": text, "status": "started", "approvals": [{"id": "a", "prompt": text}]})),
    ];
    prop_oneof![
        6 => any_key(),
        2 => text().prop_map(Event::Pasted),
        1 => (1_u16..200, 1_u16..60).prop_map(|(columns, rows)| Event::Resized(columns, rows)),
        1 => Just(()).prop_map(|()| hello()),
        1 => text().prop_map(|why| Event::Disconnected { why, then: Then::Tries(1) }),
        3 => (runs, states, text()).prop_map(|(run, state, text)| chat(run, state, &text)),
        1 => text().prop_map(|text| asked("a", &text)),
        1 => text().prop_map(|text| agent("run-1", "tool", &json!({"phase": "start", "toolCallId": "c", "name": text, "args": {"x": text}}))),
        1 => text().prop_map(|text| agent("run-1", "tool", &json!({"phase": "result", "toolCallId": "c", "result": text}))),
        2 => (tickets.clone(), answers).prop_map(|(ticket, answer)| Event::Answer(ticket, Ok(answer))),
        1 => (tickets, text()).prop_map(|(ticket, text)| Event::Answer(ticket, Err(WireError::invalid(text)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_it_goes_on_and_nothing_reaches_the_screen_that_acts_on_it(
        events in prop::collection::vec(any_event(), 0..60)
    ) {
        let mut stage = Stage::empty();
        for event in events {
            stage.on(event);
            for cell in &screen(&stage.app).buffer().content {
                let is_harmless = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}'..='\u{200f}');
                prop_assert!(cell.symbol().chars().all(is_harmless), "{:?}", cell.symbol());
            }
        }
    }
}
