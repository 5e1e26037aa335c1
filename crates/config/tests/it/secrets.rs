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
const PLACES: [&str; 51] = [
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
        assert!(errors.errors().iter().all(|error| error.path == path), "{errors}");
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

proptest! {
    #[test]
    fn sealing_changes_secrets_and_nothing_else(
        words in proptest::collection::vec("[ -~é\\n]{0,20}", 1..8),
        comment in "[a-z ]{0,12}",
    ) {
        let members: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(n, word)| format!("  /* {comment} */ K{n}: {}, // {comment}\n", json!(word)))
            .collect();
        let text = format!("{{\n env: {{\n{}}},\n skip: [1, 'x'],\n}}\n", members.concat());
        let sealed = seal_all(&text, &Toy(1)).unwrap();
        prop_assert_eq!(sealed.text.matches(&format!("/* {comment} */")).count(), words.len());
        prop_assert!(sealed.text.contains(" skip: [1, 'x'],\n"));
        let back = unseal_all(&sealed.text, &Toy(1)).unwrap();
        let values = |text: &str| json5::from_str::<serde_json::Value>(text).unwrap();
        prop_assert_eq!(values(&back), values(&text));
    }
}
