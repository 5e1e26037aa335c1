//! Allowances: what each used today, who has used his up, and what the owner lets him use instead.
//!
//! What is in memory is what is on the disk: a message is counted with the commit that keeps it, what a turn used with the
//! commit of its end. A message is counted in memory first, so that many at once cannot all be the last one.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::Timestamp;
use moltbot_agent::{NotAllowed, TurnReport};
use moltbot_config::limits;
use moltbot_config::settings::{AllowancesConfig, OwnLimits};
use moltbot_ledger::Ledger;
use moltbot_policy::allowance::{
    self, AllowanceAct, AllowancePermit, Demand, Holder, Limits, Measure, REFUSAL, SPENT, Used,
};
use moltbot_policy::authorization::Grant;
use moltbot_policy::{Refusal, Unrecorded, record_soon};
use moltbot_protocol::principal::Principal;
use moltbot_store::{Allowance, AllowanceChange, AllowanceHolder, Store, StoreError};
use serde_json::{Value, json};
use thiserror::Error;

use crate::shared::lock;

/// Why an allowance was not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AllowanceError {
    /// It is not allowed, or there is no such holder.
    #[error("{0}")]
    Refused(Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// A message whose sender has used up what he may today.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "the allowance of {holder} for today is used up: {used} {measure} of {most}; it begins anew at {ends}, or the owner raises it with `moltbot allowance set {holder}`",
    measure = measure.name(), ends = instant(*ends_ms)
)]
pub(crate) struct Spent {
    pub(crate) holder: String,
    pub(crate) measure: Measure,
    pub(crate) used: u64,
    pub(crate) most: u64,
    pub(crate) ends_ms: u64,
    /// Whether it is the first time today that it is refused.
    pub(crate) first: bool,
}

impl Spent {
    /// What the book is told.
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::new(SPENT, self.to_string())
    }

    /// What a client is told besides the sentence.
    pub(crate) fn details(&self) -> Value {
        json!({
            "code": SPENT, "who": self.holder, "measure": self.measure.name(), "used": self.used, "most": self.most,
            "endsAtMs": self.ends_ms,
        })
    }
}

/// A message that was counted.
#[derive(Debug)]
#[must_use = "a message that is not kept is taken back"]
pub(crate) struct Counted {
    /// By whose allowances.
    pub(crate) holders: Vec<AllowanceHolder>,
    demand: Demand,
}

/// The allowances of one installation.
pub(crate) struct Allowances {
    store: Store,
    ledger: Ledger,
    clock: fn() -> u64,
    config: AllowancesConfig,
    kept: Mutex<Kept>,
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    tallies: HashMap<String, Tally>,
    last: i64,
}

/// What one holder used in the day that was begun last.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    number: i64,
    own: OwnLimits,
    day: u64,
    used: Used,
    told: bool,
}

impl Tally {
    /// Begins the day, if it is a later one.
    fn roll(&mut self, day: u64) {
        if day > self.day {
            (self.day, self.used, self.told) = (day, Used::default(), false);
        }
    }
}

impl Kept {
    /// The tally of a holder on a day; nothing when too many are known already.
    fn tally(&mut self, who: &str, day: u64) -> Option<&mut Tally> {
        if !self.tallies.contains_key(who) {
            if self.tallies.len() >= limits::ALLOWANCES {
                return None;
            }
            self.last = self.last.saturating_add(1);
            let tally = Tally { number: self.last, day, ..Tally::default() };
            self.tallies.insert(who.to_owned(), tally);
        }
        let tally = self.tallies.get_mut(who)?;
        tally.roll(day);
        Some(tally)
    }

    /// The same, of one that is not to be remembered if it is new.
    fn look(&self, who: &str, day: u64) -> Tally {
        let mut tally = self.tallies.get(who).copied().unwrap_or(Tally { day, ..Tally::default() });
        tally.roll(day);
        tally
    }
}

