//! Nodes that are connected: what they offer, and the commands that they have not answered yet.
//!
//! A command goes to the one connection of its node and is answered by that connection alone. It is sent once: a key that
//! was used is remembered, also when nobody knows what became of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::Recorded;
use moltbot_policy::nodes::{CommandSet, InvokePermit, NodeRules};
use moltbot_protocol::connect::ClientDescription;
use moltbot_protocol::error::{ErrorCode, WireError};
use moltbot_protocol::event;
use moltbot_protocol::frame::EventFrame;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::outbox::Outbox;
use crate::shared::lock;

/// The longest answer that is kept for a key, in bytes of its text.
const KEPT: usize = 16 * 1024;

type Outcome = Result<Value, WireError>;

/// The nodes of one gateway.
pub(crate) struct Nodes {
    inner: Mutex<Inner>,
    rules: NodeRules,
}

#[derive(Default)]
struct Inner {
    next: u64,
    live: BTreeMap<String, Live>,
    waiting: HashMap<String, Waiting>,
    /// The oldest first.
    keys: VecDeque<Used>,
}

/// A node that is connected.
struct Live {
    number: u64,
    facts: Facts,
    outbox: Arc<Outbox>,
    /// Events that it sent and nothing followed from.
    events: u64,
}

/// What a node says of itself when it connects.
pub(crate) struct Facts {
    pub(crate) says: ClientDescription,
    /// What it can show, as it says.
    pub(crate) caps: Vec<String>,
    pub(crate) offered: CommandSet,
    pub(crate) client: IpAddr,
    pub(crate) since_ms: u64,
}

/// A command that is not answered yet.
struct Waiting {
    number: u64,
    answer: oneshot::Sender<Answered>,
}

/// What a node answered.
pub(crate) struct Answered {
    pub(crate) ok: bool,
    pub(crate) payload: Value,
    pub(crate) payload_json: Option<String>,
    pub(crate) error: Value,
}

/// A key that a command was asked for with.
struct Used {
    key: Key,
    /// What was asked for.
    request: String,
    /// What came of it; nothing while it is being done.
    outcome: Option<Known>,
}

/// What is known of a command that was done.
#[derive(Clone)]
enum Known {
    Answer(Outcome),
    /// The answer was too long to be kept.
    Done,
}

/// Whose key, and the key.
pub(crate) type Key = (String, String);

/// A node's presence, until it is dropped.
pub(crate) struct OnDuty {
    nodes: Arc<Nodes>,
    id: String,
    number: u64,
}

impl Drop for OnDuty {
    fn drop(&mut self) {
        let mut inner = lock(&self.nodes.inner);
        if inner.live.get(&self.id).is_some_and(|live| live.number == self.number) {
            inner.live.remove(&self.id);
        }
        // Whoever waits for it learns that it is gone.
        inner.waiting.retain(|_, waiting| waiting.number != self.number);
    }
}

impl OnDuty {
    /// An answer of this node, by this connection. Whether anybody waited for it.
    pub(crate) fn answer(&self, id: &str, answered: Answered) -> bool {
        let mut inner = lock(&self.nodes.inner);
        if inner.waiting.get(id).is_none_or(|waiting| waiting.number != self.number) {
            return false;
        }
        inner.waiting.remove(id).is_some_and(|waiting| waiting.answer.send(answered).is_ok())
    }

    /// Counts an event that nothing follows from. The count, when the book is to be told: at each doubling.
    pub(crate) fn count_event(&self) -> Option<u64> {
        let mut inner = lock(&self.nodes.inner);
        let live = inner.live.get_mut(&self.id).filter(|live| live.number == self.number)?;
        live.events = live.events.saturating_add(1);
        live.events.is_power_of_two().then_some(live.events)
    }
}

