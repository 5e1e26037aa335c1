//! The backends that somebody has to name, through the real program: each builds the walls when it is named, and none
//! stands in for another.

use std::path::PathBuf;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Circumstances, Gateway, command_in};
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

use super::stage::{
    NOBODY, PROGRAM, Stage, has, marker, none_survives, outside, processes_with, program_for, until, users,
};

const BUBBLEWRAP: &str = "/usr/bin/bwrap";

pub(super) async fn stage(backend: &str, circumstances: Circumstances) -> Stage {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    home.change_config(|config| config["agents"]["defaults"]["sandbox"] = json!({ "backend": backend }));
    let mut program = PathBuf::from(PROGRAM);
    if let Some(user) = circumstances.user {
        home.give_to(user);
        program = program_for(&home);
    }
    let gateway = Gateway::start_in(circumstances, &program, &home);
    let client = gateway.connect().open().await.unwrap();
    Stage { model, home, gateway, client }
}

pub(super) fn as_user(user: Option<u32>) -> Circumstances {
    Circumstances { user, ..Circumstances::default() }
}

/// Whoever runs the tests, when that is an ordinary user, and else `nobody`.
pub(super) fn ordinary() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(NOBODY)
}

pub(super) fn has_bubblewrap(name: &str) -> bool {
    let there = has(BUBBLEWRAP);
    if !there {
        skip(name, "/usr/bin/bwrap is not on this machine");
    }
    there
}

