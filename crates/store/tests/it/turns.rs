//! A turn from its acceptance to its end.

use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::message::{InboundMessage, Message, Part, SentImage};
use moltbot_store::{Ending, RunStatus, Step, Store, StoreError, TurnEnd, TurnState};
use serde_json::json;

use super::{Place, assistant, done, key, message, run, texts, usage, user};

#[tokio::test]
async fn a_plain_turn_is_two_commits() {
    let place = Place::new();
    let before = place.store.commits();
    place.talk("main", "hi", 10).await;
    assert_eq!(place.store.commits() - before, 2);
    let status = place.store.run(&run("hi")).await.unwrap().unwrap();
    assert_eq!(
        status,
        RunStatus {
            run: run("hi"),
            external_id: "hi".into(),
            session: key("main"),
            state: TurnState::Done,
            accepted_ms: 10,
            ended_ms: Some(11),
            text: Some("re: hi".into()),
            error: None,
            usage: usage(1),
        }
    );
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart_with_every_member() {
    let mut place = Place::new();
    let full = InboundMessage {
        extra_system_prompt: Some("be brief".into()),
        timeout_ms: Some(u64::MAX),
        thinking: Some(moltbot_protocol::message::ThinkingLevel::High),
        text: "ä\u{0}\n".into(),
        images: vec![SentImage { mime_type: "image/png".into(), path: "received/a.png".into() }],
        ..message("agent:work:notes", "m")
    };
    let moltbot_store::Accepted::Fresh(accepted) = place.store.accept(&full, 5).await.unwrap() else {
        panic!("it is new");
    };
    place.reopen();
    let pending = place.store.pending().await.unwrap();
    let mut expected = accepted;
    expected.message.timeout_ms = u64::try_from(i64::MAX).ok(); // the longest time that SQLite can hold
    assert_eq!(pending, [expected]);
    assert_eq!(pending[0].message.session, key("agent:work:notes"));
}

#[tokio::test]
async fn the_same_message_or_run_changes_nothing_and_tells_how_far_it_is() {
    let place = Place::new();
    place.accept("main", "a", 1).await;
    let same_message = InboundMessage { run: run("other"), text: "changed".into(), ..message("main", "a") };
    let same_run = InboundMessage { external_id: "other".into(), ..message("main", "a") };
    let commits = place.store.commits();
    for again in [&same_message, &same_run] {
        let status = place.again(again).await;
        assert_eq!((status.run, status.state, status.text), (run("a"), TurnState::Received, None));
    }
    assert_eq!(place.store.commits(), commits, "a duplicate asks nothing of the disk");
    let pending = place.store.pending().await.unwrap();
    place.store.finish(pending[0].id, done("answer", 2)).await.unwrap();
    let status = place.again(&same_message).await;
    assert_eq!((status.state, status.text), (TurnState::Done, Some("answer".into())));
    let other_account = InboundMessage { account: "second".into(), run: run("b"), ..message("main", "a") };
    assert!(matches!(
        place.store.accept(&other_account, 3).await.unwrap(),
        moltbot_store::Accepted::Fresh(_)
    ));
}

#[tokio::test]
async fn an_interrupted_turn_comes_back_with_its_steps() {
    let mut place = Place::new();
    let turn = place.accept("main", "list the files", 1).await;
    let call =
        |id: &str| Part::ToolCall { id: id.into(), name: "exec".into(), arguments: json!({"command": "ls"}) };
    let result = |id: &str| Message::ToolResult {
        tool_call_id: id.into(),
        tool_name: "exec".into(),
        content: vec![Part::text("a.txt")],
        is_error: false,
        timestamp: 3,
    };
    let steps = [
        Step { results: vec![], answer: assistant(vec![call("1"), call("2")], 2) },
        Step { results: vec![result("1"), result("2")], answer: assistant(vec![call("3")], 4) },
    ];
    let before = place.store.commits();
    for step in &steps {
        place.store.journal(turn.id, step.clone()).await.unwrap();
    }
    assert_eq!(place.store.commits() - before, 2, "one commit for each round");
    place.reopen();
    let pending = place.store.pending().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].steps, steps, "the last step's call has no result");
    let end = TurnEnd {
        messages: vec![result("3"), assistant(vec![Part::text("one file")], 6)],
        ..done("one file", 6)
    };
    place.store.finish(turn.id, end).await.unwrap();
    assert_eq!(place.store.pending().await.unwrap(), []);
    let history = place.store.history(&key("main"), 100).await.unwrap();
    assert_eq!(texts(&history.messages), ["list the files", "", "a.txt", "a.txt", "", "a.txt", "one file"]);
}

#[tokio::test]
async fn a_turn_ends_once() {
    let place = Place::new();
    let turn = place.accept("main", "a", 1).await;
    place.store.finish(turn.id, done("first", 2)).await.unwrap();
    let again = place.store.finish(turn.id, done("second", 3)).await;
    assert!(matches!(again, Err(StoreError::AlreadyEnded { .. })), "{again:?}");
    let step = Step { results: vec![], answer: assistant(vec![], 3) };
    let late = place.store.journal(turn.id, step).await;
    assert!(matches!(late, Err(StoreError::AlreadyEnded { .. })), "{late:?}");
    let history = place.store.history(&key("main"), 100).await.unwrap();
    assert_eq!(texts(&history.messages), ["a", "first"]);
}

