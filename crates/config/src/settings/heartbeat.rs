//! `agents.defaults.heartbeat`, and the same of one agent: how often an agent looks by itself whether there is something to do, and
//! whom it tells.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use moltbot_protocol::ids::AgentId;

use super::{AgentsConfig, ToolName};

/// How the agent looks by itself whether there is something to do: what its `HEARTBEAT.md` asks for, and what it was told
/// meanwhile. Without either no model is asked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HeartbeatConfig {
    /// The account of the channel by which what it says is told; any of them when absent.
    pub account_id: Option<String>,
    /// Characters that may stand beside `HEARTBEAT_OK` in an answer that says nothing, 0 to 10 000. 300, as upstream.
    #[schemars(range(max = 10_000))]
    pub ack_max_chars: u32,
    /// The hours in which it looks by itself; all of them when absent.
    pub active_hours: Option<ActiveHours>,
    /// How often: `30m`, `1h`, `90s`; minutes where no unit stands; `0m` never. Half an hour, as upstream. A day at most.
    pub every: Every,
    /// Whether the owner is told what the model thought, where it shows that, before what it says.
    pub include_reasoning: bool,
    /// The model that is asked, as `provider/model`; that of the agent when absent.
    pub model: Option<String>,
    /// What it is asked.
    pub prompt: String,
    /// Which of the owner's own chats hear what it says: where he wrote last, all of them on one channel, or `none`. Others
    /// than those that `commands.ownerAllowFrom` names never do; the web chat always does.
    pub target: HeartbeatTarget,
    /// Which of his identities on the channel that `target` names, as that channel writes them. One that is not the owner's stops
    /// the start.
    pub to: Option<String>,
    /// The tools that it has. Those that only read when absent: nobody looks on, and what it reads may be an attack.
    pub tools: Option<Vec<ToolName>>,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            account_id: None,
            ack_max_chars: 300,
            active_hours: None,
            every: Every(Duration::from_secs(30 * 60)),
            include_reasoning: false,
            model: None,
            prompt: PROMPT.into(),
            target: HeartbeatTarget::Last,
            to: None,
            tools: None,
        }
    }
}

/// How one agent looks by itself, in place of what holds for all. Where any agent has this, only those that have it look by
/// themselves; else the default agent does.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentHeartbeatConfig {
    /// The account of the channel by which what it says is told.
    pub account_id: Option<String>,
    /// Characters that may stand beside `HEARTBEAT_OK` in an answer that says nothing, 0 to 10 000.
    #[schemars(range(max = 10_000))]
    pub ack_max_chars: Option<u32>,
    /// The hours in which it looks by itself.
    pub active_hours: Option<ActiveHours>,
    /// How often; `0m` never.
    pub every: Option<Every>,
    /// Whether the owner is told what the model thought, where it shows that.
    pub include_reasoning: Option<bool>,
    /// The model that is asked, as `provider/model`.
    pub model: Option<String>,
    /// What it is asked.
    pub prompt: Option<String>,
    /// Which of the owner's own chats hear what it says.
    pub target: Option<HeartbeatTarget>,
    /// Which of his identities on the channel that `target` names.
    pub to: Option<String>,
    /// The tools that it has.
    pub tools: Option<Vec<ToolName>>,
}

impl AgentHeartbeatConfig {
    /// What holds for the agent, where `all` holds for all of them.
    fn over(&self, all: &HeartbeatConfig) -> HeartbeatConfig {
        let own = self.clone();
        HeartbeatConfig {
            account_id: own.account_id.or_else(|| all.account_id.clone()),
            ack_max_chars: own.ack_max_chars.unwrap_or(all.ack_max_chars),
            active_hours: own.active_hours.or_else(|| all.active_hours.clone()),
            every: own.every.unwrap_or(all.every),
            include_reasoning: own.include_reasoning.unwrap_or(all.include_reasoning),
            model: own.model.or_else(|| all.model.clone()),
            prompt: own.prompt.unwrap_or_else(|| all.prompt.clone()),
            target: own.target.unwrap_or(all.target),
            to: own.to.or_else(|| all.to.clone()),
            tools: own.tools.or_else(|| all.tools.clone()),
        }
    }
}

/// How an agent looks, and where that stands.
#[derive(Clone, Debug)]
pub struct AgentHeartbeat {
    /// The agent.
    pub agent: AgentId,
    /// How it looks, when it does.
    pub config: HeartbeatConfig,
    /// Whether it looks by itself at all.
    pub looks: bool,
    /// Where its own settings stand: `agents.list[1].heartbeat`.
    pub own: Option<String>,
}

impl AgentHeartbeat {
    /// The whole name of one of its settings. `is_own` says whether an agent's own settings have it.
    pub fn path(
        &self,
        setting: &str,
        is_own: impl Fn(&AgentHeartbeatConfig) -> bool,
        all: &AgentsConfig,
    ) -> String {
        let entry = all.list.iter().find(|entry| entry.id == self.agent);
        let is_own = entry.and_then(|entry| entry.heartbeat.as_ref()).is_some_and(is_own);
        let place = self.own.as_deref().filter(|_| is_own).unwrap_or("agents.defaults.heartbeat");
        format!("{place}.{setting}")
    }
}

impl AgentsConfig {
    /// The agent that messages go to which name none: the one that says so, else the first, else `main`.
    pub fn default_agent(&self) -> AgentId {
        let first = || self.list.first();
        let default = self.list.iter().find(|agent| agent.default).or_else(first);
        default.map_or_else(AgentId::main, |agent| agent.id.clone())
    }

