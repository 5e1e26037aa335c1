//! A keeper whose sealed texts can be read by the tests.

use std::collections::BTreeSet;

use moltbot_config::settings::SecretsConfig;
use moltbot_config::{Asked, Keeper, SEALED_PREFIX, SecretRef, Surroundings, load};
use secrecy::{ExposeSecret as _, SecretString};

/// Seals by writing place, generation and text in hex: bound to its place like the real thing, and readable.
pub(crate) struct Toy(pub(crate) u32);

pub(crate) fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<String> {
    let bytes = (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

impl Keeper for Toy {
    fn seal(&self, place: &str, plain: &SecretString) -> Result<String, String> {
        Ok(format!("{SEALED_PREFIX}{}.{}.{}", self.0, hex(place), hex(plain.expose_secret())))
    }

    fn unseal(&self, place: &str, sealed: &str) -> Result<SecretString, String> {
        let parts: Vec<&str> = sealed.strip_prefix(SEALED_PREFIX).ok_or("no form")?.split('.').collect();
        let [_, of, plain] = parts.as_slice() else { return Err("no form".into()) };
        if unhex(of).as_deref() != Some(place) {
            return Err(format!("{place} does not open"));
        }
        unhex(plain).map(Into::into).ok_or_else(|| "no form".into())
    }

    fn unseal_original(&self, _place: &str, sealed: &str) -> Result<SecretString, String> {
        let value: serde_json::Value = serde_json::from_str(sealed).map_err(|error| error.to_string())?;
        let text = value.get("ciphertext").and_then(|text| text.as_str()).ok_or("no ciphertext")?;
        Ok(text.to_owned().into())
    }

    fn is_current(&self, _place: &str, sealed: &str) -> bool {
        sealed.starts_with(&format!("{SEALED_PREFIX}{}.", self.0))
    }

    fn draw_id(&self) -> Result<String, String> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Ok(format!("{:016x}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The program of `vault` knows one secret; that of `silent` is not asked.
    fn ask(&self, config: &SecretsConfig, provider: &str, ids: &BTreeSet<String>) -> Result<Asked, String> {
        let entry = config.providers.get(provider).ok_or("there is no such provider")?;
        let command = entry.command.as_deref().unwrap_or("no command");
        if provider == "silent" {
            return Ok(Asked::Withheld);
        }
        if provider == "broken" {
            return Err(format!("{command} does not answer"));
        }
        let all = ids.iter().cloned().collect::<Vec<String>>().join(" ");
        let answers = [
            ("x/y#z".to_owned(), Ok(format!("{command} was asked for {all}").into())),
            ("empty".to_owned(), Ok("".into())),
            ("refused".to_owned(), Err("it refuses that".to_owned())),
        ];
        Ok(Asked::Answered(answers.into()))
    }

    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, String> {
        match reference {
            SecretRef::Store { id, .. } if id == "there" => Ok("from ${A} the store".into()),
            SecretRef::File { id, .. } if id == "/run/one" => Ok("in a file".into()),
            SecretRef::File { id, .. } if id == "/run/empty" => Ok("".into()),
            SecretRef::File { id, .. } if id == "/run/many.json" => {
                Ok(r#"{"openai":{"key":"sk-json","n":5},"a/b":["x","of-a-list"]}"#.into())
            }
            other => Err(format!("{other} is not there")),
        }
    }
}

pub(crate) fn with(
    keeper: &Toy,
    sealed: bool,
    text: &str,
) -> Result<moltbot_config::Loaded, moltbot_config::ConfigErrors> {
    let environment = |name: &str| (name == "A").then(|| SecretString::from("value-of-a"));
    load(
        text.as_bytes(),
        "moltbot.json",
        &Surroundings { keeper, sealed, ..Surroundings::plain(&environment) },
    )
}
