//! The settings that exist here. A field's doc comment is its reference: what it does, and why its
//! default is what it is.

use std::collections::BTreeMap;

use moltbot_protocol::ids::AgentId;
use moltbot_protocol::message::{ThinkingLevel, VerboseLevel};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

mod allowances;
mod bindings;
mod channels;
mod discovery;
mod docker;
mod endpoints;
mod env;
mod exec;
mod front;
mod heartbeat;
mod hooks;
mod irc;
mod ledger;
mod messages;
mod models;
mod money;
mod nodes;
mod outbound;
mod reach;
mod sandbox;
mod secrets;
mod security;
mod session;
mod telegram;
mod tools;

pub use allowances::{
    AllowancesConfig, CostLimit, CountLimit, HookAllowance, OwnLimits, OwnerAllowance, SenderAllowance,
    TogetherAllowance, Unlimited,
};
pub use bindings::{Binding, BindingMatch, BindingPeer, PeerKind};
pub use channels::{
    ChannelDefaults, ChannelsConfig, CommandsConfig, DmPolicy, GroupPolicy, GroupSettings, SenderEntry,
    SenderSettings,
};
pub use discovery::{DiscoveryConfig, MdnsConfig, MdnsMode};
pub use docker::{
    AgentDockerConfig, Bind, ContainerUser, Cpus, DockerConfig, ForbiddenSource, MemorySize,
    forbidden_source, is_container_prefix,
};
pub use endpoints::{ChatCompletionsConfig, EndpointConfig, EndpointsConfig, HttpConfig};
pub use env::EnvConfig;
pub use exec::{ApplyPatchConfig, ElevatedConfig, ExecAsk, ExecConfig, ExecHost, ExecSecurity};
pub use front::{AllowedOrigin, ControlUiConfig, Network};
pub use heartbeat::{
    ActiveHours, AgentHeartbeat, AgentHeartbeatConfig, Every, HeartbeatConfig, HeartbeatTarget, TimeOfDay,
};
pub use hooks::{
    HookAction, HookAgent, HookMapping, HookMatch, HookPreset, HookSignature, HooksConfig, SignatureKind,
    ToolName, WakeMode,
};
pub use irc::{IrcAccount, IrcConfig, SaslConfig, SaslMechanism};
pub use ledger::{LedgerConfig, OtlpConfig, SyslogConfig};
pub use messages::{MessagesConfig, QueueConfig, QueueDrop, QueueMode};
pub use models::{
    LocalModelFile, LocalModelsConfig, MaxTokensField, ModelCompat, ModelConfig, ModelInput, ModelsConfig,
    ModelsMode, ProviderApi, ProviderAuth, ProviderConfig,
};
pub use money::{Dollars, ModelCost};
pub use nodes::{NodeCommand, NodesConfig};
pub use outbound::{HostPattern, OutboundConfig, OutboundCredential, OutboundHost};
pub use reach::{Address, AllowedHost, RemoteConfig, TailscaleConfig, TailscaleMode, TlsConfig};
pub use sandbox::{
    AgentSandboxConfig, PruneConfig, SandboxBackend, SandboxConfig, SandboxMode, SandboxNetwork,
    SandboxScope, SandboxWorkspace,
};
pub(crate) use secrets::SecretSetting;
pub use secrets::{SecretDefaults, SecretFileMode, SecretProvider, SecretSource, SecretsConfig};
pub use security::{AuditConfig, ClientsConfig, SecurityConfig, SecurityProfile, Suppression};
pub use session::{DmScope, ResetByType, ResetConfig, ResetMode, SessionConfig};
pub use telegram::{TelegramAccount, TelegramBot, TelegramConfig, TelegramDirect, TelegramWebhook};
pub use tools::{AgentToolsConfig, SandboxToolsConfig, ToolPolicy, ToolProfile, ToolsConfig};

/// A whole configuration.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Agents: who answers.
    pub agents: AgentsConfig,
    /// What may be used in a day, and by whom.
    pub allowances: AllowancesConfig,
    /// Which agent answers what arrives on which channel.
    pub bindings: Vec<Binding>,
    /// Chat networks, and who may speak there.
    pub channels: ChannelsConfig,
    /// Commands in chats.
    pub commands: CommandsConfig,
    /// How the gateway is found.
    pub discovery: DiscoveryConfig,
    /// Variables for this config.
    pub env: EnvConfig,
    /// The gateway: how it listens and whom it lets in.
    pub gateway: GatewayConfig,
    /// Hooks: programs that cause a turn.
    pub hooks: HooksConfig,
    /// The book: where it is sent.
    pub ledger: LedgerConfig,
    /// What is logged.
    pub logging: LoggingConfig,
    /// Messages that come while another is answered.
    pub messages: MessagesConfig,
    /// Stamps of the program that wrote the file.
    pub meta: MetaConfig,
    /// Model providers.
    pub models: ModelsConfig,
    /// Where secrets are that are not in the config.
    pub secrets: SecretsConfig,
    /// How strict the gateway is.
    pub security: SecurityConfig,
    /// Sessions.
    pub session: SessionConfig,
    /// Tools.
    pub tools: ToolsConfig,
}

