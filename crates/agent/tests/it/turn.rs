//! Turns without tools: what is said, what is kept, and the ways in which there is no answer.

use std::time::{Duration, Instant};

use moltbot_protocol::message::StopReason;
use moltbot_store::TurnState;
use moltbot_testkit::model::{INPUT_TOKENS, OUTPUT_TOKENS, Reply, ScriptedModel};
use tokio_util::sync::CancellationToken;

use crate::house::{House, NOW, watcher};

#[tokio::test]
async fn a_plain_turn_is_answered_with_two_commits() {
    let model = ScriptedModel::queue([Reply::words("Hello there, friend")]);
    let house = House::new(Some(&model.openai_url()));
    let before = house.store.commits();
    let turn = house.accept("Hi").await;
    let (seen, watch) = watcher();
    let report = house
        .agent
        .take_turn(turn, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), CancellationToken::new(), &|| NOW)
        .await;

    assert_eq!((report.state, report.error), (TurnState::Done, None));
    assert_eq!(report.text, "Hello there, friend");
    assert_eq!((report.usage.input, report.usage.output), (INPUT_TOKENS, OUTPUT_TOKENS));
    assert_eq!((report.provider.as_str(), report.model.as_str()), ("scripted", "small"));
    assert_eq!(report.stop_reason, StopReason::Stop);
    assert_eq!(house.store.commits() - before, 2);
    assert_eq!(house.transcript("main").await, ["user: Hi", "assistant Stop 0 calls: Hello there, friend"]);
    let seen = seen.lock().unwrap().join("|");
    assert!(seen.starts_with("started run-0|text Hello"), "{seen}");
    assert!(seen.ends_with("text Hello there, friend|ended Done"), "{seen}");
    let status = house.store.run(&report.run).await.unwrap().unwrap();
    assert_eq!((status.state, status.text.as_deref()), (TurnState::Done, Some("Hello there, friend")));
}

