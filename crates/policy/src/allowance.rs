//! What may be used in a day: whoever has used it up causes no turn, and no model is asked for him.
//!
//! A day begins at midnight UTC. A clock that goes back begins none: what was used stays used until the day comes that
//! was begun last. Each holder has his own allowance; senders and hooks have one together besides, and the owner's is his
//! alone, so that nobody else can use it up.

use std::fmt;

use moltbot_config::settings::{AllowancesConfig, Dollars, OwnLimits};
use moltbot_protocol::message::Usage;
use moltbot_protocol::principal::Principal;
use moltbot_protocol::scope::Scope;

use crate::authorization::Grant;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// The stable code of what is refused because an allowance is used up.
pub const SPENT: &str = "allowance_spent";

/// Who has an allowance. As text: `together`, or a principal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Holder {
    /// Somebody who causes turns.
    Principal(Principal),
    /// All senders and hooks.
    Together,
}

impl Holder {
    /// Reads a holder: `together`, `owner`, `hook:<name>`, `sender:<id>`, or a sender's id alone.
    ///
    /// # Errors
    /// When the text names nobody.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "together" {
            return Ok(Self::Together);
        }
        let id = moltbot_protocol::sender::SenderId::parse(text);
        let principal = id.map_or_else(
            |_| Principal::parse(text).map_err(|error| error.to_string()),
            |id| Ok(Principal::Sender(id.to_string())),
        );
        principal.map(Self::Principal).map_err(|error| {
            let message = format!("{error}; write owner, together, hook:<name> or a sender's id");
            Refusal::new("unknown_holder", message)
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::Together => f.write_str("together"),
        }
    }
}

/// The number of a day since 1970, UTC.
pub const fn day(now_ms: u64) -> u64 {
    now_ms / DAY_MS
}

/// When the day after that one begins, in milliseconds since the epoch.
pub const fn ends_ms(day: u64) -> u64 {
    day.saturating_add(1).saturating_mul(DAY_MS)
}

/// What may be used in a day; nothing means without limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Millionths of a dollar.
    pub cost: Option<u64>,
    /// Messages, commands among them.
    pub messages: Option<u64>,
    /// Tokens, read and written.
    pub tokens: Option<u64>,
    /// Messages for which a model is asked.
    pub turns: Option<u64>,
}

/// What a holder may use in a day: by the config, or by what the owner said of this one.
pub fn limits(config: &AllowancesConfig, holder: &Holder, own: OwnLimits) -> Limits {
    macro_rules! of {
        ($section:expr) => {
            Limits {
                cost: own.cost.unwrap_or($section.cost).most(),
                messages: own.messages.unwrap_or($section.messages).most(),
                tokens: own.tokens.unwrap_or($section.tokens).most(),
                turns: own.turns.unwrap_or($section.turns).most(),
            }
        };
    }
    match holder {
        Holder::Principal(Principal::Hook(_)) => of!(config.hook),
        // What a heartbeat costs, its owner pays.
        Holder::Principal(Principal::Heartbeat(_) | Principal::Owner) => of!(config.owner),
        Holder::Principal(Principal::Sender(_)) => of!(config.sender),
        Holder::Together => of!(config.together),
    }
}

/// What was used in a day.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Used {
    /// Millionths of a dollar, as far as prices are known.
    pub cost: u64,
    /// Messages.
    pub messages: u64,
    /// Tokens.
    pub tokens: u64,
    /// Turns.
    pub turns: u64,
    /// Turns of which a price is not known.
    pub unpriced: u64,
}

impl Used {
    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cost: self.cost.saturating_add(other.cost),
            messages: self.messages.saturating_add(other.messages),
            tokens: self.tokens.saturating_add(other.tokens),
            turns: self.turns.saturating_add(other.turns),
            unpriced: self.unpriced.saturating_add(other.unpriced),
        }
    }
}

/// What is used and limited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Measure {
    /// Money.
    Cost,
    /// Messages.
    Messages,
    /// Tokens.
    Tokens,
    /// Turns.
    Turns,
}

