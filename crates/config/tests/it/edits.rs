use moltbot_config::{changed, get, initial, set, unset};
use proptest::prelude::*;

use crate::read;

#[test]
fn the_first_config_takes_changes_and_keeps_its_comments() {
    let mut text = initial("0123456789abcdefghijklmnopqrstuvwxyzABCDEFG");
    let comments = |text: &str| {
        text.lines().filter(|line| line.trim().starts_with("//")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = comments(&text);
    for (path, value) in [
        ("gateway.port", "19001"),
        ("agents.defaults.model", "'local/qwen'"),
        ("agents.list[0].id", "'main'"),
        ("agents.list[1]", "{id: 'second'}"),
        ("models.providers[\"my.server\"].baseUrl", "\"http://127.0.0.1:1234/v1\""),
        ("tools.deny", "['exec']"),
        ("tools.deny[1]", "'write'"),
    ] {
        text = set(&text, path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    assert_eq!(comments(&text), before, "{text}");
    let config = read(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}")).config;
    assert_eq!(config.gateway.port, 19001);
    assert_eq!(config.agents.list[1].id.as_str(), "second");
    assert_eq!(config.tools.deny, ["exec", "write"]);
    assert!(config.models.providers.contains_key("my.server"));
}

/// A config in one of the styles that people write.
fn styles() -> impl Strategy<Value = String> {
    let comment = prop_oneof![Just(""), Just(" // note"), Just(" /* note */")];
    let inline = prop_oneof![Just(""), Just("/* c */"), Just(" ")];
    let comma = prop_oneof![Just(""), Just(",")];
    (comment, inline, comma.clone(), comma).prop_map(|(comment, inline, comma, inner)| {
        format!("// top\n{{\n  a: {{{inline}b: 1{inner}{inline}}},{comment}\n  c: [1, 2{inner}{inline}],\n  e: {{}},\n  d: 'x'{comma}{comment}\n}}\n// end")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_set_is_what_is_got_and_nothing_else_changes(
        text in styles(),
        path in prop_oneof![Just("a"), Just("a.b"), Just("a.n"), Just("c[0]"), Just("c[2]"), Just("e.x.y[0].z"), Just("new"), Just("d"), Just("[\"o.d d\"]")],
        value in prop_oneof![Just("5"), Just("'t'"), Just("{q: 1} // gone"), Just("[1, /* in */ 2]")],
    ) {
        let changed = set(&text, path, value).unwrap();
        let expected: serde_json::Value = json5::from_str(value).unwrap();
        prop_assert_eq!(get(&changed, path).unwrap(), expected, "{}", changed);
        for other in ["a.b", "c[1]", "d"] {
            if !other.starts_with(path) {
                prop_assert_eq!(get(&changed, other).unwrap(), get(&text, other).unwrap(), "{}", changed);
            }
        }
        let notes = |text: &str| text.matches("note").count() + text.matches("// top").count() + text.matches("// end").count();
        prop_assert_eq!(notes(&changed), notes(&text), "{}", changed);
        prop_assert_eq!(set(&changed, path, value).unwrap(), changed.clone(), "a second time changes nothing");
    }
}

/// A config with every section filled and a comment at the end of each line.
fn commented() -> String {
    let full = include_str!("../data/full-openclaw.json5");
    full.lines().enumerate().map(|(number, line)| format!("{line} // note {number};\n")).collect()
}

/// The settings of a text that hold no others.
fn leaves(text: &str) -> Vec<String> {
    let value = moltbot_config::value(text).unwrap_or_default();
    let paths = changed(&serde_json::json!({}), &value).into_iter();
    paths.filter(|path| get(text, path).is_ok_and(|value| !value.is_array())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_unset_and_set_again_loses_no_comment_and_no_other_key(
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let before = commented();
        let paths = leaves(&before);
        prop_assert!(paths.len() > 200, "{}", paths.len());
        let mut chosen: Vec<&String> = places.iter().map(|place| place.get(&paths)).collect();
        chosen.sort();
        chosen.dedup();
        let whole = moltbot_config::value(&before).unwrap();
        let mut text = before.clone();
        for path in &chosen {
            text = unset(&text, path).unwrap();
            prop_assert!(get(&text, path).is_err(), "{}", path);
        }
        let gone = changed(&whole, &moltbot_config::value(&text).unwrap());
        prop_assert_eq!(gone.iter().collect::<Vec<_>>(), chosen.clone(), "nothing else went");
        for path in &chosen {
            text = set(&text, path, &get(&before, path).unwrap().to_string()).unwrap();
        }
        prop_assert_eq!(moltbot_config::value(&text).unwrap(), whole, "{}", text);
        for number in 0..before.lines().count() {
            let note = format!("// note {number};");
            prop_assert_eq!(text.matches(&note).count(), 1, "{}: {}", note, text);
        }
        let listed = |text: &str| read(text).unwrap().unsupported.into_iter().map(|one| one.path).collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(listed(&text), listed(&before));
    }
}
