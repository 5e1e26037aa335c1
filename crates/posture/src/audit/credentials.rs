//! Checks of what peers sign in with.

use super::facts::{CredentialFact, Facts};
use super::raw::text;
use super::{Check, Outcome};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("gateway.bind_no_auth", |facts| no_credential(facts, true)),
    ("gateway.loopback_no_auth", |facts| no_credential(facts, false)),
    ("gateway.password_placeholder_value", |facts| placeholder(facts, true)),
    ("gateway.token_placeholder_value", |facts| placeholder(facts, false)),
    ("gateway.password_too_short", |facts| weak(facts, true)),
    ("gateway.token_too_short", |facts| weak(facts, false)),
    ("gateway.auth_unknown", unknown),
    ("hooks.token_too_short", hooks_token),
    ("hooks.token_reuse_gateway_token", |facts| {
        Outcome::when(facts.is_token_reused, "hooks.token", "it is the gateway's credential")
    }),
];

/// Whether the gateway is to be reached from elsewhere, as the config says.
pub(super) fn is_exposed(facts: &Facts<'_>) -> bool {
    let Some(value) = facts.config.value() else { return false };
    let bind = text(value, "gateway.bind").unwrap_or("loopback");
    let tailscale = text(value, "gateway.tailscale.mode").unwrap_or("off");
    bind != "loopback" || tailscale != "off"
}

fn place(is_password: bool) -> &'static str {
    if is_password { "gateway.auth.password" } else { "gateway.auth.token" }
}

fn no_credential(facts: &Facts<'_>, exposed: bool) -> Outcome {
    facts.of_config(|_| {
        let is_none = facts.credential == CredentialFact::None && is_exposed(facts) == exposed;
        Outcome::when(is_none, place(false), "there is neither a token nor a password")
    })
}

fn placeholder(facts: &Facts<'_>, password: bool) -> Outcome {
    facts.of_config(|_| {
        let is_one = facts.credential == CredentialFact::Placeholder { is_password: password };
        Outcome::when(is_one, place(password), "it is blank, or a word that stands for nothing")
    })
}

fn weak(facts: &Facts<'_>, password: bool) -> Outcome {
    facts.of_config(|_| match &facts.credential {
        CredentialFact::Weak { is_password, rule } if *is_password == password => {
            Outcome::when(true, place(password), rule.clone())
        }
        CredentialFact::Unknown(_) => Outcome::NotRun("the credential is not known here".into()),
        CredentialFact::None
        | CredentialFact::Placeholder { .. }
        | CredentialFact::Strong
        | CredentialFact::Weak { .. } => Outcome::Passed,
    })
}

fn unknown(facts: &Facts<'_>) -> Outcome {
    match &facts.credential {
        CredentialFact::Unknown(why) => Outcome::when(true, "gateway.auth", why.clone()),
        CredentialFact::None
        | CredentialFact::Placeholder { .. }
        | CredentialFact::Strong
        | CredentialFact::Weak { .. } => Outcome::Passed,
    }
}

fn hooks_token(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|_| match &facts.hooks {
        None | Some(CredentialFact::Strong) => Outcome::Passed,
        Some(CredentialFact::None) => Outcome::when(true, "hooks.token", "there is none"),
        Some(CredentialFact::Placeholder { .. }) => Outcome::when(true, "hooks.token", "it is a placeholder"),
        Some(CredentialFact::Weak { rule, .. }) => Outcome::when(true, "hooks.token", rule.clone()),
        Some(CredentialFact::Unknown(why)) => Outcome::NotRun(why.clone()),
    })
}
