//! `ledger`: where the book is sent.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::SecretSetting;

/// Where the book is sent. Nowhere when absent: which servers are the owner's, only the owner knows. How often the files
/// that `moltbot ledger anchor` named are brought up to date is no setting: each minute.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LedgerConfig {
    /// An OpenTelemetry collector, which is sent each new record.
    pub otlp: Option<OtlpConfig>,
    /// A syslog server, which is sent each new record and, each minute, the head of the book.
    pub syslog: Option<SyslogConfig>,
}

/// An OpenTelemetry collector that speaks OTLP over HTTP in JSON.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OtlpConfig {
    /// The absolute path of a file with the certificates (PEM) of the authorities that may vouch for the collector, and of
    /// no others. Those of this machine when absent.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// Headers sent with every request, such as the collector's key.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, SecretSetting>")]
    pub headers: BTreeMap<String, SecretString>,
    /// The whole address, as `https://collector.example.org:4318/v1/logs`: `https`, or `http` to this machine.
    #[schemars(extend("x-moltbot-form" = "https-or-loopback"))]
    pub url: String,
}

/// A syslog server that takes messages over TLS (RFC 5425).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SyslogConfig {
    /// The absolute path of a file with the certificates (PEM) of the authorities that may vouch for the server, and of no
    /// others. Those of this machine when absent.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// The server's name, which its certificate must have, or its address.
    #[schemars(extend("x-moltbot-form" = "host"))]
    pub host: String,
    /// Its port, 1 to 65535. 6514 is the one of syslog over TLS.
    #[serde(default = "syslog_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

const fn syslog_port() -> u16 {
    6514
}