    /// How an agent looks, whether or not it does by itself.
    pub fn heartbeat_of(&self, agent: &AgentId) -> HeartbeatConfig {
        let all = &self.defaults.heartbeat;
        let own =
            self.list.iter().find(|entry| entry.id == *agent).and_then(|entry| entry.heartbeat.as_ref());
        own.map_or_else(|| all.clone(), |own| own.over(all))
    }

    /// How each agent looks, in the order of the config. Where any has settings of its own those alone look by themselves, else
    /// the default one does; as upstream.
    pub fn heartbeats(&self) -> Vec<AgentHeartbeat> {
        let default = self.default_agent();
        let any_own = self.list.iter().any(|entry| entry.heartbeat.is_some());
        let of = |agent: &AgentId, own: Option<String>| AgentHeartbeat {
            config: self.heartbeat_of(agent),
            looks: if any_own { own.is_some() } else { *agent == default },
            agent: agent.clone(),
            own,
        };
        if self.list.is_empty() {
            return vec![of(&default, None)];
        }
        let entries = self.list.iter().enumerate();
        let place = |index: usize| format!("agents.list[{index}].heartbeat");
        entries.map(|(index, entry)| of(&entry.id, entry.heartbeat.as_ref().map(|_| place(index)))).collect()
    }
}

/// What is asked where the config says nothing.
const PROMPT: &str = "Look into HEARTBEAT.md in your workspace, if it is there, and do what it asks for now. Take nothing up \
                      again from earlier in this conversation that was settled. If nothing needs your owner's attention, \
                      answer HEARTBEAT_OK and nothing else.";

/// How long between two times; nothing at all when it is zero. As text: a number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("x-moltbot-form" = "interval"))]
pub struct Every(pub Duration);

/// The longest time between two looks: a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest: looking more often would be a loop.
const SHORTEST: Duration = Duration::from_secs(1);

impl Every {
    /// Reads such a text.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(at)?;
        let number: u64 = number.parse().ok()?;
        let millis = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "" | "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let every = Duration::from_millis(number.checked_mul(millis)?);
        (every.is_zero() || (SHORTEST..=LONGEST).contains(&every)).then_some(Self(every))
    }
}

impl TryFrom<String> for Every {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a time between two looks, such as 30m")
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds % 60, self.0.subsec_millis()) {
            (0, 0) if seconds.is_multiple_of(3600) && seconds > 0 => write!(f, "{}h", seconds / 3600),
            (0, 0) => write!(f, "{}m", seconds / 60),
            (_, 0) => write!(f, "{seconds}s"),
            (..) => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

/// The hours of a day.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ActiveHours {
    /// When they end, such as `22:00`, or `24:00`. Before `start` it is on the next day.
    pub end: TimeOfDay,
    /// When they begin, such as `08:00`.
    pub start: TimeOfDay,
    /// Where: a name such as `Europe/Vienna`; `local` and `user` are the machine's zone.
    #[serde(default)]
    pub timezone: Option<String>,
}

/// A time of day, in minutes since midnight, 0 to 1440. As text: `HH:MM`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("x-moltbot-form" = "time-of-day"))]
pub struct TimeOfDay(pub u16);

impl TimeOfDay {
    /// Reads such a text.
    pub fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let is_two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let two = |part: &str| is_two(part).then(|| part.parse::<u16>().ok()).flatten();
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        let is_one = (hours < 24 && minutes < 60) || (hours == 24 && minutes == 0);
        is_one.then(|| Self(hours.saturating_mul(60).saturating_add(minutes)))
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a time of day, such as 08:00")
    }
}

/// Who hears what a heartbeat says, besides the web chat.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeartbeatTarget {
    /// The owner's chats on IRC.
    Irc,
    /// The owner's chat where he wrote last.
    #[default]
    Last,
    /// Nobody.
    None,
    /// The owner's chats on Telegram.
    Telegram,
}

impl HeartbeatTarget {
    /// The channel that it names, when it names one.
    pub const fn channel(self) -> Option<&'static str> {
        match self {
            Self::Irc | Self::Telegram => Some(self.name()),
            Self::Last | Self::None => None,
        }
    }

    /// The name in configs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Irc => "irc",
            Self::Last => "last",
            Self::None => "none",
            Self::Telegram => "telegram",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_as_they_are_written() {
        for (text, shown) in [
            ("30m", Some("30m")),
            ("30", Some("30m")),
            ("90s", Some("90s")),
            ("60m", Some("1h")),
            ("1500ms", Some("1500ms")),
            ("0m", Some("0m")),
            ("0", Some("0m")),
            ("1d", Some("24h")),
            ("2d", None),
            ("500ms", None),
            ("", None),
            ("m", None),
            ("-1m", None),
            ("99999999999999999999m", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(Every::parse(text).map(|every| every.to_string()).as_deref(), shown, "{text}");
        }
        for (text, minutes) in [
            ("00:00", Some(0)),
            ("08:30", Some(510)),
            ("24:00", Some(1440)),
            ("24:01", None),
            ("8:30", None),
            ("08:60", None),
            ("+8:00", None),
            ("", None),
        ] {
            assert_eq!(TimeOfDay::parse(text).map(|time| time.0), minutes, "{text}");
        }
    }
}
