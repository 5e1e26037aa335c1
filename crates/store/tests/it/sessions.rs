//! Sessions: lists, resets, deletions.

use moltbot_protocol::ids::AgentId;
use moltbot_store::{DayUsage, SessionFilter, SessionPatch, SessionRow, StoreError, TurnState};

use super::{Place, key, message, run, seals, texts, usage};

#[tokio::test]
async fn a_session_knows_its_totals_its_title_and_its_last_words() {
    let place = Place::new();
    place.talk("main", "first  words\nof it", 10).await;
    place.talk("main", "more", 20).await;
    let sessions = place.store.sessions(SessionFilter::default()).await.unwrap();
    let expected = SessionRow {
        key: key("main"),
        session_id: sessions[0].session_id.clone(),
        created_ms: 10,
        updated_ms: 21,
        message_count: 4,
        usage: usage(2),
        cost: 0,
        unpriced: 0,
        model: Some("m1".into()),
        label: None,
        chosen_model: None,
        options: moltbot_store::SessionOptions::default(),
        title: Some("first words of it".into()),
        last_message: Some("re: more".into()),
    };
    assert_eq!(sessions, [expected]);
    assert_eq!(sessions[0].session_id.len(), 36, "a UUID");
    let found = place.store.find_session(&sessions[0].session_id).await.unwrap();
    assert_eq!(found, Some(key("main")));
    assert_eq!(place.store.find_session("no such id").await.unwrap(), None);
}

