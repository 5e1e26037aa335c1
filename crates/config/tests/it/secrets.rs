//! Secrets in texts: every place of the reference, sealed in place, bound to it, and back.
#![expect(clippy::panic, reason = "a helper of a test fails its test")]

use std::collections::BTreeMap;

use moltbot_config::{
    SEALED_PREFIX, SecretState, get, redact, reseal_all, seal_all, secret_at, secrets, set, set_secret,
    unseal_all,
};
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::toy::{Toy, hex, with};

/// Every secret place of the reference, the covered and the uncovered.
const PLACES: [&str; 52] = [
    "gateway.auth.token",
    "gateway.auth.password",
    "gateway.remote.token",
    "gateway.remote.password",
    "channels.telegram.token",
    "channels.telegram.botToken",
    "channels.telegram.webhookSecret",
    "channels.telegram.accounts.work.botToken",
    "channels.slack.token",
    "channels.slack.botToken",
    "channels.slack.appToken",
    "channels.slack.apiKey",
    "channels.slack.signingSecret",
    "channels.slack.userToken",
    "channels.slack.accounts.x.token",
    "channels.slack.accounts.x.botToken",
    "channels.slack.accounts.x.appToken",
    "channels.slack.accounts.x.apiKey",
    "channels.slack.accounts.x.signingSecret",
    "channels.googlechat.serviceAccount",
    "channels.googlechat.accounts.work.serviceAccount.private_key",
    "channels.googlechat.accounts.work.serviceAccount.keys[0].id",
    "channels.googlechat.accounts.work.serviceAccount.keys[0].value",
    "channels.bluebubbles.password",
    "channels.msteams.appPassword",
    "channels.matrix.password",
    "channels.matrix.accessToken",
    "channels.nostr.privateKey",
    "models.providers.openai.apiKey",
    "models.providers.openai.headers.x-api-key",
    "models.providers.openai.models[0].headers.X-Model",
    "ledger.otlp.headers.x-api-key",
    "hooks.token",
    "hooks.gmail.pushToken",
    "talk.apiKey",
    "messages.tts.openai.apiKey",
    "messages.tts.elevenlabs.apiKey",
    "tools.web.search.apiKey",
    "tools.web.search.perplexity.apiKey",
    "agents.defaults.memorySearch.remote.apiKey",
    "agents.list[0].memorySearch.remote.apiKey",
    "agents.list[1].sandbox.docker.env.DB",
    "skills.entries.weather.apiKey",
    "skills.entries.weather.env.WEATHER",
    "env.vars.SOME_KEY",
    "env.OTHER_KEY",
    "env.source",
    "agents.defaults.sandbox.docker.env.DB",
    "plugins.entries.x.config.clientSecret",
    "plugins.entries.x.config.accounts.apiKey",
    "plugins.entries.x.config.providers.token",
    "secrets.providers.vault.env.VAULT_TOKEN",
];

fn canary(number: usize) -> String {
    format!("canary-{number:02}-vT4nQ1")
}

