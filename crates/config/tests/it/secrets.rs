//! Secrets in texts: every place of the reference, sealed in place, bound to it, and back.
#![expect(clippy::panic, reason = "a helper of a test fails its test")]

use std::collections::BTreeMap;

use moltbot_config::{
    Keeper, SEALED_PREFIX, SecretRef, SecretState, Surroundings, get, load, redact, reseal_all, seal_all,
    secret_at, secrets, set, set_secret, unseal_all,
};
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

/// Seals by writing place, generation and text in hex: bound to its place like the real thing, and readable.
struct Toy(u32);

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<String> {
    let bytes = (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

impl Keeper for Toy {
    fn seal(&self, place: &str, plain: &SecretString) -> Result<String, String> {
        Ok(format!("{SEALED_PREFIX}{}.{}.{}", self.0, hex(place), hex(plain.expose_secret())))
    }

    fn unseal(&self, place: &str, sealed: &str) -> Result<SecretString, String> {
        let parts: Vec<&str> = sealed.strip_prefix(SEALED_PREFIX).ok_or("no form")?.split('.').collect();
        let [_, of, plain] = parts.as_slice() else { return Err("no form".into()) };
        if unhex(of).as_deref() != Some(place) {
            return Err(format!("{place} does not open"));
        }
        unhex(plain).map(Into::into).ok_or_else(|| "no form".into())
    }

    fn unseal_original(&self, _place: &str, sealed: &str) -> Result<SecretString, String> {
        let value: serde_json::Value = serde_json::from_str(sealed).map_err(|error| error.to_string())?;
        let text = value.get("ciphertext").and_then(|text| text.as_str()).ok_or("no ciphertext")?;
        Ok(text.to_owned().into())
    }

    fn is_current(&self, _place: &str, sealed: &str) -> bool {
        sealed.starts_with(&format!("{SEALED_PREFIX}{}.", self.0))
    }

    fn draw_id(&self) -> Result<String, String> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Ok(format!("{:016x}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, String> {
        match reference {
            SecretRef::Store { id, .. } if id == "there" => Ok("from ${A} the store".into()),
            other => Err(format!("{other} is not there")),
        }
    }
}

fn with(
    keeper: &Toy,
    sealed: bool,
    text: &str,
) -> Result<moltbot_config::Loaded, moltbot_config::ConfigErrors> {
    let environment = |name: &str| (name == "A").then(|| SecretString::from("value-of-a"));
    load(text.as_bytes(), "moltbot.json", &Surroundings { environment: &environment, keeper, sealed })
}

/// Every secret place of the reference, the covered and the uncovered.
const PLACES: [&str; 40] = [
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
    "channels.slack.accounts.x.appToken",
    "channels.slack.accounts.x.apiKey",
    "channels.slack.accounts.x.signingSecret",
    "channels.googlechat.serviceAccount",
    "channels.bluebubbles.password",
    "channels.msteams.appPassword",
    "channels.matrix.password",
    "channels.matrix.accessToken",
    "channels.nostr.privateKey",
    "models.providers.openai.apiKey",
    "models.providers.openai.headers.x-api-key",
    "hooks.token",
    "hooks.gmail.pushToken",
    "talk.apiKey",
    "messages.tts.openai.apiKey",
    "messages.tts.elevenlabs.apiKey",
    "tools.web.search.apiKey",
    "tools.web.search.perplexity.apiKey",
    "agents.defaults.memorySearch.remote.apiKey",
    "skills.entries.weather.apiKey",
    "skills.entries.weather.env.WEATHER",
    "env.vars.SOME_KEY",
    "env.OTHER_KEY",
    "agents.defaults.sandbox.docker.env.DB",
    "plugins.entries.x.config.clientSecret",
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
    // Two with one id could stand for each other, so their values carry ids of their own.
    let doubled = text.replace("'two'", "'one'");
    let sealed = seal_all(&doubled, &Toy(1)).unwrap().text;
    assert_eq!(sealed.matches(":id=").count(), 3, "{sealed}");
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
fn a_reference_to_elsewhere_is_taken_as_it_is() {
    let with_token =
        |token: &str| with(&Toy(1), true, &format!("{{ gateway: {{ auth: {{ token: {token} }} }} }}"));
    let loaded = with_token("{ source: 'store', provider: 'default', id: 'there' }").unwrap();
    assert_eq!(loaded.config.gateway.auth.token.unwrap().expose_secret(), "from ${A} the store");
    for (reference, says) in [
        ("{ source: 'store', id: 'absent' }", "store:absent is not there"),
        ("{ source: 'exec', id: 'x' }", "exec:x is not there"),
        ("{ source: 'env', id: 'NOT_THERE' }", "NOT_THERE"),
        ("{ source: 'moon', id: 'x' }", "moon"),
        ("{ source: 'env', id: 'A', more: 1 }", "more"),
        ("{ source: 'env', id: 'A', provider: 'vault' }", "vault"),
    ] {
        let errors = with_token(reference).unwrap_err();
        assert_eq!(errors.errors()[0].path, "gateway.auth.token", "{reference}");
        assert!(errors.to_string().contains(says), "{reference}: {errors}");
    }
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
    assert_eq!(secret_at(&again.text, "hooks.token", &Toy(2)).unwrap().expose_secret(), canary(26));
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
