//! What a config, and what lies around it, must not do to a program that loads it.

use std::path::Path;
use std::process::Stdio;

use moltbot_testkit::home::{Home, free_port};
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, command, run};
use serde_json::{Value, json};

use crate::program::Program;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const CANARY: &str = "canary-7Yt2Qw9Zx4";

fn with_config(text: &str) -> Program {
    let program = Program::new();
    program.write_config(text);
    program
}

#[expect(clippy::disallowed_methods, reason = "a test writes what the program must not read")]
fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn d_120_a_config_that_cannot_be_loaded_ends_every_command_that_reads_it_and_is_no_default() {
    for text in [
        "{gateway: {port: 1",
        "",
        "{gateway: {auth: {token: '${NOT_SET_ANYWHERE}'}}}",
        "{gateway: {port: 'many'}}",
        "{gateway: {port: 70000}}",
        "[]",
    ] {
        let program = with_config(text);
        for arguments in [
            &["agent", "--message", "hi"][..],
            &["allowance", "list"],
            &["chat"],
            &["config", "validate"],
            &["gateway", "run"],
            &["gateway", "status"],
            &["health"],
            &["hooks", "list"],
            &["models", "list"],
            &["senders", "list"],
            &["sessions", "list"],
            &["status"],
            &["up", "--detach", "--port", "0"],
        ] {
            let ran = program.run(arguments);
            assert_eq!(ran.code, 78, "{text:?} {arguments:?}: {ran:?}");
        }
        assert_eq!(program.config(), text, "it stays as it was");
        assert!(!program.state().join("state.db").exists(), "{text:?}: nothing began");
    }
}