fn planted() -> String {
    let plant = |text: String, (number, path): (usize, &&str)| {
        set(&text, path, &json!(canary(number)).to_string()).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    PLACES.iter().enumerate().fold("{\n  // kept\n}\n".to_owned(), plant)
}

#[test]
fn d_51_every_secret_place_of_the_reference_is_sealed_and_comes_back() {
    let (text, keeper) = (planted(), Toy(1));
    let sealed = seal_all(&text, &keeper).unwrap();
    assert_eq!(sealed.paths.len(), PLACES.len(), "{:?}", sealed.paths);
    assert!(sealed.text.contains("// kept") && !sealed.text.contains("canary"), "{}", sealed.text);
    for (number, path) in PLACES.iter().enumerate() {
        let opened = secret_at(&sealed.text, path, &keeper).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(opened.expose_secret(), canary(number), "{path}");
    }
    let found: BTreeMap<String, SecretState> =
        secrets(&sealed.text).unwrap().into_iter().map(|entry| (entry.path, entry.state)).collect();
    assert!(found.values().all(|state| *state == SecretState::Sealed), "{found:?}");
    assert_eq!(seal_all(&sealed.text, &keeper).unwrap().paths, Vec::<String>::new(), "once is enough");
    assert_eq!(*unseal_all(&sealed.text, &keeper).unwrap(), text);
}

#[test]
fn what_is_shown_of_a_config_has_neither_a_secret_nor_its_sealed_form() {
    let sealed = seal_all(&planted(), &Toy(1)).unwrap();
    for text in [planted(), sealed.text] {
        let root: serde_json::Value = json5::from_str(&text).unwrap();
        let shown = redact(&root).to_string();
        assert!(!shown.contains("canary") && !shown.contains("sealed:"), "{shown}");
    }
}

#[test]
fn d_40_what_is_sealed_is_loaded_as_what_it_was() {
    let text = "{ gateway: { auth: { token: 'abc$${A}' } }, models: { providers: { openai: { apiKey: 'k-${A}', headers: { h: '${A}' } } } } }";
    let sealed = seal_all(text, &Toy(1)).unwrap();
    assert_eq!(sealed.paths, ["gateway.auth.token", "models.providers.openai.apiKey"]);
    for (text, sealed) in [(text, false), (&*sealed.text, true)] {
        let loaded = with(&Toy(1), sealed, text).unwrap_or_else(|errors| panic!("{errors}"));
        let openai = &loaded.config.models.providers["openai"];
        let values = [
            loaded.config.gateway.auth.token.as_ref().unwrap(),
            openai.api_key.as_ref().unwrap(),
            &openai.headers["h"],
        ];
        assert_eq!(
            values.map(|value| value.expose_secret()),
            ["abc${A}", "k-value-of-a", "value-of-a"],
            "{text}"
        );
    }
    let loaded = with(&Toy(1), true, &sealed.text).unwrap();
    assert!(loaded.plain.is_empty() && !format!("{loaded:?}").contains("value-of-a"), "{loaded:?}");
    assert!(
        loaded.value["gateway"]["auth"]["token"].as_str().unwrap().starts_with(SEALED_PREFIX),
        "kept as written"
    );
}

#[test]
fn d_44_a_sealed_value_does_not_open_at_another_place() {
    let sealed = seal_all("{ gateway: { auth: { token: 'gateway-token' } } }", &Toy(1)).unwrap();
    let value = get(&sealed.text, "gateway.auth.token").unwrap();
    for path in ["gateway.remote.token", "channels.telegram.botToken", "models.providers.x.baseUrl", "env.X"]
    {
        let moved = set(&sealed.text, path, &value.to_string()).unwrap();
        let errors = with(&Toy(1), true, &moved).unwrap_err();
        let found: Vec<&str> = errors.errors().iter().map(|error| error.path.as_str()).collect();
        assert_eq!(found, [path], "of what does not open, nothing else is said: {errors}");
        assert!(errors.to_string().contains(&format!("{path} does not open")), "{errors}");
        assert!(
            !errors.to_string().contains("gateway-token") && !errors.to_string().contains(SEALED_PREFIX),
            "{errors}"
        );
    }
}

#[test]
fn elements_of_a_list_are_named_by_their_ids_and_never_by_their_numbers() {
    let key = |id: &str, key: &str| format!("{{ {id} memorySearch: {{ remote: {{ apiKey: '{key}' }} }} }}");
    let (one, two, three) = (key("id: 'one',", "k1"), key("id: 'two',", "k2"), key("", "k3"));
    let text = format!("{{ agents: {{ list: [{one}, {two}, {three}] }} }}");
    let sealed = seal_all(&text, &Toy(1)).unwrap().text;
    let read = |text: &str, index: usize| {
        secret_at(text, &format!("agents.list[{index}].memorySearch.remote.apiKey"), &Toy(1))
            .map(|secret| secret.expose_secret().to_owned())
            .map_err(|error| error.to_string())
    };
    assert_eq!([0, 1, 2].map(|at| read(&sealed, at).unwrap()), ["k1", "k2", "k3"]);
    assert!(
        sealed.contains(":id=") && sealed.contains(&hex("agents.list[id=one].memorySearch.remote.apiKey")),
        "{sealed}"
    );
    let list = get(&sealed, "agents.list").unwrap();
    let swapped = json!([list[2], list[1], list[0]]);
    let reordered = set(&sealed, "agents.list", &swapped.to_string()).unwrap();
    assert_eq!(
        [0, 1, 2].map(|at| read(&reordered, at).unwrap()),
        ["k3", "k2", "k1"],
        "the order does not matter"
    );
    let mut exchanged = list.clone();
    exchanged[0]["memorySearch"] = list[1]["memorySearch"].clone();
    let exchanged = set(&sealed, "agents.list", &exchanged.to_string()).unwrap();
    assert!(read(&exchanged, 0).is_err() && read(&exchanged, 1).is_ok(), "{exchanged}");
}

#[test]
fn two_elements_with_one_id_hold_no_secrets() {
    let key = |id: &str| format!("{{ id: '{id}', memorySearch: {{ remote: {{ apiKey: 'k1' }} }} }}");
    let text = |one: &str, two: &str| {
        format!("{{ agents: {{ list: [{}, {}, {{ id: 'free' }}] }} }}", key(one), key(two))
    };
    let doubled = text("a", "a");
    let path = "agents.list[1].memorySearch.remote.apiKey";
    for error in [
        seal_all(&doubled, &Toy(1)).unwrap_err().to_string(),
        set_secret(&doubled, path, &SecretString::from("new"), &Toy(1)).unwrap_err().to_string(),
        with(&Toy(1), false, &doubled).unwrap_err().to_string(),
    ] {
        assert!(
            error.contains("two elements of its list have the id \"a\"") && !error.contains("k1"),
            "{error}"
        );
    }
    // Nor does a second one open what was sealed for the first.
    let sealed = seal_all(&text("a", "b"), &Toy(1)).unwrap().text.replace("'b'", "'a'");
    let errors = with(&Toy(1), true, &sealed).unwrap_err();
    let found: Vec<&str> = errors.errors().iter().map(|error| error.path.as_str()).collect();
    assert_eq!(found, ["agents.list[0].memorySearch.remote.apiKey", path], "{errors}");
    assert!(secret_at(&sealed, path, &Toy(1)).is_err() && unseal_all(&sealed, &Toy(1)).is_err());
    // Where no secret is, ids may be what they like.
    let open = "{ agents: { list: [{ id: 'a' }, { id: 'b', memorySearch: { remote: { apiKey: 'k' } } }] }, ui: [{ id: 1 }, { id: 'x' }, { id: 'x' }] }";
    assert_eq!(seal_all(open, &Toy(1)).unwrap().paths.len(), 1);
}

#[test]
fn d_48_what_looks_sealed_is_never_taken_for_a_secret() {
    let forged = format!("{SEALED_PREFIX}AAAA");
    for value in [forged.as_str(), "sealed:", "sealed:v2:x", "sealed:whatever"] {
        let text = format!("{{ gateway: {{ auth: {{ token: '{value}' }} }} }}");
        let errors = with(&Toy(1), false, &text).unwrap_err();
        assert_eq!(errors.errors()[0].path, "gateway.auth.token", "{value}: {errors}");
        assert!(errors.to_string().contains("moltbot secrets set gateway.auth.token"), "{errors}");
        // Set as a secret, it is one.
        let set = set_secret("{}", "gateway.auth.token", &SecretString::from(value), &Toy(1)).unwrap();
        assert_eq!(secret_at(&set, "gateway.auth.token", &Toy(1)).unwrap().expose_secret(), value);
    }
}

#[test]
fn plaintext_is_listed_until_the_installation_is_sealed_and_is_an_error_afterwards() {
    let text = "{\n  gateway: { auth: { token: 'secret-of-mine' } },\n  talk: { apiKey: '${A}' },\n}";
    let loaded = with(&Toy(1), false, text).unwrap();
    let plain: Vec<(&str, usize)> = loaded.plain.iter().map(|one| (one.path.as_str(), one.line)).collect();
    assert_eq!(plain, [("gateway.auth.token", 2)]);
    let errors = with(&Toy(1), true, text).unwrap_err().to_string();
    assert!(errors.contains("gateway.auth.token") && errors.contains("moltbot secrets set"), "{errors}");
    assert!(!errors.contains("secret-of-mine") && !errors.contains("talk.apiKey"), "{errors}");
}

#[test]
fn d_50_references_are_never_sealed_or_replaced() {
    let text =
        "{ gateway: { auth: { token: '${A}' } }, channels: { x: { token: { source: 'env', id: 'A' } } } }";
    let sealed = seal_all(text, &Toy(1)).unwrap();
    assert_eq!((sealed.text.as_str(), sealed.paths.len()), (text, 0));
    let loaded = with(&Toy(1), true, text).unwrap();
    assert_eq!(loaded.config.gateway.auth.token.unwrap().expose_secret(), "value-of-a");
}

#[test]
fn what_the_original_sealed_is_sealed_again() {
    let envelope = r#"{"version":1,"algorithm":"aes-256-gcm","ciphertext":"old-token","iv":"a","authTag":"b","salt":"c"}"#;
    let text =
        format!("{{ gateway: {{ auth: {{ token: '{envelope}' }} }}, hooks: {{ token: {envelope} }} }}");
    assert!(secrets(&text).unwrap().iter().all(|entry| entry.state == SecretState::Original), "{text}");
    let loaded = with(&Toy(1), true, &text).unwrap();
    assert_eq!(loaded.config.gateway.auth.token.unwrap().expose_secret(), "old-token");
    let sealed = seal_all(&text, &Toy(1)).unwrap();
    assert_eq!(sealed.paths, ["gateway.auth.token", "hooks.token"]);
    for path in ["gateway.auth.token", "hooks.token"] {
        assert_eq!(secret_at(&sealed.text, path, &Toy(1)).unwrap().expose_secret(), "old-token");
    }
    let almost = envelope.replace(r#","salt":"c""#, "");
    let text = format!("{{ gateway: {{ auth: {{ token: '{almost}' }} }} }}");
    assert_eq!(
        secrets(&text).unwrap()[0].state,
        SecretState::Plain,
        "five members are a secret of somebody's"
    );
}

#[test]
fn a_rotation_seals_again_what_is_old_and_nothing_else() {
    let old = seal_all(&planted(), &Toy(1)).unwrap().text;
    let mixed = set_secret(&old, "talk.apiKey", &SecretString::from("new"), &Toy(2)).unwrap();
    let again = reseal_all(&mixed, &Toy(2)).unwrap();
    assert_eq!(again.paths.len(), PLACES.len() - 1);
    assert!(!again.text.contains(&format!("{SEALED_PREFIX}1.")), "{}", again.text);
    assert_eq!(reseal_all(&again.text, &Toy(2)).unwrap().paths, Vec::<String>::new());
    let hooks = PLACES.iter().position(|path| *path == "hooks.token").unwrap();
    assert_eq!(secret_at(&again.text, "hooks.token", &Toy(2)).unwrap().expose_secret(), canary(hooks));
}

#[test]
fn a_secret_is_set_only_where_one_belongs() {
    for (path, value) in
        [("gateway.port", "x"), ("agents.defaults.model", "x"), ("talk.apiKey", ""), ("talk.apiKey", "a\0b")]
    {
        assert!(set_secret("{}", path, &SecretString::from(value), &Toy(1)).is_err(), "{path}");
    }
    let text = "{ env: { PORT: 8080, DEBUG: true } }";
    let sealed = seal_all(text, &Toy(1)).unwrap();
    assert_eq!(sealed.paths, ["env.PORT"], "a number in a secret place is sealed as one");
    assert_eq!(secret_at(&sealed.text, "env.PORT", &Toy(1)).unwrap().expose_secret(), "8080");
    assert_eq!(*unseal_all(&sealed.text, &Toy(1)).unwrap(), text);
    let url = "{ models: { providers: { x: { baseUrl: 'https://user:word@host/v1' } } } }";
    let sealed = seal_all(url, &Toy(1)).unwrap();
    assert_eq!(sealed.paths, ["models.providers.x.baseUrl"]);
    let loaded = with(&Toy(1), true, &sealed.text).unwrap();
    assert_eq!(loaded.config.models.providers["x"].base_url.as_deref(), Some("https://user:word@host/v1"));
}

#[test]
fn numbers_come_back_as_they_were_written() {
    for number in ["8080", "0x1F", "-18446744073709551615", "1.50", "+.5", "5.", "1e-3", "-0"] {
        let text = format!("{{ env: {{ A: {number} /* n */ }} }}");
        let sealed = seal_all(&text, &Toy(1)).unwrap();
        assert_eq!(sealed.paths, ["env.A"], "{number}");
        assert_eq!(*unseal_all(&sealed.text, &Toy(1)).unwrap(), text, "{number}");
    }
    // And are judged as numbers: a text belongs there.
    let text = "{ skills: { entries: { a: { env: { PORT: 8080 } } } } }";
    let sealed = seal_all(text, &Toy(1)).unwrap().text;
    for (text, sealed) in [(text, false), (&*sealed, true)] {
        let errors = with(&Toy(1), sealed, text).unwrap_err();
        assert_eq!(errors.errors()[0].message, "this (hidden) value is a number", "{text}");
    }
    let forged = "{ env: { A: '\\0number:5' } }";
    assert!(
        seal_all(forged, &Toy(1)).unwrap_err().to_string().contains("env.A"),
        "a text would become a number"
    );
}

#[test]
fn an_id_that_is_a_secret_names_nothing() {
    let text = "{ channels: { googlechat: { serviceAccount: { keys: [{ id: 'k1', key: 's1' }, { id: 'k1', key: 's2' }] } } },
        ui: { x: [{ id: 'https://u:p@h/', token: 's3' }] } }";
    let sealed = seal_all(text, &Toy(1)).unwrap();
    assert_eq!(sealed.paths.len(), 6, "{:?}", sealed.paths);
    with(&Toy(1), true, &sealed.text).unwrap_or_else(|errors| panic!("{errors}"));
    let values = |text: &str| json5::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(values(&unseal_all(&sealed.text, &Toy(1)).unwrap()), values(text));
}

#[test]
fn a_place_is_named_for_good() {
    let text = "{ gateway: { auth: { token: 'a' } }, channels: { 'my.chat': { token: 'a' } }, env: { A: ['a'] }, agents: { list: [
        { id: 'main', sandbox: { docker: { env: { 'x y': 'a' } } } },
        { id: 'my agent', memorySearch: { remote: { apiKey: 'a' } } },
        { memorySearch: { remote: { apiKey: 'a' } } },
    ] } }";
    let places = |text: &str| secrets(text).unwrap().into_iter().map(|entry| entry.place).collect::<Vec<_>>();
    let expected = [
        "gateway.auth.token",
        "channels[\"my.chat\"].token",
        "env.A[#]",
        "agents.list[id=main].sandbox.docker.env[\"x y\"]",
        "agents.list[id=\"my agent\"].memorySearch.remote.apiKey",
        "agents.list[#].memorySearch.remote.apiKey",
    ];
    assert_eq!(places(text), expected);
    let sealed = seal_all(text, &Toy(1)).unwrap().text;
    let with_ids = places(&sealed);
    for (place, expected) in with_ids.iter().zip(expected) {
        let (before, after) = expected.split_once("[#]").unwrap_or((expected, ""));
        assert!(place.starts_with(before) && place.ends_with(after), "{place} {expected}");
        assert_eq!(place.len() - expected.len(), if expected.contains("[#]") { 16 } else { 0 }, "{place}");
        assert!(sealed.contains(&hex(place)), "{place} is what it is sealed for");
    }
}