impl Nodes {
    pub(crate) fn new(rules: NodeRules) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), rules })
    }

    pub(crate) const fn rules(&self) -> &NodeRules {
        &self.rules
    }

    /// A node is there. Of two connections of one node the later one is asked.
    pub(crate) fn arrive(self: &Arc<Self>, id: &str, facts: Facts, outbox: &Arc<Outbox>) -> OnDuty {
        let mut inner = lock(&self.inner);
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        let live = Live { number, facts, outbox: Arc::clone(outbox), events: 0 };
        inner.live.insert(id.to_owned(), live);
        OnDuty { nodes: Arc::clone(self), id: id.to_owned(), number }
    }

    /// What a connected node offers.
    pub(crate) fn offered(&self, id: &str) -> Option<CommandSet> {
        lock(&self.inner).live.get(id).map(|live| live.facts.offered.clone())
    }

    /// A node as clients see it: what is approved, and what it says when it is connected.
    pub(crate) fn shown(&self, mut node: Value) -> Value {
        let inner = lock(&self.inner);
        let live = node.get("nodeId").and_then(Value::as_str).and_then(|id| inner.live.get(id));
        let Some(members) = node.as_object_mut() else { return node };
        members.insert("paired".into(), json!(true));
        members.insert("connected".into(), json!(live.is_some()));
        let Some(Live { facts, .. }) = live else { return node };
        if let Some(commands) = members.get_mut("commands").and_then(Value::as_array_mut) {
            commands.retain(|command| command.as_str().is_some_and(|name| facts.offered.contains(name)));
        }
        let cut = |text: &str| -> String {
            text.chars().filter(|c| !c.is_control()).take(limits::DEVICE_TEXT_CHARS).collect()
        };
        let says = &facts.says;
        members.insert("caps".into(), json!(facts.caps));
        members.insert("remoteIp".into(), json!(facts.client.to_canonical().to_string()));
        members.insert("connectedAtMs".into(), json!(facts.since_ms));
        members.insert("version".into(), json!(cut(&says.version)));
        for (name, value) in
            [("deviceFamily", &says.device_family), ("modelIdentifier", &says.model_identifier)]
        {
            if let Some(value) = value {
                members.insert(name.into(), json!(cut(value)));
            }
        }
        node
    }

    /// Takes a key for a command. What came of it, when it was done before.
    ///
    /// # Errors
    /// When it is being done, or the key was used for something else.
    pub(crate) fn take_key(&self, key: &Key, request: &str) -> Result<Option<Outcome>, WireError> {
        let mut inner = lock(&self.inner);
        if let Some(used) = inner.keys.iter().find(|used| used.key == *key) {
            return match &used.outcome {
                _ if used.request != request => {
                    Err(WireError::invalid("this idempotencyKey was used for another command"))
                }
                None => Err(WireError::unavailable("this command is being done already")),
                Some(Known::Done) => Err(WireError::invalid(
                    "this command was done already; its answer was too long to be kept",
                )),
                Some(Known::Answer(outcome)) => Ok(Some(outcome.clone())),
            };
        }
        let running = inner.keys.iter().filter(|used| used.outcome.is_none()).count();
        if running >= limits::NODE_INVOKES {
            return Err(WireError::unavailable(
                "too many commands of nodes are not answered yet; wait for some",
            ));
        }
        if inner.keys.len() >= limits::NODE_KEYS
            && let Some(oldest) = inner.keys.iter().position(|used| used.outcome.is_some())
        {
            inner.keys.remove(oldest);
        }
        inner.keys.push_back(Used { key: key.clone(), request: request.to_owned(), outcome: None });
        Ok(None)
    }

    /// The command of a key was not sent.
    pub(crate) fn give_key_back(&self, key: &Key) {
        lock(&self.inner).keys.retain(|used| used.key != *key);
    }

    /// Remembers what came of a command.
    pub(crate) fn done(&self, key: &Key, outcome: &Outcome) {
        let is_short = match outcome {
            Ok(value) => value.to_string().len() <= KEPT,
            Err(_) => true,
        };
        let known = if is_short { Known::Answer(outcome.clone()) } else { Known::Done };
        if let Some(used) = lock(&self.inner).keys.iter_mut().find(|used| used.key == *key) {
            used.outcome = Some(known);
        }
    }

    /// Sends a command to its node, and waits for what comes of it: the outcome, and in one word how it ended. Nothing when
    /// the node is not there: then nothing was sent.
    pub(crate) async fn ask(
        &self,
        permit: &Recorded<InvokePermit>,
        params: &Value,
        key: &str,
        patience: Duration,
    ) -> Option<(Outcome, &'static str)> {
        let (node, command) = (permit.permit().node(), permit.permit().command());
        let id = moltbot_vault::random_id().ok()?;
        let asked = json!({
            "id": id, "nodeId": node, "command": command, "idempotencyKey": key,
            "paramsJSON": (!params.is_null()).then(|| params.to_string()),
            "timeoutMs": u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        });
        let frame = serde_json::to_string(&EventFrame::single(event::NODE_INVOKE_REQUEST, asked)).ok()?;
        let heard = {
            let mut inner = lock(&self.inner);
            let live = inner.live.get(node)?;
            let (number, outbox) = (live.number, Arc::clone(&live.outbox));
            let (answer, heard) = oneshot::channel();
            inner.waiting.insert(id.clone(), Waiting { number, answer });
            outbox.push_response(frame);
            heard
        };
        let failed = |code: &str, message: &str| {
            // Not to be tried again by itself: nobody knows what the node did.
            Err(WireError::new(ErrorCode::Unavailable, message)
                .with_details(json!({"nodeError": {"code": code, "message": message}})))
        };
        Some(match tokio::time::timeout(patience, heard).await {
            Ok(Ok(answered)) if answered.ok => (Ok(answered.into_payload(node, command)), "ok"),
            Ok(Ok(Answered { error, .. })) => {
                let told = error.get("message").and_then(Value::as_str).unwrap_or("node invoke failed");
                let told: String = told.chars().take(limits::DEVICE_TEXT_CHARS).collect();
                (
                    Err(WireError::new(ErrorCode::Unavailable, told)
                        .with_details(json!({"nodeError": error}))),
                    "failed",
                )
            }
            Ok(Err(_)) => (failed("DISCONNECTED", "node disconnected"), "disconnected"),
            Err(_) => {
                lock(&self.inner).waiting.remove(&id);
                (failed("TIMEOUT", "node invoke timed out"), "timeout")
            }
        })
    }
}

