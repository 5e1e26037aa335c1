//! A canary in every secret place that a config can have, and where it may be found afterwards: nowhere, in no form, whatever
//! happens to the gateway; and for its owner.

use std::collections::BTreeMap;
use std::path::Path;

use moltbot_config::{SecretState, Surroundings};
use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::{Home, PROVIDER_KEY};
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Circumstances, Gateway, command, run};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::secrets::files;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// The secret places of the reference, both those that the original seals and those that it does not, where the names
/// are the owner's choice or the schema takes anything.
const REFERENCE: [&str; 38] = [
    "gateway.auth.token",
    "gateway.auth.password",
    "gateway.remote.token",
    "gateway.remote.password",
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
    "channels.bluebubbles.password",
    "channels.msteams.appPassword",
    "channels.matrix.accessToken",
    "channels.nostr.privateKey",
    "hooks.token",
    "hooks.gmail.pushToken",
    "talk.apiKey",
    "messages.tts.openai.apiKey",
    "messages.tts.elevenlabs.apiKey",
    "tools.web.search.apiKey",
    "tools.web.search.perplexity.apiKey",
    "agents.defaults.memorySearch.remote.apiKey",
    "agents.list[0].memorySearch.remote.apiKey",
    "skills.entries.weather.apiKey",
    "skills.entries.weather.env.WEATHER_KEY",
    "env.vars.SOME_SERVICE",
    "models.providers.scripted.headers.x-key",
    "agents.defaults.sandbox.docker.env.DB",
    "agents.list[1].sandbox.docker.env.DB",
];

/// Every place in the schema where a text may stand, with `any` for names of the owner's choice.
fn leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        leaves(inner, &at(name), found);
    }
    for (pattern, inner) in schema["patternProperties"].as_object().into_iter().flatten() {
        leaves(inner, &at(&format!("{}any", pattern.trim_start_matches('^'))), found);
    }
    if schema["additionalProperties"].is_object() {
        leaves(&schema["additionalProperties"], &at("any"), found);
    }
    if schema["items"].is_object() {
        leaves(&schema["items"], &format!("{path}[0]"), found);
    }
    for inner in ["anyOf", "oneOf"].iter().filter_map(|name| schema[*name].as_array()).flatten() {
        leaves(inner, path, found);
    }
    let is_text = match &schema["type"] {
        Value::String(kind) => kind == "string",
        Value::Array(kinds) => kinds.contains(&json!("string")),
        _ => schema.as_object().is_some_and(|members| {
            ["properties", "items", "anyOf", "oneOf", "const"].iter().all(|name| !members.contains_key(*name))
        }),
    };
    if is_text && schema["enum"].is_null() && !path.is_empty() {
        found.push(path.to_owned());
    }
}

fn plain(text: &str) -> Vec<String> {
    let found = moltbot_config::secrets(text).unwrap().into_iter();
    found.filter(|entry| entry.state == SecretState::Plain).map(|entry| entry.path).collect()
}

fn is_valid(text: &str) -> bool {
    let surroundings = Surroundings::plain(&|_| None);
    moltbot_config::load(text.as_bytes(), "moltbot.json", &surroundings).is_ok()
}

/// Secrets that are only accepted beside something else.
const COMPANIONS: [(&str, &str, &str); 6] = [
    ("channels.irc.accounts.any.sasl.password", "channels.irc.accounts.any.sasl.username", "\"moltbot\""),
    ("channels.irc.sasl.password", "channels.irc.sasl.username", "\"moltbot\""),
    (IN_ALL, "agents.defaults.outbound.inject[0].host", "\"api.example.com\""),
    (IN_ALL, "agents.defaults.outbound.inject[0].header", "\"authorization\""),
    (IN_ONE, "agents.list[0].outbound.inject[0].host", "\"api.example.com\""),
    (IN_ONE, "agents.list[0].outbound.inject[0].header", "\"authorization\""),
];
const IN_ALL: &str = "agents.defaults.outbound.inject[0].value";
const IN_ONE: &str = "agents.list[0].outbound.inject[0].value";

