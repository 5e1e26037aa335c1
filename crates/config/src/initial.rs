//! The first config of an installation.

use crate::path::quote;

/// The text of the first config, with comments: the gateway on loopback, with this sealed token.
pub fn initial(sealed_token: &str) -> String {
    let token = quote(sealed_token);
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
      // Whoever has this token commands the assistant. It is sealed: `moltbot secrets get gateway.auth.token`
      // prints it, `moltbot secrets set` replaces it; "${{NAME}}" takes it from the environment instead.
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
    use crate::{SecretState, secrets};

    #[test]
    fn the_first_config_has_one_secret_and_that_is_sealed() {
        let text = initial("sealed:v1:aes-256-gcm:hkdf-sha256:AAAA");
        let found = secrets(&text).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_str(), &found[0].state), ("gateway.auth.token", &SecretState::Sealed));
    }
}