#[tokio::test]
async fn what_was_said_before_is_told_to_the_model() {
    let model = ScriptedModel::echo();
    let house = House::new(Some(&model.openai_url()));
    house.say("one").await;
    house.say("two").await;
    let elsewhere = house.accept_in("other", "three", |_| {}).await;
    house.take(elsewhere).await;
    let requests = model.requests();
    let roles = |number: usize| {
        let messages = requests[number].messages();
        messages.iter().map(|message| message["role"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles(1), ["system", "user", "assistant", "user"]);
    assert_eq!(roles(2), ["system", "user"], "another session knows nothing of it");
    assert_eq!(requests[1].last_user_text(), "two");
}

#[tokio::test]
async fn a_prompt_has_the_workspace_and_the_instructions_of_the_request() {
    let model = ScriptedModel::echo();
    let house = House::new(Some(&model.openai_url()));
    let turn = house
        .accept_in("main", "hi", |message| message.extra_system_prompt = Some("Speak Latin.".into()))
        .await;
    house.take(turn).await;
    let system = model.requests()[0].system();
    for expected in ["Today is 2026-11-23", "## AGENTS.md", "## USER.md", "request alone\n\nSpeak Latin."] {
        assert!(system.contains(expected), "{expected:?} in:\n{system}");
    }
    let turn = house.accept_in("stranger", "hi", |_| {}).await;
    house.take(turn).await;
    let system = model.requests()[1].system();
    assert!(system.contains("## SOUL.md") && !system.contains("## USER.md"), "{system}");
}

#[tokio::test]
async fn a_history_that_does_not_fit_and_is_not_summarised_is_shortened_and_says_so() {
    let model = ScriptedModel::answering(|request| {
        let summarises = request.system().starts_with("You condense");
        if summarises { Reply::status(400, "no") } else { Reply::text(&"y".repeat(2000)) }
    });
    let house = House::with(Some(&model.openai_url()), |config| {
        config.agents.defaults.context_tokens = Some(4000);
        config.agents.defaults.bootstrap_max_chars = 1;
    });
    for _ in 0..4 {
        house.say(&"x".repeat(2000)).await;
    }
    let requests = model.requests();
    assert!(requests.iter().any(|request| request.system().starts_with("You condense")));
    let last = requests.last().unwrap().messages();
    assert!(last.len() < 9, "{} messages", last.len());
    let first = last[1].to_string();
    let omission =
        "[Earlier messages of this conversation are left out here, because they could not be summarised.]";
    assert!(first.contains(omission), "{first:.300}");
    assert_eq!(house.transcript("main").await.len(), 8, "all of it is kept");
    assert!(!house.transcript("main").await.join("").contains("left out here"));
}

#[tokio::test]
async fn without_a_model_a_turn_ends_with_the_sentence_that_says_what_to_do() {
    let house = House::new(None);
    let report = house.say("Hi").await;
    assert_eq!(report.state, TurnState::Error);
    assert_eq!(report.text, "");
    let error = report.error.unwrap();
    assert!(error.contains("no model is set up") && error.contains("ANTHROPIC_API_KEY"), "{error}");
    let transcript = house.transcript("main").await;
    assert_eq!(transcript[0], "user: Hi");
    assert!(transcript[1].starts_with("assistant Error 0 calls:  (no model is set up"), "{transcript:?}");
}

#[tokio::test]
async fn an_error_of_the_model_is_the_turns_error() {
    let model = ScriptedModel::queue([Reply::status(401, "no such key")]);
    let house = House::new(Some(&model.openai_url()));
    let report = house.say("Hi").await;
    assert_eq!(report.state, TurnState::Error);
    assert!(report.error.as_deref().unwrap().contains("put a valid key there"), "{:?}", report.error);
    assert_eq!(model.requests().len(), 1);
    model.push(Reply::text("better"));
    assert_eq!(house.say("Again").await.text, "better");
}

#[tokio::test]
async fn an_unknown_agent_is_an_error_that_names_the_agents() {
    let house = House::new(None);
    let turn = house.accept_in("agent:nobody:main", "Hi", |_| {}).await;
    let report = house.take(turn).await;
    assert_eq!(report.error.as_deref(), Some("there is no agent named nobody; there are: main"));
}

#[tokio::test]
async fn an_abort_ends_a_hanging_model_within_a_second() {
    let model = ScriptedModel::queue([Reply::Hang]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept("Hi").await;
    let abort = CancellationToken::new();
    let turn =
        house.agent.take_turn(turn, &|_| {}, &|_, _| Ok(()), &|_| Box::pin(async {}), abort.clone(), &|| NOW);
    let stopper = tokio::task::spawn_blocking(move || {
        model.wait_for_requests(1);
        abort.cancel();
        (Instant::now(), model)
    });
    let report = turn.await;
    let (aborted, model) = stopper.await.unwrap();
    assert!(aborted.elapsed() < Duration::from_secs(1), "{:?}", aborted.elapsed());
    assert_eq!(
        (report.state, report.error, report.stop_reason),
        (TurnState::Aborted, None, StopReason::Aborted)
    );
    assert_eq!(house.transcript("main").await, ["user: Hi", "assistant Aborted 0 calls: "]);
    model.push(Reply::text("I am back"));
    assert_eq!(house.say("Are you there?").await.text, "I am back");
}

#[tokio::test]
async fn what_was_said_before_an_abort_is_kept() {
    let model = ScriptedModel::queue([Reply::Stall(vec!["Once upon ".into(), "a time".into()])]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept("Tell me a story").await;
    let abort = CancellationToken::new();
    let stop = abort.clone();
    let watch = move |event: moltbot_agent::TurnEvent<'_>| {
        if let moltbot_agent::TurnEvent::Text { text: "Once upon a time", .. } = event {
            stop.cancel();
        }
    };
    let report =
        house.agent.take_turn(turn, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), abort, &|| NOW).await;
    assert_eq!((report.state, report.text.as_str()), (TurnState::Aborted, "Once upon a time"));
    let transcript = house.transcript("main").await;
    assert_eq!(transcript[1], "assistant Aborted 0 calls: Once upon a time");
}

#[tokio::test]
async fn a_test_of_the_model_asks_once() {
    let model = ScriptedModel::queue([Reply::text("ready")]);
    let house = House::new(Some(&model.openai_url()));
    let answer = house.agent.test_model(None).await.unwrap();
    assert_eq!(moltbot_protocol::message::text_of(&answer.content), "ready");
    let error = house.agent.test_model(Some("nowhere/none")).await.unwrap_err().to_string();
    assert!(error.contains("unknown provider \"nowhere\""), "{error}");
}

#[tokio::test]
async fn a_model_that_cannot_call_tools_is_asked_again_with_a_prompt_that_has_none() {
    let refusal = Reply::status(400, "registry/smollm2 does not support tools");
    let model = ScriptedModel::queue([refusal, Reply::text("from what I know")]);
    let house = House::new(Some(&model.openai_url()));
    let report = house.say("list the files").await;
    assert_eq!((report.state, report.text.as_str()), (TurnState::Done, "from what I know"));
    let requests = model.requests();
    let offered: Vec<usize> = requests.iter().map(|request| request.tools().len()).collect();
    assert_eq!(offered, [6, 0]);
    assert!(requests[0].system().contains("- exec: "));
    let system = requests[1].system();
    assert!(system.contains("You have no tools") && !system.contains("- exec: "), "{system}");
}

#[tokio::test]
async fn a_past_that_is_whole_is_not_said_to_be_cut() {
    let model = ScriptedModel::echo();
    let house = House::new(Some(&model.openai_url()));
    let limit = usize::try_from(moltbot_config::limits::HISTORY_MESSAGES).unwrap();
    for (turns, cut) in [(limit / 2, false), (1, true)] {
        for _ in 0..turns {
            let turn = house.accept("a").await;
            let said = moltbot_protocol::message::Message::Assistant {
                content: vec![moltbot_protocol::message::Part::text("b")],
                timestamp: NOW,
                provider: "scripted".into(),
                model: "small".into(),
                usage: moltbot_protocol::message::Usage::default(),
                stop_reason: StopReason::Stop,
                error_message: None,
            };
            let end = moltbot_store::TurnEnd {
                ending: moltbot_store::Ending::Done,
                messages: vec![said],
                reply: None,
                event: None,
                notices: Vec::new(),
                is_silent: false,
                error: None,
                usage: moltbot_protocol::message::Usage::default(),
                cost: 0,
                unpriced: false,
                model: None,
                ended_ms: NOW,
            };
            house.store.finish(turn.id, end).await.unwrap();
        }
        let turn = house.accept_in("main", "and now?", |_| {}).await;
        house.take(turn).await;
        let request = model.requests().pop().unwrap();
        assert_eq!(request.body.to_string().contains("left out here"), cut, "after {turns} turns more");
    }
}