/// Stamps of the program that wrote the file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct MetaConfig {
    /// The version that wrote the file last.
    pub last_touched_version: Option<String>,
    /// When it did, in RFC 3339.
    pub last_touched_at: Option<String>,
}

/// How the gateway listens and whom it lets in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayConfig {
    /// Names and addresses of this machine, besides those that it listens on, that are taken in `Host`: exactly these.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Whom the gateway lets in.
    pub auth: AuthConfig,
    /// The addresses to listen on. Loopback: being reachable is a decision, not an accident. The others need `tls`.
    pub bind: BindMode,
    /// How long a client stays signed in.
    pub clients: ClientsConfig,
    /// The page in the browser.
    pub control_ui: ControlUiConfig,
    /// The one address of `bind: "custom"`.
    pub custom_bind_host: Option<Address>,
    /// Whether to listen beyond loopback without TLS. Who can listen in on that network then reads the credential and every
    /// message.
    pub dangerously_allow_plaintext_bind: bool,
    /// The HTTP interface.
    pub http: HttpConfig,
    /// Whether a gateway runs here. `remote` means that commands talk to another machine's.
    pub mode: GatewayMode,
    /// Devices that offer commands.
    pub nodes: NodesConfig,
    /// The port of HTTP and WebSocket, 1 to 65535. 18789 is where existing clients look.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The gateway of another machine that commands talk to.
    pub remote: RemoteConfig,
    /// Requests that Tailscale on this machine passes on.
    pub tailscale: TailscaleConfig,
    /// TLS.
    pub tls: TlsConfig,
    /// Proxies that are believed when they say for whom they speak: addresses, and networks such as `10.0.0.0/8`. Without
    /// any, a request that was forwarded counts as one from elsewhere, and its sender as the proxy.
    pub trusted_proxies: Vec<Network>,
    /// Whether programs of the owner are let in through `gateway.sock` in the state folder as well, which nobody else can
    /// reach. On: there the kernel says for sure whose program connects.
    pub unix_socket: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            auth: AuthConfig::default(),
            bind: BindMode::Loopback,
            clients: ClientsConfig::default(),
            control_ui: ControlUiConfig::default(),
            custom_bind_host: None,
            dangerously_allow_plaintext_bind: false,
            http: HttpConfig::default(),
            mode: GatewayMode::Local,
            nodes: NodesConfig::default(),
            port: 18789,
            remote: RemoteConfig::default(),
            tailscale: TailscaleConfig::default(),
            tls: TlsConfig::default(),
            trusted_proxies: Vec::new(),
            unix_socket: true,
        }
    }
}

/// The address to listen on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BindMode {
    /// The tailnet's address when there is one, else loopback.
    Auto,
    /// The address in `customBindHost`, and loopback.
    Custom,
    /// This machine's addresses in private networks, and loopback: those that it has when it starts.
    Lan,
    /// 127.0.0.1 and ::1.
    Loopback,
    /// The tailnet's address, and loopback.
    Tailnet,
}

/// Where the gateway runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayMode {
    /// Here.
    Local,
    /// On another machine.
    Remote,
}

/// Whom the gateway lets in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AuthConfig {
    /// Whether who is known to Tailscale signs in by that. When absent: with `tailscale.mode` `serve` and a token, and not
    /// with a password.
    pub allow_tailscale: Option<bool>,
    /// `token` or `password`; `password` when only a password is set.
    pub mode: Option<AuthMode>,
    /// The shared token: at least 32 characters, 20 of them different. Made at the first start.
    #[schemars(with = "Option<SecretSetting>")]
    pub token: Option<SecretString>,
    /// The shared password: at least 15 characters; or its hash, as `moltbot secrets hash-password` makes it, so that the
    /// password itself is kept nowhere.
    #[schemars(with = "Option<SecretSetting>")]
    pub password: Option<SecretString>,
}

/// What a client presents.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// A password.
    Password,
    /// A token.
    Token,
}

/// Agents: who answers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentsConfig {
    /// What holds for every agent that does not say otherwise.
    pub defaults: AgentDefaults,
    /// The agents. Empty means one agent named `main`.
    pub list: Vec<AgentConfig>,
}