/// The values that a setting may have, anywhere in the schema.
fn policies(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                if ["dmPolicy", "groupPolicy", "policy"].contains(&name.as_str()) {
                    found.push(value.to_string());
                }
                policies(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| policies(item, found)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn d_123_nothing_offers_an_open_policy_or_says_how_to_get_one() {
    let program = Program::new();
    let schema: Value = serde_json::from_str(&program.run(&["config", "schema"]).out).unwrap();
    let mut found = Vec::new();
    policies(&schema, &mut found);
    assert!(found.len() >= 4, "{found:?}");
    assert!(found.iter().all(|values| !values.contains("\"open\"")), "{found:?}");
    for channel in ["telegram", "irc", "discord", "slack", "signal", "imessage", "whatsapp", "matrix"] {
        for setting in ["dmPolicy: 'open'", "dm: {policy: 'open'}", "groupPolicy: 'open'", "allowFrom: ['*']"]
        {
            let program = with_config(&format!("{{channels: {{{channel}: {{{setting}}}}}}}"));
            for arguments in [&["config", "validate"][..], &["doctor"], &["gateway", "run"]] {
                let ran = program.run(arguments);
                let said = format!("{}{}", ran.out, ran.err);
                assert_ne!(ran.code, 0, "{channel} {setting} {arguments:?}: {said}");
                for advice in ["allowFrom: [\"*\"]", "includes \"*\"", "add \"*\"", "really need"] {
                    assert!(!said.contains(advice), "{channel} {setting} {arguments:?}: {said}");
                }
            }
        }
    }
}

#[test]
fn d_124_what_overrides_the_config_is_judged_like_it() {
    let program = with_config("{}").with("MOLTBOT_GATEWAY_TOKEN", "short");
    let ran = program.run(&["gateway", "run"]);
    assert_eq!(ran.code, 78, "{ran:?}");
    let program = with_config("{}").with("MOLTBOT_GATEWAY_PASSWORD", "short");
    assert_eq!(program.run(&["gateway", "run"]).code, 78);
    for port in ["70000", "-1", "x"] {
        let program = with_config("{}");
        assert_eq!(program.run(&["gateway", "run", "--port", port]).code, 2, "{port}");
    }
    // An override cannot repair a config that is refused.
    let program = with_config("{channels: {telegram: {dmPolicy: 'open'}}}");
    assert_eq!(program.run(&["gateway", "run", "--port", "0"]).code, 78);
}

#[test]
fn d_126_a_key_that_there_is_not_is_refused_with_the_one_that_is_meant() {
    for (text, told) in [
        ("{gatewy: {}}", "gateway"),
        ("{gateway: {prot: 1}}", "port"),
        ("{gateway: {token: 'x', auth: {token: 'y'}}}", "gateway.auth.token"),
        ("{channels: {telegram: {dmPolcy: 'pairing'}}}", "dmPolicy"),
        ("{allowances: {sendr: {}}}", "sender"),
        ("{hooks: {tokn: 'x'}}", "token"),
    ] {
        let program = with_config(text);
        for arguments in [&["config", "validate"][..], &["gateway", "run"], &["status"]] {
            let ran = program.run(arguments);
            assert_eq!(ran.code, 78, "{text} {arguments:?}: {ran:?}");
            assert!(ran.err.contains(told), "{text} {arguments:?}: {ran:?}");
        }
    }
}

/// What the agent's commands see of variables.
fn environment_seen_by_commands(home: &Home, model: &ScriptedModel) -> String {
    model.push(Reply::tool("exec", &json!({"command": "env"})));
    model.push(Reply::text("done"));
    let ran = run(PROGRAM, home, &["agent", "--message", "look", "--json"]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said} {}", String::from_utf8_lossy(&ran.stderr));
    let answer: Value = serde_json::from_str(&said).unwrap();
    answer["toolCalls"][0]["result"].as_str().unwrap().to_owned()
}

#[test]
fn d_127_f04_variables_in_a_config_load_no_code_and_reach_no_command() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let good = home.config_text().unwrap();
    for name in
        ["LD_PRELOAD", "PATH", "NODE_OPTIONS", "MOLTBOT_GATEWAY_TOKEN", "HTTPS_PROXY", "ld_library_path"]
    {
        home.change_config(|config| config["env"] = json!({"vars": {name: CANARY}}));
        let ran = run(PROGRAM, &home, &["gateway", "run"]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(78), "{name}: {said}");
        assert!(said.contains(name) && !said.contains(CANARY), "{name}: {said}");
        home.write_config_text(&good);
    }
    home.change_config(|config| {
        config["env"] = json!({"vars": {"SOME_NAME": CANARY}, "MODEL_LEVEL": "info"});
        config["logging"] = json!({"level": "${MODEL_LEVEL}"});
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    let seen = environment_seen_by_commands(&home, &model);
    assert!(seen.contains("PATH=") && !seen.contains(CANARY) && !seen.contains("SOME_NAME"), "{seen}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test plays the person with an editor")]
fn the_file_of_variables_is_that_of_the_state_folder_and_private() {
    let program = with_config("{gateway: {bind: '${A_BIND}'}}");
    let file = program.state().join(".env");
    write(&file, "A_BIND=loopback\n");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ran = program.run(&["config", "validate"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // What others could have written is not read, and nothing goes on without it.
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let ran = program.run(&["config", "validate"]);
    assert!(ran.code == 78 && ran.err.contains(".env") && ran.err.contains("chmod"), "{ran:?}");
    for (line, why) in [
        (format!("LD_PRELOAD=/tmp/{CANARY}.so"), "load other code"),
        (format!("MOLTBOT_STATE_DIR=/tmp/{CANARY}"), "own security"),
        (CANARY.to_owned(), "no '='"),
    ] {
        write(&file, &line);
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let ran = program.run(&["config", "validate"]);
        assert!(ran.code == 78 && ran.err.contains("line 1") && ran.err.contains(why), "{line}: {ran:?}");
        assert!(!ran.err.contains(CANARY), "{ran:?}");
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    let ran = program.run(&["config", "validate"]);
    assert!(ran.code == 78 && ran.err.contains("symbolic link"), "{ran:?}");
}

#[test]
fn f01_f02_a_file_of_variables_beside_the_program_or_in_the_workspace_changes_nothing() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let hostile = format!(
        "MOLTBOT_STATE_DIR=/tmp/{CANARY}\nMOLTBOT_GATEWAY_TOKEN={CANARY}\nOPENAI_API_KEY={CANARY}\n\
         OPENAI_BASE_URL=http://{CANARY}\nHTTPS_PROXY=http://{CANARY}:1\nALL_PROXY=http://{CANARY}:1\n\
         SSL_CERT_FILE=/tmp/{CANARY}\nPATH=/tmp/{CANARY}\nSTATE_DIRECTORY=/tmp/{CANARY}\n\
         PYTHONPATH=/tmp/{CANARY}\nXDG_CONFIG_HOME=/tmp/{CANARY}\nLD_PRELOAD=/tmp/{CANARY}\n"
    );
    let here = home.path().join("project");
    write(&here.join("marker"), "");
    let facts = |home: &Home| {
        [
            &["config", "path"][..],
            &["config", "validate"],
            &["models", "status", "--json"],
            &["secrets", "status"],
        ]
        .map(|arguments| {
            let ran = command(PROGRAM, home, arguments).current_dir(&here).output().unwrap();
            String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
        })
    };
    let before = facts(&home);
    for place in [here.join(".env"), home.state_path().join("workspace/.env"), here.join(".moltbot/.env")] {
        write(&place, &hostile);
    }
    assert_eq!(facts(&home), before, "it is the same with and without the files");
    let _gateway = Gateway::start(PROGRAM, &home);
    let seen = environment_seen_by_commands(&home, &model);
    assert!(!seen.contains(CANARY), "{seen}");
    assert_eq!(model.requests().len(), 2, "the model of the config was asked");
}

#[test]
fn f09_a_config_takes_in_nothing_from_elsewhere_and_tells_nothing_of_it() {
    let program = Program::new();
    program.write_config("{}");
    write(&program.state().join("secret.txt"), CANARY);
    std::os::unix::fs::symlink("secret.txt", program.state().join("link.json5")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    write(&elsewhere.path().join("other.json5"), &format!("{{ui: {{a: '{CANARY}'}}}}"));
    std::os::unix::fs::symlink(elsewhere.path(), program.state().join("linked")).unwrap();
    for include in [
        "secret.txt",
        "./link.json5",
        "linked/other.json5",
        "../../../../etc/passwd",
        "/etc/passwd",
        "moltbot.json",
        "missing.json5",
    ] {
        for text in [
            format!("{{$include: '{include}'}}"),
            format!("{{gateway: {{$include: '{include}'}}}}"),
            format!("{{$include: ['{include}', '{include}']}}"),
        ] {
            program.write_config(&text);
            for arguments in [&["config", "validate"][..], &["gateway", "run"], &["doctor"]] {
                let ran = program.run(arguments);
                let said = format!("{}{}", ran.out, ran.err);
                assert_ne!(ran.code, 0, "{text} {arguments:?}");
                assert!(!said.contains(CANARY) && !said.contains("root:"), "{text} {arguments:?}: {said}");
            }
        }
    }
}

#[test]
fn a11_a_gateway_that_cannot_have_its_credential_does_not_listen() {
    for auth in [
        "{mode: 'none'}",
        "{mode: 'password'}",
        "{token: 'short'}",
        "{token: '${NOT_SET_ANYWHERE}'}",
        "{token: 'sealed:v1:aes-256-gcm:hkdf-sha256:AAAA'}",
        "{token: {source: 'file', provider: 'none', id: 'x'}}",
        "{token: {source: 'exec', provider: 'none', id: 'x'}}",
        "{password: 'short'}",
    ] {
        let port = free_port();
        let program = with_config(&format!("{{gateway: {{port: {port}, auth: {auth}}}}}"));
        let mut child = program.command(&["gateway", "run"]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // As long as it runs, nobody is answered.
        let code = loop {
            let connected = connects(port);
            assert!(!connected, "{auth}: it listens");
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
        };
        assert!(code.is_some_and(|code| code != 0), "{auth}: {code:?}");
        assert!(!connects(port), "{auth}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test looks whether somebody listens")]
fn connects(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}
