//! What the gateway spends on a durable turn: time, commits of the state database, flushes of the book.

use std::path::Path;
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use serde_json::{Value, json};

use crate::Outcome;
use crate::gateway::Gateway;
use crate::reference::PlainFile;
use crate::wire::Wire;
use moltbot_testkit::figure::{Figure, Limit, Reference, median};

/// Plain turns, one after the other, each in a session of its own: from `chat.send` to the final event.
pub(crate) async fn durable(binary: &Path, turns: u32) -> Outcome<Vec<Figure>> {
    let model = ScriptedModel::echo();
    let gateway = Gateway::spawn(binary, Home::with_model(&model))?;
    let mut wire = gateway.hello().await?;
    turn(&mut wire, 0).await?;
    let (commits, flushes) = counters(&mut wire).await?;
    let mut file = PlainFile::open()?;
    let (mut wall, mut cpu, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=turns {
        let before = gateway.cpu_ms()?;
        let began = Instant::now();
        turn(&mut wire, number).await?;
        wall.push(began.elapsed().as_secs_f64() * 1000.0);
        cpu.push(gateway.cpu_ms()? - before);
        plain.push(file.flushes(3)?);
    }
    let each = f64::from(turns);
    let (commits_after, flushes_after) = counters(&mut wire).await?;
    Ok(vec![
        Figure::new("durable turn, chat.send to final, wall", "ms", median(wall), Limit::None)
            .beside(Reference::Time("3 plain writes and flushes of 4 KiB".into(), median(plain))),
        Figure::new("durable turn, gateway CPU", "ms", median(cpu), Limit::None),
        Figure::new(
            "commits of the state db per turn",
            "",
            (commits_after - commits) / each,
            Limit::AtMost(2.0),
        ),
        Figure::new(
            "flushes of the book per turn",
            "",
            (flushes_after - flushes) / each,
            Limit::AtMost(1.05),
        ),
    ])
}

async fn turn(wire: &mut Wire, number: u32) -> Outcome<()> {
    let key = format!("bench-{number}");
    let params = json!({"sessionKey": key, "message": "say it", "idempotencyKey": key});
    let answer = wire.call("chat.send", params).await?;
    if answer.get("ok") != Some(&Value::Bool(true)) {
        return Err(answer.to_string().into());
    }
    wire.event("chat", "final").await.map(drop)
}

/// Commits and flushes so far, as `status` tells them: it is made anew when it is a second old and asked for.
async fn counters(wire: &mut Wire) -> Outcome<(f64, f64)> {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    wire.call("status", json!({})).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status = wire.call("status", json!({})).await?;
    let counter = |name: &str| status.pointer(name).and_then(Value::as_f64).ok_or("status tells no counters");
    Ok((counter("/payload/storeCommits")?, counter("/payload/ledgerFlushes")?))
}
