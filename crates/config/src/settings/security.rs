//! How strict the gateway is: one key for what differs between a person's machine and an administered one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How strict the gateway is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SecurityConfig {
    /// What `moltbot security audit` looks at.
    pub audit: AuditConfig,
    /// What the limits of sign-in, of client sessions and of pairing are taken from. `personal` is the default: forgiving
    /// to one person, and the same for guessers as everywhere. `asvs` and `dod` are strict.
    pub profile: SecurityProfile,
}

/// What `moltbot security audit` looks at.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AuditConfig {
    /// Findings to live with for a while. They stay in the report and in the score; a second score is without them. A
    /// critical finding cannot be suppressed.
    pub suppressions: Vec<Suppression>,
}

/// A finding to live with for a while.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Suppression {
    /// The finding's id, in full.
    pub check_id: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, such as 2026-12-31; 90 days from now at most.
    pub until: String,
}

/// Where the limits are taken from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecurityProfile {
    /// OWASP ASVS 5.0, level 2.
    Asvs,
    /// DISA's Application Security and Development STIG.
    Dod,
    /// One person's own machine.
    #[default]
    Personal,
}

/// How long a client stays signed in.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientsConfig {
    /// Seconds without a request after which a connected client has to sign in again, 1 to 31 536 000. What
    /// `security.profile` says when absent; it may be shorter than that, and not longer.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub idle_seconds: Option<u32>,
    /// Seconds after its sign-in after which a connected client has to sign in again, 1 to 31 536 000. What
    /// `security.profile` says when absent; it may be shorter than that, and not longer.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub longest_seconds: Option<u32>,
}
