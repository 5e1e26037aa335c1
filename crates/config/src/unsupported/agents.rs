//! `agents`: what is known of the agents and not served yet.

use super::{Any, COUNT, Flag, Map, Noted, OBJECT, Object, OneOf, Open, Shape, TEXTS, Text};
use super::{List, tools};

/// `agents`.
pub(super) const AGENTS: Shape = Object(&[("defaults", DEFAULTS), ("list", List(&AGENT))]);

const DEFAULTS: Shape = Object(&[
    ("blockStreaming*", Any),
    ("compaction", OBJECT),
    ("contextPruning", OBJECT),
    ("elevatedDefault", OneOf(&["ask", "full", "off", "on"])),
    ("heartbeat", HEARTBEAT),
    ("imageModel", MODEL),
    ("maxConcurrent", COUNT),
    ("mediaMaxMb", Shape::Number),
    ("memorySearch", OBJECT),
    ("models", Noted("every configured model may be chosen", &Map(&MODEL_ENTRY))),
    ("sandbox", SANDBOX),
    ("subagents", Object(&[("archiveAfterMinutes", COUNT), ("maxConcurrent", COUNT), ("model", MODEL)])),
    ("thinkingDefault", OneOf(&["high", "low", "medium", "minimal", "off", "xhigh"])),
    ("typing*", Any),
    ("userTimezone", Text),
    ("verboseDefault", Text),
]);

const AGENT: Shape = Object(&[
    ("agentDir", Text),
    ("groupChat", Object(&[("historyLimit", COUNT), ("mentionPatterns", TEXTS)])),
    ("heartbeat", HEARTBEAT),
    ("identity", Object(&[("avatar", Text), ("emoji", Text), ("name", Text), ("theme", Text)])),
    ("memorySearch", OBJECT),
    ("sandbox", SANDBOX),
    ("subagents", Object(&[("allowAgents", TEXTS), ("model", MODEL)])),
    ("tools", Noted("use `tools.deny`, which holds for every agent", &Open(tools::POLICY))),
]);

const MODEL: Shape = Shape::TextOr(&Object(&[("fallbacks", TEXTS), ("primary", Text)]));

const MODEL_ENTRY: Shape = Object(&[("alias", Text), ("params", OBJECT)]);

const HEARTBEAT: Shape = Object(&[
    ("ackMaxChars", COUNT),
    ("activeHours", Object(&[("end", Text), ("start", Text), ("timezone", Text)])),
    ("every", Text),
    ("includeReasoning", Flag),
    ("model", Text),
    ("prompt", Text),
    ("session", Text),
    ("target", Text),
    ("to", Text),
]);

/// `sandbox`, the same for all agents and for one.
const SANDBOX: Shape = Object(&[
    ("browser", OBJECT),
    ("docker", Noted("every command runs in the built-in sandbox, without network", &OBJECT)),
    ("perSession", Noted("`scope` says which sessions share a folder", &Flag)),
    ("sessionToolsVisibility", OneOf(&["all", "spawned"])),
    ("workspaceRoot", Noted("folders of sessions are in `sandboxes` of the state folder", &Text)),
]);
