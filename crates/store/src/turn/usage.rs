//! What turns used, by day.

use std::collections::BTreeMap;

use moltbot_protocol::message::Usage;

use crate::database::{self, Failure};
use crate::sealed::Database;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// What the turns of one day used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DayUsage {
    /// Turns that have an end.
    pub turns: u64,
    /// What they used together.
    pub usage: Usage,
    /// What those cost whose price is known, in millionths of a dollar.
    pub cost: u64,
    /// Turns that asked a model whose price is not known.
    pub unpriced: u64,
}

/// The days since `since_ms` on which turns were accepted that have an end now: the number of the day, UTC, since 1970, and
/// what they used. Walks back from the newest turn, so that it costs what those days hold.
pub(crate) fn by_day(database: &Database, since_ms: u64) -> Result<BTreeMap<u64, DayUsage>, Failure> {
    let mut statement =
        database.prepare_cached("SELECT accepted_ms, usage, cost FROM turns ORDER BY id DESC")?;
    let mut rows = statement.query([])?;
    let mut days: BTreeMap<u64, DayUsage> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let accepted_ms: u64 = row.get(0)?;
        if accepted_ms < since_ms {
            break;
        }
        let usage: Option<String> = row.get(1)?;
        let Some(usage) = usage else { continue };
        let usage: Usage = database::from_json("a usage", &usage)?;
        let day = days.entry(accepted_ms / DAY_MS).or_default();
        day.turns = day.turns.saturating_add(1);
        day.usage = day.usage.plus(usage);
        match row.get::<_, Option<u64>>(2)? {
            Some(cost) => day.cost = day.cost.saturating_add(cost),
            None if usage == Usage::default() => {} // no model was asked
            None => day.unpriced = day.unpriced.saturating_add(1),
        }
    }
    Ok(days)
}
