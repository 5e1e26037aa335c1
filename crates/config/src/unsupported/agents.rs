//! `agents`: what is known of the agents and not served yet.

use super::{Any, COUNT, Flag, Map, Noted, OBJECT, Object, OneOf, Shape, TEXTS, Text};
use super::{List, tools};

/// `agents`.
pub(super) const AGENTS: Shape = Object(&[("defaults", DEFAULTS), ("list", List(&AGENT))]);

const DEFAULTS: Shape = Object(&[
    ("blockStreaming*", Any),
    ("compaction", OBJECT),
    ("contextPruning", OBJECT),
    ("elevatedDefault", OneOf(&["ask", "full", "off", "on"])),
    ("heartbeat", Object(&[("session", Noted("it is in the main conversation", &Text))])),
    ("imageModel", MODEL),
    ("mediaMaxMb", Shape::Number),
    ("memorySearch", OBJECT),
    ("models", Map(&MODEL_ENTRY)),
    ("sandbox", SANDBOX),
    ("subagents", Object(&[("archiveAfterMinutes", COUNT), ("maxConcurrent", COUNT), ("model", MODEL)])),
    ("typing*", Any),
    ("userTimezone", Text),
]);

const AGENT: Shape = Object(&[
    ("agentDir", Text),
    ("groupChat", Object(&[("historyLimit", COUNT), ("mentionPatterns", TEXTS)])),
    ("heartbeat", Object(&[("session", Noted("it is in the main conversation", &Text))])),
    ("identity", Object(&[("avatar", Text), ("emoji", Text), ("name", Text), ("theme", Text)])),
    ("memorySearch", OBJECT),
    ("sandbox", SANDBOX),
    ("subagents", Object(&[("allowAgents", TEXTS), ("model", MODEL)])),
    ("tools", tools::OF_AGENT),
]);

const MODEL: Shape = Shape::TextOr(&Object(&[("fallbacks", TEXTS), ("primary", Text)]));

const MODEL_ENTRY: Shape = Object(&[("params", OBJECT)]);

/// `sandbox`, the same for all agents and for one.
const SANDBOX: Shape = Object(&[
    ("browser", OBJECT),
    ("docker", DOCKER),
    ("perSession", Noted("`scope` says which sessions share a folder", &Flag)),
    ("sessionToolsVisibility", OneOf(&["all", "spawned"])),
    ("workspaceRoot", Noted("folders of sessions are in `sandboxes` of the state folder", &Text)),
]);

/// `sandbox.docker`: what is not served of it, and what never is.
const DOCKER: Shape = Object(&[
    ("capAdd", Shape::Refused("a container has no capability")),
    ("containerPrefix", Noted(FOR_ALL, &Text)),
    ("devices", Shape::Refused("a container has no device of this machine")),
    ("dns", Noted(NO_NETWORK, &TEXTS)),
    ("env", Noted("commands have LANG, PATH and HOME alone", &Map(&Any))),
    ("extraHosts", Noted(NO_NETWORK, &TEXTS)),
    ("ipc*", Shape::Refused("a container shares no memory with this machine")),
    ("memorySwap", Noted("there is no swap beyond `memory`", &Any)),
    ("pid", Shape::Refused("a container sees no process of this machine")),
    ("pidMode", Shape::Refused("a container sees no process of this machine")),
    ("privileged", Shape::Never("it would take every wall away")),
    ("seccompProfile", Noted("moltbot's own filter of system calls is always there", &Text)),
    ("securityOpt", Noted("no new privileges and moltbot's own filter are always there", &TEXTS)),
    ("socket", Noted(FOR_ALL, &Text)),
    ("tmpfs", Noted("`/tmp`, `/var/tmp` and `/run` are in memory", &TEXTS)),
    ("ulimits", Noted("limits are those of every sandbox", &OBJECT)),
    ("userns*", Shape::Refused("a container's users are never this machine's root")),
    ("workdir", Noted("the workspace is at `/workspace`", &Text)),
]);

/// What tells the owner of one agent's settings what holds instead.
const FOR_ALL: &str = "there is one engine for all agents, that of `agents.defaults.sandbox.docker`";
const NO_NETWORK: &str = "a container has no network";
