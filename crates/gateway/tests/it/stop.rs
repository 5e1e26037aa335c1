use moltbot_gateway::{StopReason, Stopped};
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use serde_json::json;

use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_that_the_gateway_stops_and_running_turns_end() {
    let mut house = House::with(ScriptedModel::queue([Reply::Slow {
        chunks: vec!["one ".into(), "two".into()],
        delay: std::time::Duration::from_millis(300),
    }]))
    .await;
    let mut client = house.client().await;
    let run = client.send_chat("main", "hi").await;
    client.delta_of(&run).await;
    house.ask_to_stop(StopReason::Restart);
    let event = client.event("shutdown").await;
    assert_eq!(event, json!({"reason": "gateway restarting", "restartExpectedMs": 1500}));
    assert_eq!(client.finish_chat(run).await.text, "one two", "the running turn has its time");
    let close = client.wait_for_close().await;
    assert_eq!((close.code, close.reason.as_str()), (Some(1012), "service restart"));
    assert_eq!(house.stopped().await, Stopped { reason: StopReason::Restart, unfinished: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_that_wait_are_resumed_in_order_before_new_messages() {
    let house = House::with(ScriptedModel::queue([Reply::Slow {
        chunks: vec!["first".into()],
        delay: std::time::Duration::from_millis(500),
    }]))
    .await;
    let mut client = house.client().await;
    let first = client.send_chat("main", "one").await;
    let (second, third) = (client.send_chat("main", "two").await, client.send_chat("main", "three").await);
    drop(client);
    let house = house.restart().await;
    house.model.push(Reply::Echo);
    house.model.push(Reply::Echo);
    house.model.push(Reply::Echo);
    let mut client = house.client().await;
    assert_eq!(client.chat("main", "four").await.text, echo_of("four"));
    for run in [&first, &second, &third] {
        let status = client.call("agent.wait", json!({"runId": run})).await.unwrap();
        assert_eq!(status["status"], "ok", "{run}: {status}");
    }
    let asked: Vec<String> = house.model.requests().iter().map(|request| request.last_user_text()).collect();
    assert_eq!(asked, ["one", "two", "three", "four"], "each once and in order");
}