/// The config with a canary in each secret place that it can have: those of the reference, and whatever the schema
/// accepts besides, so that a place that is accepted one day is tried from that day on.
fn planted(config: &str) -> (String, BTreeMap<String, String>) {
    let agents = r#"[{ "id": "main", "default": true }, { "id": "work" }]"#;
    let mut text = moltbot_config::set(config, "agents.list", agents).unwrap();
    // Headers for a collector belong to one; nobody listens there.
    text = moltbot_config::set(&text, "ledger.otlp.url", "\"http://127.0.0.1:9/v1/logs\"").unwrap();
    text = moltbot_config::set(&text, "channels.irc.host", "\"127.0.0.1\"").unwrap();
    text = moltbot_config::set(&text, "channels.irc.port", "9").unwrap();
    text = moltbot_config::set(&text, "channels.irc.accounts.any.host", "\"127.0.0.1\"").unwrap();
    text = moltbot_config::set(&text, "channels.irc.accounts.any.port", "9").unwrap();
    let mut all = Vec::new();
    leaves(&moltbot_config::schema(), "", &mut all);
    assert!(all.len() > 100, "the schema was read: {all:?}");
    let mut canaries = BTreeMap::new();
    for place in REFERENCE.into_iter().map(str::to_owned).chain(all) {
        let canary = format!("canary-{:03}-q8Zr3VtLx0NwYbE5mKc7HdPfJ2sG", canaries.len());
        let Ok(with) = moltbot_config::set(&text, &place, &json!(canary).to_string()) else { continue };
        let companions = COMPANIONS.iter().filter(|(secret, ..)| *secret == place);
        let with = companions
            .fold(with, |with, (_, beside, value)| moltbot_config::set(&with, beside, value).unwrap());
        let before = plain(&text);
        if plain(&with).iter().all(|path| before.contains(path)) {
            continue; // no secret place
        }
        if !is_valid(&with) {
            let refused = ["secrets.", "models.providers.any"].iter().any(|start| place.starts_with(start));
            assert!(refused && !REFERENCE.contains(&place.as_str()), "{place} is not accepted");
            continue;
        }
        text = with;
        canaries.insert(place, canary);
    }
    for place in REFERENCE {
        assert!(canaries.contains_key(place) || plain(config).contains(&place.to_owned()), "{place}");
    }
    (text, canaries)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |six: &[u8]| DIGITS[six.iter().fold(0, |sum, bit| sum * 2 + usize::from(*bit))];
    bits.chunks_exact(6).map(|six| char::from(digit(six))).collect()
}

/// The forms in which a text may hide: as it is, in hex, in base64 at any place of another text, in UTF-16.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let wide = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut forms = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), wide];
    // What is at the edges depends on the neighbours, so only whole groups of three bytes are looked for.
    forms.extend(
        (0..3).map(|skipped| base64(&bytes[skipped..skipped + (bytes.len() - skipped) / 3 * 3]).into_bytes()),
    );
    forms
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Demands that no file below `folder` has one of the secrets in any form. All bytes are looked at: free pages of a
/// database and the ends of files, too.
fn require_nowhere(folder: &Path, secrets: &BTreeMap<String, String>, when: &str) {
    let files = files(folder);
    assert!(files.len() > 10, "{files:?}");
    // All canaries begin alike, which is looked for first: one pass over everything.
    let common = forms("canary-");
    let keys = forms(PROVIDER_KEY);
    // What is set aside for a full disk is large and empty.
    for (path, bytes) in files.iter().filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)) {
        assert!(!keys.iter().any(|form| has(bytes, form)), "{when}: the provider's key is in {path}");
        if common.iter().any(|form| has(bytes, &form[..form.len().min(8)])) {
            for (place, secret) in secrets {
                let found = forms(secret).iter().position(|form| has(bytes, form));
                assert_eq!(found, None, "{when}: {place} is in {path}");
            }
        }
    }
}

