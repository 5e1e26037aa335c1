//! `tools`: what is known of the tools and not served yet.

use super::super::shape::Members;
use super::{Flag, Map, Noted, OBJECT, Object, OneOf, Open, Shape, TEXTS, Text};

/// What tells the owner of an allow-list what holds instead.
const USE_DENY: &str =
    "the tools of this list are not the only ones: name those you do not want in `tools.deny`";

/// `tools`.
pub(super) const TOOLS: Shape = Object(&[
    ("agentToAgent", Object(&[("allow", TEXTS), ("enabled", Flag)])),
    ("allow", Noted(USE_DENY, &TEXTS)),
    ("alsoAllow", TEXTS),
    ("byProvider", Noted("use `tools.deny`, which holds for every provider", &Map(&Object(POLICY)))),
    ("exec", EXEC),
    ("links", OBJECT),
    ("media", OBJECT),
    ("message", Open(&[("allowCrossContextSend", Flag), ("broadcast", OBJECT), ("crossContext", OBJECT)])),
    ("profile", Noted("name the tools that you do not want in `tools.deny`", &PROFILE)),
    ("sandbox", Object(&[("tools", Noted("use `tools.deny`", &Object(POLICY)))])),
    ("subagents", Open(&[("tools", Object(POLICY))])),
    ("web", Object(&[("fetch", OBJECT), ("search", SEARCH)])),
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
