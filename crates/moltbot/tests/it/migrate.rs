//! `moltbot security migrate` through the real binary: an installation that another program wrote becomes one of ours, in place or
//! from a folder that stays as it is, and goes back byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use serde_json::{Value, json};

use crate::hooks::block_on;
use crate::posture::{LEGACY, chmod, legacy, report, tree};
use crate::program::Program;

/// A transcript of a conversation with two turns.
const TRANSCRIPT: &str = r#"{"type":"session","version":3,"id":"s1","timestamp":"2026-01-02T03:04:05.000Z","cwd":"/home/me/clawd"}
{"type":"message","id":"a1","parentId":null,"timestamp":"2026-01-02T03:04:06.000Z","message":{"role":"user","content":"My cat is called Quillfeather."}}
{"type":"message","id":"a2","parentId":"a1","timestamp":"2026-01-02T03:04:07.000Z","message":{"role":"assistant","provider":"p","model":"m","stopReason":"stop","content":[{"type":"text","text":"A fine name."}]}}
{"type":"message","id":"a3","parentId":"a2","timestamp":"2026-01-02T03:04:08.000Z","message":{"role":"user","content":"Is it?"}}
"#;

/// The token of a device that is paired with the other program.
const DEVICE_TOKEN: &str = "0f3c9a7be2d54c1f8a6b7d90e1f2a3b4";

/// What the other program had in its folder besides the config.
const FILES: [(&str, &str); 7] = [
    ("agents/main/sessions/s1.jsonl", TRANSCRIPT),
    ("agents/main/sessions/s2.jsonl", "{\"role\":\"user\",\"content\":\"of no list\"}\n"),
    (
        "agents/main/sessions/sessions.json",
        r#"{"agent:main:main":{"sessionId":"s1","updatedAt":1767323048000},
            "agent:main:gone":{"sessionId":"s9","updatedAt":1},
            "agent:main:away":{"sessionId":"../../../moltbot.json\u0000/etc/passwd","updatedAt":1}}"#,
    ),
    (
        "agents/main/agent/auth-profiles.json",
        r#"{"version":1,"profiles":{"anthropic:default":{"type":"api_key","provider":"anthropic","key":"sk-ant-old-plain-000"}}}"#,
    ),
    ("credentials/telegram-allowFrom.json", r#"{"version":1,"allowFrom":["4711","4712\u001b[2J"]}"#),
    ("cron/jobs.json", r#"{"version":1,"jobs":[{"id":"a"},{"id":"b"}]}"#),
    ("moltbot.json.bak", r#"{"gateway":{"auth":{"token":"an-older-plain-token"}}}"#),
];

#[expect(clippy::disallowed_methods, reason = "the test plays the other program")]
fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    chmod(&path, 0o644);
}

#[expect(clippy::disallowed_methods, reason = "a test reads what the program left")]
fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}

/// An installation of the original, whole.
fn whole() -> Program {
    let program = legacy();
    let config = LEGACY.replace("\"mode\": \"local\",", "\"mode\": \"local\", \"bind\": \"lan\",");
    assert_ne!(config, LEGACY);
    write(&program.state(), "moltbot.json", &config);
    FILES.iter().for_each(|(name, text)| write(&program.state(), name, text));
    let device = Device::from_seed(41);
    let paired = json!({device.id(): {
        "deviceId": device.id(), "publicKey": device.public_key(), "role": "operator", "scopes": ["operator.read"],
        "createdAtMs": 1, "approvedAtMs": 2,
        "tokens": {"operator": {"token": DEVICE_TOKEN, "role": "operator", "scopes": ["operator.read"], "createdAtMs": 1}},
    }});
    write(&program.state(), "devices/paired.json", &paired.to_string());
    program
}

/// What came of each item of the data, by its beginning.
fn outcome<'a>(told: &'a Value, begins: &str) -> (&'a str, &'a str) {
    let items = told["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["act"].as_str().unwrap().starts_with(begins));
    let found = found.unwrap_or_else(|| panic!("nothing begins with {begins:?}: {told:#}"));
    (found["outcome"].as_str().unwrap(), found["because"].as_str().unwrap_or_default())
}

fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    tree(root).into_iter().map(|(path, (_, sum))| (path, sum)).filter(|(_, sum)| !sum.is_empty()).collect()
}

