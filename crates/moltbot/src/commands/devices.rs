//! `moltbot devices …`: who may sign in with a key of its own. Asks the gateway when one runs, and else decides here,
//! with the folder's lock, in the same book and the same store.

use moltbot_gateway::{Decider, Devices as Known};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use moltbot_store::Store;
use moltbot_vault::LockError;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::arguments::{Device, Devices, Request};
use crate::book::OWNER;
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::{self, Home, LOCK, Running};
use crate::output::{self, harmless};
use crate::{clock, serve};

/// Does what the command says.
pub(crate) fn run(home: &Home, command: &Devices) -> anyhow::Result<Exit> {
    let answer = if home.running()?.is_some() { ask(home, command)? } else { decide(home, command)? };
    let as_json = match command {
        Devices::Approve(request) | Devices::Reject(request) => request.json,
        Devices::List(facts) => facts.json,
        Devices::Revoke(device) | Devices::Rotate { device, .. } => device.json,
    };
    if as_json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    match command {
        Devices::Approve(_) => {
            output::line(&format!("approved: {}", described(answer.get("device").unwrap_or(&Value::Null))))?;
        }
        Devices::List(_) => list(&answer)?,
        Devices::Reject(_) => output::line(&format!("refused: device {}", text(&answer, "deviceId")))?,
        Devices::Revoke(_) => output::line(&format!(
            "device {} is not approved any more, and its connections have ended",
            text(&answer, "deviceId")
        ))?,
        Devices::Rotate { .. } => {
            output::note("the device's token from now on; it is shown once and not kept:");
            output::line(&text(&answer, "token"))?;
        }
    }
    Ok(Exit::Done)
}

/// Asks the gateway. The owner's own device on this machine holds every right, so it can give any.
fn ask(home: &Home, command: &Devices) -> anyhow::Result<Value> {
    let (method, params) = match command {
        Devices::Approve(Request { id, .. }) => (Method::DevicePairApprove, json!({"requestId": id})),
        Devices::List(_) => (Method::DevicePairList, json!({})),
        Devices::Reject(Request { id, .. }) => (Method::DevicePairReject, json!({"requestId": id})),
        Devices::Revoke(Device { device, role, .. }) => {
            (Method::DeviceTokenRevoke, json!({"deviceId": device, "role": role}))
        }
        Devices::Rotate { device: Device { device, role, .. }, scope } if scope.is_empty() => {
            (Method::DeviceTokenRotate, json!({"deviceId": device, "role": role}))
        }
        Devices::Rotate { device: Device { device, role, .. }, scope } => {
            (Method::DeviceTokenRotate, json!({"deviceId": device, "role": role, "scopes": scope}))
        }
    };
    serve::block_on(async {
        let mut connection = Connection::open(home, &[Scope::Admin, Scope::Pairing]).await?;
        let answer = connection.ask(method.name(), params).await?;
        connection.close().await;
        Ok(answer)
    })
}

/// Decides while no gateway runs.
fn decide(home: &Home, command: &Devices) -> anyhow::Result<Value> {
    let lock = home.state.lock(LOCK, &serde_json::to_vec(&Running::starting())?);
    let _lock = lock.map_err(|error| match error {
        LockError::Held { .. } => Exit::Busy.because("a gateway is just starting; try again in a second"),
        other => home::failed(&other),
    })?;
    let ledger = home.ledger()?.clone();
    let store = Store::open(&home.state, home.vault()?).map_err(|error| home::failed(&error))?;
    let answer = serve::block_on(async {
        let known = Known::open(store.clone(), ledger.clone(), &home.state, clock::now_ms).await;
        change(&known.map_err(|error| home::failed(&error))?, command).await
    });
    store.close();
    ledger.shutdown();
    answer
}

async fn change(known: &Known, command: &Devices) -> anyhow::Result<Value> {
    let owner = Decider::Owner(OWNER);
    let answer = match command {
        Devices::Approve(Request { id, .. }) => known.approve(id, owner).await,
        Devices::List(_) => Ok(known.list()),
        Devices::Reject(Request { id, .. }) => known.reject(id, owner).await,
        Devices::Revoke(Device { device, role, .. }) => {
            let revoked = known.revoke(device, role, owner).await;
            revoked.map(|at| json!({"deviceId": device, "role": role, "revokedAtMs": at}))
        }
        Devices::Rotate { device: Device { device, role, .. }, scope } => {
            let scopes = (!scope.is_empty()).then_some(scope.as_slice());
            let issued = known.rotate(device, role, scopes, owner).await;
            issued.map(|issued| {
                json!({
                    "deviceId": device, "role": role, "token": issued.token.expose_secret(),
                    "scopes": issued.scopes, "rotatedAtMs": issued.at_ms,
                })
            })
        }
    };
    answer.map_err(|error| home::failed(&error))
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let rows = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (pending, paired) = (rows("pending"), rows("paired"));
    if pending.is_empty() {
        output::line("no device waits for approval")?;
    }
    for request in &pending {
        let asked = clock::readable(request.get("ts").and_then(Value::as_u64).unwrap_or_default());
        output::line(&format!("waits     {}  {asked}  {}", text(request, "requestId"), described(request)))?;
    }
    for device in &paired {
        for role in device.get("tokens").and_then(Value::as_array).into_iter().flatten() {
            let revoked = role.get("revokedAtMs").is_some_and(Value::is_u64);
            let state = if revoked { "revoked " } else { "approved" };
            let mut device = device.clone();
            for member in ["role", "scopes", "commands"] {
                if let Some(members) = device.as_object_mut() {
                    members.insert(member.into(), role.get(member).cloned().unwrap_or_default());
                }
            }
            output::line(&format!("{state}  {}", described(&device)))?;
        }
    }
    Ok(())
}

/// A device in one line. What it says of itself is quoted, so that it cannot pass for something else.
fn described(device: &Value) -> String {
    let scopes = device.get("scopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    let scopes = if scopes.is_empty() { "no scopes".into() } else { harmless(&scopes.join(" ")) };
    let commands = device.get("commands").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let commands: Vec<&str> = commands.iter().filter_map(Value::as_str).collect();
    let commands =
        if commands.is_empty() { String::new() } else { format!(" and {}", harmless(&commands.join(" "))) };
    format!(
        "device {} from {} as {} with {scopes}{commands}; says it is {:?} ({:?} on {:?})",
        text(device, "deviceId"),
        text(device, "remoteIp"),
        text(device, "role"),
        text(device, "displayName"),
        text(device, "clientId"),
        text(device, "platform"),
    )
}

/// A member as text, without what a terminal would obey, in one line.
fn text(value: &Value, name: &str) -> String {
    harmless(value.get(name).and_then(Value::as_str).unwrap_or("?")).replace(['\n', '\t'], " ")
}
