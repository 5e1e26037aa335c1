//! What is known of Telegram and not served yet.

use super::{Any, COUNT, Flag, List, Map, Noted, Object, OneOf, Open, Shape, TEXTS, Text};
use crate::shape::Members;

/// What is known of the channel and of each of its accounts, in order, with what is the channel's alone.
macro_rules! members {
    ([$($accounts:expr)*] [$($default:expr)*] [$($name:expr)*]) => {
        &[
            $($accounts,)*
            ("actions", Open(&[])),
            ("blockStreaming", Flag),
            ("blockStreamingCoalesce", Open(&[])),
            ("capabilities", Any),
            ("chunkMode", OneOf(&["length", "newline"])),
            ("commands", Open(&[])),
            ("configWrites", Flag),
            ("customCommands", List(&Open(&[]))),
            $($default,)*
            ("dm", Object(DIRECT)),
            ("dmHistoryLimit", COUNT),
            ("dms", Map(&Open(&[]))),
            ("draftChunk", Open(&[])),
            ("groups", Map(&Object(TELEGRAM_GROUP))),
            ("heartbeat", Open(&[])),
            ("historyLimit", COUNT),
            ("linkPreview", Flag),
            ("markdown", Open(&[])),
            $($name,)*
            ("network", Open(&[])),
            ("proxy", Noted("connections go straight to Telegram", &Text)),
            ("reactionLevel", Text),
            ("reactionNotifications", Text),
            ("replyToMode", OneOf(&["all", "first", "off"])),
            ("responsePrefix", Text),
            ("retry", Open(&[])),
            ("streamMode", OneOf(&["block", "off", "partial"])),
            ("textChunkLimit", COUNT),
            ("timeoutSeconds", COUNT),
        ]
    };
}

/// `channels.telegram`.
pub(super) const TELEGRAM: Shape =
    Object(members!([("accounts", Map(&Object(ACCOUNT)))][("defaultAccount", Text)][("name", Text)]));

/// One account.
const ACCOUNT: Members = members!([] [] []);

/// Direct messages, where older configs write about them.
const DIRECT: Members = &[("allowFrom", Noted("use `allowFrom` of the channel", &List(&Any)))];

/// One group: what is known of every channel's, and topics.
const TELEGRAM_GROUP: Members = &[
    ("groupPolicy", Any),
    ("skills", TEXTS),
    ("systemPrompt", Text),
    ("tools", Noted(TOOLS, &Open(&[]))),
    ("toolsBySender", Noted(TOOLS, &Open(&[]))),
    ("topics", Noted("what holds in the group holds in each of its topics", &Map(&Open(&[])))),
];

const TOOLS: &str = "name the tools that nobody gets in `tools.deny`";
