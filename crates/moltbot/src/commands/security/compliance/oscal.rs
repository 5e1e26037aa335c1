//! The promises as a component definition of OSCAL, NIST's form for programs that gather such things.
//!
//! Source: the component definition model of OSCAL 1.1.2. What has tests is told by properties in a namespace of our own: OSCAL
//! has no word for "there is a test that would fail".

use std::fmt::Write as _;

use jiff::Timestamp;
use moltbot_posture::proof::{KINDS, Promise};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{notes, of_kind};

/// The namespace of our properties, and what names of controls begin with.
const OURS: &str = "urn:moltbot:proof";
/// The namespace of names that are URLs or URNs (RFC 9562, section 6.6).
const NAMESPACE: u128 = 0x6ba7_b811_9dad_11d1_80b4_00c0_4fd4_30c8;

/// The definition. The same promises have the same ids each time.
pub(super) fn component(promises: &[Promise], note: &str, now_ms: u64) -> Value {
    let now =
        i64::try_from(now_ms).ok().and_then(|now| Timestamp::from_millisecond(now).ok()).unwrap_or_default();
    let implementations: Vec<Value> =
        KINDS.iter().map(|(kind, what)| implementation(kind, what, promises)).collect();
    json!({ "component-definition": {
        "uuid": id("definition"),
        "metadata": {
            "title": "moltbot: what is promised, and the tests that show it",
            "last-modified": now.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "oscal-version": "1.1.2",
            "remarks": note,
        },
        "components": [{
            "uuid": id("component"),
            "type": "software",
            "title": "moltbot",
            "description": "A personal AI assistant with a gateway, channels, tools and a sandbox, as one program.",
            "control-implementations": implementations,
        }],
    } })
}

fn implementation(kind: &str, what: &str, promises: &[Promise]) -> Value {
    json!({
        "uuid": id(kind),
        "source": format!("{OURS}:{kind}"),
        "description": what,
        "implemented-requirements": of_kind(promises, kind).map(requirement).collect::<Vec<_>>(),
    })
}

fn requirement(one: &Promise) -> Value {
    let property = |name: &str, value: &str| json!({ "name": name, "ns": OURS, "value": value });
    let mut properties = vec![property("status", one.status().name())];
    properties.extend(one.level.map(|level| property("level", &level.to_string())));
    properties.extend(one.shown_by.iter().map(|shown| property("shown-by", shown)));
    let notes: Vec<String> = notes(one).collect();
    let mut requirement = json!({
        "uuid": id(&one.id),
        "control-id": one.id,
        "description": one.promise,
        "props": properties,
    });
    if let Some(members) = requirement.as_object_mut().filter(|_| !notes.is_empty()) {
        members.insert("remarks".into(), json!(notes.join("; ")));
    }
    requirement
}

fn id(name: &str) -> String {
    uuid(NAMESPACE, &format!("{OURS}:{name}"))
}

/// A UUID of version 5: by a namespace and a name (RFC 9562, section 5.5).
fn uuid(namespace: u128, name: &str) -> String {
    let digest = Sha1::new_with_prefix(namespace.to_be_bytes()).chain_update(name).finalize();
    let mut text = String::with_capacity(36);
    for (place, byte) in digest.iter().take(16).enumerate() {
        let byte = match place {
            6 => (byte & 0x0f) | 0x50,
            8 => (byte & 0x3f) | 0x80,
            _ => *byte,
        };
        let dash = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
        // Writing to a text does not fail.
        let _written = write!(text, "{dash}{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_ids_of_the_rfc() {
        // RFC 9562, appendix A.4.
        let dns = 0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8;
        assert_eq!(uuid(dns, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }
}
