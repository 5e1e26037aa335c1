use moltbot_config::settings::{AuthMode, BindMode, ExecHost, LogLevel, ProviderApi};
use moltbot_config::{Surroundings, load, redact, schema};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::{environment, read};

const FULL: &str = include_str!("../data/full-openclaw.json5");

#[test]
fn a_config_of_an_existing_install_loads_and_says_what_does_nothing_yet() {
    let loaded = read(FULL).unwrap_or_else(|errors| panic!("{errors}"));
    let lines: Vec<String> = loaded
        .unsupported
        .iter()
        .map(|one| {
            format!(
                "{}:{} {}{}",
                one.line,
                one.column,
                one.path,
                one.note.as_ref().map_or(String::new(), |note| format!(" ({note})"))
            )
        })
        .collect();
    let listed = lines.join("\n") + "\n";
    assert_eq!(listed, include_str!("../data/full-unsupported.txt"), "\n{listed}");
}

/// The same settings as [`FULL`], where the first generation has them.
const FIRST: &str = include_str!("../data/full-clawdbot.json5");

#[test]
fn a_config_of_the_first_generation_is_read_as_one_of_today_and_written_so() {
    let (first, today) = (read(FIRST), read(FULL));
    let (first, today) = (first.unwrap_or_else(|errors| panic!("{errors}")), today.unwrap());
    assert_eq!(first.value, today.value);
    assert_eq!(format!("{:?}", first.config), format!("{:?}", today.config));
    let from: Vec<&str> = first.migrated.iter().map(|one| one.from.as_str()).collect();
    for key in [
        "agent",
        "telegram",
        "discord",
        "identity",
        "gateway.token",
        "gateway.password",
        "tools.bash",
        "routing.queue",
    ] {
        assert!(from.iter().any(|from| from.starts_with(key)), "{key}: {from:?}");
    }
    assert!(first.migrated.iter().all(|one| one.line > 1 && one.file.is_none()));
    assert!(today.migrated.is_empty());
    let (text, moved) = moltbot_config::migrate(FIRST).unwrap();
    assert_eq!(moved.len(), first.migrated.len());
    let written = read(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(written.value, today.value);
    assert!(written.migrated.is_empty() && text.starts_with("// The settings of"));
}

#[test]
fn a_key_of_an_older_generation_loosens_nothing() {
    for (text, expected) in [
        ("{telegram: {dmPolicy: 'open'}}", "channels.telegram.dmPolicy"),
        ("{agent: {sandbox: {docker: {privileged: true}}}}", "agents.defaults.sandbox.docker.privileged"),
        ("{gateway: {token: 'a', auth: {token: 'b'}}}", "gateway.token"),
    ] {
        let said = crate::error_of(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn variables_of_a_config_are_for_its_references() {
    let text = "{env: {vars: {A_TOKEN: 'token-of-${TEST_BIND}', TEST_BIND: 'lan'}, B: '${A_TOKEN}!', E: ''}, gateway: {bind: '${TEST_BIND}',                 auth: {token: '${B}'}, remote: {token: {source: 'env', id: 'A_TOKEN'}}}}";
    let loaded = read(text).unwrap_or_else(|errors| panic!("{errors}"));
    // The environment comes first.
    assert_eq!(loaded.config.gateway.bind, BindMode::Loopback);
    let token = loaded.config.gateway.auth.token.unwrap();
    assert_eq!(token.expose_secret(), "token-of-loopback!");
    let elsewhere = loaded.config.gateway.remote.token.unwrap();
    assert_eq!(elsewhere.expose_secret(), "token-of-loopback");
    let env = &loaded.config.env;
    assert_eq!(env.variable("B").map(|value| value.expose_secret()), Some("token-of-loopback!"));
    assert!(env.variable("E").is_none() && env.variable("NONE").is_none());
    for name in ["A_TOKEN", "B"] {
        assert!(!format!("{:?}", loaded.config.env).contains("token-of"), "{name}");
    }
    let plain: Vec<&str> = loaded.plain.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(plain, ["env.vars.A_TOKEN", "env.vars.TEST_BIND", "env.B"], "each once");
    let around = crate::error_of("{env: {A: '${B}', B: '${A}'}, ui: {x: '${A}'}}");
    assert!(around.contains("the variable `A`"), "{around}");
}

#[test]
fn variables_that_load_code_or_change_our_walls_are_refused() {
    for name in
        ["LD_PRELOAD", "PATH", "NODE_OPTIONS", "MOLTBOT_STATE_DIR", "OPENCLAW_GATEWAY_TOKEN", "https_proxy"]
    {
        for text in [format!("{{env: {{{name}: 'x'}}}}"), format!("{{env: {{vars: {{{name}: 'x'}}}}}}")] {
            let said = crate::error_of(&text);
            assert!(
                said.contains(name) && said.contains("a config does not set this variable"),
                "{text}: {said}"
            );
        }
    }
    assert!(crate::error_of("{env: {A: 5}}").contains("env.A"));
}

#[test]
fn what_works_has_the_values_of_the_file() {
    let config = read(FULL).unwrap().config;
    assert_eq!(config.gateway.port, 18789);
    assert_eq!(config.gateway.bind, BindMode::Loopback);
    assert_eq!(config.gateway.auth.mode, Some(AuthMode::Token));
    assert_eq!(config.logging.level, LogLevel::Debug);
    assert_eq!(config.tools.deny, ["canvas"]);
    assert_eq!(config.agents.list[0].id.as_str(), "main");
    let model = config.agents.defaults.model.as_ref().and_then(|model| model.primary());
    assert_eq!(model, Some("local/qwen2.5"));
    let providers: Vec<&String> = config.models.providers.keys().collect();
    assert_eq!(providers, ["google", "local"], "a provider that is signed in to otherwise is left out whole");
    let local = &config.models.providers["local"];
    assert_eq!(local.api, Some(ProviderApi::OpenAiCompletions));
    assert_eq!(local.headers["X-House"].expose_secret(), "moltbot");
    assert_eq!(local.models[0].max_tokens, Some(4096));
    let redacted = redact(&read(FULL).unwrap().value).to_string();
    for secret in [
        "ollama-local",
        "memory-key",
        "brave-key",
        "tts-key",
        "talk-key",
        "skill-",
        "hook-token",
        "push-token",
        "discord-token",
        "webhook-secret",
        "gateway-token",
        "gateway-password",
        "remote-",
        ":telegram\"",
        "hello",
    ] {
        assert!(!redacted.contains(secret), "{secret} in {redacted}");
    }
}

#[test]
fn references_are_replaced_in_settings_and_kept_in_the_raw_value() {
    let text = "{gateway: {auth: {token: '${TEST_KEY}'}}, models: {providers: {a: {headers: {A: 'Bearer ${TEST_KEY}', B: '$${TEST_KEY}'}}}}}";
    let loaded = read(text).unwrap();
    let token = loaded.config.gateway.auth.token.unwrap();
    assert_eq!(token.expose_secret(), "key-from-the-environment");
    let headers = &loaded.config.models.providers["a"].headers;
    assert_eq!(headers["A"].expose_secret(), "Bearer key-from-the-environment");
    assert_eq!(headers["B"].expose_secret(), "${TEST_KEY}");
    assert_eq!(loaded.value["gateway"]["auth"]["token"], "${TEST_KEY}");
    assert!(!format!("{:?}", loaded.value).contains("from-the-environment"));
}

#[test]
fn an_empty_object_is_the_safe_defaults() {
    let config = read("{}").unwrap().config;
    assert_eq!(config.gateway.bind, BindMode::Loopback);
    assert!(config.gateway.auth.token.is_none());
    assert_eq!(config.tools.exec.timeout_sec, 1800);
    assert_eq!(config.tools.exec.host, ExecHost::Sandbox);
    assert!(!config.tools.elevated.enabled);
}

#[test]
fn every_feature_of_json5_is_read() {
    let text = "\u{feff}// comment\n{ /* one */ 'gateway': { \"port\": 0x4965, bind: 'loop\\\nback', },\n agents: {list: [{id: '\\x61\\u0062',},],}, }";
    let config = read(text).unwrap().config;
    assert_eq!((config.gateway.port, config.gateway.bind), (18789, BindMode::Loopback));
    assert_eq!(config.agents.list[0].id.as_str(), "ab");
    assert_eq!(read("{gateway: {port: +1e3}}").unwrap().config.gateway.port, 1000);
}

#[test]
fn another_main_session_is_noted_and_not_obeyed() {
    let loaded = read("{session: {mainKey: 'work'}}").unwrap();
    assert_eq!(loaded.config.session.main_key, None);
    assert_eq!(loaded.unsupported[0].path, "session.mainKey");
}

#[test]
fn the_schema_knows_every_setting_and_says_which_do_nothing() {
    let schema = schema();
    let at = |path: &str| {
        let pointer: String = path.split('.').map(|key| format!("/properties/{key}")).collect();
        schema.pointer(&pointer).cloned().unwrap_or(Value::Null)
    };
    let port = at("gateway.port");
    assert_eq!(
        (&port["default"], &port["minimum"], &port["maximum"]),
        (&18789.into(), &1.into(), &65535.into())
    );
    assert!(port["description"].as_str().unwrap().contains("18789"));
    assert_eq!(port["x-moltbot-supported"], Value::Null);
    for path in [
        "channels.discord",
        "gateway.controlUi.basePath",
        "session.sendPolicy",
        "agents.defaults.sandbox.docker.env",
        "tools.exec.node",
    ] {
        assert_eq!(at(path)["x-moltbot-supported"], false, "{path}");
    }
    for path in [
        "agents.defaults.sandbox.mode",
        "channels.telegram",
        "gateway.controlUi.allowedOrigins",
        "tools.elevated.enabled",
        "tools.exec.ask",
    ] {
        assert_eq!(at(path)["x-moltbot-supported"], Value::Null, "{path}");
    }
    let top: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    for key in "meta env wizard diagnostics logging update browser ui auth models nodeHost agents tools bindings broadcast audio media messages commands approvals session cron hooks web channels discovery canvasHost talk gateway skills plugins".split(' ') {
        assert!(top.iter().any(|one| *one == key), "{key}");
    }
}

/// Prints what a start pays: `cargo nextest run -p moltbot-config --run-ignored only --no-capture`.
#[test]
#[ignore = "a measurement"]
fn measure_a_load() {
    let text = "{gateway: {mode: 'local', bind: 'loopback', port: 18789, auth: {mode: 'token', token: '${TEST_KEY}'}}}";
    for what in ["first, with the schema", "second"] {
        let start = std::time::Instant::now();
        let loaded = load(text.as_bytes(), "moltbot.json", &Surroundings::plain(&environment));
        println!("{what}: {:?} {}", start.elapsed(), loaded.is_ok());
    }
    let start = std::time::Instant::now();
    for _ in 0..100 {
        read(FULL).unwrap();
    }
    println!("full config: {:?}", start.elapsed() / 100);
}
