//! `moltbot config edit`: what a person writes is taken when it is valid, and lost when he says so.

use std::os::unix::fs::PermissionsExt as _;

use crate::program::Program;

const CONFIG: &str = "{\n  // mine\n  gateway: {port: 23461}, // the port\n}\n";

/// A program whose editor is this script, which is given the file as `$1`.
#[expect(clippy::disallowed_methods, reason = "stands in for a person at an editor")]
fn edited_by(program: &Program, script: &str) -> String {
    let path = program.state().join("editor.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

fn program() -> Program {
    let program = Program::new();
    program.write_config(CONFIG);
    program
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what the editor has left")]
fn what_an_editor_makes_of_the_config_is_written_with_its_comments_and_without_keys_around_it() {
    let program = program()
        .with("ANTHROPIC_API_KEY", "sk-ant-not-for-editors")
        .with("MOLTBOT_GATEWAY_TOKEN", "t".repeat(40));
    let editor = edited_by(&program, "env > \"$(dirname \"$2\")/seen\"; sed -i 's/23461/23462/' \"$2\"");
    let program = program.with("TERM", "dumb").with("EDITOR", format!("{editor} --wait"));
    let ran = program.run(&["config", "edit"]);
    assert!(ran.code == 0 && ran.out.contains("gateway.port"), "{ran:?}");
    let config = program.config();
    assert!(config.contains("// mine") && config.contains("port: 23462}, // the port"), "{config}");
    let seen = std::fs::read_to_string(program.state().join("seen")).unwrap();
    assert!(
        seen.contains("TERM=dumb") && !seen.contains("not-for-editors") && !seen.contains("TOKEN"),
        "{seen}"
    );
    assert!(!program.state().join("config-edit.json5").exists());
    let history = program.run(&["config", "history"]);
    assert!(history.out.contains("config edit"), "{history:?}");
}

#[test]
fn what_is_not_valid_is_not_written_and_the_next_edit_goes_on_with_it() {
    let program = program();
    let wrong = edited_by(&program, "sed -i 's/23461/\"many\"/' \"$1\"");
    let before = program.config();
    let ran = Program::command(&program, &["config", "edit"]).env("EDITOR", &wrong).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        ran.status.code() == Some(78) && err.contains("gateway.port") && err.contains("is kept in"),
        "{err}"
    );
    assert_eq!(program.config(), before);
    let right = edited_by(&program, "sed -i 's/\"many\"/23463/' \"$1\"");
    let ran = Program::command(&program, &["config", "edit"]).env("VISUAL", &right).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && err.contains("you go on with it"), "{err}");
    assert!(program.config().contains("port: 23463}, // the port"), "{}", program.config());
}

#[test]
fn an_editor_that_fails_changes_nothing_and_neither_does_one_that_is_overtaken() {
    let program = program();
    let config = program.state().join("moltbot.json").display().to_string();
    for (script, code, said) in [
        ("exit 3".to_owned(), 1, "nothing was changed"),
        ("true".to_owned(), 0, "nothing was changed"),
        ("rm \"$1\"".to_owned(), 1, "has removed the file"),
        (format!("sed -i 's/23461/1/' \"$1\"; sed -i 's/23461/2/' '{config}'"), 75, "somebody else"),
    ] {
        let editor = edited_by(&program, &script);
        let ran = Program::command(&program, &["config", "edit"]).env("EDITOR", editor).output().unwrap();
        let told = [ran.stdout.as_slice(), &ran.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(ran.status.code() == Some(code) && told.contains(said), "{script}: {told}");
        assert!(!program.config().contains("port: 1}"), "{script}");
    }
    let without = program.run(&["config", "edit"]);
    assert!(without.code == 2 && without.err.contains("EDITOR"), "{without:?}");
}
