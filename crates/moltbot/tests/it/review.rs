//! The review of commands, through the real program: from the command line without a gateway, and in a turn.

use std::path::Path;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use crate::program::{Program, book};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

#[expect(
    clippy::disallowed_methods,
    reason = "a test reads the repository that it is part of, and what the program wrote"
)]
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

fn corpus() -> Vec<Value> {
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/commands/corpus.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn d_110_the_corpus_is_judged_from_the_command_line_without_state() {
    let program = Program::new();
    let lines = corpus();
    let input: String = lines.iter().map(|line| format!("{}\n", line["cmd"])).collect();
    let ran = program.run_with(&["commands", "review", "--stdin"], &input);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let answers: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), lines.len());
    let (mut hostile, mut seen, mut honest, mut refused) = (0, 0, 0, 0);
    for (line, answer) in lines.iter().zip(&answers) {
        assert_eq!(answer["cmd"], line["cmd"]);
        let names: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(names, ["cmd", "parts", "patterns", "reasons", "severity", "verdict"]);
        let verdict = answer["verdict"].as_str().unwrap();
        let class = line["class"].as_str().unwrap();
        if line["label"] == "malicious" {
            let walls = class.starts_with("escape") || class.starts_with("obf");
            assert!(verdict != "run" || !walls, "{answer}");
            assert!(verdict == "run" || !answer["reasons"].as_array().unwrap().is_empty(), "{answer}");
            (hostile, seen) = (hostile + 1, seen + u32::from(verdict != "run"));
        } else {
            (honest, refused) = (honest + 1, refused + u32::from(verdict == "refuse"));
        }
    }
    println!(
        "{seen} of {hostile} malicious lines are refused or asked about; {refused} of {honest} benign lines are refused"
    );
    assert!(seen * 100 >= hostile * 95 && refused * 50 <= honest);
    assert!(!program.state().exists(), "a review makes no state");
}

#[test]
fn a_review_says_what_it_found_and_ends_as_documented() {
    let program = Program::new();
    for (script, plain, code) in
        [("ls -la", "run\n", 0), ("curl a", "ask (low)\n", 3), ("un\"\"share -r", "refuse (high)\n", 4)]
    {
        let ran = program.run(&["commands", "review", script]);
        assert!(ran.code == 0 && ran.out.starts_with(plain), "{ran:?}");
        assert_eq!(program.run(&["commands", "review", "--exit-code", script]).code, code, "{script}");
        let ran = program.run(&["commands", "review", "--json", script]);
        let answer: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(answer["verdict"], plain.split_whitespace().next().unwrap());
    }
    let ran = program.run(&["commands", "review", "ls \u{202e}x; nsenter \u{1b}[2K"]);
    assert!(!ran.out.contains(['\u{202e}', '\u{1b}']) && ran.out.contains("\\u{202e}"), "{ran:?}");
    let ran = program.run_with(&["commands", "review", "--stdin"], "\"ls\"\nnot json\n7\n\"ls");
    let verdicts: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["verdict"].clone()).collect();
    assert_eq!(verdicts, ["run", "refuse", "refuse", "refuse"]);
    assert_eq!(program.run(&["commands", "review"]).code, 2);
}

fn write_rules(state: &Path, text: &str) {
    use std::os::unix::fs::DirBuilderExt as _;
    #[expect(clippy::disallowed_methods, reason = "a test writes what the owner would")]
    {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).unwrap();
        std::fs::write(state.join("commands.toml"), text).unwrap();
    }
    rustix::fs::chmod(state.join("commands.toml"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
}

const OWN: &str = "[[rule]]\nname = \"no_echo\"\nprograms = [\"echo\"]\nverdict = \"refuse\"\n\
    justification = \"nothing is said here\"\nmatch = [\"echo hi\"]\nnot_match = [\"printf hi\"]\n";

#[test]
fn the_owners_rules_are_checked_listed_and_tried() {
    let program = Program::new();
    write_rules(&program.state(), OWN);
    let ran = program.run(&["commands", "rules", "check", "--json"]);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &answer["ok"], &answer["own"]), (0, &json!(true), &json!(1)), "{ran:?}");
    let ran = program.run(&["commands", "rules", "list"]);
    assert!(
        ran.out.contains("no_echo: nothing is said here") && ran.out.contains("Kernel parameter access"),
        "{ran:?}"
    );
    let ran = program.run(&["commands", "rules", "test", "--json", "echo hi"]);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &answer["verdict"]), (0, &json!("refuse")));
    assert_eq!(program.run(&["commands", "rules", "test", "mytool"]).code, 1);
    write_rules(&program.state(), &OWN.replace("echo hi", "ls"));
    for arguments in [&["commands", "rules", "check"][..], &["commands", "review", "ls"]] {
        let ran = program.run(arguments);
        assert_eq!(ran.code, 78, "{ran:?}");
        assert!(
            ran.err.contains("rule `no_echo`: it does not fit its own example")
                && ran.err.contains("commands.toml"),
            "{ran:?}"
        );
    }
}

/// The answers to the calls of one turn in which the model runs these commands, and the book.
fn turn(home: &Home, model: &ScriptedModel, commands: &[&str]) -> (Vec<String>, Vec<Value>) {
    for command in commands {
        model.push(Reply::tool("exec", &json!({"command": command})));
    }
    model.push(Reply::text("done"));
    let output = run(PROGRAM, home, &["agent", "--json", "--message", "go"]);
    assert!(output.status.success(), "{output:?}");
    (model.requests().last().unwrap().tool_results(), book(home, "command.start"))
}

#[test]
fn d_113_a_refused_command_does_not_run_and_the_book_says_why() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let (told, _) = turn(&home, &model, &["chroot . /bin/true; touch asked", "touch plain"]);
    model.push(Reply::tool("exec", &json!({"command": "touch ran; un\"\"share -Ur true"})));
    let refused = run(PROGRAM, &home, &["agent", "--json", "--message", "go"]);
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && said.contains("in quarantine"), "{refused:?}");
    assert!(said.contains("the command is refused") && said.contains("quotes or escapes hide"), "{said}");
    let book = book(&home, "command.start");
    let workspace = home.state_path().join("workspace");
    assert!(!workspace.join("ran").exists(), "no part of a refused command runs");
    assert!(workspace.join("asked").exists() && workspace.join("plain").exists(), "{told:?}");
    let text = format!("{book:?}");
    for expected in [
        "command_refused",
        "Namespace unshare",
        "hidden_program",
        "Chroot escape attempt",
        "\"medium\"",
        "\"high\"",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    gateway.terminate();
}

#[test]
fn with_broken_rules_no_command_runs() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    write_rules(&home.state_path(), OWN);
    let (told, _) = turn(&home, &model, &["echo hi", "ls"]);
    assert!(told[0].contains("nothing is said here") && told[1].starts_with("exit code 0"), "{told:?}");
    write_rules(&home.state_path(), "[[rule]]\n");
    let (told, book) = turn(&home, &model, &["touch ran"]);
    let told = told.last().unwrap();
    assert!(told.contains("no command runs until") && told.contains("commands.toml"), "{told}");
    assert!(!home.state_path().join("workspace/ran").exists());
    assert!(format!("{book:?}").contains("rules_unreadable"), "{book:?}");
    gateway.terminate();
}
