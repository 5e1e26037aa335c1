//! `moltbot usage`: what was used in the last days, and what it cost. Asks the gateway.

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Usage, UsageBy};
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Shows what was used.
pub(crate) async fn run(home: &Home, options: &Usage) -> anyhow::Result<Exit> {
    let by = options.by.map(|by| match by {
        UsageBy::Run => ("run", "runs", "runId"),
        UsageBy::Sender => ("sender", "senders", "who"),
        UsageBy::Session => ("session", "sessions", "key"),
    });
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let params = json!({"days": options.days, "by": by.map(|(by, ..)| by)});
    let answer = connection.ask(Method::UsageCost.name(), params).await?;
    connection.close().await;
    if options.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    rows(&answer, "daily", "date")?;
    if let Some((_, list, name)) = by {
        output::line("")?;
        rows(&answer, list, name)?;
    }
    let total = answer.get("totals").map(used).unwrap_or_default();
    output::line(&format!("{} days: {total}", options.days))?;
    Ok(Exit::Done)
}

fn rows(answer: &Value, list: &str, name: &str) -> anyhow::Result<()> {
    for row in answer.get(list).and_then(Value::as_array).into_iter().flatten() {
        let named = row.get(name).and_then(Value::as_str).unwrap_or("?");
        output::line(&format!("{}: {}", harmless(named).replace(['\n', '\t'], " "), used(row)))?;
    }
    Ok(())
}

/// What a row tells, in one line.
fn used(row: &Value) -> String {
    let count = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut told = format!(
        "{} turns, {} tokens ({} read, {} from a cache, {} written), ${}",
        count("turns"),
        count("totalTokens"),
        count("input").saturating_add(count("cacheWrite")),
        count("cacheRead"),
        count("output"),
        row.get("totalCost").unwrap_or(&Value::Null),
    );
    if count("missingCostEntries") > 0 {
        told.push_str(&format!(" (no price is known for {} turns)", count("missingCostEntries")));
    }
    told
}
