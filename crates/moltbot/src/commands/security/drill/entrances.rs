//! Attacks on the entrances of a gateway.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use moltbot_config::settings::AuthConfig;
use moltbot_gateway::Ended;
use moltbot_net::drill::{Attack, status};
use moltbot_policy::drill::DrillPermit;
use moltbot_policy::{Recorded, with_causes};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::{Role, Scope};
use moltbot_vault::random;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Seen;
use super::field::{Field, Target};
use crate::client::Connection;
use crate::commands::stop;
use crate::home::Home;
use crate::serve::block_on;

/// What is asked for: nothing that there is. Only who has signed in is told so.
const PATH: &str = "/a-drill";
const LET_IN: u16 = 404;
const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;
const LIMITED: u16 = 429;
/// Sign-ins that a source may get wrong, and one more.
const TRIES: u8 = 6;
/// A token that is none.
const SHORT: &str = "short";
/// Somewhere else.
const ELSEWHERE: &str = "attacker.example";
/// Channels of which one that is not in use is asked for.
const CHANNELS: [&str; 3] = ["telegram", "irc", "mattermost"];

pub(super) fn no_credentials(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    knock(field, permit, None)
}

pub(super) fn short_token(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    knock(field, permit, Some(SHORT))
}

/// A request and a connection with that token, or with none. Afterwards the owner signs in, so that his tries are whole.
fn knock(field: &mut Field<'_>, permit: &Recorded<DrillPermit>, token: Option<&str>) -> anyhow::Result<Seen> {
    let target = field.target(permit)?;
    let bearer: Vec<_> = token.map(bearer).into_iter().collect();
    block_on(async {
        let asked = ask(permit, &target, Ipv4Addr::LOCALHOST, bearer).await?;
        anyhow::ensure!(asked != LIMITED, "{} refuses everybody of this machine for now", target.called);
        let connected = connect(target.port, stranger(token)).await?;
        let owner = ask(permit, &target, Ipv4Addr::LOCALHOST, vec![own(target.home)?]).await?;
        let what = format!(
            "{}: the request got status {asked}, the connection {}, its owner's request status {owner}",
            target.called,
            told(&connected)
        );
        anyhow::ensure!(owner == LET_IN, "{what}: it refuses its owner, too");
        Ok(Seen { held: asked == UNAUTHORIZED && connected.is_err(), what })
    })
}

pub(super) fn foreign_origin(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let target = field.throwaway(permit)?;
    block_on(async {
        let page = || ("Origin", format!("https://{ELSEWHERE}"));
        let owner = own(target.home)?;
        require_owner(permit, &target).await?;
        let asked = ask(permit, &target, Ipv4Addr::LOCALHOST, vec![owner, page()]).await?;
        let upgrade = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let upgrade = upgrade.map(|(name, value)| (name, value.to_owned()));
        let connected =
            ask(permit, &target, Ipv4Addr::LOCALHOST, upgrade.into_iter().chain([page()]).collect()).await?;
        let what = format!("{}: the request got status {asked}, the WebSocket {connected}", target.called);
        Ok(Seen { held: [asked, connected] == [FORBIDDEN; 2], what })
    })
}

pub(super) fn foreign_host(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let target = field.throwaway(permit)?;
    block_on(async {
        require_owner(permit, &target).await?;
        let host = format!("{ELSEWHERE}:{}", target.port);
        let headers = vec![own(target.home)?];
        let attack =
            Attack { from: Ipv4Addr::LOCALHOST, port: target.port, path: PATH, host: &host, headers };
        let asked = shoot(permit, &attack).await?;
        let what = format!("{}: the request got status {asked}", target.called);
        Ok(Seen { held: asked == FORBIDDEN, what })
    })
}

pub(super) fn forged_forwarding(
    field: &mut Field<'_>,
    permit: &Recorded<DrillPermit>,
) -> anyhow::Result<Seen> {
    let forwarded = |number: u8| Some(("X-Forwarded-For", format!("203.0.113.{number}")));
    guess(field, permit, Ipv4Addr::LOCALHOST, forwarded)
}

/// From an address that nobody else of this machine has.
pub(super) fn bad_sign_ins(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let [second, third, last] = random::<3>()?;
    let own = Ipv4Addr::new(127, second.max(1), third, last.clamp(2, 253));
    guess(field, permit, own, |_| None)
}

