//! What turns used, by day, session, sender and run.

use std::collections::BTreeMap;

use moltbot_protocol::message::Usage;

use crate::allowance;
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

/// What the turns since some day used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsageReport {
    /// By the number of the day, UTC, since 1970.
    pub days: BTreeMap<u64, DayUsage>,
    /// By the key of the session.
    pub sessions: BTreeMap<String, DayUsage>,
    /// By the holders of the allowances that the turns were counted by. A turn counts for each of its own.
    pub senders: BTreeMap<String, DayUsage>,
    /// The newest runs, newest first, [`RUNS`] at most.
    pub runs: Vec<RunUsage>,
}

/// What one run used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunUsage {
    /// The run.
    pub run: String,
    /// The key of its session.
    pub session: String,
    /// When its message was accepted, in milliseconds since the epoch.
    pub accepted_ms: u64,
    /// What it used.
    pub used: DayUsage,
}

/// Runs of a report.
pub const RUNS: usize = 200;
/// Whom turns count for whose allowances nobody keeps any more.
const FORGOTTEN: &str = "forgotten";

impl DayUsage {
    /// The use of one turn that has an end.
    fn of(usage: Usage, cost: Option<u64>) -> Self {
        // Without any use no model was asked, and nothing has a price.
        let unpriced = u64::from(cost.is_none() && usage != Usage::default());
        Self { turns: 1, usage, cost: cost.unwrap_or(0), unpriced }
    }

    /// Adds another use.
    pub const fn add(&mut self, other: &Self) {
        self.turns = self.turns.saturating_add(other.turns);
        self.usage = self.usage.plus(other.usage);
        self.cost = self.cost.saturating_add(other.cost);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
    }
}

/// What the turns used that were accepted since `since_ms` and have an end now. Walks back from the newest turn, so that it
/// costs what those days hold.
pub(crate) fn report(database: &Database, since_ms: u64) -> Result<UsageReport, Failure> {
    let holders: BTreeMap<i64, String> = allowance::all(database)?
        .into_iter()
        .map(|allowance| (allowance.holder.number, allowance.holder.who))
        .collect();
    let mut statement = database.prepare_cached(
        "SELECT accepted_ms, turns.usage, turns.cost, allowances, run, key
         FROM turns JOIN sessions ON sessions.id = turns.session ORDER BY turns.id DESC",
    )?;
    let mut rows = statement.query([])?;
    let mut report = UsageReport::default();
    while let Some(row) = rows.next()? {
        let accepted_ms: u64 = row.get(0)?;
        if accepted_ms < since_ms {
            break;
        }
        let usage: Option<String> = row.get(1)?;
        let Some(usage) = usage else { continue };
        let used = DayUsage::of(database::from_json("a usage", &usage)?, row.get(2)?);
        let numbers: Option<String> = row.get(3)?;
        let numbers: Vec<i64> = match numbers {
            Some(numbers) => database::from_json("a turn's allowances", &numbers)?,
            None => Vec::new(),
        };
        let (run, session): (String, String) = (row.get(4)?, row.get(5)?);
        report.days.entry(accepted_ms / DAY_MS).or_default().add(&used);
        report.sessions.entry(session.clone()).or_default().add(&used);
        for number in numbers {
            let who = holders.get(&number).map_or(FORGOTTEN, String::as_str);
            report.senders.entry(who.to_owned()).or_default().add(&used);
        }
        if report.runs.len() < RUNS {
            report.runs.push(RunUsage { run, session, accepted_ms, used });
        }
    }
    Ok(report)
}