impl Allowances {
    /// Reads what is kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn open(
        store: Store,
        ledger: Ledger,
        clock: fn() -> u64,
        config: AllowancesConfig,
    ) -> Result<Self, AllowanceError> {
        let mut kept = Kept::default();
        for allowance in store.allowances().await? {
            let (who, tally) = read(allowance)?;
            kept.last = kept.last.max(tally.number);
            kept.tallies.insert(who, tally);
        }
        let changing = tokio::sync::Mutex::default();
        Ok(Self { store, ledger, clock, config, kept: Mutex::new(kept), changing })
    }

    /// Counts a message of `principal`, or says what he has used up. Whoever gets it keeps it together with the message, or
    /// takes it back.
    pub(crate) fn admit(&self, principal: &Principal, demand: Demand) -> Result<Counted, Box<Spent>> {
        let day = self.today();
        let names = holders(principal);
        let mut kept = lock(&self.kept);
        for holder in &names {
            let who = holder.to_string();
            if kept.tally(&who, day).is_none() {
                let most = u64::try_from(limits::ALLOWANCES).unwrap_or(u64::MAX);
                return Err(Box::new(self.spent(
                    &mut kept,
                    principal,
                    who,
                    Measure::Messages,
                    (most, most),
                    day,
                )));
            }
            self.require(&mut kept, principal, holder, Used::default(), demand, day)?;
        }
        let mut counted = Vec::with_capacity(names.len());
        for holder in &names {
            let who = holder.to_string();
            if let Some(tally) = kept.tally(&who, day) {
                tally.used = tally.used.plus(one(demand));
                counted.push(AllowanceHolder { number: tally.number, who });
            }
        }
        Ok(Counted { holders: counted, demand })
    }

    /// Takes a message back that was counted and is not kept.
    pub(crate) fn take_back(&self, counted: &Counted) {
        let one = one(counted.demand);
        let mut kept = lock(&self.kept);
        for AllowanceHolder { who, .. } in &counted.holders {
            if let Some(tally) = kept.tallies.get_mut(who) {
                tally.used.messages = tally.used.messages.saturating_sub(one.messages);
                tally.used.turns = tally.used.turns.saturating_sub(one.turns);
            }
        }
    }

    /// Demands that a turn of `principal` may ask a model, after it has used so many tokens and so much money itself.
    pub(crate) fn require_model(
        &self,
        principal: &Principal,
        tokens: u64,
        cost: u64,
    ) -> Result<(), Box<Spent>> {
        let day = self.today();
        let running = Used { tokens, cost, ..Used::default() };
        let mut kept = lock(&self.kept);
        holders(principal)
            .iter()
            .try_for_each(|holder| self.require(&mut kept, principal, holder, running, Demand::Model, day))
    }

    /// What a turn says that was refused a model: to whoever wrote on a channel, once a day.
    pub(crate) fn not_allowed(spent: &Spent) -> NotAllowed {
        NotAllowed { why: spent.to_string(), reply: spent.first.then_some(REFUSAL) }
    }

    /// Counts what a turn used. The store has counted it with the turn's end.
    pub(crate) fn ended(&self, principal: &Principal, report: &TurnReport) {
        let used = Used {
            cost: report.cost,
            tokens: report.usage.total_tokens,
            unpriced: u64::from(report.unpriced),
            ..Used::default()
        };
        let day = allowance::day(report.ended_ms);
        let mut kept = lock(&self.kept);
        for holder in holders(principal) {
            if let Some(tally) = kept.tally(&holder.to_string(), day) {
                tally.used = tally.used.plus(used);
            }
        }
    }

    /// Keeps a counted message that begins no turn.
    pub(crate) async fn keep(&self, counted: Counted) -> Result<(), StoreError> {
        let day = self.today();
        for holder in counted.holders {
            self.store.change_allowance(holder, AllowanceChange::Count { day }).await?;
        }
        Ok(())
    }

    /// Keeps that somebody was told that his allowance is used up; or that he has to be told yet.
    pub(crate) async fn told(&self, principal: &Principal, was: bool) -> Result<(), StoreError> {
        let (who, day) = (principal.to_string(), self.today());
        let number = {
            let mut kept = lock(&self.kept);
            let Some(tally) = kept.tally(&who, day) else { return Ok(()) };
            tally.told = was;
            tally.number
        };
        if !was {
            return Ok(());
        }
        let holder = AllowanceHolder { number, who };
        self.store.change_allowance(holder, AllowanceChange::Tell { day }).await
    }

    /// What `/allowance` answers somebody.
    pub(crate) fn answer(&self, principal: &Principal) -> String {
        let holder = Holder::Principal(principal.clone());
        let tally = lock(&self.kept).look(&holder.to_string(), self.today());
        allowance::answer(&allowance::limits(&self.config, &holder, tally.own), &tally.used)
    }

    /// What each used today and may use: of `who` alone, when somebody is named.
    pub(crate) fn list(&self, who: Option<&Holder>) -> Value {
        let day = self.today();
        let holders: Vec<Value> = {
            let kept = lock(&self.kept);
            let mut names: Vec<&str> = match who {
                Some(_) => Vec::new(),
                None => kept.tallies.keys().map(String::as_str).collect(),
            };
            let (named, always) = (who.map(ToString::to_string), ["owner", "together"]);
            names.extend(named.as_deref().into_iter().chain(always.into_iter().filter(|_| who.is_none())));
            names.sort_unstable();
            names.dedup();
            names.into_iter().filter_map(|name| self.shown(name, &kept.look(name, day))).collect()
        };
        json!({"day": date(day), "endsAtMs": allowance::ends_ms(day), "holders": holders})
    }

    fn shown(&self, who: &str, tally: &Tally) -> Option<Value> {
        let limits = self.limits_of(who, tally.own)?;
        let spent = allowance::require(&limits, &tally.used, Demand::Turn).err().map(Measure::name);
        let Used { cost, messages, tokens, turns, unpriced } = tally.used;
        Some(json!({
            "who": who,
            "used": {
                "messages": messages, "turns": turns, "tokens": tokens, "costMillionths": cost,
                "unpricedTurns": unpriced,
            },
            "limits": {
                "messages": limits.messages, "turns": limits.turns, "tokens": limits.tokens,
                "costMillionths": limits.cost,
            },
            "own": tally.own,
            "spent": spent,
        }))
    }

    fn limits_of(&self, who: &str, own: OwnLimits) -> Option<Limits> {
        Some(allowance::limits(&self.config, &Holder::parse(who).ok()?, own))
    }

    /// Lets somebody use other limits than the config's; without any, those of the config again.
    ///
    /// # Errors
    /// When the decider may not decide, or it cannot be recorded or kept.
    pub(crate) async fn set(
        &self,
        holder: Holder,
        own: OwnLimits,
        by: &Grant,
    ) -> Result<Value, AllowanceError> {
        let _alone = self.changing.lock().await;
        let (who, day) = (holder.to_string(), self.today());
        let own =
            if own == OwnLimits::default() { own } else { own.over(lock(&self.kept).look(&who, day).own) };
        let text = serde_json::to_string(&own).unwrap_or_default();
        let permit = AllowancePermit::by(by, AllowanceAct::Set, holder.clone(), text.clone());
        drop(record_soon(permit.map_err(AllowanceError::Refused)?, &self.ledger).await?);
        let kept = (own != OwnLimits::default()).then_some(text);
        self.change(&who, day, AllowanceChange::Limit { own: kept, day }).await?;
        if let Some(tally) = lock(&self.kept).tally(&who, day) {
            tally.own = own;
        }
        Ok(self.list(Some(&holder)))
    }

    /// Forgets what somebody used today.
    ///
    /// # Errors
    /// When the decider may not decide, or it cannot be recorded or kept.
    pub(crate) async fn reset(&self, holder: Holder, by: &Grant) -> Result<Value, AllowanceError> {
        let _alone = self.changing.lock().await;
        let (who, day) = (holder.to_string(), self.today());
        let permit = AllowancePermit::by(by, AllowanceAct::Reset, holder.clone(), String::new());
        drop(record_soon(permit.map_err(AllowanceError::Refused)?, &self.ledger).await?);
        self.change(&who, day, AllowanceChange::Reset { day }).await?;
        if let Some(tally) = lock(&self.kept).tally(&who, day) {
            (tally.day, tally.used, tally.told) = (day, Used::default(), false);
        }
        Ok(self.list(Some(&holder)))
    }

    async fn change(&self, who: &str, day: u64, change: AllowanceChange) -> Result<(), AllowanceError> {
        let number = lock(&self.kept).tally(who, day).map(|tally| tally.number);
        let number = number.ok_or_else(|| {
            AllowanceError::Refused(Refusal::new("too_many_holders", "too many allowances are known today"))
        })?;
        let holder = AllowanceHolder { number, who: who.to_owned() };
        Ok(self.store.change_allowance(holder, change).await?)
    }

    /// Forgets those of earlier days, once there are many.
    pub(crate) async fn prune(&self) {
        let day = self.today();
        let over: Vec<AllowanceHolder> = {
            let mut kept = lock(&self.kept);
            if kept.tallies.len() < limits::ALLOWANCES / 2 {
                return;
            }
            let is_over =
                |_: &String, tally: &mut Tally| tally.day < day && tally.own == OwnLimits::default();
            let over = kept.tallies.extract_if(is_over);
            over.map(|(who, tally)| AllowanceHolder { number: tally.number, who }).collect()
        };
        for holder in over {
            if let Err(error) = self.store.change_allowance(holder, AllowanceChange::Forget).await {
                tracing::error!(%error, "an allowance of an earlier day could not be removed");
                return;
            }
        }
    }

    fn today(&self) -> u64 {
        allowance::day((self.clock)())
    }

    fn require(
        &self,
        kept: &mut Kept,
        principal: &Principal,
        holder: &Holder,
        running: Used,
        demand: Demand,
        day: u64,
    ) -> Result<(), Box<Spent>> {
        let who = holder.to_string();
        let tally = kept.look(&who, day);
        let limits = allowance::limits(&self.config, holder, tally.own);
        let used = tally.used.plus(running);
        let Err(measure) = allowance::require(&limits, &used, demand) else { return Ok(()) };
        let (used, most) = match measure {
            Measure::Cost => (used.cost, limits.cost),
            Measure::Messages => (used.messages, limits.messages),
            Measure::Tokens => (used.tokens, limits.tokens),
            Measure::Turns => (used.turns, limits.turns),
        };
        Err(Box::new(self.spent(kept, principal, who, measure, (used, most.unwrap_or_default()), tally.day)))
    }

    /// A refusal; the first of the day for `principal` says so.
    fn spent(
        &self,
        kept: &mut Kept,
        principal: &Principal,
        holder: String,
        measure: Measure,
        (used, most): (u64, u64),
        day: u64,
    ) -> Spent {
        let own = kept.tally(&principal.to_string(), self.today());
        let first = own.is_some_and(|tally| !std::mem::replace(&mut tally.told, true));
        Spent { holder, measure, used, most, ends_ms: allowance::ends_ms(day), first }
    }
}

