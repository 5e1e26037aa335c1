//! `usage.cost`: what the turns of the last days used, and what they cost as far as prices are known.

use jiff::Timestamp;
use moltbot_protocol::error::WireError;
use moltbot_protocol::message::Usage;
use moltbot_store::DayUsage;
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
    /// How many days, today among them.
    #[serde(default)]
    days: Option<u64>,
}

pub(super) async fn cost(shared: &Shared, call: &Call) -> Outcome {
    let params: Params = call.params()?;
    let days = params.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(WireError::invalid(format!("days must be 1 to {DAYS_MAX}, not {days}")));
    }
    let now = shared.now_ms();
    let first = (now / DAY_MS).saturating_sub(days.saturating_sub(1));
    let used = shared.store.usage_by_day(first.saturating_mul(DAY_MS)).await;
    let used = used.map_err(|error| store_failed(&error))?;
    let mut total = DayUsage::default();
    for day in used.values() {
        total.turns = total.turns.saturating_add(day.turns);
        total.usage = total.usage.plus(day.usage);
        total.cost = total.cost.saturating_add(day.cost);
        total.unpriced = total.unpriced.saturating_add(day.unpriced);
    }
    let daily: Vec<Value> = used.iter().map(|(day, used)| told(Some(&date(*day)), used)).collect();
    Ok(json!({"updatedAt": now, "days": days, "daily": daily, "totals": told(None, &total)}))
}

/// Tokens, dollars, and for how many turns the price is missing.
fn told(date: Option<&str>, used: &DayUsage) -> Value {
    let Usage { input, output, cache_read, cache_write, total_tokens } = used.usage;
    let mut told = json!({
        "input": input, "output": output, "cacheRead": cache_read, "cacheWrite": cache_write,
        "totalTokens": total_tokens, "totalCost": dollars(used.cost), "missingCostEntries": used.unpriced, "turns": used.turns,
    });
    if let (Some(date), Some(members)) = (date, told.as_object_mut()) {
        members.insert("date".into(), json!(date));
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
