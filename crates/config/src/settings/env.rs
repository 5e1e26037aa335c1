//! `env`: variables for this config.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::secrets::SecretSetting;

/// Variables for `${NAME}` in this config and for the keys of providers and channels, under `vars` or directly. A variable
/// of the environment, or of the file `.env` in the state folder, comes before one of the config. No program that moltbot
/// starts sees them.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(default)]
pub struct EnvConfig {
    /// Variables by their names.
    #[schemars(with = "BTreeMap<String, SecretSetting>")]
    pub vars: BTreeMap<String, SecretString>,
    /// Variables by their names.
    #[schemars(with = "BTreeMap<String, SecretSetting>", flatten)]
    pub others: BTreeMap<String, SecretString>,
}

impl EnvConfig {
    /// The variable of this name. Empty counts as absent.
    pub fn variable(&self, name: &str) -> Option<&SecretString> {
        let found = self.others.get(name).or_else(|| self.vars.get(name));
        found.filter(|value| !crate::variables::is_empty(value))
    }
}

impl<'de> Deserialize<'de> for EnvConfig {
    /// By hand, because what `serde(flatten)` reads is copied on its way.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = EnvConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("variables by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EnvConfig, A::Error> {
                let mut env = EnvConfig::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == crate::variables::VARS {
                        env.vars = map.next_value()?;
                    } else {
                        env.others.insert(name, map.next_value()?);
                    }
                }
                Ok(env)
            }
        }

        deserializer.deserialize_map(Members)
    }
}