/// No process that belongs to the test has a secret in its arguments or its environment.
#[expect(clippy::disallowed_methods, reason = "the kernel's view of a process")]
fn require_clean_process(pid: u32, secrets: &BTreeMap<String, String>) {
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        for secret in secrets.values().map(String::as_str).chain([PROVIDER_KEY]) {
            assert!(!has(&bytes, secret.as_bytes()), "{file} of {pid}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel's view of a process")]
fn core_limit(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
}

fn require_no_core(home: &Home) {
    let cores: Vec<String> = files(home.path())
        .into_iter()
        .filter(|(path, bytes)| {
            path.rsplit('/').next().unwrap().starts_with("core") || bytes.starts_with(b"\x7fELF")
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(cores, Vec::<String>::new());
}

fn read(home: &Home, place: &str) -> String {
    let output = run(PROGRAM, home, &["secrets", "get", place, "--raw"]);
    assert!(output.status.success(), "{place}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn set(home: &Home, place: &str, value: &str) {
    let mut child = command(PROGRAM, home, &["secrets", "set", place]);
    let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn succeed(home: &Home, arguments: &[&str]) {
    let output = run(PROGRAM, home, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

async fn talk(gateway: &Gateway, token: &str) -> String {
    let client = Connect::to(gateway.port()).token(token).scopes(&["operator.write", "operator.read"]);
    let mut client = client.device(&Device::from_seed(1), SignatureVersion::V3).open().await.unwrap();
    client.chat("main", "hello").await.text
}

/// The processes whose command line has this text.
#[expect(clippy::disallowed_methods, reason = "the kernel's view of processes")]
fn pids_with(needle: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(needle)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_in_every_secret_place_survives_kills_and_crashes_and_is_found_nowhere() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let (text, mut canaries) = planted(&home.config_text().unwrap());
    assert!(canaries.len() >= 40, "{canaries:?}");
    home.write_config_text(&text);
    succeed(&home, &["config", "set", "logging.level", "\"debug\""]);
    require_nowhere(home.path(), &canaries, "after the first write");

    // A core file of any size would be allowed, and the gateway's folder is one that the test looks at.
    let wrapper = ["sh", "-c", "ulimit -c unlimited; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    let circumstances = Circumstances { wrapper, ..Circumstances::default() };
    let mut gateway = Gateway::start_in(circumstances, PROGRAM, &home);
    let mut token = read(&home, "gateway.auth.token");
    assert!(talk(&gateway, &token).await.contains("hello"));
    assert_eq!(core_limit(gateway.pid()), "0 0", "although its parent has no limit");
    require_clean_process(gateway.pid(), &canaries);

    // A config write beside the running gateway, then the power goes.
    set(&home, "talk.apiKey", "canary-900-q8Zr3VtLx0NwYbE5mKc7HdPfJ2sG");
    canaries.insert("talk.apiKey".into(), "canary-900-q8Zr3VtLx0NwYbE5mKc7HdPfJ2sG".into());
    gateway.kill9();
    require_nowhere(home.path(), &canaries, "after a kill");
    for signal in [Signal::SEGV, Signal::ABORT] {
        gateway.restart(&home);
        assert!(talk(&gateway, &token).await.contains("hello"));
        // A handler of the runtime lets the first one pass when nothing faulted.
        while gateway.is_running() {
            gateway.signal(signal);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let status = gateway.wait();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(signal.as_raw()),
            "{status:?}"
        );
        require_no_core(&home);
        require_nowhere(home.path(), &canaries, "after a crash");
    }
    succeed(&home, &["secrets", "rotate"]);
    succeed(&home, &["config", "undo"]);
    succeed(&home, &["config", "undo"]);
    require_nowhere(home.path(), &canaries, "after a rotation");
    token = read(&home, "gateway.auth.token");
    gateway.restart(&home);
    require_children(&model, &home, &gateway, &token, &canaries).await;
    gateway.terminate();
    require_nowhere(home.path(), &canaries, "at the end");
    for (place, canary) in &canaries {
        assert_eq!(&read(&home, place), canary, "{place} comes back");
    }
    for request in model.requests() {
        let body = request.body.to_string();
        assert!(!body.contains("canary-") && !body.contains(PROVIDER_KEY), "{body}");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {PROVIDER_KEY}").as_str()));
    }
}

/// What a command of the agent has and leaves.
async fn require_children(
    model: &ScriptedModel,
    home: &Home,
    gateway: &Gateway,
    token: &str,
    canaries: &BTreeMap<String, String>,
) {
    model.push(Reply::tool(
        "exec",
        &json!({"command": "grep core /proc/self/limits; sh -c 'kill -SEGV $$'; touch begun; sleep 3991 & while [ -e begun ]; do sleep 0.05; done"}),
    ));
    model.push(Reply::text("done"));
    let talking = talk(gateway, token);
    let begun = home.state_path().join("workspace/begun");
    let looking = async {
        // The shell goes on before what it sent to the background has become its program.
        let pids = loop {
            let pids = pids_with("sleep\u{0}3991");
            if begun.exists() && !pids.is_empty() {
                break pids;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        pids.iter().for_each(|pid| require_clean_process(*pid, canaries));
        assert!(pids.iter().all(|pid| core_limit(*pid) == "0 0"));
        home.state().folder("workspace").unwrap().remove("begun").unwrap();
    };
    let (said, ()) = tokio::join!(talking, looking);
    assert_eq!(said, "done");
    let told = model.requests().last().unwrap().tool_results().join("\n");
    assert!(told.contains("Max core file size") && told.contains(" 0 "), "{told}");
    require_no_core(home);
}
