//! Allowances: what each holder used in the day that was begun last. What a day may have is not decided here.
//!
//! Counts are added to in the commit of the message or of the turn's end that they count, so that a crash neither
//! forgets nor doubles any. A later day begins at nothing; an earlier one begins never.

use rusqlite::named_params;

use crate::column::{Column, Place, row};
use crate::database::{self, Failure};
use crate::sealed::Database;
use crate::turn::{TurnEnd, TurnId};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Whose allowance, by the number of its row, which the caller gives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllowanceHolder {
    /// The number.
    pub number: i64,
    /// The name; sealed.
    pub who: String,
}

/// What is kept of one allowance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// Whose.
    pub holder: AllowanceHolder,
    /// Other limits than the config's, as JSON.
    pub own: Option<String>,
    /// The day that was begun last: its number since 1970, UTC.
    pub day: u64,
    /// Messages of that day.
    pub messages: u64,
    /// Turns of that day.
    pub turns: u64,
    /// Tokens of that day.
    pub tokens: u64,
    /// What they cost, in millionths of a dollar.
    pub cost: u64,
    /// Turns whose price was not known.
    pub unpriced: u64,
    /// Whether the holder was told on that day that it is used up.
    pub told: bool,
}

/// A change to one allowance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AllowanceChange {
    /// One more message that begins no turn, on that day.
    Count {
        /// The day.
        day: u64,
    },
    /// Nothing is kept of it any more.
    Forget,
    /// Other limits than the config's, as JSON; nothing for the config's.
    Limit {
        /// The limits.
        own: Option<String>,
        /// The day.
        day: u64,
    },
    /// Nothing counts as used on that day.
    Reset {
        /// The day.
        day: u64,
    },
    /// The holder was told on that day that it is used up.
    Tell {
        /// The day.
        day: u64,
    },
}

/// What is added to a day's counts.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    messages: u64,
    turns: u64,
    tokens: u64,
    cost: u64,
    unpriced: u64,
}

const fn place(number: i64) -> Place<'static> {
    Place { column: Column::Allowance, row: row(number), session_id: "", key: "" }
}

/// Every allowance of which something is kept.
pub(crate) fn all(database: &Database) -> Result<Vec<Allowance>, Failure> {
    let mut statement = database.prepare(
        "SELECT id, who, own, day, messages, turns, tokens, cost, unpriced, told FROM allowances ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut allowances = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let who = database.unseal(&place(number), row.get_ref(1)?)?;
        let who = String::from_utf8(who.to_vec())
            .map_err(|error| database::unreadable("a holder", &error.to_string()))?;
        allowances.push(Allowance {
            holder: AllowanceHolder { number, who },
            own: row.get(2)?,
            day: row.get(3)?,
            messages: row.get(4)?,
            turns: row.get(5)?,
            tokens: row.get(6)?,
            cost: row.get(7)?,
            unpriced: row.get(8)?,
            told: row.get(9)?,
        });
    }
    Ok(allowances)
}

/// Keeps a change.
pub(crate) fn change(
    database: &Database,
    holder: &AllowanceHolder,
    change: &AllowanceChange,
) -> Result<(), Failure> {
    let number = holder.number;
    match change {
        AllowanceChange::Count { day } => {
            require_row(database, holder)?;
            add(database, number, *day, Added { messages: 1, ..Added::default() })
        }
        AllowanceChange::Forget => {
            database.prepare_cached("DELETE FROM allowances WHERE id = ?1")?.execute([number])?;
            Ok(())
        }
        AllowanceChange::Limit { own, day } => {
            require_row(database, holder)?;
            add(database, number, *day, Added::default())?;
            let mut update = database.prepare_cached("UPDATE allowances SET own = ?2 WHERE id = ?1")?;
            update.execute((number, own))?;
            Ok(())
        }
        AllowanceChange::Reset { day } => {
            let mut update = database.prepare_cached(
                "UPDATE allowances SET day = ?2, messages = 0, turns = 0, tokens = 0, cost = 0, unpriced = 0, told = 0
                 WHERE id = ?1",
            )?;
            update.execute((number, database::whole(*day)))?;
            Ok(())
        }
        AllowanceChange::Tell { day } => {
            require_row(database, holder)?;
            add(database, number, *day, Added::default())?;
            database.prepare_cached("UPDATE allowances SET told = 1 WHERE id = ?1")?.execute([number])?;
            Ok(())
        }
    }
}

