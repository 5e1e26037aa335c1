//! What is known of Telegram and not served yet.

use super::{Any, COUNT, Flag, List, Map, Noted, Object, OneOf, Open, Shape, TEXTS, Text};
use crate::shape::Members;

/// `channels.telegram`.
pub(super) const TELEGRAM: Shape = Object(&[
    ("accounts", Map(&Object(ACCOUNT))),
    ("actions", Open(&[])),
    ("blockStreaming", Flag),
    ("blockStreamingCoalesce", Open(&[])),
    ("capabilities", Any),
    ("chunkMode", OneOf(&["length", "newline"])),
    ("commands", Open(&[])),
    ("configWrites", Flag),
    ("customCommands", List(&Open(&[]))),
    ("defaultAccount", Text),
    ("dm", Object(DIRECT)),
    ("dmHistoryLimit", COUNT),
    ("dms", Map(&Open(&[]))),
    ("draftChunk", Open(&[])),
    ("groups", Map(&Object(TELEGRAM_GROUP))),
    ("heartbeat", Open(&[])),
    ("historyLimit", COUNT),
    ("linkPreview", Flag),
    ("markdown", Open(&[])),
    ("mediaMaxMb", Shape::Number),
    ("name", Text),
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
]);

/// One account: what is known of the channel but for what is the channel's alone.
const ACCOUNT: Members = &[
    ("actions", Open(&[])),
    ("blockStreaming", Flag),
    ("blockStreamingCoalesce", Open(&[])),
    ("capabilities", Any),
    ("chunkMode", OneOf(&["length", "newline"])),
    ("commands", Open(&[])),
    ("configWrites", Flag),
    ("customCommands", List(&Open(&[]))),
    ("dm", Object(DIRECT)),
    ("dmHistoryLimit", COUNT),
    ("dms", Map(&Open(&[]))),
    ("draftChunk", Open(&[])),
    ("groups", Map(&Object(TELEGRAM_GROUP))),
    ("heartbeat", Open(&[])),
    ("historyLimit", COUNT),
    ("linkPreview", Flag),
    ("markdown", Open(&[])),
    ("mediaMaxMb", Shape::Number),
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
];

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
