//! `usage.*`: what the turns of the last days used, what they cost as far as prices are known, and which providers rest.

use jiff::Timestamp;
use moltbot_protocol::error::WireError;
use moltbot_protocol::message::Usage;
use moltbot_store::{DayUsage, RunUsage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome, store_failed};
use crate::shared::Shared;

/// Days, when the client does not say; and the most.
const DAYS: u64 = 30;
const DAYS_MAX: u64 = 366;
const DAY_MS: u64 = 86_400_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Params {
    /// What the use is told by besides the day.
    #[serde(default)]
    by: Option<By>,
    /// How many days, today among them.
    #[serde(default)]
    days: Option<u64>,
}

/// What a use is told by.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Run,
    Sender,
    Session,
}

pub(super) async fn cost(shared: &Shared, call: &Call) -> Outcome {
    let params: Params = call.params()?;
    let days = params.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(WireError::invalid(format!("days must be 1 to {DAYS_MAX}, not {days}")));
    }
    let now = shared.now_ms();
    let first = (now / DAY_MS).saturating_sub(days.saturating_sub(1));
    let used = shared.store.usage(first.saturating_mul(DAY_MS)).await;
    let used = used.map_err(|error| store_failed(&error))?;
    let mut total = DayUsage::default();
    for day in used.days.values() {
        total.add(day);
    }
    let daily: Vec<Value> =
        used.days.iter().map(|(day, used)| told(&[("date", &date(*day))], used)).collect();
    let mut answer = json!({"updatedAt": now, "days": days, "daily": daily, "totals": told(&[], &total)});
    let further: Option<(&str, Vec<Value>)> = params.by.map(|by| match by {
        By::Run => ("runs", used.runs.iter().map(run).collect()),
        By::Sender => {
            ("senders", used.senders.iter().map(|(who, used)| told(&[("who", who)], used)).collect())
        }
        By::Session => {
            ("sessions", used.sessions.iter().map(|(key, used)| told(&[("key", key)], used)).collect())
        }
    });
    if let (Some((name, rows)), Some(members)) = (further, answer.as_object_mut()) {
        members.insert(name.into(), rows.into());
    }
    Ok(answer)
}

fn run(run: &RunUsage) -> Value {
    let at = i64::try_from(run.accepted_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let at = at.unwrap_or_default().to_string();
    told(&[("runId", &run.run), ("key", &run.session), ("acceptedAt", &at)], &run.used)
}

/// Each provider that can be asked, and whether it or its keys rest after they failed. What a subscription still allows is
/// told by none of them to whoever has a key alone.
pub(super) fn status(shared: &Shared, call: &Call) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let Nothing {} = call.params()?;
    let providers = shared.agent.models().providers().into_iter().map(|provider| {
        let mut told = json!({
            "provider": provider.name, "displayName": provider.name, "windows": [], "keys": provider.keys,
        });
        if let (Some(left), Some(members)) = (provider.rests, told.as_object_mut()) {
            let seconds = left.as_secs().saturating_add(1);
            members.insert("restsForSeconds".into(), seconds.into());
            members.insert("error".into(), format!("it failed, and is asked last for {seconds} s").into());
        }
        told
    });
    Ok(json!({"updatedAt": shared.now_ms(), "providers": providers.collect::<Vec<_>>()}))
}

/// Tokens, dollars, and for how many turns the price is missing.
fn told(named: &[(&str, &str)], used: &DayUsage) -> Value {
    let Usage { input, output, cache_read, cache_write, total_tokens, .. } = used.usage;
    let mut told = json!({
        "input": input, "output": output, "cacheRead": cache_read, "cacheWrite": cache_write,
        "totalTokens": total_tokens, "totalCost": dollars(used.cost), "missingCostEntries": used.unpriced, "turns": used.turns,
    });
    if let Some(members) = told.as_object_mut() {
        members.extend(named.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    }
    told
}

/// Millionths of a dollar as dollars.
fn dollars(millionths: u64) -> Value {
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    serde_json::from_str(&text).unwrap_or(Value::Null) // its digits are a number
}

/// The day as `2026-01-31`, UTC.
fn date(day: u64) -> String {
    let at =
        i64::try_from(day.saturating_mul(DAY_MS)).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    at.unwrap_or_default().strftime("%F").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_date() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(20_484), "2026-01-31");
    }
}
