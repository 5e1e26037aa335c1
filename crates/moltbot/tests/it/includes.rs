//! `$include` through the real binary: files of the config's folder, as private as the config.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

fn said(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let ran = run(PROGRAM, home, arguments);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran.status.code(), said)
}

#[expect(clippy::disallowed_methods, reason = "the test plays the person with an editor")]
#[test]
fn a_gateway_runs_with_settings_of_several_files() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let text = home.config_text().unwrap();
    let state = home.state_path();
    std::fs::create_dir(state.join("parts")).unwrap();
    std::fs::write(state.join("parts/tools.json5"), "{tools: {deny: ['write']}, logging: {level: 'debug'}}")
        .unwrap();
    // As an editor leaves it: open to others.
    std::fs::set_permissions(state.join("parts/tools.json5"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    home.write_config_text(&text.replacen('{', "{ // kept\n\"$include\": \"parts/tools.json5\",", 1));
    let (code, value) = said(&home, &["config", "get"]);
    assert!(code == Some(0) && value.contains("\"write\"") && value.contains("\"debug\""), "{value}");
    let mode = std::fs::metadata(state.join("parts/tools.json5")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what a config includes is as private as itself");
    // What is set here wins over what is included, and the line that includes it stays.
    assert_eq!(said(&home, &["config", "set", "logging.level", "'info'"]).0, Some(0));
    let now = home.config_text().unwrap();
    assert!(now.contains("{ // kept\n\"$include\": \"parts/tools.json5\","), "{now}");
    assert!(said(&home, &["config", "get", "logging.level"]).1.contains("info"));
    // The token is sealed by now: the command line has it, and this test has not.
    let _gateway = Gateway::start(PROGRAM, &home);
    let (code, answer) = said(&home, &["agent", "--message", "hello"]);
    assert!(code == Some(0) && answer.contains(&echo_of("hello")), "{answer}");
}

#[expect(clippy::disallowed_methods, reason = "the test plays the person with an editor")]
#[test]
fn an_error_names_the_file_and_no_link_is_followed() {
    let home = Home::with_model(&ScriptedModel::echo());
    let state = home.state_path();
    let main = |include: &str| {
        home.write_config_text(&format!("{{gateway: {{port: {}}}, $include: '{include}'}}", home.port()));
    };
    std::fs::write(state.join("a.json5"), "{\n  gateway: {\n    prot: 1,\n  },\n}").unwrap();
    main("a.json5");
    let (code, text) = said(&home, &["gateway", "run"]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("gateway.prot (a.json5, line 3, column 5)"), "{text}");
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("b.json5"), "{}").unwrap();
    symlink(elsewhere.path().join("b.json5"), state.join("file.json5")).unwrap();
    symlink(elsewhere.path(), state.join("folder")).unwrap();
    symlink("a.json5", state.join("inside.json5")).unwrap();
    for name in ["file.json5", "folder/b.json5", "inside.json5"] {
        main(name);
        let (code, text) = said(&home, &["gateway", "run"]);
        assert!(code == Some(78) && text.contains("symbolic link"), "{name}: {text}");
    }
    // Two names of one file: whoever has the other one can change it.
    std::fs::write(state.join("c.json5"), "{}").unwrap();
    std::fs::set_permissions(state.join("c.json5"), std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::hard_link(state.join("c.json5"), elsewhere.path().join("c.json5")).unwrap();
    main("c.json5");
    let (code, text) = said(&home, &["gateway", "run"]);
    assert!(code == Some(78) && text.contains("is open to others"), "{text}");
}