fn guess(
    field: &mut Field<'_>,
    permit: &Recorded<DrillPermit>,
    from: Ipv4Addr,
    header: impl Fn(u8) -> Option<(&'static str, String)>,
) -> anyhow::Result<Seen> {
    let target = field.throwaway(permit)?;
    block_on(async {
        let mut answers = Vec::new();
        for number in 1..=TRIES {
            let wrong = bearer("a-guess-that-is-wrong-and-long-enough-0123456789");
            let headers = [wrong].into_iter().chain(header(number)).collect();
            answers.push(ask(permit, &target, from, headers).await?);
        }
        let told: Vec<String> = answers.iter().map(ToString::to_string).collect();
        let what = format!("{}, from {from}: statuses {}", target.called, told.join(", "));
        let is_tried = answers.first() == Some(&UNAUTHORIZED);
        Ok(Seen { held: is_tried && answers.last() == Some(&LIMITED), what })
    })
}

/// For a channel that is not in use, so that nobody could write if it got through; then it is taken back.
pub(super) fn open_dm_policy(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let target = field.target(permit)?;
    block_on(async {
        let mut owner = Connection::open(target.home, &[Scope::Admin]).await?;
        let config = owner.ask(Method::ConfigGet.name(), json!({})).await?;
        let used = |name: &&str| config.pointer(&format!("/parsed/channels/{name}")).is_none();
        let channel = CHANNELS.into_iter().find(used).context("every channel is in use")?;
        let patch = |value: Value, hash: Option<&Value>| {
            let raw = json!({"channels": {channel: value}}).to_string();
            match hash {
                Some(hash) => json!({"raw": raw, "baseHash": hash}),
                None => json!({ "raw": raw }),
            }
        };
        let open = patch(json!({"dmPolicy": "open"}), config.get("hash"));
        let answer = owner.call(Method::ConfigPatch.name(), open).await?;
        let (held, came) = match answer {
            Err(error) => (error.message.contains("dmPolicy"), error.message),
            Ok(_) => (false, "it was written".to_owned()),
        };
        if !held {
            let after = owner.ask(Method::ConfigGet.name(), json!({})).await?;
            drop(owner.call(Method::ConfigPatch.name(), patch(Value::Null, after.get("hash"))).await?);
        }
        owner.close().await;
        let came: Vec<&str> = came.split_whitespace().collect();
        let came: String = came.join(" ").chars().take(300).collect();
        Ok(Seen { held, what: format!("{}, channels.{channel}: {came}", target.called) })
    })
}

pub(super) fn stop_button(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let target = field.throwaway(permit)?;
    let before = block_on(say(&target, "before"))?;
    anyhow::ensure!(before.is_none(), "{} says that it is stopped, and is not", target.called);
    let fact = stop::press(target.home)?;
    let after = block_on(say(&target, "after"))?;
    block_on(async {
        let mut owner = Connection::open(target.home, &[Scope::Admin]).await?;
        owner.ask(Method::TurnsResume.name(), json!({})).await?;
        owner.close().await;
        Ok(())
    })?;
    let ended = match fact.ended {
        Some(Ended { left, took_ms, .. }) => format!("stopped in {took_ms} ms, {left} processes left"),
        None => "the gateway does not say that it stopped".to_owned(),
    };
    let is_over = fact.ended.is_some_and(|ended| ended.left == 0);
    let answer = after.as_deref().unwrap_or("a turn begins");
    Ok(Seen {
        held: is_over && after.is_some(),
        what: format!("{}: {ended}; a message is answered: {answer}", target.called),
    })
}

/// Sends a message; what is said instead of beginning a turn.
async fn say(target: &Target<'_>, key: &str) -> anyhow::Result<Option<String>> {
    let mut owner = Connection::open(target.home, &[Scope::Write]).await?;
    let message =
        json!({"sessionKey": "main", "message": "a drill", "idempotencyKey": format!("drill-{key}")});
    let answer = owner.ask(Method::ChatSend.name(), message).await?;
    owner.close().await;
    Ok(answer.get("notice").and_then(Value::as_str).map(str::to_owned))
}

/// Refuses to conclude anything from a gateway that refuses its owner as well.
async fn require_owner(permit: &Recorded<DrillPermit>, target: &Target<'_>) -> anyhow::Result<()> {
    let asked = ask(permit, target, Ipv4Addr::LOCALHOST, vec![own(target.home)?]).await?;
    anyhow::ensure!(asked == LET_IN, "{} refuses its owner, too: status {asked}", target.called);
    Ok(())
}

async fn ask(
    permit: &Recorded<DrillPermit>,
    target: &Target<'_>,
    from: Ipv4Addr,
    headers: Vec<(&str, String)>,
) -> anyhow::Result<u16> {
    let host = format!("127.0.0.1:{}", target.port);
    shoot(permit, &Attack { from, port: target.port, path: PATH, host: &host, headers }).await
}

async fn shoot(permit: &Recorded<DrillPermit>, attack: &Attack<'_>) -> anyhow::Result<u16> {
    status(permit, attack).await.map_err(|error| anyhow::anyhow!(with_causes(&error)))
}

fn bearer(token: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {token}"))
}

/// The owner's own credential.
fn own(home: &Home) -> anyhow::Result<(&'static str, String)> {
    let AuthConfig { token, password, .. } = home.credentials()?;
    let secret = token.or(password).context("the gateway's credential is not known here")?;
    Ok(bearer(secret.expose_secret()))
}

/// What was answered to a `connect`: whether it was let in, or why not.
pub(super) async fn connect(
    port: u16,
    params: impl FnOnce(&str) -> Value,
) -> anyhow::Result<Result<Value, String>> {
    let (mut connection, nonce) = Connection::knock(port).await?;
    let answer = connection.call("connect", params(&nonce)).await;
    let answer = match answer {
        Ok(Ok(hello)) => Ok(hello),
        Ok(Err(error)) => Err(error.message),
        // It was hung up on.
        Err(error) => Err(format!("{error:#}")),
    };
    connection.close().await;
    Ok(answer)
}

pub(super) fn told(connected: &Result<Value, String>) -> String {
    match connected {
        Ok(_) => "was let in".into(),
        Err(why) => format!("was refused ({why})"),
    }
}

/// Somebody without a device, who asks for everything.
fn stranger(token: Option<&str>) -> impl FnOnce(&str) -> Value {
    let auth = token.map(|token| json!({ "token": token }));
    move |_| {
        json!({
            "minProtocol": moltbot_protocol::PROTOCOL_MIN,
            "maxProtocol": moltbot_protocol::PROTOCOL_MAX,
            "client": {
                "id": "cli", "mode": "cli",
                "version": env!("CARGO_PKG_VERSION"), "platform": std::env::consts::OS,
            },
            "role": Role::Operator.name(),
            "scopes": [Scope::Admin.name()],
            "auth": auth,
        })
    }
}
