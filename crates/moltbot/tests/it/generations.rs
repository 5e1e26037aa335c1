//! State folders, configs and variables of older generations, through the real binary.

use std::path::Path;
use std::process::{Command, Output};

use moltbot_testkit::home::Home;
use moltbot_testkit::process::command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

/// A command in a home that no variable says anything about.
fn in_home(home: &Home, arguments: &[&str]) -> Command {
    let mut command = command(PROGRAM, home, arguments);
    command.env_remove("MOLTBOT_STATE_DIR");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[expect(clippy::disallowed_methods, reason = "the test plays the person with an editor")]
fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_config_of_each_generation_is_found_read_and_told() {
    for (folder, name) in [
        (".clawdbot", "clawdbot.json"),
        (".moltbot", "moltbot.json"),
        (".moltbot", "clawdbot.json"),
        (".openclaw", "openclaw.json"),
        (".moldbot", "moldbot.json"),
    ] {
        let home = Home::empty().unwrap();
        let path = home.path().join(folder).join(name);
        write(&path, "{gateway: {port: 23456}}");
        let output = in_home(&home, &["config", "get", "gateway.port"]).output().unwrap();
        let said = said(&output);
        assert!(output.status.success() && said.contains("23456"), "{folder}/{name}: {said}");
        assert_eq!(said.contains("an older generation"), folder != ".moltbot", "{folder}/{name}: {said}");
        assert_eq!(
            said.contains(&format!("{name} is read")),
            name != "moltbot.json",
            "{folder}/{name}: {said}"
        );
    }
    // Ours comes first where there are several.
    let home = Home::empty().unwrap();
    for (folder, name, port) in
        [(".clawdbot", "clawdbot.json", 1), (".moltbot", "openclaw.json", 2), (".moltbot", "moltbot.json", 3)]
    {
        write(&home.path().join(folder).join(name), &format!("{{gateway: {{port: {port}}}}}"));
    }
    let output = in_home(&home, &["config", "get", "gateway.port"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "3", "{}", said(&output));
}

#[test]
fn variables_of_older_generations_are_read_with_a_note() {
    for prefix in ["CLAWDBOT", "OPENCLAW", "MOLTBOT"] {
        let home = Home::empty().unwrap();
        write(&home.path().join("elsewhere/moltbot.json"), "{gateway: {port: 23456}}");
        let mut command = in_home(&home, &["config", "path"]);
        let output = command.env(format!("{prefix}_STATE_DIR"), "~/elsewhere").output().unwrap();
        let said = said(&output);
        assert!(said.contains("elsewhere/moltbot.json"), "{prefix}: {said}");
        assert_eq!(
            said.contains(&format!("note: {prefix}_STATE_DIR is read")),
            prefix != "MOLTBOT",
            "{said}"
        );
    }
}

#[test]
fn a_profile_has_a_folder_and_a_config_of_its_own() {
    let home = Home::empty().unwrap();
    let path = |arguments: &[&str]| {
        let output = in_home(&home, arguments).output().unwrap();
        (output.status.code(), said(&output))
    };
    let (code, ours) = path(&["--profile", "work", "config", "path"]);
    assert!(code == Some(0) && ours.trim().ends_with(".moltbot-work/moltbot.json"), "{ours}");
    assert_eq!(path(&["--profile", "work", "config", "set", "gateway.port", "23456"]).0, Some(0));
    assert!(path(&["--profile", "work", "config", "get", "gateway.port"]).1.contains("23456"));
    assert!(!path(&["config", "get", "gateway.port"]).1.contains("23456"), "another folder, another config");
    write(&home.path().join(".clawdbot-old/clawdbot.json"), "{gateway: {port: 34567}}");
    assert!(path(&["--profile", "old", "config", "get", "gateway.port"]).1.contains("34567"));
    for name in ["", "../x", "a/b", ".hidden", "-x", "a b"] {
        let (code, said) = path(&[&format!("--profile={name}"), "config", "path"]);
        assert_eq!(code, Some(2), "{name}: {said}");
    }
    let both = command(PROGRAM, &home, &["--profile", "work", "config", "path"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2), "{}", said(&both));
}

#[expect(clippy::disallowed_methods, reason = "the test plays the person with an editor")]
#[test]
fn keys_of_an_older_generation_are_read_and_written_where_they_belong() {
    let home = Home::empty().unwrap();
    let text = "{\n  // the way in\n  gateway: { token: 'a-token-of-an-older-generation-012345', port: 23456 },\n  // mine\n  agent: { timeoutSeconds: 77 }, // short\n}\n";
    write(&home.path().join(".clawdbot/clawdbot.json"), text);
    let run = |arguments: &[&str]| {
        let output = in_home(&home, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    };
    let file = || std::fs::read_to_string(home.path().join(".clawdbot/clawdbot.json")).unwrap();
    assert!(run(&["config", "get", "agents.defaults.timeoutSeconds"]).contains("77"));
    assert!(run(&["config", "validate"]).contains("agent is read as agents.defaults"));
    let dry = run(&["config", "migrate", "--dry-run"]);
    assert!(
        dry.contains("agent -> agents.defaults") && dry.contains("gateway.token -> gateway.auth.token"),
        "{dry}"
    );
    assert_eq!(file(), text, "nothing is changed");
    run(&["config", "migrate"]);
    let now = file();
    for kept in ["// the way in", "// mine", "// short", "port: 23456"] {
        assert!(now.contains(kept), "{now}");
    }
    assert!(!now.contains("a-token-of-an-older-generation"), "the secret is sealed where it belongs: {now}");
    let token = run(&["secrets", "get", "gateway.auth.token", "--raw"]);
    assert!(token.contains("a-token-of-an-older-generation-012345"), "{token}");
    assert!(run(&["config", "migrate"]).contains("where it belongs"));
    assert!(run(&["config", "history"]).contains("config migrate"));
    run(&["config", "undo"]);
    assert!(run(&["config", "get", "agents.defaults.timeoutSeconds"]).contains("77"));
}
