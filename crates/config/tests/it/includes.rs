//! `$include`: what is taken from other files, in which order, and what is refused.

use std::collections::BTreeMap;

use moltbot_config::{ConfigErrors, IncludedFiles, Keeper as _, Loaded, NoKeys, Surroundings, load};
use serde_json::json;

use crate::environment;

/// Files in memory: what the disk gives is the vault's matter.
struct Files(BTreeMap<String, String>);

impl IncludedFiles for Files {
    fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, String> {
        let text = self.0.get(name).ok_or_else(|| format!("there is no {name}"))?;
        if u64::try_from(text.len()).is_ok_and(|length| length > max) {
            Err(format!("{name} is too large"))
        } else {
            Ok(text.clone().into_bytes())
        }
    }
}

fn read(main: &str, files: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let files = Files(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect());
    let surroundings =
        Surroundings { environment: &environment, keeper: &NoKeys, sealed: false, files: &files };
    load(main.as_bytes(), "moltbot.json", &surroundings)
}

fn said(main: &str, files: &[(&str, &str)]) -> Vec<String> {
    let Err(errors) = read(main, files) else { return Vec::new() };
    let one = |error: &moltbot_config::ConfigError| {
        let file = error.file.as_deref().unwrap_or("moltbot.json");
        format!("{file}:{}:{} {}: {}", error.line, error.column, error.path, error.message)
    };
    errors.errors().iter().map(one).collect()
}

#[test]
fn objects_are_merged_lists_joined_and_the_later_wins() {
    let files = [
        ("base.json5", "{gateway: {port: 1, bind: 'loopback'}, tools: {deny: ['exec']}, ui: {a: 1}} // end"),
        (
            "more/tools.json5",
            "{tools: {deny: ['write']}, ui: {$include: 'ui.json5', b: 2}, gateway: {port: 2}}",
        ),
        ("more/ui.json5", "{a: 3, b: 4, c: 5}"),
        ("list.json5", "[{id: 'second'}]"),
    ];
    let main = "{$include: ['./base.json5', 'more/tools.json5'], gateway: {port: 3}, tools: {deny: ['read']}, \
                agents: {list: {$include: 'list.json5'}}}";
    let loaded = read(main, &files).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        loaded.value,
        json!({"gateway": {"port": 3, "bind": "loopback"}, "tools": {"deny": ["exec", "write", "read"]},
               "ui": {"a": 3, "b": 2, "c": 5}, "agents": {"list": [{"id": "second"}]}})
    );
    assert_eq!(loaded.config.gateway.port, 3);
    assert_eq!(loaded.config.tools.deny, ["exec", "write", "read"]);
    assert_eq!(loaded.config.agents.list[0].id.as_str(), "second");
    assert_eq!(loaded.files, ["base.json5", "list.json5", "more/tools.json5", "more/ui.json5"]);
}

#[test]
fn what_is_wrong_names_the_file_the_place_and_the_setting() {
    for (main, files, expected) in [
        (
            "{\n  gateway: {$include: 'gateway.json5'}}",
            &[("gateway.json5", "{\n  prot: 1}")][..],
            &["gateway.json5:2:3 gateway.prot: there is no setting \"prot\""][..],
        ),
        (
            "{gateway: {$include: 'a.json5', port: 'x'}}",
            &[("a.json5", "{bind: 7}")],
            &["moltbot.json:1:39 gateway.port: \"x\" is a text", "a.json5:1:8 gateway.bind: 7 is a number"],
        ),
        (
            "{gateway: {$include: 'a.json5'}}",
            &[("a.json5", "{port: }")],
            &["a.json5:1:8 gateway.port: a value should be here"],
        ),
        (
            "{$include: 'a.json5'}",
            &[("a.json5", "{ui: {$include: 'b.json5'}}"), ("b.json5", "{x: {$include: './a.json5'}}")],
            &["b.json5:1:16 ui.x.$include: files include each other: a.json5 -> b.json5 -> a.json5"],
        ),
        (
            "{$include: 'moltbot.json'}",
            &[("moltbot.json", "{$include: 'moltbot.json'}")],
            &["moltbot.json:1:12 $include: files include each other: moltbot.json -> moltbot.json"],
        ),
        (
            "{$include: 'none.json5'}",
            &[],
            &["moltbot.json:1:12 $include: \"none.json5\" is not included: there is no none.json5"],
        ),
        (
            "{$include: '../a.json5'}",
            &[],
            &["moltbot.json:1:12 $include: \"../a.json5\" leads out of the config's folder"],
        ),
        ("{$include: 1}", &[], &["moltbot.json:1:12 $include: $include is a number"]),
        (
            "{$include: ['a.json5', 1]}",
            &[("a.json5", "{}")],
            &["moltbot.json:1:12 $include: $include is a list"],
        ),
        (
            "{ui: {$include: 'a.json5', b: 1}}",
            &[("a.json5", "[1]")],
            &["moltbot.json:1:7 ui: what is included here is a list, and other settings stand beside it"],
        ),
        (
            "{$include: 'a.json5', ui: {b: 1}}",
            &[("a.json5", "{ui: {a: 1, a: 2}}")],
            &["a.json5:1:13 ui.a: \"a\" is set twice"],
        ),
        (
            "{$include: 'a.json5', ui: {b: 1, b: 2}}",
            &[("a.json5", "{ui: {b: 0}}")],
            &["moltbot.json:1:34 ui.b: \"b\" is set twice"],
        ),
    ] {
        assert_eq!(said(main, files), expected, "{main}");
    }
}

