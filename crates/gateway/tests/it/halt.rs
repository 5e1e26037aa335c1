//! The owner's stop by the signal, while nothing drives the runtime.

use std::time::{Duration, Instant};

use moltbot_testkit::model::{Reply, ScriptedModel};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_stops_everything_while_every_worker_is_held_up() {
    let house = House::with(ScriptedModel::queue([Reply::Hang])).await;
    let client = house.client().await;
    let send = json!({"sessionKey": "main", "message": "go", "idempotencyKey": "run"});
    client.call("chat.send", send).await.unwrap();
    house.model.wait_for_requests(1);
    let file = house.home.state_path().join("stopped.json");
    // Three tasks that never yield: as many as there are workers, and this test's own thread.
    let until = Instant::now() + Duration::from_secs(3);
    let hold = move || while Instant::now() < until {};
    for _ in 0..2 {
        drop(tokio::spawn(async move { hold() }));
    }
    std::thread::sleep(Duration::from_millis(200)); // both are held now
    let began = Instant::now();
    kill_process(getpid(), Signal::USR2).unwrap();
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(1), "nobody heard it");
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    println!("stopped and kept after {took:?}");
    assert!(Instant::now() < until, "while the workers were held up");
    let status = client.call("agent.wait", json!({"runId": "run"})).await.unwrap();
    assert_eq!(status["error"], "aborted", "{status}");
    let status = client.call("status", json!({})).await.unwrap();
    assert_eq!(status["stopped"]["by"], "owner:signal", "{status}");
}
