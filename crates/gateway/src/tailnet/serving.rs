//! What Tailscale is set up to pass on, as it tells in `serve-config` (`ipn.ServeConfig` of its source): of that, the ways to
//! one port of this machine; and the same with the gateway's own way in it, and without.

use std::collections::BTreeMap;

use moltbot_policy::network::{Forward, OwnForward};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The port of the gateway's own way: the one that a name without a port means.
const HTTPS: &str = "443";

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

/// `config` with the gateway's own way in it. Nothing when anything at all is passed on from that port already, or the config
/// has a form that is not known: what is somebody else's stays as it is.
pub(super) fn with(config: &Value, own: &OwnForward) -> Option<Value> {
    let mut changed = match config {
        Value::Null => Map::new(),
        Value::Object(members) => members.clone(),
        _ => return None,
    };
    if uses_https(&changed)? {
        return None;
    }
    let mut set = |section: &str, key: &str, value: Value| {
        let members = changed.entry(section).or_insert_with(|| json!({}));
        // What Go writes for a map of nothing.
        if members.is_null() {
            *members = json!({});
        }
        members.as_object_mut().map(|members| drop(members.insert(key.to_owned(), value)))
    };
    set("TCP", HTTPS, json!({"HTTPS": true}))?;
    set("Web", &place(own), json!({"Handlers": {"/": handler(own)}}))?;
    if own.funnel {
        set("AllowFunnel", &place(own), json!(true))?;
    }
    Some(Value::Object(changed))
}

/// `config` without the gateway's own way. Nothing when it is not there as the gateway put it: then it is somebody else's.
pub(super) fn without(config: &Value, own: &OwnForward) -> Option<Value> {
    let place = place(own);
    let mut changed = config.as_object()?.clone();
    let is_open = changed.get("AllowFunnel").and_then(|open| open.get(&place)) == Some(&json!(true));
    let handlers = changed.get_mut("Web")?.get_mut(&place)?.get_mut("Handlers")?.as_object_mut()?;
    if is_open != own.funnel || handlers.get("/") != Some(&handler(own)) {
        return None;
    }
    handlers.remove("/");
    let is_alone = handlers.is_empty();
    let mut remove = |section: &str, key: &str| {
        if let Some(members) = changed.get_mut(section).and_then(Value::as_object_mut) {
            members.remove(key);
            if members.is_empty() {
                changed.remove(section);
            }
        }
    };
    remove("AllowFunnel", &place);
    if is_alone {
        remove("Web", &place);
        remove("TCP", HTTPS);
    }
    Some(Value::Object(changed))
}

/// Whether anything is passed on from the port, by a setup that stays or by a command that runs. Nothing when that cannot be
/// told.
fn uses_https(config: &Map<String, Value>) -> Option<bool> {
    let ends = format!(":{HTTPS}");
    let empty = Map::new();
    let section = |name: &str| match config.get(name) {
        None | Some(Value::Null) => Some(&empty),
        Some(members) => members.as_object(),
    };
    let is_taken = section("TCP")?.contains_key(HTTPS)
        || section("Web")?.keys().chain(section("AllowFunnel")?.keys()).any(|place| place.ends_with(&ends));
    let mut sessions = section("Foreground")?.values().filter(|session| !session.is_null());
    Some(is_taken || sessions.try_fold(false, |taken, one| Some(taken || uses_https(one.as_object()?)?))?)
}

fn place(own: &OwnForward) -> String {
    format!("{}:{HTTPS}", own.name)
}

fn handler(own: &OwnForward) -> Value {
    json!({"Proxy": format!("http://127.0.0.1:{}", own.port)})
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

    fn own(funnel: bool) -> OwnForward {
        OwnForward { name: "desk.ts.net".into(), port: 18789, funnel }
    }

    #[test]
    fn what_is_put_in_is_taken_out_and_nothing_else() {
        let others = json!({
            "TCP": {"22": {"TCPForward": "127.0.0.1:22"}, "8443": {"HTTPS": true}},
            "Web": {"desk.ts.net:8443": {"Handlers": {"/": {"Path": "/srv"}}}},
            "Services": {"svc:x": {"Tun": true}},
        });
        for funnel in [false, true] {
            for before in [Value::Null, json!({}), json!({"TCP": null, "Web": null}), others.clone()] {
                let put = with(&before, &own(funnel)).unwrap();
                let told: ServeConfig = serde_json::from_value(put.clone()).unwrap();
                assert_eq!(told.to_port(18789), [Forward { funnel, raw: false }]);
                let back = without(&put, &own(funnel)).unwrap();
                let expected = if before == others { others.clone() } else { json!({}) };
                assert_eq!(back, expected, "{before}");
                assert_eq!(without(&put, &own(!funnel)), None, "it was put otherwise");
                assert_eq!(with(&put, &own(funnel)), None, "the place is taken");
            }
        }
        // What somebody put beside it stays, and is not open to the internet by what the gateway asked for.
        let mut both = with(&others, &own(true)).unwrap();
        both["Web"]["desk.ts.net:443"]["Handlers"]["/own"] = json!({"Text": "x"});
        let back = without(&both, &own(true)).unwrap();
        assert_eq!(back["Web"]["desk.ts.net:443"], json!({"Handlers": {"/own": {"Text": "x"}}}));
        assert_eq!((&back["TCP"]["443"], &back["AllowFunnel"]), (&json!({"HTTPS": true}), &Value::Null));
    }

    #[test]
    fn what_is_somebody_elses_is_never_replaced() {
        for taken in [
            json!({"TCP": {"443": {"TCPForward": "127.0.0.1:22"}}}),
            json!({"TCP": {"443": {"HTTPS": true}}, "Web": {"desk.ts.net:443": {"Handlers": {"/a": {"Text": "x"}}}}}),
            json!({"Web": {"other.ts.net:443": {"Handlers": {}}}}),
            json!({"AllowFunnel": {"desk.ts.net:443": true}}),
            json!({"Foreground": {"session": {"TCP": {"443": {"HTTPS": true}}}}}),
            json!({"TCP": []}),
            json!([]),
            json!({"Foreground": {"session": 1}}),
        ] {
            assert_eq!(with(&taken, &own(false)), None, "{taken}");
            assert_eq!(without(&taken, &own(false)), None, "{taken}");
        }
    }

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
