//! Commands outside the sandbox: each after a yes, as it was approved, and nothing of it left.

mod race;

use std::path::Path;

use moltbot_testkit::process::run;
use serde_json::{Value, json};

use super::drift::outside;
use super::stage::{PROGRAM, Stage};

/// The agent may ask for commands outside the sandbox, and nothing else is asked about.
const ELEVATED: fn(&mut Value) = |config| {
    config["tools"]["elevated"]["enabled"] = json!(true);
    config["tools"]["exec"]["ask"] = json!("off");
};

fn on_host(command: &str) -> Value {
    json!({"command": command, "host": "gateway"})
}

/// Whether a process of this machine has these words in its arguments.
fn lives(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| {
        #[expect(clippy::disallowed_methods, reason = "the list of processes")]
        std::fs::read(entry.path().join("cmdline")).ok()
    });
    lines.any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(marker))
}

async fn until(what: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !what() {
        assert!(std::time::Instant::now() < deadline, "it did not come to pass");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_73_a_command_outside_the_sandbox_is_asked_about_each_time_and_recorded_before_and_after() {
    let mut stage = Stage::new(ELEVATED).await;
    let made = stage.home.path().join("made-on-the-host");
    let command = format!("touch {}", made.display());
    for decision in ["deny", "allow-once", "deny"] {
        let asked = stage.ask_with("main", &on_host(&command)).await;
        assert_eq!(asked["request"]["host"], "gateway");
        assert_eq!(asked["decisions"], json!(["allow-once", "deny"]), "no yes for longer: {asked}");
        let prompt = asked["prompt"].as_str().unwrap();
        assert!(prompt.contains("ON THIS MACHINE, outside the sandbox"), "{prompt}");
        let told = stage.answer(&asked, decision).await;
        assert_eq!(told.starts_with("exit code 0"), decision == "allow-once", "{told}");
        assert_eq!(made.exists(), decision == "allow-once", "{decision}");
        outside(stage.home.path(), "rm -f made-on-the-host");
    }
    let records = stage.book("command");
    let of = |action: &str, decision: &str| {
        let wanted = |line: &&Value| {
            line["action"] == action && line["decision"] == decision && line["target"] == command.as_str()
        };
        records.iter().filter(wanted).collect::<Vec<_>>()
    };
    let (started, ended) = (of("command.start", "allowed"), of("command.end", "done"));
    assert_eq!((started.len(), ended.len()), (1, 1), "{records:?}");
    for line in [started[0], ended[0]] {
        assert_eq!(line["details"]["elevated"], "true", "{line}");
        assert_eq!(line["details"]["sandbox"], "none", "{line}");
        assert!(
            line["details"]["approval"].is_string() && line["details"]["approvedBy"].is_string(),
            "{line}"
        );
    }
    assert_eq!(of("command.start", "refused").len(), 2, "{records:?}");
    assert!(stage.gateway.terminate().success());
    let log = stage.home.state_path().join("logs/command-audit.jsonl");
    #[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
    let log = String::from_utf8(std::fs::read(log).unwrap()).unwrap();
    let line = log.lines().find(|line| line.contains("\"elevated\":true")).unwrap();
    assert!(line.contains("\"sandbox\":false") && line.contains("approvalId"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e19_another_session_and_a_command_that_is_no_simple_one_stay_in_the_sandbox() {
    let mut stage = Stage::new(ELEVATED).await;
    outside(&stage.workspace(), "echo 'touch ran' > job.sh; ln -s job.sh link.sh");
    stage.begin("agent:main:other", &on_host("touch ran")).await;
    let told = stage.end().await;
    assert!(told.contains("run in the sandbox alone"), "{told}");
    for (command, says) in [
        ("touch ran; id", "one simple command"),
        ("touch $HOME/ran", "one simple command"),
        ("echo `touch ran`", "one simple command"),
        ("echo x > ran", "one simple command"),
        ("touch ra?", "one simple command"),
        ("A=b touch ran", "one simple command"),
        ("sh -c 'touch ran'", "an interpreter runs a script file"),
        ("bash -x job.sh", "an interpreter runs a script file"),
        ("bash link.sh", "an interpreter runs a script file"),
        ("python3 -c 'open(1)'", "an interpreter runs a script file"),
        ("env touch ran", "starts another one"),
        ("nohup touch ran", "starts another one"),
        ("find . -exec touch ran +", "starts another one"),
        ("no-such-program ran", "there is none of that name"),
        ("job.sh", "there is none of that name"),
    ] {
        let told = stage.exec(&on_host(command)).await;
        assert!(told.contains(says), "{command}: {told}");
    }
    assert!(!stage.workspace().join("ran").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_outside_the_sandbox_gets_three_variables_its_words_and_its_folder() {
    let mut stage = Stage::new(ELEVATED).await;
    outside(&stage.workspace(), "mkdir sub; printf 'pwd; echo \"$1|$2\"' > sub/job.sh");
    let asked = stage.ask_with("main", &on_host("printenv")).await;
    let told = stage.answer(&asked, "allow-once").await;
    let (_, given) = told.split_once("\n\n").unwrap();
    let mut names: Vec<&str> =
        given.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH"], "{told}");
    assert!(given.contains(&format!("HOME={}\n", stage.home.path().display())), "{told}");
    let arguments =
        json!({"command": "bash job.sh 'a b; $(id)' \"'*\"", "directory": "sub", "host": "gateway"});
    let asked = stage.ask_with("main", &arguments).await;
    let told = stage.answer(&asked, "allow-once").await;
    let expected = format!("exit code 0\n\n{}\na b; $(id)|'*\n", stage.workspace().join("sub").display());
    assert_eq!(told, expected);
    let asked = stage.ask_with("main", &on_host("seq 1000000")).await;
    let told = stage.answer(&asked, "allow-once").await;
    assert!(told.contains("bytes are left out") && told.len() < 110_000, "{told:.200}");
    let asked = stage.ask_with("main", &on_host("ls /no/such")).await;
    assert!(stage.answer(&asked, "allow-once").await.starts_with("exit code 2"));
}

/// What is asked about, and what somebody else does before the yes. The program is the test's own, beside the workspace.
const CHANGES: [(&str, &str, &str); 7] = [
    ("the script file, in place", "bash job.sh", "echo touch ran > job.sh"),
    ("the script file, by another one", "bash job.sh", "echo true > other; mv other job.sh"),
    ("the script file, by a link", "bash job.sh", "echo touch ran > evil.sh; ln -sf evil.sh job.sh"),
    ("the program, in place", "{home}/tool ran", "cat /usr/bin/touch > {home}/tool"),
    (
        "the program, by another one",
        "{home}/tool ran",
        "cp /usr/bin/touch {home}/new; mv {home}/new {home}/tool",
    ),
    ("the program, by a link", "{home}/tool ran", "ln -sf /usr/bin/touch {home}/tool"),
    ("the folder", "{home}/tool ran", "mv sub before; ln -s elsewhere sub"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e14_whatever_is_swapped_before_a_run_outside_the_sandbox_it_is_refused() {
    let mut stage = Stage::new(ELEVATED).await;
    let (workspace, home) = (stage.workspace(), stage.home.path().display().to_string());
    for (what, command, change) in CHANGES {
        let fresh = "rm -rf job.sh evil.sh ran sub before elsewhere {home}/tool; mkdir sub elsewhere; cp /usr/bin/echo {home}/tool; \
             echo true > job.sh; echo true > sub/job.sh";
        outside(&workspace, &fresh.replace("{home}", &home));
        let directory = if what == "the folder" { "sub" } else { "" };
        let command = command.replace("{home}", &home);
        let arguments = json!({"command": command, "directory": directory, "host": "gateway"});
        let asked = stage.ask_with("main", &arguments).await;
        outside(&workspace, &change.replace("{home}", &home));
        let told = stage.answer(&asked, "allow-once").await;
        let refused = told.contains("has changed since") || told.contains("a link leads to it");
        assert!(refused, "{what}: {told}");
        for place in ["ran", "sub/ran", "elsewhere/ran"] {
            assert!(!workspace.join(place).exists(), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_command_outside_the_sandbox_is_left() {
    let mut stage = Stage::new(ELEVATED).await;
    let marker = |number: u32| format!("{}{number}", std::process::id());
    let script = format!(
        "setsid sleep 7{0} & (setsid sh -c 'sleep 7{0} & sleep 7{0}' &) & trap '' TERM HUP; echo started",
        marker(1)
    );
    outside(&stage.workspace(), &format!("cat > job.sh <<'E'\n{script}\nE"));
    let asked = stage.ask_with("main", &on_host("bash job.sh")).await;
    let told = stage.answer(&asked, "allow-once").await;
    assert!(told.contains("started"), "{told}");
    assert!(!lives(&format!("sleep 7{}", marker(1))), "it is over, and so is all that came of it");

    let asked = stage
        .ask_with(
            "main",
            &json!({"command": format!("sleep 8{}", marker(2)), "host": "gateway", "timeout": 1}),
        )
        .await;
    let told = stage.answer(&asked, "allow-once").await;
    assert!(told.starts_with("killed: it was still running after"), "{told}");
    assert!(!lives(&format!("sleep 8{}", marker(2))));

    let sleeping = format!("sleep 9{}", marker(3));
    let asked = stage.ask_with("main", &on_host(&sleeping)).await;
    stage.resolve(&asked, "allow-once").await.unwrap();
    until(|| lives(&sleeping)).await;
    stage.client.call("chat.abort", json!({"sessionKey": "main"})).await.unwrap();
    until(|| !lives(&sleeping)).await;
    stage.heard_end().await;

    let asked = stage.ask_with("main", &on_host(&sleeping)).await;
    stage.resolve(&asked, "allow-once").await.unwrap();
    until(|| lives(&sleeping)).await;
    stage.gateway.kill9();
    until(|| !lives(&sleeping)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_the_main_session_run_on_the_host_when_the_owner_says_so_and_are_asked_about() {
    let mut stage = Stage::new(|config| config["tools"]["exec"]["host"] = json!("gateway")).await;
    let asked = stage.ask("ls /proc/self/fd").await;
    assert_eq!(asked["request"]["host"], "gateway");
    assert!(stage.answer(&asked, "allow-once").await.starts_with("exit code 0"));
    let told = stage.exec(&json!({"command": "echo $HOME", "host": "sandbox"})).await;
    assert_eq!(told, "exit code 0\n\n/tmp\n", "the sandbox is still there");
    stage.begin("agent:main:other", &json!({"command": "echo $HOME"})).await;
    assert_eq!(stage.end().await, "exit code 0\n\n/tmp\n", "other sessions stay in it");
    let denied = r#"{"version":1,"defaults":{"security":"deny"}}"#;
    write(&stage.home.state_path().join("exec-approvals.json"), denied);
    assert!(stage.exec(&json!({"command": "ls"})).await.contains("no command may run"));
    let doctor = run(PROGRAM, &stage.home, &["doctor"]);
    assert!(!String::from_utf8_lossy(&doctor.stdout).contains("tools.exec.host"), "it is served");
}

#[expect(clippy::disallowed_methods, reason = "the owner writes it by hand")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
