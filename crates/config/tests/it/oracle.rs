//! Our reader against the library `json5`, on texts that either may take.

use moltbot_config::get;
use proptest::prelude::*;
use serde_json::Value;

/// The text as the first element of a list, because a path has to lead to it.
fn in_list(text: &str) -> String {
    format!("[{text}\n]")
}

/// What ours makes of a text.
fn ours(text: &str) -> Option<Value> {
    get(&in_list(text), "[0]").ok()
}

/// What the library makes of it. Its numbers are floats where ours are exact.
fn theirs(text: &str) -> Option<Value> {
    json5::from_str::<Value>(&in_list(text)).ok()?.get(0).cloned()
}

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => {
            let pair = ours.as_f64().zip(theirs.as_f64());
            pair.is_some_and(|(ours, theirs)| (ours - theirs).abs() <= theirs.abs() * 1e-12)
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, ours)| theirs.get(key).is_some_and(|theirs| same(ours, theirs)))
        }
        (ours, theirs) => ours == theirs,
    }
}

/// JSON5 of any style, three levels deep.
fn json5_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "[+-]?(0|[1-9][0-9]{0,6})(\\.[0-9]{0,4})?([eE][+-]?[0-9]{1,2})?",
        "[+-]?\\.[0-9]{1,5}",
        "-?0[xX][0-9a-fA-F]{1,8}",
        "true|false|null",
        "'([a-zé\"🦞]|\\\\[bfnrtv0'\"\\\\q\n]|\\\\x[0-9a-f]{2}|\\\\u0[0-9a-f]{3}){0,8}'",
        "\"([a-zé']|\\\\u00[0-9A-F]{2}){0,8}\"",
    ];
    let space = "( |\n|\t|// c\n|/\\* \\* \\*/|\u{a0}|\u{feff}){0,2}";
    scalar.prop_recursive(3, 24, 4, move |inner| {
        let key = prop_oneof!["[a-z$_é][a-z0-9$_]{0,4}", "'[a-z .]{0,4}'", "\"[a-z]{0,4}\""];
        let list = (prop::collection::vec((space, inner.clone()), 0..4), any::<bool>()).prop_map(
            |(items, comma)| {
                let items: Vec<String> =
                    items.iter().map(|(space, item)| format!("{space}{item}{space}")).collect();
                let comma = if comma && !items.is_empty() { "," } else { "" };
                format!("[{}{comma}]", items.join(","))
            },
        );
        let object = (prop::collection::btree_map(key, (space, inner), 0..4), any::<bool>()).prop_map(
            |(members, comma)| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, (space, value))| format!("{space}{key}{space}:{space}{value}{space}"))
                    .collect();
                let comma = if comma && !members.is_empty() { "," } else { "" };
                format!("{{{}{comma}}}", members.join(","))
            },
        );
        prop_oneof![list, object]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_the_library_reads_we_read_the_same(text in json5_text()) {
        let theirs = theirs(&text);
        prop_assert!(theirs.is_some(), "the library refuses {text}");
        let ours = ours(&text);
        prop_assert!(ours.as_ref().zip(theirs.as_ref()).is_some_and(|(ours, theirs)| same(ours, theirs)), "{text}\n{ours:?}\n{theirs:?}");
    }

    #[test]
    fn what_we_read_the_library_reads_too(text in "[\\[\\]{}:,'\\\\+.\\-0-2exa$ \n]{0,10}") {
        if let (Some(ours), theirs) = (ours(&text), theirs(&text)) {
            prop_assert!(theirs.as_ref().is_some_and(|theirs| same(&ours, theirs)), "{text:?}\n{ours:?}\n{theirs:?}");
        }
    }
}
