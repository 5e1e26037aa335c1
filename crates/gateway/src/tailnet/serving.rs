//! What Tailscale is set up to pass on, as it tells in `serve-config`: of that, the ways to one port of this machine.

use std::collections::BTreeMap;

use moltbot_policy::network::Forward;
use serde::Deserialize;

/// What is passed on by a setup that stays, and by commands that run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ServeConfig {
    allow_funnel: BTreeMap<String, bool>,
    foreground: BTreeMap<String, Option<ServeConfig>>,
    #[serde(rename = "TCP")]
    tcp: BTreeMap<String, Option<Tcp>>,
    web: BTreeMap<String, Option<Web>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tcp {
    #[serde(rename = "TCPForward")]
    forward: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Web {
    handlers: BTreeMap<String, Option<HttpHandler>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HttpHandler {
    proxy: String,
}

impl ServeConfig {
    /// The ways to a port of this machine.
    pub(super) fn to_port(&self, port: u16) -> Vec<Forward> {
        let mut found = Vec::new();
        for (place, web) in &self.web {
            let handlers = web.iter().flat_map(|web| web.handlers.values().flatten());
            let funnel = self.allow_funnel.get(place).copied().unwrap_or(false);
            let ours = handlers.filter(|handler| leads_to(&handler.proxy, port));
            found.extend(ours.map(|_| Forward { funnel, raw: false }));
        }
        for (own, tcp) in &self.tcp {
            let funnel =
                self.allow_funnel.iter().any(|(place, on)| *on && place.ends_with(&format!(":{own}")));
            let ours = tcp.iter().filter(|tcp| leads_to(&tcp.forward, port));
            found.extend(ours.map(|_| Forward { funnel, raw: true }));
        }
        found.extend(self.foreground.values().flatten().flat_map(|session| session.to_port(port)));
        found
    }
}

/// Whether a target such as `http://127.0.0.1:18789/` or `127.0.0.1:18789` has that port. Every host counts: which names
/// stand for this machine, only its resolver knows.
fn leads_to(target: &str, port: u16) -> bool {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once(':').and_then(|(_, text)| text.parse().ok()) == Some(port)
        || authority == port.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_the_port_is_found_and_no_other() {
        let told = serde_json::json!({
            "TCP": {"443": {"HTTPS": true}, "8443": {"TCPForward": "127.0.0.1:18789"}, "22": {"TCPForward": "127.0.0.1:22"}},
            "Web": {
                "desk.tail0123.ts.net:443": {"Handlers": {
                    "/": {"Proxy": "http://127.0.0.1:18789"}, "/other": {"Proxy": "http://127.0.0.1:1"}, "/text": {"Text": "x"},
                }},
                "desk.tail0123.ts.net:10000": {"Handlers": {"/": {"Proxy": "http://localhost:18789/path"}}},
            },
            "AllowFunnel": {"desk.tail0123.ts.net:10000": true},
            "Foreground": {"session": {"Web": {"x:443": {"Handlers": {"/": {"Proxy": "18789"}}}}}},
        });
        let config: ServeConfig = serde_json::from_value(told).unwrap();
        let mut found: Vec<(bool, bool)> =
            config.to_port(18789).into_iter().map(|forward| (forward.funnel, forward.raw)).collect();
        found.sort_unstable();
        assert_eq!(found, [(false, false), (false, false), (false, true), (true, false)]);
        assert_eq!(config.to_port(2), Vec::new());
        let nothing: Option<ServeConfig> = serde_json::from_str("null").unwrap();
        assert!(nothing.is_none());
    }
}