impl Answered {
    fn into_payload(self, node: &str, command: &str) -> Value {
        let parsed = self.payload_json.as_deref().map(|text| serde_json::from_str(text).unwrap_or_default());
        json!({
            "ok": true, "nodeId": node, "command": command, "payload": parsed.unwrap_or(self.payload),
            "payloadJSON": self.payload_json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        ("device:a".into(), text.into())
    }

    #[test]
    fn a_key_is_good_for_one_command_and_old_ones_are_forgotten_before_those_in_flight() {
        let nodes = Nodes::new(NodeRules::default());
        assert_eq!(nodes.take_key(&key("k"), "one").unwrap(), None);
        assert!(nodes.take_key(&key("k"), "one").is_err(), "it is being done");
        assert!(nodes.take_key(&key("k"), "two").is_err(), "something else");
        assert_eq!(nodes.take_key(&("device:b".into(), "k".into()), "two").unwrap(), None, "somebody else's");
        let outcome: Outcome = Ok(json!({"ok": true}));
        nodes.done(&key("k"), &outcome);
        assert_eq!(nodes.take_key(&key("k"), "one").unwrap(), Some(outcome));
        nodes.done(&key("k"), &Ok(json!("x".repeat(KEPT))));
        assert!(nodes.take_key(&key("k"), "one").is_err(), "done, and not again");
        for n in 0..limits::NODE_KEYS * 2 {
            let own = key(&n.to_string());
            assert_eq!(nodes.take_key(&own, "x").unwrap(), None);
            nodes.done(&own, &Ok(Value::Null));
        }
        assert!(lock(&nodes.inner).keys.len() <= limits::NODE_KEYS);
        assert!(nodes.take_key(&("device:b".into(), "k".into()), "two").is_err(), "still in flight");
        nodes.give_key_back(&("device:b".into(), "k".into()));
        let taken =
            (0..limits::NODE_INVOKES * 2).filter(|n| nodes.take_key(&key(&format!("f{n}")), "x").is_ok());
        assert_eq!(taken.count(), limits::NODE_INVOKES);
    }

    fn facts() -> Facts {
        let says = json!({"id": "node-host", "version": "1", "platform": "linux", "mode": "node"});
        Facts {
            says: serde_json::from_value(says).unwrap(),
            caps: Vec::new(),
            offered: CommandSet::new(),
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            since_ms: 0,
        }
    }

    fn answered() -> Answered {
        Answered { ok: true, payload: Value::Null, payload_json: None, error: Value::Null }
    }

    #[test]
    fn a_command_is_answered_by_the_connection_that_was_asked_and_by_no_other() {
        let nodes = Nodes::new(NodeRules::default());
        let outbox = Arc::new(Outbox::new(false, 0));
        let (first, other) = (nodes.arrive("a", facts(), &outbox), nodes.arrive("b", facts(), &outbox));
        let (answer, mut heard) = oneshot::channel();
        lock(&nodes.inner).waiting.insert("id".into(), Waiting { number: first.number, answer });
        let again = nodes.arrive("a", facts(), &outbox);
        assert!(!other.answer("id", answered()) && !again.answer("id", answered()));
        assert!(heard.try_recv().is_err());
        assert!(first.answer("id", answered()) && heard.try_recv().is_ok());
        assert!(!first.answer("id", answered()), "once");
        drop(first);
        assert!(nodes.offered("a").is_some(), "the later connection is still there");
        drop(again);
        assert!(nodes.offered("a").is_none());
    }
}
