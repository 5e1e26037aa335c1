//! `tools`: what is known of the tools and not served yet.

use super::super::shape::Members;
use super::{Flag, Noted, OBJECT, Object, OneOf, Open, Shape, TEXTS, Text};

/// `tools`.
pub(super) const TOOLS: Shape = Object(&[
    ("agentToAgent", Object(&[("allow", TEXTS), ("enabled", Flag)])),
    ("exec", EXEC),
    ("links", OBJECT),
    ("media", OBJECT),
    ("message", Open(&[("allowCrossContextSend", Flag), ("broadcast", OBJECT), ("crossContext", OBJECT)])),
    ("subagents", Open(&[("tools", Object(POLICY))])),
    ("web", Object(&[("fetch", OBJECT), ("search", SEARCH)])),
]);

/// `tools` of an agent.
pub(super) const OF_AGENT: Shape = Object(&[
    ("elevated", Noted("what leaves the sandbox is the same for all agents; see `tools.elevated`", &OBJECT)),
    ("exec", Noted("commands are the same for all agents; see `tools.exec`", &OBJECT)),
    ("sandbox", Noted("use `tools.sandbox`", &OBJECT)),
    ("subagents", OBJECT),
]);

/// A policy for some of the calls.
pub(super) const POLICY: Members =
    &[("allow", TEXTS), ("alsoAllow", TEXTS), ("deny", TEXTS), ("profile", PROFILE)];

const PROFILE: Shape = OneOf(&["coding", "full", "messaging", "minimal"]);

const EXEC: Shape = Object(&[
    ("applyPatch", Object(&[("allowModels", TEXTS)])),
    ("host", Noted("no command runs on a node; they run in the sandbox", &OneOf(&["node"]))),
    ("node", Text),
    ("notifyOnExit", Flag),
    ("pathPrepend", TEXTS),
    ("safeBins", TEXTS),
]);

const SEARCH: Shape =
    Open(&[("apiKey", Text), ("enabled", Flag), ("provider", OneOf(&["brave", "perplexity"]))]);
