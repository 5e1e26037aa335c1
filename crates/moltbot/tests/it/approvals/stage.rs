//! A real gateway that asks, a model that calls `exec` as the test wants, and somebody who answers.

use std::path::PathBuf;

use moltbot_testkit::client::{Client, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::Gateway;
use serde_json::{Value, json};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// Every command is asked about.
pub(super) const ALWAYS: fn(&mut Value) = |config| config["tools"]["exec"]["ask"] = json!("always");

pub(super) struct Stage {
    pub(super) model: ScriptedModel,
    pub(super) home: Home,
    pub(super) gateway: Gateway,
    pub(super) client: Client,
    run: String,
}

/// A client with a device of its own, paired silently as one of this machine.
pub(super) async fn connect(gateway: &Gateway, scopes: &[&str]) -> Client {
    let device = Device::from_seed(1);
    gateway.connect().device(&device, SignatureVersion::V3).scopes(scopes).open().await.unwrap()
}

impl Stage {
    pub(super) async fn new(change: impl FnOnce(&mut Value)) -> Self {
        Self::seen_by(&["operator.admin"], change).await
    }

    /// The same with a client that has these scopes.
    pub(super) async fn seen_by(scopes: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        let model = ScriptedModel::queue([]);
        let home = Home::with_model(&model);
        home.change_config(|config| {
            config["tools"] = json!({"elevated": {}, "exec": {}});
            change(config);
        });
        let gateway = Gateway::start(PROGRAM, &home);
        let client = connect(&gateway, scopes).await;
        Self { model, home, gateway, client, run: String::new() }
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.home.state_path().join("workspace")
    }

    /// Has the model call `exec`, and waits for the question.
    pub(super) async fn ask(&mut self, command: &str) -> Value {
        self.ask_with("main", &json!({"command": command})).await
    }

    pub(super) async fn ask_in(&mut self, session: &str, command: &str) -> Value {
        self.ask_with(session, &json!({"command": command})).await
    }

    pub(super) async fn ask_with(&mut self, session: &str, arguments: &Value) -> Value {
        self.begin(session, arguments).await;
        self.heard("exec.approval.requested").await
    }

    pub(super) async fn begin(&mut self, session: &str, arguments: &Value) {
        self.model.push(Reply::tool("exec", arguments));
        self.model.push(Reply::text("done"));
        self.run = self.client.send_chat(session, "go").await;
    }

    /// Has the model call `exec`, and answers what it was told.
    pub(super) async fn exec(&mut self, arguments: &Value) -> String {
        self.begin("main", arguments).await;
        self.end().await
    }

    pub(super) async fn resolve(&self, asked: &Value, decision: &str) -> Result<Value, String> {
        let params = json!({"id": asked["id"], "decision": decision});
        self.client.call("exec.approval.resolve", params).await.map_err(|error| error.message)
    }

    /// The next event of that name, which must come before the turn ends.
    pub(super) async fn heard(&mut self, name: &str) -> Value {
        loop {
            let event = self.client.next_event().await.expect("an open connection");
            let payload = event.payload.unwrap_or(Value::Null);
            if event.event == name {
                return payload;
            }
            let ended =
                event.event == "chat" && payload["state"] != "delta" && payload["runId"] == self.run.as_str();
            assert!(
                !ended,
                "the turn ended before {name}: {:?}",
                self.model.requests().last().map(|r| r.tool_results())
            );
        }
    }

    /// The question, or nothing when the turn ends without one.
    pub(super) async fn asked_or_ended(&mut self) -> Option<Value> {
        loop {
            let event = self.client.next_event().await.expect("an open connection");
            let payload = event.payload.unwrap_or(Value::Null);
            if event.event == "exec.approval.requested" {
                return Some(payload);
            }
            if event.event == "chat" && payload["state"] != "delta" && payload["runId"] == self.run.as_str() {
                return None;
            }
        }
    }

    /// Waits for the end of a turn that was stopped, and has the model say what it still has to say.
    pub(super) async fn heard_end(&mut self) {
        let asked = self.asked_or_ended().await;
        assert!(asked.is_none(), "{asked:?}");
        assert_eq!(self.client.chat("main", "go on").await.text, "done");
    }

    /// Answers a question, and tells what the model was told.
    pub(super) async fn answer(&mut self, asked: &Value, decision: &str) -> String {
        self.resolve(asked, decision).await.unwrap();
        let resolved = self.heard("exec.approval.resolved").await;
        assert_eq!((&resolved["id"], &resolved["decision"]), (&asked["id"], &json!(decision)));
        self.end().await
    }

    /// Waits for the end of the turn.
    pub(super) async fn finish(&mut self) {
        let chat = self.client.finish_chat(std::mem::take(&mut self.run)).await;
        assert_eq!((chat.state.as_str(), chat.text.as_str()), ("final", "done"), "{}", chat.end);
    }

    /// Waits for the end of the turn, and answers what the model was told.
    pub(super) async fn end(&mut self) -> String {
        self.finish().await;
        self.model.requests().last().unwrap().tool_results().pop().unwrap()
    }

    /// The command that was refused last.
    pub(super) fn refused(&self) -> String {
        let started = self.book("command.start");
        let refused = started.iter().rfind(|line| line["decision"] == "refused").expect("a refused command");
        refused["target"].as_str().unwrap().to_owned()
    }

    /// The records of the book whose actions begin so.
    pub(super) fn book(&self, action: &str) -> Vec<Value> {
        crate::program::book(&self.home, action)
    }
}