/// By whose allowances a message counts. What the owner says is his alone.
fn holders(principal: &Principal) -> Vec<Holder> {
    match principal {
        Principal::Owner => vec![Holder::Principal(Principal::Owner)],
        // What a heartbeat costs, its owner pays. And it is a turn of each hook whose words it is told.
        Principal::Heartbeat(hooks) => {
            let of_hooks = hooks.iter().cloned().map(Principal::Hook);
            std::iter::once(Principal::Owner).chain(of_hooks).map(Holder::Principal).collect()
        }
        Principal::Hook(_) | Principal::Sender(_) => {
            vec![Holder::Principal(principal.clone()), Holder::Together]
        }
    }
}

/// What one message counts.
fn one(demand: Demand) -> Used {
    match demand {
        Demand::Command => Used { messages: 1, ..Used::default() },
        Demand::Model => Used::default(),
        Demand::Turn => Used { messages: 1, turns: 1, ..Used::default() },
    }
}

fn read(allowance: Allowance) -> Result<(String, Tally), AllowanceError> {
    let Allowance { holder, own, day, messages, turns, tokens, cost, unpriced, told } = allowance;
    let own = own.map_or(Ok(OwnLimits::default()), |own| serde_json::from_str(&own)).map_err(|error| {
        let message = format!("the limits kept for {} cannot be read: {error}", holder.who);
        AllowanceError::Refused(Refusal::new("unreadable_limits", message))
    })?;
    let used = Used { cost, messages, tokens, turns, unpriced };
    Ok((holder.who, Tally { number: holder.number, own, day, used, told }))
}

fn at(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

fn instant(ms: u64) -> String {
    at(ms).strftime("%F %H:%M UTC").to_string()
}

fn date(day: u64) -> String {
    at(allowance::ends_ms(day).saturating_sub(1)).strftime("%F").to_string()
}