/// What the program says to the user whose gateway it is.
pub(super) fn program_says(home: &Home, user: Option<u32>, arguments: &[&str]) -> String {
    let program = if user.is_some() { program_for(home) } else { PathBuf::from(PROGRAM) };
    let ran = command_in(&as_user(user), program, home, arguments).output().unwrap();
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

fn explained(home: &Home, user: Option<u32>) -> Value {
    serde_json::from_str(&program_says(home, user, &["sandbox", "explain", "--json"])).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bubblewrap_builds_the_walls_when_it_is_named() {
    const NAME: &str = "bubblewrap_builds_the_walls_when_it_is_named";
    if !has_bubblewrap(NAME) {
        return;
    }
    for user in users(NAME) {
        let mut stage = stage("bwrap", as_user(user)).await;
        let seen = stage.output("echo made > file; pwd; id -u; ls -d /home /root /sys 2>/dev/null").await;
        assert_eq!(seen, "/workspace\n1000\n", "as {user:?}");
        assert!(stage.workspace().join("file").exists());
        let book = outside(&stage.home.state_path(), "cat ledger/*");
        assert!(book.contains(r#""sandbox":"bwrap""#), "{book}");
        let status = stage.client.call("status", json!({})).await.unwrap();
        assert_eq!(
            (&status["sandbox"]["state"], &status["sandbox"]["backend"]),
            (&json!("ready"), &json!("bwrap"))
        );
        let told = explained(&stage.home, user);
        assert_eq!((&told["backend"], &told["missing"]), (&json!("bwrap"), &json!([])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_bubblewrap_is_missing_nothing_runs_and_nothing_stands_in_for_it() {
    const NAME: &str = "where_bubblewrap_is_missing_nothing_runs_and_nothing_stands_in_for_it";
    if !rustix::process::geteuid().is_root() {
        return skip(NAME, "only root can hide a program");
    }
    if !has_bubblewrap(NAME) {
        return;
    }
    let hidden = format!("mount --bind /dev/null {BUBBLEWRAP} && exec \"$@\"");
    let wrapper = ["unshare", "-m", "--", "/bin/sh", "-c", &hidden, "sh"].map(str::to_owned).to_vec();
    let mut stage = stage("bwrap", Circumstances { wrapper, ..Circumstances::default() }).await;
    let told = stage.exec("touch marker; echo ran").await;
    assert!(
        told.contains("commands cannot run on this machine") && told.contains("install bubblewrap"),
        "{told}"
    );
    assert!(!told.contains("ran\n") && !stage.workspace().join("marker").exists(), "{told}");
    let status = stage.client.call("status", json!({})).await.unwrap();
    assert_eq!(status["sandbox"]["state"], "unavailable", "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_without_namespaces_when_that_is_named_and_its_missing_walls_are_told() {
    let mut stage = stage("embedded-weak", as_user(ordinary())).await;
    let state = stage.home.state_path();
    let token = stage.gateway.token().to_owned();
    let script = format!(
        "echo made > file; pwd; cat {0}/moltbot.json; ls {0}; chmod 777 {0}; ls /proc; tr '\\0' '\\n' < /proc/$PPID/environ; \
         kill -9 $PPID; kill -9 {1}; true",
        state.display(),
        stage.gateway.pid()
    );
    let said = stage.exec(&script).await;
    assert!(said.contains(&stage.workspace().display().to_string()), "{said}");
    assert!(!said.contains(&token) && !said.contains("ledger"), "{said}");
    assert!(stage.workspace().join("file").exists() && stage.gateway.is_running());
    let mode = rustix::fs::stat(&state).unwrap().st_mode;
    assert_eq!(mode & 0o777, 0o700, "the state folder was opened to others");
    let book = outside(&state, "cat ledger/*");
    assert!(book.contains(r#""sandbox":"embedded-weak""#), "{book}");
    let told = explained(&stage.home, ordinary());
    let doctor = program_says(&stage.home, ordinary(), &["doctor"]);
    assert_eq!(told["backend"], "embedded-weak");
    for wall in ["private root", "process namespace", "network namespace", "held paths"] {
        assert!(told["missing"].to_string().contains(wall), "{told}");
        assert!(doctor.contains(wall), "doctor does not tell of {wall}");
    }
    assert!(doctor.contains("critical: sandbox.backend is \"embedded-weak\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_no_user_namespaces_only_who_is_named_runs_commands() {
    const NAME: &str = "where_there_are_no_user_namespaces_only_who_is_named_runs_commands";
    let used_up = "echo 1 > /proc/sys/user/max_user_namespaces && \
        exec unshare -U --map-user=1000 --map-group=1000 \"$@\"";
    if outside(std::path::Path::new("/"), "unshare -Ur -- unshare -U --map-user=1000 echo yes") != "yes\n" {
        return skip(NAME, "`unshare` cannot make a user namespace here");
    }
    for (backend, runs) in [("bwrap", false), ("embedded", false), ("embedded-weak", true)] {
        let wrapper = ["unshare", "-Ur", "--", "/bin/sh", "-c", used_up, "sh"].map(str::to_owned).to_vec();
        let circumstances = Circumstances { user: ordinary(), wrapper, ..Circumstances::default() };
        let mut stage = stage(backend, circumstances).await;
        let told = stage.exec("touch marker; echo ran").await;
        assert_eq!(told.contains("commands cannot run on this machine"), !runs, "{backend}: {told}");
        assert_eq!(stage.workspace().join("marker").exists(), runs, "{backend}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_a_gateway_that_is_killed_whoever_built_the_walls() {
    const NAME: &str = "nothing_outlives_a_gateway_that_is_killed_whoever_built_the_walls";
    for (number, backend) in ["bwrap", "embedded-weak"].into_iter().enumerate() {
        if backend == "bwrap" && !has_bubblewrap(NAME) {
            continue;
        }
        let mut stage = stage(backend, as_user(ordinary())).await;
        let marker = marker(u32::try_from(91 + number).unwrap());
        let script = format!("(setsid sleep {marker} &) ; (sleep {marker} &) ; sleep {marker}");
        stage.model.push(Reply::tool("exec", &json!({ "command": script })));
        stage.client.send_chat("main", "go").await;
        until("the command runs", || processes_with(&format!("sleep {marker}")).len() >= 3).await;
        stage.gateway.kill9();
        none_survives(&format!("sleep {marker}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_namespaces_there_is_no_proxy() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let sandbox = json!({ "backend": "embedded-weak", "network": "proxy" });
    home.change_config(|config| config["agents"]["defaults"]["sandbox"] = sandbox);
    let mut program = PathBuf::from(PROGRAM);
    if let Some(user) = ordinary() {
        home.give_to(user);
        program = program_for(&home);
    }
    let gateway = Gateway::start_in(as_user(ordinary()), &program, &home);
    let client = gateway.connect().open().await.unwrap();
    let mut stage = Stage { model, home, gateway, client };
    let told = stage.exec("touch marker").await;
    assert!(told.contains("would reach the whole network"), "{told}");
    assert!(!stage.workspace().join("marker").exists());
}