/// A value as it may be written, and whether sealing leaves it as it is.
fn literal() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        4 => "'[a-z]([a-zé\"🦞 $]|\\\\[bfnrtv'\"\\\\q\n]|\\\\x[0-7][0-9a-f]|\\\\u00[a-f][0-9a-f]){1,8}'".prop_map(|text| (text, false)),
        4 => "\"([a-z'/{}:]|\\\\u00[4-7][0-9A-F]){1,8}\"".prop_map(|text| (text, false)),
        2 => "[+-]?(0x[0-9a-f]{1,6}|[1-9][0-9]{0,5}(\\.[0-9]{0,3})?(e[+-]?[0-9])?|\\.[0-9]{1,3})".prop_map(|text| (text, false)),
        2 => prop_oneof![Just("''"), Just("\"${A}\""), Just("true"), Just("null"), Just("[]"), Just("{ source: 'env', id: 'A' }")]
            .prop_map(|text| (text.to_owned(), true)),
    ]
}

/// A config in pieces: what stays as it is, and between two such pieces a secret.
fn pieces() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let space = || "( |\n|\t|// '[{]c\n|/\\* \"\\* \\*/|\u{a0}){0,2}";
    let entry = (0..6_usize, literal(), space(), space(), any::<bool>());
    proptest::collection::vec(entry, 1..7).prop_map(|entries| {
        let (mut stays, mut sealed, mut stay) = (Vec::new(), Vec::new(), "{ // head\n ui: {".to_owned());
        for (number, (form, (value, is_open), before, behind, comma)) in entries.into_iter().enumerate() {
            let (open, close) = match form {
                0 => (format!("'p {number}': {{ token:"), "}"),
                1 => (format!("p{number}: [{{ id: 'x{number}', apiKey:"), "}, { id: 'y' }]"),
                2 => (format!("p{number}: [7, {{ deep: {{ password:"), "} }]"),
                3 => (format!("p{number}: {{ env: {{ \"A b\":"), ", B: true } }"),
                4 => (format!("p{number}: {{ headers: ["), "] }"),
                _ => (format!("p{number}: {{ maxTokens: 5, tokenFile:"), "}"),
            };
            stay.push_str(&format!("{open}{before}"));
            if is_open || form == 5 {
                stay.push_str(&value);
            } else {
                sealed.push(value);
                stays.push(std::mem::take(&mut stay));
            }
            let comma = if comma { "," } else { "" };
            stay.push_str(&format!("{behind}{}{close}{comma}{behind}", if form == 4 { comma } else { "" }));
            if comma.is_empty() {
                stay.push(',');
            }
        }
        stay.push_str("} /* tail */ }\n");
        stays.push(stay);
        (stays, sealed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn sealing_changes_secrets_and_not_one_byte_else((stays, values) in pieces()) {
        let text = stays.iter().zip(values.iter().map(String::as_str).chain([""])).fold(String::new(), |text, (stay, value)| text + stay + value);
        let sealed = seal_all(&text, &Toy(1)).unwrap_or_else(|error| panic!("{error}\n{text}"));
        prop_assert_eq!(sealed.paths.len(), values.len(), "{}", text);
        let mut rest = sealed.text.as_str();
        for (number, stay) in stays.iter().enumerate() {
            rest = rest.strip_prefix(stay.as_str()).unwrap_or_else(|| panic!("{stay:?} was changed: {rest}"));
            if number < values.len() {
                let inside = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')).unwrap();
                prop_assert!(inside.0.starts_with(SEALED_PREFIX), "{}", rest);
                rest = inside.1;
            }
        }
        prop_assert_eq!(rest, "");
        prop_assert_eq!(&seal_all(&sealed.text, &Toy(1)).unwrap().text, &sealed.text, "once is enough");
        let loaded = with(&Toy(1), true, &sealed.text);
        prop_assert!(loaded.as_ref().is_ok_and(|loaded| loaded.plain.is_empty()), "{}\n{}", text, loaded.unwrap_err());
        let back = unseal_all(&sealed.text, &Toy(1)).unwrap();
        prop_assert_eq!(get(&back, "ui").unwrap(), get(&text, "ui").unwrap());
    }
}