impl Measure {
    /// Its name in config and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Messages => "messages",
            Self::Tokens => "tokens",
            Self::Turns => "turns",
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Demand {
    /// A message that is answered without a model.
    Command,
    /// One more question to a model, in a turn that was begun.
    Model,
    /// A message that begins a turn.
    Turn,
}

/// Demands that there is something left of a day's allowance.
///
/// # Errors
/// With what is used up first, in the order messages, turns, tokens, cost.
pub fn require(limits: &Limits, used: &Used, demand: Demand) -> Result<(), Measure> {
    let left = |measure, used: u64, most: Option<u64>| match most {
        Some(most) if used >= most => Err(measure),
        Some(_) | None => Ok(()),
    };
    match demand {
        Demand::Command => left(Measure::Messages, used.messages, limits.messages),
        Demand::Model => left(Measure::Tokens, used.tokens, limits.tokens)
            .and_then(|()| left(Measure::Cost, used.cost, limits.cost)),
        Demand::Turn => left(Measure::Messages, used.messages, limits.messages)
            .and_then(|()| left(Measure::Turns, used.turns, limits.turns))
            .and_then(|()| require(limits, used, Demand::Model)),
    }
}

/// What tokens cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Price {
    /// Of a million tokens from the provider's cache, as of each below.
    pub cache_read: Dollars,
    /// Of those written to it.
    pub cache_write: Dollars,
    /// Of those read.
    pub input: Dollars,
    /// Of those written.
    pub output: Dollars,
}