/// What holds for every agent that does not say otherwise.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentDefaults {
    /// Characters of one workspace file that go into the system prompt, 1 to 1 000 000. 20 000 are five pages.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub bootstrap_max_chars: u32,
    /// Tokens of conversation that a model may be sent, 1000 to 10 000 000; the model's own window when
    /// absent.
    #[schemars(range(min = 1000, max = 10_000_000))]
    pub context_tokens: Option<u64>,
    /// How agents look by themselves whether there is something to do: the default one, where none has `heartbeat` of its own.
    pub heartbeat: HeartbeatConfig,
    /// How many turns may run at once, over all conversations, 1 to 64; others wait. Four, as upstream.
    #[schemars(range(min = 1, max = 64))]
    pub max_concurrent: u32,
    /// The model, as `provider/model`.
    pub model: Option<ModelChoice>,
    /// Short names of models, by `provider/model`. Where there is any, sessions may choose these models alone, and those that
    /// `model` names.
    pub models: BTreeMap<String, ModelEntry>,
    /// Which hosts commands reach, where the network of their sandbox is `proxy`.
    pub outbound: OutboundConfig,
    /// The walls around what agents do.
    pub sandbox: SandboxConfig,
    /// Whether to leave the workspace without its first files.
    pub skip_bootstrap: bool,
    /// How much models think that can be told, where nobody said otherwise; as much as they do by themselves when absent.
    #[schemars(with = "Option<String>", extend("enum" = ["off", "minimal", "low", "medium", "high", "xhigh"]))]
    pub thinking_default: Option<ThinkingLevel>,
    /// The longest time a turn may take, in seconds, 1 to 86 400. Ten minutes, as upstream.
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: u32,
    /// How much clients are told of the tools of turns, where a session does not say: `off` nothing, `on` which are called,
    /// `full` also what they brought. `full`: whoever may look at a conversation may read all of it anyway.
    #[schemars(with = "String", extend("enum" = ["off", "on", "full"]))]
    pub verbose_default: VerboseLevel,
    /// The folder that the agent works in; `workspace` in the state folder when absent. `~` is the home.
    pub workspace: Option<String>,
}

impl Default for AgentDefaults {
    fn default() -> Self {
        Self {
            bootstrap_max_chars: 20_000,
            context_tokens: None,
            heartbeat: HeartbeatConfig::default(),
            max_concurrent: 4,
            model: None,
            models: BTreeMap::new(),
            outbound: OutboundConfig::default(),
            sandbox: SandboxConfig::default(),
            skip_bootstrap: false,
            thinking_default: None,
            timeout_seconds: 600,
            verbose_default: VerboseLevel::default(),
            workspace: None,
        }
    }
}

/// One agent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentConfig {
    /// The agent's name: `[a-z0-9][a-z0-9_-]{0,63}`.
    #[schemars(with = "String", extend("x-moltbot-form" = "agent-id"))]
    pub id: AgentId,
    /// Whether messages that name no agent go here. The first agent is when none says so.
    #[serde(default)]
    pub default: bool,
    /// The name that people see.
    #[serde(default)]
    pub name: Option<String>,
    /// The folder that the agent works in.
    #[serde(default)]
    pub workspace: Option<String>,
    /// The model, as `provider/model`.
    #[serde(default)]
    pub model: Option<ModelChoice>,
    /// How it looks by itself. Where any agent has this, only those that have it do.
    #[serde(default)]
    pub heartbeat: Option<AgentHeartbeatConfig>,
    /// Which hosts its commands reach, in place of those of all agents.
    #[serde(default)]
    pub outbound: Option<OutboundConfig>,
    /// Its own walls.
    #[serde(default)]
    pub sandbox: Option<AgentSandboxConfig>,
    /// Which tools it has of those that all may have.
    #[serde(default)]
    pub tools: AgentToolsConfig,
}

/// A model that sessions may choose.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelEntry {
    /// A short name for it.
    pub alias: Option<String>,
}

/// A model, alone or with its fallbacks.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum ModelChoice {
    /// `provider/model`.
    One(String),
    /// A model and those to try after it.
    Ordered(OrderedModels),
}

/// A model and those to try after it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OrderedModels {
    /// `provider/model`.
    pub primary: Option<String>,
    /// Those to try after it, in order, when it does not answer. One without a key is left out.
    pub fallbacks: Vec<String>,
}

impl ModelChoice {
    /// The first model, as `provider/model`.
    pub fn primary(&self) -> Option<&str> {
        match self {
            Self::One(model) => Some(model),
            Self::Ordered(models) => models.primary.as_deref(),
        }
    }

    /// The models to try after it.
    pub fn fallbacks(&self) -> &[String] {
        match self {
            Self::One(_) => &[],
            Self::Ordered(models) => &models.fallbacks,
        }
    }
}

/// What is logged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LoggingConfig {
    /// The least level that goes to the log file.
    pub level: LogLevel,
    /// The least level that goes to the terminal.
    pub console_level: Option<LogLevel>,
}

/// A level of logging.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything that helps a developer.
    Debug,
    /// What failed.
    Error,
    /// What happened.
    #[default]
    Info,
    /// Nothing.
    Silent,
    /// Every step.
    Trace,
    /// What may fail soon.
    Warn,
}
