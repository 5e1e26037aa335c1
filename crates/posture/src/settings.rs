//! Facts of the config: whether it is valid, and whether its credential is strong.

use moltbot_config::settings::{
    AgentsConfig, AuthConfig, BindMode, GatewayConfig, SandboxBackend, SandboxMode,
};
use moltbot_config::{ConfigErrors, Loaded};
use moltbot_policy::authentication::Credential;
use moltbot_policy::profile::missing_walls;

use crate::check::Check;

/// Whether the config is valid, and all of it is used.
pub fn config(loaded: Result<&Loaded, &ConfigErrors>) -> Check {
    const ID: &str = "config";
    match loaded {
        Err(errors) => {
            Check::fail(ID, errors.to_string(), "correct it; `moltbot config path` says where it is")
        }
        Ok(loaded) if loaded.unsupported.is_empty() => Check::ok(ID, "the config is valid"),
        Ok(loaded) => {
            let (noted, plain): (Vec<_>, Vec<_>) =
                loaded.unsupported.iter().partition(|entry| entry.note.is_some());
            let mut what = "the config is valid".to_owned();
            if !plain.is_empty() {
                let paths: Vec<_> = plain.iter().map(|entry| entry.path.as_str()).collect();
                what.push_str("; not supported yet: ");
                what.push_str(&paths.join(", "));
            }
            for entry in &noted {
                what.push_str(&format!("; {entry}"));
            }
            let fix = if noted.is_empty() {
                "nothing to do: these settings have no effect in this version"
            } else {
                "these settings have no effect in this version; check that what holds instead is safe enough for you"
            };
            Check::warn(ID, what, fix)
        }
    }
}

/// Whether the gateway's token or password keeps the rules.
pub fn credential(auth: &AuthConfig) -> Check {
    const ID: &str = "gateway.auth";
    match Credential::from_config(auth) {
        Ok(_) => Check::ok(ID, "the gateway's credential is strong"),
        Err(weak) => {
            Check::fail(ID, weak.to_string(), "set it with `moltbot secrets set gateway.auth.token`")
        }
    }
}

/// Whether somebody else than the owner works in the owner's files. Commands stay within walls either way.
pub fn shut_off(agents: &AgentsConfig) -> Check {
    const ID: &str = "sandbox.mode";
    let of_all = agents.defaults.sandbox.mode;
    let own =
        agents.list.iter().filter_map(|agent| agent.sandbox.as_ref()).filter_map(|sandbox| sandbox.mode);
    if std::iter::once(of_all).chain(own).any(|mode| mode == SandboxMode::Off) {
        return Check::warn(
            ID,
            "critical: sandbox.mode is \"off\": whoever speaks in any session reads and changes the agent's workspace",
            "remove it, or set it to \"non-main\": then the main session alone has the workspace",
        );
    }
    Check::ok(
        ID,
        "sessions other than the main one are shut off from the agent's workspace, as the config says",
    )
}

/// Whether some agent's commands run behind fewer walls than they could.
pub fn walls(agents: &AgentsConfig) -> Check {
    const ID: &str = "sandbox.backend";
    let own =
        agents.list.iter().filter_map(|agent| agent.sandbox.as_ref()).filter_map(|sandbox| sandbox.backend);
    let weak = SandboxBackend::EmbeddedWeak;
    if !std::iter::once(agents.defaults.sandbox.backend).chain(own).any(|backend| backend == weak) {
        return Check::ok(ID, "no agent's commands run behind the weak walls");
    }
    let missing = missing_walls(weak).join("; ");
    Check::warn(
        ID,
        format!(
            "critical: sandbox.backend is \"embedded-weak\": commands run without namespaces. Missing: {missing}"
        ),
        "set it to \"embedded\" where there are user namespaces (inside Docker: `--security-opt seccomp=unconfined \
         --security-opt systempaths=unconfined`), to \"bwrap\", or to \"docker\"",
    )
}

/// Whether the gateway can be reached from elsewhere, and whether others can listen in then.
pub fn network(gateway: &GatewayConfig) -> Check {
    const ID: &str = "gateway.bind";
    let plaintext = gateway.dangerously_allow_plaintext_bind;
    match (gateway.bind, gateway.tls.enabled, plaintext) {
        (BindMode::Loopback, _, false) => Check::ok(ID, "the gateway listens on this machine alone"),
        (BindMode::Loopback, _, true) | (_, true, true) => Check::warn(
            ID,
            "gateway.dangerouslyAllowPlaintextBind is set, and is not needed",
            "remove it: it opens the network as soon as another setting changes",
        ),
        (_, true, false) => Check::ok(ID, "the gateway listens beyond this machine, over TLS alone"),
        (_, false, true) => Check::warn(
            ID,
            "gateway.dangerouslyAllowPlaintextBind: the gateway listens beyond this machine without TLS; whoever listens in \
             on that network reads the credential and every message",
            "set gateway.tls.enabled to true and remove gateway.dangerouslyAllowPlaintextBind",
        ),
        (BindMode::Auto, false, false) => Check::warn(
            ID,
            "gateway.bind is \"auto\", and the gateway does not speak TLS: it starts only where there is no tailnet",
            "set gateway.tls.enabled to true, or gateway.bind to \"loopback\"",
        ),
        (_, false, false) => Check::fail(
            ID,
            "gateway.bind asks for more than loopback, and the gateway does not speak TLS: it does not start",
            "set gateway.tls.enabled to true, or gateway.bind to \"loopback\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn a_weak_credential_stops_the_gateway() {
        let auth = |token: &str| AuthConfig { token: Some(token.into()), ..AuthConfig::default() };
        assert_eq!(credential(&auth("short")).level, Level::Fail);
        assert_eq!(credential(&auth("q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM")).level, Level::Ok);
        assert_eq!(credential(&AuthConfig::default()).level, Level::Fail);
    }

    #[test]
    fn weak_walls_are_told_by_name() {
        let mut agents = AgentsConfig::default();
        assert_eq!(walls(&agents).level, Level::Ok);
        agents.defaults.sandbox.backend = SandboxBackend::EmbeddedWeak;
        let told = walls(&agents);
        assert_eq!(told.level, Level::Warn);
        for missing in missing_walls(SandboxBackend::EmbeddedWeak) {
            assert!(told.what.contains(missing), "{missing}");
        }
    }

    #[test]
    fn plaintext_beyond_loopback_is_always_told() {
        let level = |bind, tls, dangerously_allow_plaintext_bind| {
            let mut gateway =
                GatewayConfig { bind, dangerously_allow_plaintext_bind, ..GatewayConfig::default() };
            gateway.tls.enabled = tls;
            network(&gateway).level
        };
        for (bind, tls, plaintext, expected) in [
            (BindMode::Loopback, false, false, Level::Ok),
            (BindMode::Loopback, false, true, Level::Warn),
            (BindMode::Lan, true, false, Level::Ok),
            (BindMode::Lan, true, true, Level::Warn),
            (BindMode::Lan, false, true, Level::Warn),
            (BindMode::Auto, false, false, Level::Warn),
            (BindMode::Tailnet, false, false, Level::Fail),
        ] {
            assert_eq!(level(bind, tls, plaintext), expected, "{bind:?} {tls} {plaintext}");
        }
    }
}