#[tokio::test]
async fn a_list_is_filtered_and_the_last_changed_is_first() {
    let place = Place::new();
    for (now_ms, session) in [(10, "agent:main:alpha"), (20, "agent:work:beta"), (30, "agent:main:Beta-100%")]
    {
        place.talk(session, &now_ms.to_string(), now_ms).await;
    }
    let list = async |filter: SessionFilter| {
        let sessions = place.store.sessions(filter).await.unwrap();
        sessions.iter().map(|row| row.key.to_string()).collect::<Vec<_>>()
    };
    let all = ["agent:main:beta-100%", "agent:work:beta", "agent:main:alpha"];
    let none = SessionFilter::default;
    assert_eq!(list(none()).await, all);
    assert_eq!(list(SessionFilter { limit: Some(1), ..none() }).await, all[..1]);
    assert_eq!(list(SessionFilter { active_since_ms: Some(15), ..none() }).await, all[..2]);
    let main = Some(AgentId::main());
    assert_eq!(list(SessionFilter { agent: main.clone(), ..none() }).await, [all[0], all[2]]);
    assert_eq!(list(SessionFilter { search: Some("BETA".into()), ..none() }).await, all[..2]);
    assert_eq!(list(SessionFilter { search: Some("%".into()), agent: main, ..none() }).await, all[..1]);
    let oldest = SessionFilter { active_since_ms: Some(u64::MAX), ..none() };
    assert_eq!(list(oldest).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_history_is_the_newest_part_oldest_first() {
    let place = Place::new();
    for number in 1..=5 {
        place.talk("main", &number.to_string(), number).await;
    }
    let history = place.store.history(&key("main"), 3).await.unwrap();
    assert_eq!(texts(&history.messages), ["re: 4", "5", "re: 5"]);
    assert!(history.session_id.is_some());
    let nothing = place.store.history(&key("unknown"), 3).await.unwrap();
    assert_eq!((nothing.session_id, nothing.messages), (None, vec![]));
    assert_eq!(place.store.history(&key("main"), 0).await.unwrap().messages, []);
}

#[tokio::test]
async fn a_history_of_long_messages_stays_within_its_bytes() {
    let place = Place::new();
    for number in 0..8 {
        let turn = place.accept("main", &number.to_string(), number).await;
        place.store.finish(turn.id, super::done(&"x".repeat(1 << 20), number)).await.unwrap();
    }
    let history = place.store.history(&key("main"), 1000).await.unwrap();
    let bytes: usize = history.messages.iter().map(|message| message.text().len()).sum();
    assert!((4 << 20..=6 << 20).contains(&bytes), "{bytes} bytes");
}

#[tokio::test]
async fn a_reset_begins_anew_under_the_same_key() {
    let place = Place::new();
    place.talk("main", "old", 1).await;
    let waiting = place.accept("main", "waits", 2).await;
    let before = place.store.history(&key("main"), 10).await.unwrap().session_id.unwrap();
    let after = place.store.reset_session(&key("main"), 5).await.unwrap().unwrap();
    assert_ne!(before, after);
    let history = place.store.history(&key("main"), 10).await.unwrap();
    assert_eq!((history.session_id, history.messages), (Some(after.clone()), vec![]));
    place.store.finish(waiting.id, super::done("late", 6)).await.unwrap();
    let sessions = place.store.sessions(SessionFilter::default()).await.unwrap();
    assert_eq!(
        (sessions.len(), sessions[0].message_count),
        (1, 0),
        "a late answer belongs to the old session"
    );
    assert_eq!(sessions[0].session_id, after);
    assert_eq!(place.store.find_session(&before).await.unwrap(), None);
    assert_eq!(place.store.reset_session(&key("unknown"), 7).await.unwrap(), None);
}

#[tokio::test]
async fn a_deletion_takes_every_word_and_keeps_the_messages_known() {
    let place = Place::new();
    place.talk("main", "a secret", 1).await;
    place.talk("notes", "other", 2).await;
    assert!(place.store.delete_session(&key("main"), true).await.unwrap());
    assert!(!place.store.delete_session(&key("main"), true).await.unwrap(), "it is gone");
    let sessions = place.store.sessions(SessionFilter::default()).await.unwrap();
    assert_eq!(sessions.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["agent:main:notes"]);
    let status = place.again(&message("main", "a secret")).await;
    assert_eq!((status.state, status.text), (TurnState::Done, None));
    place.accept("main", "fresh", 3).await;
    assert_eq!(texts(&place.store.history(&key("main"), 10).await.unwrap().messages), ["fresh"]);
}

#[tokio::test]
async fn a_deletion_may_leave_the_transcript() {
    let place = Place::new();
    place.talk("main", "a", 1).await;
    assert!(place.store.delete_session(&key("main"), false).await.unwrap());
    let status = place.store.run(&run("a")).await.unwrap().unwrap();
    assert_eq!(status.text.as_deref(), Some("re: a"));
    assert_eq!(place.store.history(&key("main"), 10).await.unwrap().messages, []);
}

#[tokio::test]
async fn a_session_with_unfinished_turns_is_not_deleted() {
    let place = Place::new();
    let turn = place.accept("main", "a", 1).await;
    let refused = place.store.delete_session(&key("main"), true).await;
    assert!(matches!(refused, Err(StoreError::Busy { turns: 1, .. })), "{refused:?}");
    place.store.finish(turn.id, super::done("x", 2)).await.unwrap();
    assert!(place.store.delete_session(&key("main"), true).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_are_listed_a_page_at_a_time() {
    let place = std::sync::Arc::new(Place::new());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..50 {
        let place = place.clone();
        tasks.spawn(async move {
            for number in 0..200 {
                let name = format!("s{}", worker * 200 + number);
                place.accept(&name, &name, 1000 + worker * 200 + number).await;
            }
        });
    }
    tasks.join_all().await;
    let page =
        place.store.sessions(SessionFilter { limit: Some(2), ..SessionFilter::default() }).await.unwrap();
    assert_eq!(
        page.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(),
        ["agent:main:s9999", "agent:main:s9998"]
    );
    let all = place
        .store
        .sessions(SessionFilter { limit: Some(u32::MAX), ..SessionFilter::default() })
        .await
        .unwrap();
    assert_eq!(all.len(), 1000, "a list has an end");
    assert_eq!(place.store.pending().await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_label_and_a_chosen_model_are_kept_through_a_reset_and_found_by() {
    let mut place = Place::new();
    let labelled =
        |label: &str| SessionPatch { label: Some(Some(label.into())), chosen_model: None, options: None };
    let row = place.store.patch_session(&key("plans"), labelled("Holiday plans"), 5).await.unwrap();
    assert_eq!(
        (row.message_count, row.label.as_deref()),
        (0, Some("Holiday plans")),
        "before anything was said"
    );
    let model =
        SessionPatch { label: None, chosen_model: Some(Some("scripted/other".into())), options: None };
    place.store.patch_session(&key("plans"), model, 6).await.unwrap();
    place.talk("main", "hello", 7).await;

    let taken = place.store.patch_session(&key("main"), labelled("Holiday plans"), 8).await;
    assert!(matches!(taken, Err(StoreError::LabelTaken { .. })), "{taken:?}");
    assert_eq!(place.store.session(&key("main")).await.unwrap().unwrap().label, None, "nothing was kept");
    place.store.patch_session(&key("plans"), labelled("Holiday plans"), 9).await.expect("its own is free");

    place.reopen();
    assert!(seals::holders(&place.state, b"Holiday plans").is_empty(), "a label is words");
    let found = SessionFilter { label: Some("Holiday plans".into()), ..SessionFilter::default() };
    let old = place.store.sessions(found.clone()).await.unwrap();
    assert_eq!(old.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), [key("plans")]);
    place.store.reset_session(&key("plans"), 20).await.unwrap();
    let new = place.store.sessions(found.clone()).await.unwrap();
    assert_ne!(new[0].session_id, old[0].session_id);
    assert_eq!(new[0].chosen_model.as_deref(), Some("scripted/other"));
    let turn = place.accept("plans", "now", 21).await;
    let context = place.store.context(turn.id, 10).await.unwrap();
    assert_eq!(context.chosen_model.as_deref(), Some("scripted/other"));

    let nothing = SessionPatch { label: Some(None), chosen_model: Some(None), options: None };
    let row = place.store.patch_session(&key("plans"), nothing, 30).await.unwrap();
    assert_eq!((row.label, row.chosen_model), (None, None));
    assert!(place.store.sessions(found).await.unwrap().is_empty());
}

#[tokio::test]
async fn usage_is_told_by_day_session_and_run_from_the_turns_that_have_ended() {
    const DAY: u64 = 86_400_000;
    let place = Place::new();
    place.talk("main", "long ago", DAY).await;
    place.talk("main", "one", 9 * DAY).await;
    place.talk("notes", "two", 9 * DAY + 5).await;
    place.talk("main", "three", 10 * DAY).await;
    place.accept("main", "not answered yet", 10 * DAY + 1).await;
    let report = place.store.usage(8 * DAY).await.unwrap();
    let used = |turns| DayUsage { turns, usage: usage(turns), cost: 0, unpriced: 0 };
    assert_eq!(report.days.into_iter().collect::<Vec<_>>(), [(9, used(2)), (10, used(1))]);
    let sessions: Vec<_> = report.sessions.into_iter().collect();
    assert_eq!(sessions, [("agent:main:main".into(), used(2)), ("agent:main:notes".into(), used(1))]);
    let runs: Vec<_> =
        report.runs.iter().map(|run| (run.session.as_str(), run.accepted_ms, run.used)).collect();
    assert_eq!(
        runs,
        [
            ("agent:main:main", 10 * DAY, used(1)),
            ("agent:main:notes", 9 * DAY + 5, used(1)),
            ("agent:main:main", 9 * DAY, used(1)),
        ]
    );
}
