//! The first config of an installation.

use secrecy::{ExposeSecret, SecretString};

use crate::path::quote;

/// The text of the first config, with comments: the gateway on loopback, with this token.
pub fn initial(token: &SecretString) -> String {
    let token = quote(token.expose_secret());
    format!(
        r#"// The config of moltbot, in JSON5: comments and trailing commas are welcome.
// `moltbot config schema` prints every setting, `moltbot config validate` checks this file.
{{
  gateway: {{
    mode: "local",
    // Only programs on this machine can reach the gateway.
    bind: "loopback",
    port: 18789,
    auth: {{
      mode: "token",
      // Whoever has this token commands the assistant: keep it to yourself. "${{NAME}}" takes it from the
      // environment instead.
      token: {token},
    }},
  }},
  // Without a model here, moltbot takes the first that it finds: ANTHROPIC_API_KEY, OPENAI_API_KEY or
  // OPENROUTER_API_KEY of the environment, or a model server on this machine.
  // agents: {{ defaults: {{ model: "provider/model" }} }},
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    #[test]
    fn the_first_config_is_valid_and_holds_the_token() {
        let token = SecretString::from("0123456789abcdefghijklmnopqrstuvwxyzABCDEFG");
        let loaded = load(initial(&token).as_bytes(), "moltbot.json", &|_| None).unwrap();
        let kept = loaded.config.gateway.auth.token.unwrap();
        assert_eq!(kept.expose_secret(), token.expose_secret());
        assert!(loaded.unsupported.is_empty());
    }
}
