//! Channels, sessions and messages: what is known of them and not served yet.

use super::{Any, COUNT, Flag, List, Map, Noted, Object, OneOf, Open, Shape, TEXTS, Text};

/// `approvals`.
pub(super) const APPROVALS: Shape = Object(&[(
    "exec",
    Object(&[
        ("agentFilter", TEXTS),
        ("enabled", Flag),
        ("mode", OneOf(&["both", "session", "targets"])),
        ("sessionFilter", TEXTS),
        (
            "targets",
            List(&Object(&[("accountId", Text), ("channel", Text), ("threadId", Any), ("to", Text)])),
        ),
    ]),
)]);

/// `channels`: the names are those of channels and of plugins. Policies in it are judged wherever they
/// stand, by [`refusals`](crate::refusals).
pub(super) const CHANNELS: Shape = Open(&[
    ("bluebubbles", CHANNEL),
    ("defaults", Open(&[])),
    ("discord", CHANNEL),
    ("googlechat", CHANNEL),
    ("imessage", CHANNEL),
    ("irc", Object(IRC)),
    ("line", CHANNEL),
    ("matrix", CHANNEL),
    ("mattermost", CHANNEL),
    ("msteams", CHANNEL),
    ("nextcloud-talk", CHANNEL),
    ("nostr", CHANNEL),
    ("signal", CHANNEL),
    ("slack", CHANNEL),
    ("telegram", super::telegram::TELEGRAM),
    ("tlon", CHANNEL),
    ("twitch", CHANNEL),
    ("voice-call", CHANNEL),
    ("whatsapp", CHANNEL),
    ("zalo", CHANNEL),
    ("zalouser", CHANNEL),
]);

/// One channel.
const CHANNEL: Shape = Open(&[
    ("accounts", Map(&Open(ACCOUNT))),
    ("allowFrom", List(&Any)),
    ("chunkMode", OneOf(&["length", "newline"])),
    ("configWrites", Flag),
    ("dmHistoryLimit", COUNT),
    ("enabled", Flag),
    ("groupAllowFrom", List(&Any)),
    ("historyLimit", COUNT),
    ("mediaMaxMb", Shape::Number),
    ("textChunkLimit", COUNT),
]);

/// What is known of IRC and not served yet.
const IRC: super::super::shape::Members = &[
    ("accounts", Map(&Object(IRC_ACCOUNT))),
    ("blockStreaming", Flag),
    ("configWrites", Flag),
    ("dmHistoryLimit", COUNT),
    ("groups", Map(&Object(GROUP))),
    ("historyLimit", COUNT),
    ("mediaMaxMb", Shape::Number),
    ("mentionPatterns", TEXTS),
    ("name", Text),
    ("nickserv", Noted("use `sasl`", &Open(&[]))),
    ("responsePrefix", Text),
    ("textChunkLimit", COUNT),
];

/// What is known of one network of IRC and not served yet.
const IRC_ACCOUNT: super::super::shape::Members = &[
    ("blockStreaming", Flag),
    ("configWrites", Flag),
    ("dmHistoryLimit", COUNT),
    ("groups", Map(&Object(GROUP))),
    ("historyLimit", COUNT),
    ("mediaMaxMb", Shape::Number),
    ("mentionPatterns", TEXTS),
    ("name", Text),
    ("nickserv", Noted("use `sasl`", &Open(&[]))),
    ("responsePrefix", Text),
    ("textChunkLimit", COUNT),
];

const ACCOUNT: super::super::shape::Members =
    &[("allowFrom", List(&Any)), ("configWrites", Flag), ("enabled", Flag), ("groupAllowFrom", List(&Any))];

/// What is known of a group and not served yet.
const GROUP: super::super::shape::Members = &[
    ("skills", TEXTS),
    ("systemPrompt", Text),
    ("tools", Noted("name the tools that nobody gets in `tools.deny`", &Open(&[]))),
    ("toolsBySender", Noted("name the tools that nobody gets in `tools.deny`", &Open(&[]))),
];

/// `commands`.
pub(super) const COMMANDS: Shape = Object(&[
    ("bash", Flag),
    ("config", Flag),
    ("debug", Flag),
    ("native", Any),
    ("nativeSkills", Any),
    ("restart", Flag),
    ("text", Flag),
    ("useAccessGroups", Flag),
]);

/// `messages`.
pub(super) const MESSAGES: Shape = Object(&[
    ("ackReaction*", Any),
    ("groupChat", Open(&[("historyLimit", COUNT), ("mentionPatterns", TEXTS)])),
    ("inbound", Open(&[("debounceMs", COUNT)])),
    ("messagePrefix", Text),
    ("responsePrefix", Text),
    ("tts", Open(&[])),
]);

/// `session`.
pub(super) const SESSION: Shape = Object(&[
    ("agentToAgent", Object(&[("maxPingPongTurns", Shape::Whole(0, 5))])),
    ("mainKey", Noted("the main session is always named `main`", &Text)),
    ("scope", OneOf(&["global", "per-sender"])),
    ("sendPolicy", Noted("replies go to whoever asked", &SEND_POLICY)),
    ("store", Text),
]);

const SEND_POLICY: Shape = Object(&[
    ("default", OneOf(&["allow", "deny"])),
    (
        "rules",
        List(&Object(&[
            ("action", OneOf(&["allow", "deny"])),
            ("match", Object(&[("channel", Text), ("chatType", Text), ("keyPrefix", Text)])),
        ])),
    ),
]);
