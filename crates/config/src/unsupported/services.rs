//! Providers, plugins, schedules and other services: what is known of them and not served yet.

use super::{COUNT, Flag, List, Map, Noted, OBJECT, Object, OneOf, Open, Shape, TEXTS, Text};

/// `auth`.
pub(super) const AUTH: Shape = Object(&[
    ("cooldowns", OBJECT),
    ("order", Map(&TEXTS)),
    ("profiles", Map(&Object(&[("email", Text), ("mode", Text), ("provider", Text)]))),
]);

/// `browser`.
pub(super) const BROWSER: Shape =
    Open(&[("cdpUrl", Text), ("enabled", Flag), ("evaluateEnabled", Flag), ("profiles", Map(&OBJECT))]);

/// `canvasHost`.
pub(super) const CANVAS_HOST: Shape =
    Object(&[("enabled", Flag), ("liveReload", Flag), ("port", Shape::Whole(1, 65535)), ("root", Text)]);

/// `cron`.
pub(super) const CRON: Shape = Object(&[("enabled", Flag), ("maxConcurrentRuns", COUNT), ("store", Text)]);

/// `discovery`.
pub(super) const DISCOVERY: Shape = Object(&[
    ("mdns", Object(&[("mode", Shape::Barred("full", FULL_MDNS))])),
    ("wideArea", Object(&[("domain", Text), ("enabled", Flag)])),
]);

/// Why there is no more than `minimal`.
const FULL_MDNS: &str =
    "it would tell everybody on the network about paths, names and other ports of this machine";

/// `hooks`.
pub(super) const HOOKS: Shape = Object(&[
    ("gmail", OBJECT),
    ("internal", OBJECT),
    ("mappings", List(&HOOK_MAPPING)),
    ("transformsDir", Noted("no code is run for a hook; its text is made by templates alone", &Text)),
]);

/// What a mapping without it would do more than its owner wants, or less safely, is refused and not left out.
const HOOK_MAPPING: Shape = Object(&[
    ("allowUnsafeExternalContent", Shape::Never("what comes from outside would count as the owner's words")),
    ("channel", REPLIES_STAY),
    ("deliver", Shape::Never(STAYS)),
    ("model", Shape::Refused("the model of a turn is the agent's; give the mapping an agent with `agentId`")),
    ("thinking", Shape::Refused("a level of thinking is not used yet")),
    ("to", REPLIES_STAY),
    (
        "transform",
        Shape::Refused("no code is run for a hook; write its text with `{{path}}` in `messageTemplate`"),
    ),
]);
const REPLIES_STAY: Shape = Shape::Refused(STAYS);
const STAYS: &str = "replies of hooks are not sent to a channel yet: they stay in the hook's session";

/// `models`.
pub(super) const MODELS: Shape = Object(&[("providers", Map(&PROVIDER))]);

const PROVIDER: Shape = Object(&[("api", APIS), ("auth", AUTHS), ("models", List(&MODEL))]);

/// Wire formats of which some work: an entry with another is left out.
const APIS: Shape = Noted(
    "this provider is left out: its wire format is not served yet",
    &OneOf(&["bedrock-converse-stream", "github-copilot"]),
);

/// Ways to sign in of which some work: an entry with another is left out.
const AUTHS: Shape =
    Noted("this provider is left out: it is signed in to by keys alone", &OneOf(&["aws-sdk", "oauth"]));

const MODEL: Shape = Object(&[("api", APIS)]);

/// `plugins`.
pub(super) const PLUGINS: Shape = Object(&[
    ("allow", TEXTS),
    ("deny", TEXTS),
    ("enabled", Flag),
    ("entries", Map(&Object(&[("config", OBJECT), ("enabled", Flag)]))),
    ("installs", OBJECT),
    ("load", Object(&[("paths", TEXTS)])),
    ("slots", Open(&[("memory", Text)])),
]);

/// `secrets`.
pub(super) const SECRETS: Shape =
    Object(&[("providers", Map(&Object(SECRET_PROVIDER))), ("resolution", OBJECT)]);

const SECRET_PROVIDER: super::super::shape::Members = &[
    ("allowInsecurePath", Shape::Never("others could read the secrets, or change them")),
    ("env", Noted("a program gets the variables that `passEnv` names", &Map(&Text))),
    ("maxBytes", COUNT),
    ("noOutputTimeoutMs", Noted("`timeoutMs` holds for all that the program does", &COUNT)),
    ("pluginIntegration", OBJECT),
];

/// `skills`.
pub(super) const SKILLS: Shape = Object(&[
    ("allowBundled", TEXTS),
    (
        "entries",
        Map(&Object(&[("apiKey", Text), ("config", OBJECT), ("enabled", Flag), ("env", Map(&Text))])),
    ),
    ("install", OBJECT),
    ("load", OBJECT),
]);

/// `talk`.
pub(super) const TALK: Shape = Open(&[("apiKey", Text)]);
