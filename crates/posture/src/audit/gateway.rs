//! Checks of how the gateway is reached, by whom, and of its hooks.

use serde_json::Value;

use super::credentials::is_exposed;
use super::facts::Facts;
use super::raw::{at, fold, is_set, items, members, text};
use super::{Check, Evidence, Outcome};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("gateway.bind_without_tls", bind_without_tls),
    ("gateway.http.no_auth", |facts| is_text(facts, "gateway.auth.mode", "none")),
    ("gateway.nodes.allow_commands_dangerous", allow_commands),
    ("gateway.nodes.deny_commands_ineffective", deny_commands),
    ("gateway.tailscale_funnel", |facts| is_text(facts, "gateway.tailscale.mode", "funnel")),
    ("gateway.tailscale_serve", |facts| is_text(facts, "gateway.tailscale.mode", "serve")),
    ("gateway.control_ui.allowed_origins_wildcard", origins_wildcard),
    ("gateway.control_ui.host_header_origin_fallback", |facts| {
        is_true(facts, "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback")
    }),
    ("gateway.control_ui.insecure_auth", |facts| is_true(facts, "gateway.controlUi.allowInsecureAuth")),
    ("gateway.control_ui.device_auth_disabled", |facts| {
        is_true(facts, "gateway.controlUi.dangerouslyDisableDeviceAuth")
    }),
    ("gateway.real_ip_fallback_enabled", |facts| is_true(facts, "gateway.allowRealIpFallback")),
    ("gateway.trusted_proxies_any", trusted_proxies),
    ("discovery.mdns_full_mode", |facts| is_text(facts, "discovery.mdns.mode", "full")),
    ("security.profile_personal_exposed", personal_exposed),
    ("hooks.path_root", path_root),
    ("hooks.request_session_key_enabled", |facts| {
        with_hooks(facts, |value| {
            let is_open = is_set(value, "hooks.allowRequestSessionKey");
            Outcome::when(is_open, "hooks.allowRequestSessionKey", "it is on")
        })
    }),
    ("hooks.allowed_agent_ids_unrestricted", agents_unrestricted),
    ("hooks.tools_dangerous", hook_tools),
];

/// Commands of nodes that watch people, reach others, or cost money: the beginnings of their names.
const DANGEROUS: [&str; 9] =
    ["calendar.", "camera.", "contacts.", "location.", "photos.", "screen.", "sms.", "system.run", "talk."];

fn is_true(facts: &Facts<'_>, path: &str) -> Outcome {
    facts.of_config(|value| Outcome::when(is_set(value, path), path, "it is set"))
}

fn is_text(facts: &Facts<'_>, path: &str, bad: &str) -> Outcome {
    facts.of_config(|value| {
        let is_so = text(value, path).is_some_and(|found| fold(found) == bad);
        Outcome::when(is_so, path, format!("\"{bad}\""))
    })
}

fn bind_without_tls(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let bind = text(value, "gateway.bind").unwrap_or("loopback");
        let is_open =
            !matches!(bind, "loopback" | "127.0.0.1" | "::1") && !is_set(value, "gateway.tls.enabled");
        Outcome::when(is_open, "gateway.bind", format!("\"{bind}\", and gateway.tls.enabled is not true"))
    })
}

fn allow_commands(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let names = items(value, "gateway.nodes.allowCommands").iter().filter_map(Value::as_str);
        let bad = names.filter(|name| DANGEROUS.iter().any(|start| name.starts_with(start)));
        Outcome::from(bad.map(|name| Evidence::new("gateway.nodes.allowCommands", name)).collect())
    })
}

fn deny_commands(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let names = items(value, "gateway.nodes.denyCommands").iter().filter_map(Value::as_str);
        let bad = names.filter(|name| name.contains(['*', '?', '[', ' ', '|']) || name.starts_with("group:"));
        Outcome::from(bad.map(|name| Evidence::new("gateway.nodes.denyCommands", name)).collect())
    })
}

fn origins_wildcard(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let place = "gateway.controlUi.allowedOrigins";
        let any = items(value, place).iter().filter_map(Value::as_str).any(|origin| origin.contains('*'));
        Outcome::when(any, place, "an entry has a wildcard")
    })
}

fn trusted_proxies(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let place = "gateway.trustedProxies";
        let networks = items(value, place).iter().filter_map(Value::as_str);
        let any = networks.filter(|network| network.trim() == "*" || network.trim().ends_with("/0"));
        Outcome::from(any.map(|network| Evidence::new(place, network)).collect())
    })
}

fn personal_exposed(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let profile = text(value, "security.profile").unwrap_or("personal");
        let is_so = profile == "personal" && is_exposed(facts);
        Outcome::when(is_so, "security.profile", "\"personal\", and the gateway is reached from elsewhere")
    })
}

fn with_hooks(facts: &Facts<'_>, check: impl FnOnce(&Value) -> Outcome) -> Outcome {
    facts.of_config(|value| if is_set(value, "hooks.enabled") { check(value) } else { Outcome::Passed })
}

fn path_root(facts: &Facts<'_>) -> Outcome {
    with_hooks(facts, |value| {
        let path = text(value, "hooks.path").unwrap_or("/hooks");
        Outcome::when(path.trim_matches('/').is_empty(), "hooks.path", format!("\"{path}\""))
    })
}

/// Without a list the default agent alone is reached, so that only a wildcard leaves the choice open.
fn agents_unrestricted(facts: &Facts<'_>) -> Outcome {
    with_hooks(facts, |value| {
        let place = "hooks.allowedAgentIds";
        let any = items(value, place).iter().filter_map(Value::as_str).any(|id| id.contains('*'));
        Outcome::when(any, place, "an entry has a wildcard")
    })
}

fn hook_tools(facts: &Facts<'_>) -> Outcome {
    with_hooks(facts, |value| {
        let mappings = items(value, "hooks.mappings").iter().enumerate();
        let found = mappings.filter_map(|(index, mapping)| {
            let tools = items(mapping, "tools").iter().filter_map(Value::as_str);
            let bad: Vec<&str> = tools.filter(|tool| ["edit", "exec", "write"].contains(tool)).collect();
            let place = format!("hooks.mappings[{index}].tools");
            (!bad.is_empty()).then(|| Evidence::new(place, bad.join(", ")))
        });
        Outcome::from(found.collect())
    })
}

/// The lists of those who may ask for commands outside the sandbox, by channel.
pub(super) fn elevated_lists(value: &Value) -> impl Iterator<Item = (&str, &[Value])> {
    members(value, "tools.elevated.allowFrom")
        .filter_map(|(name, list)| Some((name, list.as_array()?.as_slice())))
}

/// Whether commands outside the sandbox may be asked for.
pub(super) fn is_elevated(value: &Value) -> bool {
    at(value, "tools.elevated.enabled").and_then(Value::as_bool).unwrap_or(false)
}