/// Counts a turn that begins, and notes by whose allowances it is counted.
pub(crate) fn begin_turn(
    database: &Database,
    turn: TurnId,
    holders: &[AllowanceHolder],
    now_ms: u64,
) -> Result<(), Failure> {
    if holders.is_empty() {
        return Ok(());
    }
    for holder in holders {
        require_row(database, holder)?;
        let added = Added { messages: 1, turns: 1, ..Added::default() };
        add(database, holder.number, now_ms / DAY_MS, added)?;
    }
    let numbers: Vec<i64> = holders.iter().map(|holder| holder.number).collect();
    let mut update = database.prepare_cached("UPDATE turns SET allowances = ?1 WHERE id = ?2")?;
    update.execute((database::to_json(&numbers)?, turn.0))?;
    Ok(())
}

/// Adds what a turn used, on the day on which it ends.
pub(crate) fn add_turn(database: &Database, turn: TurnId, end: &TurnEnd) -> Result<(), Failure> {
    let mut read = database.prepare_cached("SELECT allowances FROM turns WHERE id = ?1")?;
    let numbers: Option<String> = read.query_row([turn.0], |row| row.get(0))?;
    let numbers: Vec<i64> =
        numbers.map_or(Ok(Vec::new()), |numbers| database::from_json("a turn's allowances", &numbers))?;
    let added = Added {
        tokens: end.usage.total_tokens,
        cost: end.cost,
        unpriced: u64::from(end.unpriced),
        ..Added::default()
    };
    for number in numbers {
        add(database, number, end.ended_ms / DAY_MS, added)?;
    }
    Ok(())
}

/// The row of a holder, which is made when there is none.
fn require_row(database: &Database, holder: &AllowanceHolder) -> Result<(), Failure> {
    let mut exists = database.prepare_cached("SELECT 1 FROM allowances WHERE id = ?1")?;
    if exists.exists([holder.number])? {
        return Ok(());
    }
    let who = database.seal(&place(holder.number), holder.who.as_bytes())?;
    let mut insert = database.prepare_cached("INSERT INTO allowances (id, who, day) VALUES (?1, ?2, 0)")?;
    insert.execute((holder.number, who))?;
    Ok(())
}

/// Adds to a row; nothing when there is none any more. Sums end at the largest number that SQLite has.
fn add(database: &Database, number: i64, day: u64, added: Added) -> Result<(), Failure> {
    let mut update = database.prepare_cached(
        "UPDATE allowances SET
             messages = (CASE WHEN day < :day THEN 0 ELSE messages END) + :messages,
             turns = (CASE WHEN day < :day THEN 0 ELSE turns END) + :turns,
             tokens = min((CASE WHEN day < :day THEN 0 ELSE tokens END), :most - :tokens) + :tokens,
             cost = min((CASE WHEN day < :day THEN 0 ELSE cost END), :most - :cost) + :cost,
             unpriced = (CASE WHEN day < :day THEN 0 ELSE unpriced END) + :unpriced,
             told = CASE WHEN day < :day THEN 0 ELSE told END,
             day = max(day, :day)
         WHERE id = :number",
    )?;
    update.execute(named_params! {
        ":number": number,
        ":day": database::whole(day),
        ":messages": database::whole(added.messages),
        ":turns": database::whole(added.turns),
        ":tokens": database::whole(added.tokens),
        ":cost": database::whole(added.cost),
        ":unpriced": database::whole(added.unpriced),
        ":most": i64::MAX,
    })?;
    Ok(())
}
