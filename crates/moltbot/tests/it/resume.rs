//! Stops in the middle of a turn, through the real binary: nothing is lost, nothing happens twice, nothing
//! is left running.

use std::time::{Duration, Instant};

use moltbot_testkit::client::{Client, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::Gateway;
use rustix::process::Signal;
use serde_json::json;

use crate::broken::processes_with;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

/// A gateway whose agent runs a command that does not end.
struct Stage {
    model: ScriptedModel,
    home: Home,
    gateway: Gateway,
    run: String,
    /// The command line of its longest part.
    sleeper: String,
}

impl Stage {
    /// `seconds` tells this test's command from those of others.
    async fn begin(seconds: u32) -> Self {
        let command = format!("echo ran >> count; sleep {seconds}");
        let model = ScriptedModel::queue([Reply::tool("exec", &json!({ "command": command }))]);
        let home = Home::with_model(&model);
        // The turn waits for its command, whatever it takes.
        home.change_config(|config| config["tools"] = json!({"exec": {"backgroundMs": 120_000}}));
        let gateway = Gateway::start(PROGRAM, &home);
        let run = gateway.connect().open().await.unwrap().send_chat("main", "run it").await;
        let stage = Self { model, home, gateway, run, sleeper: format!("sleep\u{0}{seconds}") };
        while stage.count().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stage
    }

    /// What the command wrote, a line each time that it ran.
    #[expect(clippy::disallowed_methods, reason = "a test looks at what a command wrote")]
    fn count(&self) -> String {
        let path = self.home.state_path().join("workspace/count");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Demands that the command is gone, that the next start takes the turn up without running it again, and
    /// that the model is told so.
    async fn require_resumed(mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !processes_with(&self.sleeper).is_empty() {
            assert!(Instant::now() < deadline, "the command outlived its gateway");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.model.push(Reply::text("I do not know whether it ran to its end"));
        self.gateway.restart(&self.home);
        let client = self.gateway.connect().open().await.unwrap();
        let params = json!({"runId": self.run, "timeoutMs": 30_000});
        let ended = client.call("agent.wait", params).await.unwrap();
        assert_eq!(ended["status"], "ok", "{ended}");
        assert_eq!(self.count(), "ran\n", "the command ran again");
        let requests = self.model.requests();
        assert_eq!(requests.len(), 2, "asked once before and once after");
        let told = requests[1].tool_results().join("\n");
        assert!(told.contains("outcome is unknown"), "the model was told {told:?}");
        let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
        let said = history.to_string();
        assert_eq!(said.matches("run it").count(), 1, "{said}");
        assert_eq!(said.matches("whether it ran to its end").count(), 1, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_ran_at_a_kill_is_not_run_again() {
    let mut stage = Stage::begin(3_471).await;
    stage.gateway.kill9();
    stage.require_resumed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_outlasts_the_drain_is_taken_up_at_the_next_start() {
    let mut stage = Stage::begin(3_472).await;
    let began = Instant::now();
    assert!(stage.gateway.terminate().success(), "{}", stage.gateway.printed());
    let took = began.elapsed();
    assert!((Duration::from_secs(29)..Duration::from_secs(40)).contains(&took), "the drain took {took:?}");
    stage.require_resumed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_does_not_wait_and_loses_nothing() {
    let mut stage = Stage::begin(3_473).await;
    let began = Instant::now();
    stage.gateway.signal(Signal::INT);
    while !stage.gateway.printed().contains("stopping: ") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.gateway.signal(Signal::INT);
    assert_eq!(stage.gateway.wait().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    stage.require_resumed().await;
}

/// One key names one message. In another conversation it is a mistake of the client: answering with the first
/// message's run would lose the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_session_is_refused_and_the_same_message_is_known_again() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client: Client = gateway.connect().open().await.unwrap();
    let send =
        |session: &str, text: &str| json!({"sessionKey": session, "message": text, "idempotencyKey": "k1"});
    client.call("chat.send", send("main", "for main")).await.unwrap();
    assert_eq!(client.finish_chat("k1".into()).await.state, "final");
    for method in ["chat.send", "agent"] {
        let refused = client.call(method, send("other", "for another")).await.unwrap_err();
        assert!(
            refused.message.contains("agent:main:main") && refused.message.contains("new key"),
            "{refused:?}"
        );
        assert!(!refused.message.contains("for main"), "{refused:?}");
    }
    let again = client.call("chat.send", send("main", "for main")).await.unwrap();
    assert_eq!(again["status"], "ok", "{again}");
    assert_eq!(model.requests().len(), 1, "the model was asked once");
}

/// Whoever asks for a stream and does not read it holds its place and its turn for a while, not for ever.
#[test]
fn a_client_that_does_not_read_its_answer_is_cut() {
    use std::io::{Read as _, Write as _};
    let model = ScriptedModel::queue([Reply::Huge(14_000_000)]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let body = json!({"stream": true, "messages": [{"role": "user", "content": "tell me all"}]}).to_string();
    let mut stream = moltbot_testkit::raw::dial(gateway.port());
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        gateway.port(),
        gateway.token(),
        body.len(),
    )
    .unwrap();
    model.wait_for_requests(1);
    std::thread::sleep(Duration::from_secs(25)); // nothing tells a peer that it is being waited for
    let mut received = Vec::new();
    let end = stream.read_to_end(&mut received);
    assert!(received.starts_with(b"HTTP/1.1 200"), "{:?}", received.get(..100));
    assert!(!received.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"), "{} bytes, {end:?}", received.len());
    assert!(received.len() < 14_000_000, "{} bytes came after all: {end:?}", received.len());
    assert!(gateway.is_running());
    let device = Device::from_seed(3);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(gateway.connect().device(&device, SignatureVersion::V3).open()).unwrap();
}