/// Every file below that has one of these words in plaintext.
fn with_words(root: &Path, words: &[&str]) -> Vec<PathBuf> {
    let has = |path: &PathBuf| {
        let found = bytes(path);
        words.iter().any(|word| found.windows(word.len()).any(|part| part == word.as_bytes()))
    };
    contents(root).into_keys().filter(has).collect()
}

#[test]
fn d_142_a_dry_run_tells_all_parts_in_order_and_changes_nothing() {
    let program = whole();
    let state = program.state();
    let before = tree(&state);
    let dry = program.run(&["security", "migrate", "--dry-run", "--json"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(tree(&state), before, "a dry run changes nothing");
    assert_eq!(outcome(&report(&dry), "bring agent:main:main with 3 messages").0, "planned");
    let shown = program.run(&["security", "migrate", "--dry-run"]).out;
    let categories = ["Sandbox", "DM Policy", "Gateway Auth", "Logging", "Encryption", "Permissions", "Data"];
    let places = categories.map(|category| shown.find(&format!("[{category}] ")));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {shown}");
    assert_eq!(tree(&state), before, "a dry run changes nothing");
}

#[test]
fn d_140_d_141_d_146_d_147_an_install_becomes_one_of_ours_and_goes_back_byte_for_byte() {
    let program = whole();
    let state = program.state();
    let before = tree(&state);
    let ran = program.run(&["security", "migrate", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = report(&ran);
    assert!(told["before"]["score"].as_u64().unwrap() <= 39, "{told:#}");
    assert!(told["after"]["score"].as_u64().unwrap() >= 90, "{told:#}");
    assert!(told["items"].as_array().unwrap().iter().all(|item| item["outcome"] != "failed"), "{told:#}");
    assert_eq!(outcome(&told, "agent:main:main with 3 messages").0, "ok");
    assert!(outcome(&told, "the conversation agent:main:gone").1.contains("not there"), "{told:#}");
    assert_eq!(outcome(&told, "the conversation agent:main:away").0, "skipped");
    assert!(outcome(&told, "1 transcripts of main").1.contains("moltbot sessions import"), "{told:#}");
    assert_eq!(outcome(&told, "2 senders who were let in on telegram: 4711").0, "ok");
    assert_eq!(outcome(&told, "2 jobs of jobs.json").0, "skipped");
    assert_eq!(outcome(&told, "1 paired devices of paired.json").0, "ok");
    let secrets = [
        "my-clawdbot-token",
        "AAE-not-a-real-token",
        "sk-plain-and-old-000000",
        "sk-ant-old-plain-000",
        "an-older-plain-token",
    ];
    for secret in secrets {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{secret} is shown");
    }
    assert_eq!(with_words(&state, &secrets), Vec::<PathBuf>::new(), "a secret is in plaintext");
    let bind = program.run(&["config", "get", "gateway.bind"]).out;
    assert_eq!(bind.trim().trim_matches('"'), "loopback", "{told:#}");

    // Once more: nothing is to be done, and nothing is brought twice.
    let again = report(&program.run(&["security", "migrate", "--json"]));
    assert!(outcome(&again, "agent:main:main").1.contains("there already, with 3 messages"), "{again:#}");

    // The gateway starts with it, has the conversation, and is not migrated while it runs.
    let up = program.start();
    assert_eq!(up.code, 0, "{up:?}");
    let history = program.run(&["sessions", "show", "main"]).out;
    for taken_over in ["devices/paired.json", "credentials/telegram-allowFrom.json"] {
        assert!(!state.join(taken_over).exists(), "{taken_over} is still there");
    }
    assert!(program.run(&["senders", "list"]).out.contains("4711"));
    assert!(history.contains("Quillfeather") && history.contains("A fine name."), "{history}");
    let busy = program.run(&["security", "migrate"]);
    assert!(busy.code == 75 && busy.err.contains("moltbot gateway stop"), "{busy:?}");
    assert_eq!(program.run(&["security", "migrate", "--rollback"]).code, 75);
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
    let recorded = program.run(&["ledger", "search", "--action", "session.import"]).out;
    assert!(recorded.contains("agent:main:main"), "{recorded}");

    let back = program.run(&["security", "migrate", "--rollback"]);
    assert_eq!(back.code, 0, "{back:?}");
    let after = tree(&state);
    for (path, (_, sum)) in &before {
        assert_eq!(&after[path].1, sum, "{} is not as it was: {back:?}", path.display());
    }
    let twice = program.run(&["security", "migrate", "--rollback"]);
    assert!(twice.code == 1 && twice.err.contains("no migration"), "{twice:?}");
    // And forth again.
    let forth = program.run(&["security", "migrate"]);
    assert_eq!(forth.code, 0, "{forth:?}");
}

#[test]
fn what_was_brought_over_is_destroyed_when_the_owner_says_so_and_nothing_else_is() {
    let program = whole();
    let state = program.state();
    let [brought, unnamed] =
        ["s1", "s2"].map(|name| state.join(format!("agents/main/sessions/{name}.jsonl")));
    assert_eq!(program.run(&["security", "migrate"]).code, 0);
    assert!(brought.exists(), "nobody asked for it");
    let ran = program.run(&["security", "migrate", "--shred", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(outcome(&report(&ran), &format!("destroy {}", brought.display())).0, "ok");
    assert!(!brought.exists() && unnamed.exists(), "what was not brought stays");
    assert_eq!(with_words(&state, &["Quillfeather"]), Vec::<PathBuf>::new());
    let recorded = program.run(&["ledger", "search", "--action", "transcript.shred"]).out;
    assert!(recorded.contains("s1.jsonl"), "{recorded}");
    // It is the only copy now: bringing the migration back leaves it.
    let back = program.run(&["security", "migrate", "--rollback"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(!back.out.contains("agent:main:main is removed"), "{back:?}");
    assert_eq!(program.run(&["security", "migrate"]).code, 0);
    assert_eq!(program.start().code, 0);
    assert!(program.run(&["sessions", "show", "main"]).out.contains("Quillfeather"));
    for arguments in
        [&["--shred", "--dry-run"][..], &["--shred", "--from", "/srv"], &["--shred", "--rollback"]]
    {
        assert_eq!(program.run(&[&["security", "migrate"], arguments].concat()).code, 2);
    }
}

#[test]
fn a_conversation_that_was_here_before_keeps_its_transcript() {
    let program = Program::new();
    let copy = program.state().with_file_name("copy.jsonl");
    write(program.state().parent().unwrap(), "copy.jsonl", TRANSCRIPT);
    let started = program.start();
    assert_eq!(started.code, 0, "{started:?}");
    let imported = program.run(&["sessions", "import", "main", &copy.display().to_string()]);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
    FILES.iter().for_each(|(name, text)| write(&program.state(), name, text));
    let transcript = program.state().join("agents/main/sessions/s1.jsonl");
    let told = report(&program.run(&["security", "migrate", "--shred", "--json"]));
    let (outcome, because) = outcome(&told, &format!("destroy {}", transcript.display()));
    assert!(outcome == "skipped" && because.contains("was here before"), "{told:#}");
    assert!(transcript.exists());
}

#[test]
fn the_workspace_of_the_first_generations_is_named_and_another_is_left_alone() {
    let program = whole();
    let home = program.state().parent().unwrap().to_owned();
    write(&home, "clawd/SOUL.md", "I was somebody.\n");
    let act = "set agents.defaults.workspace to \"~/clawd\"";
    let dry = report(&program.run(&["security", "migrate", "--dry-run", "--json"]));
    assert_eq!(outcome(&dry, act).0, "planned");
    let told = report(&program.run(&["security", "migrate", "--json"]));
    assert_eq!(outcome(&told, act).0, "ok", "{told:#}");
    let named = |program: &Program| program.run(&["config", "get", "agents.defaults.workspace"]).out;
    assert!(named(&program).contains("~/clawd"));
    let up = program.start();
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
    assert_eq!(crate::paths::read(&home.join("clawd/SOUL.md")), "I was somebody.\n");
    let again = program.run(&["security", "migrate"]);
    assert!(again.code == 0 && !again.out.contains("~/clawd"), "it is named: {again:?}");

    let other = Program::new();
    let home = other.state().parent().unwrap().to_owned();
    write(&home, "clawd/SOUL.md", "");
    other.write_config(r#"{"agents": {"defaults": {"workspace": "~/mine"}}}"#);
    assert_eq!(other.run(&["security", "migrate"]).code, 0);
    assert!(named(&other).contains("~/mine"), "somebody has chosen it");
    let open = whole();
    let home = open.state().parent().unwrap().to_owned();
    write(&home, "clawd/SOUL.md", "");
    chmod(&home.join("clawd"), 0o777);
    let told = report(&open.run(&["security", "migrate", "--json"]));
    assert_eq!(outcome(&told, act).0, "skipped", "anybody may write there: {told:#}");
}

#[test]
fn texts_of_a_foreign_workspace_are_copied_and_stay() {
    let program = whole();
    let state = program.state();
    for (name, text) in [
        ("workspace/SOUL.md", "I was somebody.\n"),
        ("workspace/memory/2026-01-02.md", "tea\n"),
        ("workspace/a.png", ""),
    ] {
        write(&state, name, text);
    }
    let foreign = state.with_file_name("foreign");
    #[expect(clippy::disallowed_methods, reason = "the test plays the machine's owner")]
    std::fs::rename(&state, &foreign).unwrap();
    let before = tree(&foreign);
    let told =
        report(&program.run(&["security", "migrate", "--json", "--from", &foreign.display().to_string()]));
    assert_eq!(outcome(&told, "2 texts of workspace/").0, "ok");
    assert_eq!(outcome(&told, "1 other entries of workspace/").0, "skipped");
    let soul = state.join("workspace/SOUL.md");
    assert_eq!(crate::paths::read(&soul), "I was somebody.\n");
    assert_eq!(crate::paths::read(&state.join("workspace/memory/2026-01-02.md")), "tea\n");
    assert_eq!(tree(&foreign), before, "what is read stays as it is");
    let back = program.run(&["security", "migrate", "--rollback"]);
    assert!(back.code == 0 && back.out.contains("workspace/SOUL.md stays"), "{back:?}");
    assert!(soul.exists());
}

/// An installation with this config, migrated; what was told, and the config afterwards.
fn migrated(config: &Value) -> (Program, Value, Value) {
    let program = Program::new();
    program.write_config(&config.to_string());
    let told = report(&program.run(&["security", "migrate", "--json"]));
    let after = serde_json::from_slice(&bytes(&program.state().join("moltbot.json"))).unwrap();
    (program, told, after)
}

#[test]
fn d_144_a_long_token_is_judged_by_what_is_in_it_and_a_sealed_one_by_what_is_sealed() {
    let weak = ["a".repeat(48), "changeme-changeme-changeme-changeme".into(), "0123456789".repeat(4)];
    for token in weak {
        let config = json!({"gateway": {"auth": {"mode": "token", "token": token}}});
        let (program, told, _) = migrated(&config);
        let now = program.run(&["secrets", "get", "gateway.auth.token", "--raw"]).out;
        assert!(now.trim() != token && now.trim().len() >= 40, "{token} is still the token: {told:#}");
    }
    let strong = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
    let config = json!({"gateway": {"auth": {"mode": "token", "token": strong}}});
    let (program, _, after) = migrated(&config);
    let sealed = after["gateway"]["auth"]["token"].as_str().unwrap().to_owned();
    assert_ne!(sealed, strong);
    let again = program.run(&["security", "migrate", "--json"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(
        program.run(&["secrets", "get", "gateway.auth.token", "--raw"]).out.trim(),
        strong,
        "it stays what it is"
    );
    // What looks like something sealed and is not is no strong token.
    let forged = sealed.replace(sealed.get(sealed.len() - 12..).unwrap(), "AAAAAAAAAAAA");
    let config = json!({"gateway": {"auth": {"mode": "token", "token": forged}}});
    let other = Program::new();
    other.write_config(&config.to_string());
    let ran = other.run(&["security", "migrate", "--json"]);
    let kept = String::from_utf8(bytes(&other.state().join("moltbot.json"))).unwrap();
    let is_drawn = other.run(&["secrets", "get", "gateway.auth.token", "--raw"]);
    assert!(ran.code != 0 || (is_drawn.code == 0 && is_drawn.out.trim() != forged), "{ran:?} {kept}");
}

#[test]
fn d_145_accounts_hooks_flags_and_backups_are_migrated_as_well() {
    let open = json!({"dmPolicy": "open", "allowFrom": ["*", "4711"], "groupPolicy": "open"});
    let mut telegram = open.clone();
    telegram["botToken"] = json!("123456:AAE-not-a-real-token-of-any-bot");
    let config = json!({
        "gateway": {
            "auth": {"mode": "token", "token": "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM"},
            "controlUi": {"allowInsecureAuth": true, "dangerouslyDisableDeviceAuth": true},
        },
        "hooks": {"enabled": true, "token": "short-hook-token"},
        "channels": {"telegram": {"accounts": {"work": telegram}}},
    });
    let program = Program::new();
    write(&program.state(), "moltbot.json.bak", r#"{"gateway":{"auth":{"token":"an-older-plain-token"}}}"#);
    program.write_config(&config.to_string());
    let ran = program.run(&["security", "migrate", "--json"]);
    let told = report(&ran);
    let text = String::from_utf8(bytes(&program.state().join("moltbot.json"))).unwrap();
    let after: Value = serde_json::from_str(&text).unwrap();
    let account = &after["channels"]["telegram"]["accounts"]["work"];
    assert_eq!(
        (&account["dmPolicy"], &account["groupPolicy"]),
        (&json!("pairing"), &json!("allowlist")),
        "{told:#}"
    );
    assert!(!account["allowFrom"].to_string().contains('*'), "{account}");
    for flag in ["allowInsecureAuth", "dangerouslyDisableDeviceAuth"] {
        assert_ne!(after["gateway"]["controlUi"][flag], json!(true), "{flag}: {told:#}");
    }
    let secrets = ["short-hook-token", "AAE-not-a-real-token", "an-older-plain-token"];
    assert_eq!(
        with_words(&program.state(), &secrets),
        Vec::<PathBuf>::new(),
        "a secret is in plaintext: {told:#}"
    );
    let hook = program.run(&["secrets", "get", "hooks.token", "--raw"]).out;
    assert!(hook.trim() != "short-hook-token" && hook.trim().len() >= 32, "{hook:?} {told:#}");
    let audit = report(&program.run(&["security", "audit", "--json"]));
    let grave = audit["findings"].as_array().unwrap().iter();
    let grave: Vec<&Value> =
        grave.filter(|one| one["severity"] == "critical" || one["severity"] == "high").collect();
    assert!(ran.code == 0 && grave.is_empty(), "{grave:#?} {told:#}");
}

#[test]
fn a_foreign_folder_is_read_and_stays_as_it_is() {
    let source = whole();
    let before = tree(&source.state());
    let program = Program::new();
    let from = source.state().display().to_string();
    let dry = program.run(&["security", "migrate", "--from", &from, "--dry-run", "--json"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(!program.state().exists(), "a dry run makes nothing");
    let ran = program.run(&["security", "migrate", "--from", &from, "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(tree(&source.state()), before, "the source stays as it is");
    let told = report(&ran);
    assert!(told["after"]["score"].as_u64().unwrap() >= 90, "{told:#}");
    assert_eq!(outcome(&told, "agent:main:main with 3 messages").0, "ok");
    let secrets = ["my-clawdbot-token", "sk-plain-and-old-000000", "sk-ant-old-plain-000", "Quillfeather"];
    assert_eq!(with_words(&program.state(), &secrets), Vec::<PathBuf>::new());
    let listed = program.run(&["secrets", "list"]).out;
    assert!(listed.contains("auth-profiles.json#profiles"), "the credentials came with it: {listed}");
    // A second time it is the same migration; that of another folder is not.
    assert_eq!(program.run(&["security", "migrate", "--from", &from]).code, 0);
    let other = whole();
    let refused = program.run(&["security", "migrate", "--from", &other.state().display().to_string()]);
    assert!(refused.code == 1 && refused.err.contains("is a config already"), "{refused:?}");
    // Taken back, what it made is gone.
    assert_eq!(program.run(&["security", "migrate", "--rollback"]).code, 0);
    for name in
        ["moltbot.json", "agents/main/agent/auth-profiles.json", "devices/paired.json", "migration.sealed"]
    {
        assert!(!program.state().join(name).exists(), "{name} is still there");
    }
}

#[test]
fn after_a_migration_clients_of_an_earlier_generation_sign_in_with_the_new_token_alone() {
    let program = whole();
    assert_eq!(program.run(&["security", "migrate"]).code, 0);
    program.start();
    let token = program.run(&["secrets", "get", "gateway.auth.token", "--raw"]).out;
    let lock: Value = serde_json::from_slice(&bytes(&program.state().join("gateway.lock"))).unwrap();
    let port = u16::try_from(lock["port"].as_u64().unwrap()).unwrap();
    let open = |token: &str| block_on(Connect::to(port).protocols(3, 3).token(token).open());
    assert!(open(token.trim()).is_ok());
    assert!(open("my-clawdbot-token").is_err());
    // A device that was paired with the other program still is, by its own token.
    let device = Device::from_seed(41);
    let paired = Connect::to(port).protocols(3, 3).device(&device, SignatureVersion::V2).token(DEVICE_TOKEN);
    let asks = ["operator.read"];
    block_on(async { paired.scopes(&asks).open().await.unwrap().call("health", json!({})).await.unwrap() });
}

#[test]
fn the_folder_of_an_older_generation_is_read_and_ours_is_made_beside_it() {
    let program = Program::new();
    let old = program.state().with_file_name(".clawdbot");
    write(&old, "clawdbot.json", LEGACY);
    FILES.iter().for_each(|(name, text)| write(&old, name, text));
    let before = tree(&old);
    let from = old.display().to_string();
    let ran = program.run(&["security", "migrate", "--from", &from, "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(tree(&old), before, "the source stays as it is");
    assert!(program.state().join("moltbot.json").exists(), "{ran:?}");
    let brought = program.run(&["ledger", "search", "--action", "config.change"]);
    assert!(brought.out.contains("moltbot.json"), "{brought:?}");
    let own = program.state().display().to_string();
    let itself = program.run(&["security", "migrate", "--from", &own]);
    assert!(itself.code == 2 && itself.err.contains("leave it out"), "{itself:?}");
    // What is broken off before the config is there is begun again.
    assert_eq!(program.run(&["security", "migrate", "--rollback"]).code, 0);
    assert!(!program.state().join("moltbot.json").exists());
    assert_eq!(program.run(&["security", "migrate", "--from", &from]).code, 0);
}

#[test]
fn what_an_installation_says_of_files_elsewhere_is_not_followed() {
    let program = whole();
    let outside = program.state().join("../outside.jsonl");
    write(&program.state(), "../outside.jsonl", TRANSCRIPT);
    let sessions = program.state().join("agents/main/sessions");
    std::os::unix::fs::symlink(&outside, sessions.join("linked.jsonl")).unwrap();
    let listed = json!({
        "agent:main:up": {"sessionId": "../../../../outside"},
        "agent:main:linked": {"sessionId": "linked"},
        "agent:nobody at all:x": {"sessionId": "s1"},
    });
    write(&program.state(), "agents/main/sessions/sessions.json", &listed.to_string());
    let ran = program.run(&["security", "migrate"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.out.contains('\u{1b}'), "a terminal would obey it: {ran:?}");
    program.start();
    assert_eq!(report(&program.run(&["sessions", "list", "--json"]))["count"], 0, "{ran:?}");
    for key in ["agent:main:up", "agent:main:linked", "agent:nobody at all:x"] {
        assert!(ran.out.contains(&format!("the conversation {key}")), "{key} is not told of: {}", ran.out);
    }
}

#[test]
fn d_143_what_cannot_be_read_is_not_migrated_and_stays() {
    for text in ["{ not JSON", r#"{"gateway": {"port": "high"}}"#] {
        let program = Program::new();
        program.write_config(text);
        let before = contents(&program.state());
        let ran = program.run(&["security", "migrate"]);
        assert_ne!(ran.code, 0, "{text}: {ran:?}");
        for (path, sum) in before {
            assert_eq!(contents(&program.state()).get(&path), Some(&sum), "{text}: {}", path.display());
        }
    }
    let nowhere = Program::new().run(&["security", "migrate", "--from", "/nowhere/at/all"]);
    assert!(nowhere.code == 78 && nowhere.err.contains("there is no installation"), "{nowhere:?}");
    let source = Program::new();
    source.write_config(r#"{"$include": "other.json5"}"#);
    let from = source.state().display().to_string();
    let refused = Program::new().run(&["security", "migrate", "--from", &from]);
    assert!(refused.code == 78 && refused.err.contains("other"), "{refused:?}");
}
