//! `moltbot pairing …` and `moltbot senders …`: who may speak on chat channels. Asks the gateway.

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{OneSender, Pairing, PairingRequest, Senders};
use crate::client::{Connection, failure};
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};
use crate::{clock, prompt, serve};

/// What approves needs an acknowledgement that was not given yet.
const UNACKNOWLEDGED: &str = "acknowledgement_required";

/// Does what a command of `pairing` says.
pub(crate) fn pairing(home: &Home, command: &Pairing) -> anyhow::Result<Exit> {
    match command {
        Pairing::List(facts) => {
            let answer = ask(home, Method::PairingList, json!({}))?;
            list(&answer, "requests", "nobody asks to be let in", facts.json)
        }
        Pairing::Approve { request, acknowledge } => approve(home, request, acknowledge.as_deref()),
        Pairing::Reject(PairingRequest { channel, code, json }) => {
            let answer = ask(home, Method::PairingReject, json!({"channel": channel, "code": code}))?;
            told(&answer, "refused", *json)
        }
        Pairing::Revoke(one) => decide(home, Method::PairingRevoke, one, "not let in any more"),
    }
}

/// Does what a command of `senders` says.
pub(crate) fn senders(home: &Home, command: &Senders) -> anyhow::Result<Exit> {
    match command {
        Senders::List(facts) => {
            let answer = ask(home, Method::SendersList, json!({}))?;
            list(&answer, "senders", "nobody was let in by pairing or blocked", facts.json)
        }
        Senders::Block(one) => decide(home, Method::SendersBlock, one, "blocked"),
        Senders::Unblock(one) => decide(home, Method::SendersUnblock, one, "a stranger again"),
    }
}

fn ask(home: &Home, method: Method, params: Value) -> anyhow::Result<Value> {
    serve::block_on(async {
        let mut connection = Connection::open(home, &[Scope::Admin, Scope::Pairing]).await?;
        let answer = connection.ask(method.name(), params).await?;
        connection.close().await;
        Ok(answer)
    })
}

fn decide(home: &Home, method: Method, one: &OneSender, what: &str) -> anyhow::Result<Exit> {
    let answer = ask(home, method, json!({"sender": one.sender}))?;
    told(&answer, what, one.json)
}

/// Asks who it is, has the owner say that he trusts this person, and only then approves exactly him.
fn approve(home: &Home, request: &PairingRequest, acknowledged: Option<&str>) -> anyhow::Result<Exit> {
    let PairingRequest { channel, code, json: as_json } = request;
    let answer = serve::block_on(async {
        let mut connection = Connection::open(home, &[Scope::Admin, Scope::Pairing]).await?;
        let mut params = json!({"channel": channel, "code": code, "acknowledge": acknowledged});
        let mut answer = connection.call(Method::PairingApprove.name(), params.clone()).await?;
        let details = answer.as_ref().err().and_then(|error| error.details.clone()).unwrap_or_default();
        if details.get("code").and_then(Value::as_str) == Some(UNACKNOWLEDGED) {
            require_trust(&details)?;
            if let (Some(params), Some(sender)) = (params.as_object_mut(), details.get("sender")) {
                params.insert("acknowledge".into(), sender.clone());
            }
            answer = connection.call(Method::PairingApprove.name(), params).await?;
        }
        connection.close().await;
        answer.map_err(|error| failure(&error))
    })?;
    told(&answer, "let in", *as_json)
}

/// Shows who it is and what he could do, and asks. Where nobody can be asked, nothing is approved.
fn require_trust(details: &Value) -> anyhow::Result<()> {
    output::note("SECURITY WARNING: this person asks to give orders to your assistant");
    output::note(&format!("  channel  {}", text(details, "channel")));
    output::note(&format!("  sender   {}", text(details, "sender")));
    output::note(&format!("  name     {:?} (anybody may be called anything)", text(details, "name")));
    output::note("Whoever is let in can");
    for power in details.get("powers").and_then(Value::as_array).into_iter().flatten() {
        output::note(&format!("  - {}", harmless(power.as_str().unwrap_or_default())));
    }
    output::note("Let in only people whom you trust completely.");
    if !output::is_interactive() {
        let message = format!(
            "nothing was approved: there is no terminal to ask at; give `--acknowledge {:?}` if you trust this person",
            text(details, "sender")
        );
        return Err(Exit::Failed.because(message));
    }
    if prompt::confirm("Do you trust this person and want to let him in?")? {
        return Ok(());
    }
    Err(Exit::Failed.because("nothing was approved"))
}

fn told(answer: &Value, what: &str, as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        output::json(answer)?;
    } else {
        output::line(&format!("{}: {what}", text(answer, "sender")))?;
    }
    Ok(Exit::Done)
}

fn list(answer: &Value, member: &str, nobody: &str, as_json: bool) -> anyhow::Result<Exit> {
    let rows = answer.get(member).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if as_json {
        output::json(&json!({member: rows}))?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        output::line(nobody)?;
    }
    for row in rows {
        let at = row.get("askedAtMs").or_else(|| row.get("decidedAtMs")).and_then(Value::as_u64);
        let at = clock::readable(at.unwrap_or_default());
        let state = row.get("state").or_else(|| row.get("standing")).and_then(Value::as_str).unwrap_or("?");
        let name = text(row, "name");
        output::line(&format!("{state:<9}  {at}  {}  says it is {name:?}", text(row, "sender")))?;
    }
    Ok(Exit::Done)
}

/// A member as text, without what a terminal would obey, in one line.
fn text(value: &Value, name: &str) -> String {
    harmless(value.get(name).and_then(Value::as_str).unwrap_or("?")).replace(['\n', '\t'], " ")
}