#[tokio::test]
async fn turns_of_a_session_are_done_in_the_order_of_their_acceptance() {
    let place = Place::new();
    let first = place.accept("main", "1", 1).await;
    let second = place.accept("main", "2", 2).await;
    let other = place.accept("notes", "3", 3).await;
    assert!(first.id < second.id && second.id < other.id);
    place.store.finish(other.id, done("re: 3", 4)).await.unwrap();
    let early = place.store.finish(second.id, done("re: 2", 4)).await;
    assert!(matches!(early, Err(StoreError::OutOfOrder { .. })), "{early:?}");
    // A message that waits may be stopped at any time.
    let third = place.accept("main", "4", 5).await;
    let stopped =
        TurnEnd { ending: Ending::Aborted, messages: vec![], reply: None, model: None, ..done("", 6) };
    place.store.finish(third.id, stopped).await.unwrap();
    place.store.finish(first.id, done("re: 1", 7)).await.unwrap();
    place.store.finish(second.id, done("re: 2", 8)).await.unwrap();
    let history = place.store.history(&key("main"), 100).await.unwrap();
    assert_eq!(history.messages[0], user("1", 1));
    assert_eq!(
        texts(&history.messages),
        ["1", "re: 1", "2", "re: 2", "4"],
        "an answer stands behind its message"
    );
}

#[tokio::test]
async fn a_prompt_knows_the_past_and_nothing_that_waits() {
    let place = Place::new();
    for number in 1..=3 {
        place.talk("main", &number.to_string(), number).await;
    }
    let turn = place.accept("main", "now", 10).await;
    place.accept("main", "later", 11).await;
    let context = place.store.context(turn.id, 100).await.unwrap();
    assert_eq!(texts(&context.messages), ["1", "re: 1", "2", "re: 2", "3", "re: 3"]);
    assert!(!context.cut, "nothing is left out");
    assert!(!place.store.context(turn.id, 6).await.unwrap().cut, "as many as there are");
    let context = place.store.context(turn.id, 3).await.unwrap();
    assert_eq!(texts(&context.messages), ["3", "re: 3"], "a cut past begins with a person's words");
    assert!(context.cut);
}

#[tokio::test]
async fn a_failed_turn_tells_why_and_what_it_said_last() {
    let place = Place::new();
    let turn = place.accept("main", "a", 1).await;
    let end = TurnEnd {
        ending: Ending::Error,
        reply: None,
        notices: Vec::new(),
        is_silent: false,
        error: Some("the provider is gone".into()),
        ..done("half an ans", 2)
    };
    place.store.finish(turn.id, end).await.unwrap();
    let status = place.store.run(&run("a")).await.unwrap().unwrap();
    assert_eq!((status.state, status.ended_ms), (TurnState::Error, Some(2)));
    assert_eq!(status.error.as_deref(), Some("the provider is gone"));
    assert_eq!(status.text.as_deref(), Some("half an ans"));
    assert_eq!(place.store.run(&run("unknown")).await.unwrap(), None);
}

#[tokio::test]
async fn a_provider_that_lies_about_its_usage_breaks_nothing() {
    let place = Place::new();
    for text in ["a", "b"] {
        let turn = place.accept("main", text, u64::MAX).await;
        place
            .store
            .finish(turn.id, TurnEnd { usage: usage(u64::MAX / 2), ..done("x", u64::MAX) })
            .await
            .unwrap();
    }
    let sessions = place.store.sessions(moltbot_store::SessionFilter::default()).await.unwrap();
    assert_eq!(sessions[0].usage.total_tokens, u64::MAX);
    assert_eq!(sessions[0].key, SessionKey::main_of(&moltbot_protocol::ids::AgentId::main()));
}

#[tokio::test]
async fn who_caused_a_turn_is_known_after_a_restart_and_cannot_be_changed_in_the_file() {
    let mut place = Place::new();
    let hook = moltbot_protocol::principal::Principal::parse("hook:github").unwrap();
    let message = InboundMessage { principal: hook.clone(), ..message("main", "m") };
    place.store.accept(&message, 5).await.unwrap();
    place.reopen();
    assert_eq!(place.store.pending().await.unwrap()[0].message, message);
    let history = place.store.history(&key("main"), 10).await.unwrap();
    assert!(matches!(&history.messages[0], Message::User { principal, .. } if *principal == hook));
    place.store.close();
    let database = crate::seals::raw(&place.state);
    let words: Vec<u8> = database.query_row("SELECT body FROM messages", [], |row| row.get(0)).unwrap();
    assert!(!words.windows(4).any(|part| part == b"hook"), "it is sealed with the words");
    database.execute("DELETE FROM messages", []).unwrap();
    drop(database);
    let store = Store::open(&place.state, &moltbot_testkit::vault(&place.state)).unwrap();
    let error = store.pending().await.unwrap_err();
    assert!(error.to_string().contains("a turn without its message"), "{error}");
}