impl Price {
    /// What a use of the model costs, in millionths of a dollar, rounded up: many small ones are not free.
    pub fn of(&self, usage: &Usage) -> u64 {
        let part = |tokens: u64, price: Dollars| u128::from(tokens).saturating_mul(price.millionths().into());
        let parts = [
            part(usage.cache_read, self.cache_read),
            part(usage.cache_write, self.cache_write),
            part(usage.input, self.input),
            part(usage.output, self.output),
        ];
        let all = parts.into_iter().fold(0_u128, u128::saturating_add);
        u64::try_from(all.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// What somebody on a channel is told, once a day, whose allowance is used up: nothing of what answers him, or of others.
pub const REFUSAL: &str =
    "That is all I can do for you today. Please write again tomorrow; a day begins at midnight UTC.";

/// What `/allowance` answers, from what a holder used and may use.
pub fn answer(limits: &Limits, used: &Used) -> String {
    let count = |name: &str, used: u64, most: Option<u64>| match most {
        Some(most) => format!("{name}: {used} of {most}"),
        None => format!("{name}: {used}, without a limit"),
    };
    let cost = match limits.cost {
        Some(most) => format!("cost: {} of {}", money(used.cost), money(most)),
        None => format!("cost: {}, without a limit", money(used.cost)),
    };
    let mut lines = vec![
        "Used today (a day begins at midnight UTC):".to_owned(),
        count("messages", used.messages, limits.messages),
        count("turns", used.turns, limits.turns),
        count("tokens", used.tokens, limits.tokens),
        cost,
    ];
    if used.unpriced > 0 {
        lines.push(format!("The price of {} turns is not known; of them only tokens count.", used.unpriced));
    }
    lines.join("\n")
}

/// Millionths of a dollar, in dollars and cents.
pub fn money(millionths: u64) -> String {
    format!("${}.{:02}", millionths / 1_000_000, millionths / 10_000 % 100)
}

/// What the owner decides about an allowance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AllowanceAct {
    /// What was used today is forgotten.
    Reset,
    /// Another limit than the config's.
    Set,
}

/// Proof that a change to an allowance was decided.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct AllowancePermit {
    act: AllowanceAct,
    holder: Holder,
    what: String,
    actor: String,
    client: String,
}

impl AllowancePermit {
    /// What somebody who signed in decides; `what` tells the book which limits.
    ///
    /// # Errors
    /// When he has not the scope admin.
    pub fn by(grant: &Grant, act: AllowanceAct, holder: Holder, what: String) -> Result<Self, Refusal> {
        grant.require(Scope::Admin)?;
        let (actor, client) = (grant.actor().to_owned(), grant.client().to_string());
        Ok(Self { act, holder, what, actor, client })
    }
}

impl Permit for AllowancePermit {
    fn entry(&self) -> Entry {
        let action = match self.act {
            AllowanceAct::Reset => "allowance.reset",
            AllowanceAct::Set => "allowance.set",
        };
        Entry::new(&self.actor, action, self.holder.to_string(), Decision::Allowed)
            .with("what", self.what.clone())
            .with("client", self.client.clone())
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::{CostLimit, CountLimit, Unlimited};

    use super::*;

    const FEW: Limits = Limits { cost: Some(1_000), messages: Some(4), tokens: Some(100), turns: Some(3) };

    #[test]
    fn what_is_used_up_is_refused_and_what_has_no_limit_is_not() {
        let used = |messages, turns, tokens, cost| Used { cost, messages, tokens, turns, unpriced: 0 };
        use Demand::{Command, Model, Turn};
        for (used, demand, expected) in [
            (used(3, 2, 99, 999), Turn, None),
            (used(4, 2, 99, 999), Turn, Some("messages")),
            (used(4, 2, 99, 999), Command, Some("messages")),
            (used(3, 3, 99, 999), Turn, Some("turns")),
            (used(3, 3, 99, 999), Command, None),
            (used(3, 3, 99, 999), Model, None),
            (used(0, 0, 100, 0), Turn, Some("tokens")),
            (used(0, 0, 100, 0), Model, Some("tokens")),
            (used(0, 0, 100, 0), Command, None),
            (used(0, 0, 0, 1_000), Turn, Some("cost")),
            (used(0, 0, 0, 1_000), Model, Some("cost")),
        ] {
            let refused = require(&FEW, &used, demand).err().map(Measure::name);
            assert_eq!(refused, expected, "{used:?} {demand:?}");
            assert_eq!(require(&Limits::default(), &used, demand), Ok(()), "{used:?}");
        }
        let nothing = Limits { turns: Some(0), ..Limits::default() };
        assert_eq!(require(&nothing, &Used::default(), Turn), Err(Measure::Turns));
    }

    #[test]
    fn each_has_the_limits_of_his_kind_unless_the_owner_said_others() {
        let config = AllowancesConfig::default();
        let of = |holder: &str, own| limits(&config, &Holder::parse(holder).unwrap(), own);
        let sender = of("irc:default:account:ann", OwnLimits::default());
        assert_eq!((sender.turns, sender.tokens), (Some(300), Some(3_000_000)));
        assert_eq!(of("owner", OwnLimits::default()).turns, Some(20_000));
        assert_eq!(of("hook:github", OwnLimits::default()).turns, Some(2_000));
        assert_eq!(of("together", OwnLimits::default()).turns, Some(5_000));
        let own = OwnLimits {
            turns: Some(CountLimit::Count(7)),
            cost: Some(CostLimit::Word(Unlimited::Unlimited)),
            ..OwnLimits::default()
        };
        let raised = of("sender:irc:default:account:ann", own);
        assert_eq!((raised.turns, raised.cost, raised.tokens), (Some(7), None, Some(3_000_000)));
        let more = OwnLimits { turns: Some(CountLimit::Count(9)), ..OwnLimits::default() }.over(own);
        assert_eq!(of("owner", more).turns, Some(9));
        assert_eq!(of("owner", more).cost, None);
        for text in ["", "everybody", "hook:", "sender:", "Together"] {
            assert!(Holder::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!((day(DAY_MS - 1), day(DAY_MS), ends_ms(0), ends_ms(1)), (0, 1, DAY_MS, 2 * DAY_MS));
    }

    #[test]
    fn a_price_is_of_a_million_tokens_and_rounded_up() {
        let dollars = |text: f64| Dollars::parse(text).unwrap();
        let price = Price {
            cache_read: dollars(0.3),
            cache_write: dollars(3.75),
            input: dollars(3.0),
            output: dollars(15.0),
        };
        let usage = Usage {
            input: 1_000,
            output: 100,
            cache_read: 10,
            cache_write: 2,
            total_tokens: 1_112,
            charged: None,
        };
        assert_eq!(price.of(&usage), 3_000 + 1_500 + 3 + 8);
        assert_eq!(price.of(&Usage { cache_read: 1, ..Usage::default() }), 1);
        assert_eq!(Price::default().of(&usage), 0);
        assert_eq!(price.of(&Usage { output: u64::MAX, ..Usage::default() }), u64::MAX);
    }

    #[test]
    fn the_answer_tells_ones_own_and_whether_prices_are_missing() {
        let used = Used { cost: 1_230_000, messages: 4, tokens: 77, turns: 3, unpriced: 2 };
        let limits = Limits { cost: Some(5_000_000), messages: None, ..FEW };
        assert_eq!(
            answer(&limits, &used),
            "Used today (a day begins at midnight UTC):\nmessages: 4, without a limit\nturns: 3 of 3\ntokens: 77 of 100\n\
             cost: $1.23 of $5.00\nThe price of 2 turns is not known; of them only tokens count."
        );
    }
}
