//! `hooks`: programs elsewhere that may cause a turn, and what such a turn may do.

use moltbot_protocol::ids::AgentId;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::SecretSetting;

/// Hooks: `POST` to `hooks.path` by a program, such as GitHub, causes a turn. Off: what comes that way is from outside.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HooksConfig {
    /// Whether `sessionKey` in the body of `/agent` is obeyed, within `agent:<agent>:hook:`. A session of its own for each
    /// call otherwise: one caller does not see what another said.
    pub allow_request_session_key: bool,
    /// The agents that `agentId` in the body of `/agent` may name; without any, the default agent alone.
    pub allowed_agent_ids: Vec<HookAgent>,
    /// The session of calls of `/agent`, such as `hook:ingress`. One of its own for each call when absent.
    #[schemars(extend("x-moltbot-form" = "hook-session"))]
    pub default_session_key: Option<String>,
    /// Whether hooks are answered.
    pub enabled: bool,
    /// Hooks with a form of their own.
    pub mappings: Vec<HookMapping>,
    /// The largest body, in bytes, 1 to 262 144. Upstream's limit is the most: a webhook has 20 kB.
    #[schemars(range(min = 1, max = 262_144))]
    pub max_body_bytes: u32,
    /// The path below which hooks are answered.
    #[schemars(extend("x-moltbot-form" = "hooks-path"))]
    pub path: String,
    /// Ready-made mappings.
    pub presets: Vec<HookPreset>,
    /// What callers present: as strong as the gateway's token, and another one. Needed when hooks are enabled.
    #[schemars(with = "Option<SecretSetting>")]
    pub token: Option<SecretString>,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self {
            allow_request_session_key: false,
            allowed_agent_ids: Vec::new(),
            default_session_key: None,
            enabled: false,
            mappings: Vec::new(),
            max_body_bytes: 262_144,
            path: "/hooks".into(),
            presets: Vec::new(),
            token: None,
        }
    }
}

/// The name of an agent in a list.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(transparent)]
#[schemars(transparent, extend("x-moltbot-form" = "agent-id"))]
pub struct HookAgent(#[schemars(with = "String")] pub AgentId);

/// A ready-made mapping.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HookPreset {
    /// Mails, as a watcher of Gmail posts them to `/gmail`.
    Gmail,
}

/// A hook with a form of its own: what its caller posts becomes a message by a template.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HookMapping {
    /// What it causes.
    pub action: HookAction,
    /// The agent that answers; the default one when absent. Callers cannot choose another.
    #[schemars(extend("x-moltbot-form" = "agent-id"))]
    pub agent_id: Option<String>,
    /// Its name, `[a-z0-9][a-z0-9_-]{0,63}`; its path when absent.
    #[schemars(extend("x-moltbot-form" = "hook-name"))]
    pub id: Option<String>,
    /// What the agent is to do with what comes, in the owner's words. Stands apart from what comes.
    pub instructions: Option<String>,
    /// Which calls it takes.
    #[serde(rename = "match")]
    pub matches: HookMatch,
    /// The text of an `agent`: `{{path}}` is what stands there in the body. All of it counts as from outside.
    pub message_template: Option<String>,
    /// What the agent reads before the text.
    pub name: Option<String>,
    /// The session of an `agent`: `hook:` and a name, in which `{{path}}` may stand. One of its own for each call when absent.
    #[schemars(extend("x-moltbot-form" = "hook-session"))]
    pub session_key: Option<String>,
    /// How its caller signs. It presents the token of `hooks.token` when absent.
    pub signature: Option<HookSignature>,
    /// The text of a `wake`.
    pub text_template: Option<String>,
    /// The longest time its turn may take, in seconds, 1 to 86 400; that of the agent when absent or longer.
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: Option<u32>,
    /// The tools that its turns have. Those that read alone when absent: what comes from outside may be an attack, and what
    /// writes or executes for it must be named here.
    pub tools: Option<Vec<ToolName>>,
    /// `now`, or `next-heartbeat`: what a `wake` says waits for the agent's next look, and what comes of an `agent` is told to its
    /// main conversation with that. `now` when absent.
    pub wake_mode: WakeMode,
}

impl Default for HookMapping {
    fn default() -> Self {
        Self {
            action: HookAction::Agent,
            agent_id: None,
            id: None,
            instructions: None,
            matches: HookMatch::default(),
            message_template: None,
            name: None,
            session_key: None,
            signature: None,
            text_template: None,
            timeout_seconds: None,
            tools: None,
            wake_mode: WakeMode::Now,
        }
    }
}

/// What a mapping causes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HookAction {
    /// A turn in a session of hooks.
    Agent,
    /// A turn in the main session, whose text is the event.
    Wake,
}

/// When what a hook says is told to the agent's main conversation.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeMode {
    /// When the agent looks next.
    NextHeartbeat,
    /// At once.
    #[default]
    Now,
}

impl WakeMode {
    /// The name in configs and bodies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NextHeartbeat => "next-heartbeat",
            Self::Now => "now",
        }
    }
}

/// Which calls a mapping takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HookMatch {
    /// The path below `hooks.path`; the mapping's name when absent.
    #[schemars(extend("x-moltbot-form" = "hook-path"))]
    pub path: Option<String>,
    /// What `source` in the body must be. Tells mappings of one path apart.
    pub source: Option<String>,
}

/// A tool that the agent may call.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolName {
    /// Changes several files at once, where `tools.exec.applyPatch` has it.
    ApplyPatch,
    /// Changes a part of a file.
    Edit,
    /// Runs a command.
    Exec,
    /// Looks after commands in the background. Useless without `exec`.
    Process,
    /// Reads a file.
    Read,
    /// Tells what is set of the conversation, and what it used.
    SessionStatus,
    /// Writes a file.
    Write,
}

/// How a caller signs what it posts. The signature is over the body as it came, and stands in place of the token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HookSignature {
    /// `generic` alone: the header with the signature, such as `X-Signature`.
    #[serde(default)]
    #[schemars(extend("x-moltbot-form" = "header-name"))]
    pub header: Option<String>,
    /// `generic` alone: the header that names the delivery, for telling one that came twice.
    #[serde(default)]
    #[schemars(extend("x-moltbot-form" = "header-name"))]
    pub id_header: Option<String>,
    /// Whose form of signature it is; `generic` when absent.
    #[serde(default)]
    pub kind: SignatureKind,
    /// `generic` alone: what stands before the signature in its header, such as `sha256=`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// The key that the caller shares: at least 24 characters.
    #[schemars(with = "SecretSetting")]
    pub secret: SecretString,
    /// `generic` alone: the header with the time in seconds. What is signed is then the time, a dot and the body, and a
    /// call is refused that is older than five minutes.
    #[serde(default)]
    #[schemars(extend("x-moltbot-form" = "header-name"))]
    pub timestamp_header: Option<String>,
}

/// Whose form of signature it is. All are HMAC with SHA-256.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureKind {
    /// In hexadecimal digits, in a header of the owner's choice.
    #[default]
    Generic,
    /// `X-Hub-Signature-256`.
    Github,
    /// `X-Slack-Signature`.
    Slack,
    /// `Stripe-Signature`.
    Stripe,
}
