//! Allowances: what may be used in a day, and by whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dollars;

/// What each may use in a day, which begins at midnight UTC. The model is not asked for whoever has used it up.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AllowancesConfig {
    /// Each hook.
    pub hook: HookAllowance,
    /// The owner, by whatever client.
    pub owner: OwnerAllowance,
    /// Each person on a channel.
    pub sender: SenderAllowance,
    /// All senders and hooks together: many who may use little must not use much.
    pub together: TogetherAllowance,
}

/// A section of allowances with its defaults.
macro_rules! allowance {
    ($(#[$meta:meta])* $name:ident: messages $messages:literal, turns $turns:literal, tokens $tokens:literal, dollars $dollars:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields, rename_all = "camelCase")]
        pub struct $name {
            /// Dollars, where the prices of models are known (`models.providers.*.models[].cost`), or `"unlimited"`.
            pub cost: CostLimit,
            /// Messages, commands among them, or `"unlimited"`.
            pub messages: CountLimit,
            /// Tokens that models read and write, or `"unlimited"`.
            pub tokens: CountLimit,
            /// Messages for which a model is asked, or `"unlimited"`.
            pub turns: CountLimit,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    cost: CostLimit::Dollars(Dollars::whole($dollars)),
                    messages: CountLimit::Count($messages),
                    tokens: CountLimit::Count($tokens),
                    turns: CountLimit::Count($turns),
                }
            }
        }
    };
}

allowance! {
    /// What each hook may use in a day: programs speak more often than people, and say less.
    HookAllowance: messages 5_000, turns 2_000, tokens 5_000_000, dollars 10
}
allowance! {
    /// What the owner may use in a day: more than a person can say, so that only a program in a loop meets it.
    OwnerAllowance: messages 50_000, turns 20_000, tokens 200_000_000, dollars 200
}
allowance! {
    /// What each person on a channel may use in a day: a long conversation, and not a loop of two machines.
    SenderAllowance: messages 500, turns 300, tokens 3_000_000, dollars 5
}
allowance! {
    /// What all senders and hooks may use in a day together.
    TogetherAllowance: messages 20_000, turns 5_000, tokens 20_000_000, dollars 40
}

/// What the owner lets one holder use, where it is another limit than the config's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OwnLimits {
    /// In place of `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostLimit>,
    /// In place of `messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<CountLimit>,
    /// In place of `tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<CountLimit>,
    /// In place of `turns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<CountLimit>,
}

impl OwnLimits {
    /// These, and those of `earlier` where these say nothing.
    #[must_use]
    pub fn over(self, earlier: Self) -> Self {
        Self {
            cost: self.cost.or(earlier.cost),
            messages: self.messages.or(earlier.messages),
            tokens: self.tokens.or(earlier.tokens),
            turns: self.turns.or(earlier.turns),
        }
    }
}

/// How many there may be in a day.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CountLimit {
    /// So many.
    Count(u64),
    /// As many as come.
    Word(Unlimited),
}

/// What a day may cost.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CostLimit {
    /// So much.
    Dollars(Dollars),
    /// Whatever it comes to.
    Word(Unlimited),
}

/// No limit: to be said, and never what is meant by nothing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unlimited {
    /// No limit.
    Unlimited,
}

impl CountLimit {
    /// The most, when there is one.
    pub const fn most(self) -> Option<u64> {
        match self {
            Self::Count(most) => Some(most),
            Self::Word(Unlimited::Unlimited) => None,
        }
    }
}

impl CostLimit {
    /// The most, in millionths of a dollar, when there is one.
    pub const fn most(self) -> Option<u64> {
        match self {
            Self::Dollars(dollars) => Some(dollars.millionths()),
            Self::Word(Unlimited::Unlimited) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_has_to_be_said() {
        let config: AllowancesConfig =
            serde_json::from_str(r#"{"sender": {"tokens": "unlimited", "turns": 7}}"#).unwrap();
        let sender = config.sender;
        let most = (sender.tokens.most(), sender.turns.most(), sender.messages.most(), sender.cost.most());
        assert_eq!(most, (None, Some(7), Some(500), Some(5_000_000)));
        for text in [r#"{"sender": {"turns": null}}"#, r#"{"sender": {"turns": "many"}}"#] {
            assert!(serde_json::from_str::<AllowancesConfig>(text).is_err(), "{text}");
        }
    }
}