#[test]
fn nothing_unsafe_comes_in_by_another_file() {
    for (text, expected) in [
        ("{channels: {telegram: {dmPolicy: 'open'}}}", "channels.telegram.dmPolicy"),
        ("{channels: {telegram: {allowFrom: ['*']}}}", "channels.telegram.allowFrom[0]"),
        (
            "{agents: {defaults: {sandbox: {docker: {privileged: true}}}}}",
            "agents.defaults.sandbox.docker.privileged",
        ),
    ] {
        let said = said("{$include: 'a.json5'}", &[("a.json5", text)]);
        assert!(
            said.iter().any(|line| line.contains(expected) && line.starts_with("a.json5:")),
            "{text}: {said:?}"
        );
    }
}

#[test]
fn a_secret_in_an_included_file_is_a_reference() {
    let sealed = "sealed:v1:aes-256-gcm:hkdf-sha256:AAAA";
    for literal in ["'plain-secret-text'", &format!("'{sealed}'"), "12345"] {
        let file = format!("{{auth: {{token: {literal}}}}}");
        let said = said("{gateway: {$include: 'a.json5'}}", &[("a.json5", &file)]);
        let expected =
            "a.json5:1:16 gateway.auth.token: a secret stands in an included file, where nothing is sealed";
        assert_eq!(said, [expected], "{literal}");
    }
    let loaded = read(
        "{gateway: {$include: 'a.json5'}}",
        &[("a.json5", "{auth: {token: '${TEST_KEY}'}, remote: {token: {source: 'env', id: 'TEST_KEY'}}}")],
    );
    assert!(loaded.unwrap_or_else(|errors| panic!("{errors}")).config.gateway.auth.token.is_some());
    // The name of the file is no secret, wherever it stands.
    let loaded = read("{env: {$include: 'a.json5'}}", &[("a.json5", "{shellEnv: {enabled: false}}")]);
    assert!(loaded.unwrap_or_else(|errors| panic!("{errors}")).plain.is_empty());
    assert!(NoKeys.draw_id().is_err());
}

#[test]
fn depth_count_and_size_end() {
    let chain = |levels: usize| -> Vec<(String, String)> {
        let file = |level: usize| {
            let inner =
                if level < levels { format!("{{$include: 'f{}.json5'}}", level + 1) } else { "1".into() };
            (format!("f{level}.json5"), format!("{{x: {inner}}}"))
        };
        (1..=levels).map(file).collect()
    };
    let outcome = |files: &[(String, String)], main: &str| {
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        said(main, &files).join("|")
    };
    let main = "{ui: {$include: 'f1.json5'}}";
    assert_eq!(outcome(&chain(8), main), "");
    let deep = outcome(&chain(9), main);
    assert!(deep.contains("\"f9.json5\" would be included at more than 8 levels"), "{deep}");
    let all = format!("{{ui: {{$include: [{}]}}}}", "'a.json5',".repeat(65));
    let many = said(&all, &[("a.json5", "{}")]).join("|");
    assert!(many.contains("at most 64 files"), "{many}");
    // Each includes the next several times: what would be 10^8 files ends at once.
    let bomb: Vec<(String, String)> = (1..=8)
        .map(|level| {
            (
                format!("f{level}.json5"),
                format!("{{$include: [{}]}}", format!("'f{}.json5',", level + 1).repeat(10)),
            )
        })
        .collect();
    let begun = std::time::Instant::now();
    assert!(!outcome(&bomb, main).is_empty());
    assert!(begun.elapsed() < std::time::Duration::from_secs(2));
    let large = format!("{{a: '{}'}}", "x".repeat(600_000));
    let two = said("{ui: {$include: ['a.json5', 'b.json5']}}", &[("a.json5", &large), ("b.json5", &large)]);
    assert_eq!(two.len(), 1, "{two:?}");
    let nested = format!("{{a: {}1{}}}", "[".repeat(30), "]".repeat(30));
    let deep = said("{ui: {x: {y: {$include: 'a.json5'}}}}", &[("a.json5", &nested)]).join("|");
    assert!(deep.contains("nested more than 32 deep"), "{deep}");
}
