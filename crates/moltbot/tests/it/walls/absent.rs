//! Where the sandbox cannot start: commands are refused with the reason and the fix, and nothing else is.

use moltbot_testkit::model::Reply;
use moltbot_testkit::process::{Circumstances, command_in};
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

use super::stage::{NOBODY, PROGRAM, Stage, outside, program_for};

/// Circumstances in which no sandbox can be built, and what is then said about it.
fn without_sandbox(name: &str) -> Vec<(Circumstances, &'static str, &'static str)> {
    // Inside, no further user namespace may be made; the first is allowed so that the user is an ordinary one.
    let used_up = "echo 1 > /proc/sys/user/max_user_namespaces && \
        exec unshare -U --map-user=1000 --map-group=1000 \"$@\"";
    // Inside, root is the only user there is.
    let alone = "exec \"$@\"";
    let wrapper =
        |script: &str| ["unshare", "-Ur", "--", "/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    let allowed = outside(std::path::Path::new("/"), "unshare -Ur -- unshare -U --map-user=1000 echo yes");
    if allowed != "yes\n" {
        skip(name, "`unshare` cannot make a user namespace here");
        return Vec::new();
    }
    let root = rustix::process::geteuid().is_root();
    let mut all = Vec::new();
    for user in [None, Some(NOBODY)].into_iter().filter(|user| root || user.is_none()) {
        for (script, reason, fix) in [
            (used_up, "namespaces: No space left on device", "sysctl user.max_user_namespaces="),
            (alone, "no second user", "as an ordinary user"),
        ] {
            let wrapper = wrapper(script);
            all.push((Circumstances { user, wrapper, ..Circumstances::default() }, reason, fix));
        }
    }
    // What containers and hardened service units do to /proc: the kernel then gives nobody inside a fresh one.
    let hidden = "mount --bind /dev/null /proc/kallsyms && exec \"$@\"";
    let sealed = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec \"$@\"";
    if !root {
        skip(name, "a /proc with hidden parts was not tried: only root can hide them");
        return all;
    }
    for (script, fix) in [(hidden, "systempaths=unconfined"), (sealed, "ProtectKernelTunables")] {
        let wrapper = ["unshare", "-m", "--", "/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        all.push((Circumstances { wrapper, ..Circumstances::default() }, "proc: ", fix));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sandbox_commands_are_refused_and_all_else_works() {
    const NAME: &str = "without_a_sandbox_commands_are_refused_and_all_else_works";
    for (circumstances, reason, fix) in without_sandbox(NAME) {
        let case = format!("{circumstances:?}");
        let mut stage = Stage::with(circumstances).await;
        let told = stage.exec("touch /workspace/marker; touch marker; echo ran").await;
        assert!(told.contains("commands cannot run on this machine"), "{case}: {told}");
        assert!(told.contains(reason) && told.contains(fix), "{case}: {told}");
        assert!(!told.contains("ran\n") && !stage.workspace().join("marker").exists(), "{case}: {told}");
        let again = stage.exec("touch marker").await;
        assert!(again.contains(reason) && !stage.workspace().join("marker").exists(), "{case}: {again}");
        // The book names as started what was tried, and not what was refused.
        let book = outside(&stage.home.state_path(), "cat ledger/*");
        let started: Vec<Value> = book
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|record| record["action"] == "command.start" && record["actor"] != "gateway")
            .collect();
        assert_eq!(started, Vec::<Value>::new(), "{case}");
        assert!(book.contains("command.start"), "{case}: the trial is in the book: {book}");
        stage.call("write", json!({"path": "note.txt", "content": "kept"})).await;
        let read = stage.call("read", json!({"path": "note.txt"})).await;
        assert!(read.contains("kept"), "{case}: {read}");
        stage.model.push(Reply::text("still here"));
        assert_eq!(stage.client.chat("other", "hello").await.text, "still here", "{case}");
        for method in ["status", "health"] {
            let said = stage.client.call(method, json!({})).await.unwrap();
            assert_eq!(said["sandbox"]["state"], "unavailable", "{case}: {said}");
            assert!(said["sandbox"].to_string().contains(reason), "{case}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sandbox_doctor_fails_with_the_fix_and_status_says_so() {
    const NAME: &str = "without_a_sandbox_doctor_fails_with_the_fix_and_status_says_so";
    for (circumstances, reason, fix) in without_sandbox(NAME) {
        let case = format!("{circumstances:?}");
        let stage = Stage::with(circumstances.clone()).await;
        let (home, mut gateway) = (stage.home, stage.gateway);
        let program = if circumstances.user.is_some() { program_for(&home) } else { PROGRAM.into() };
        let run = |arguments: &[&str]| {
            let ran = command_in(&circumstances, &program, &home, arguments).output().unwrap();
            let text = String::from_utf8_lossy(&ran.stdout).into_owned();
            (ran.status.code(), text + &String::from_utf8_lossy(&ran.stderr))
        };
        let (code, said) = run(&["status"]);
        assert_eq!(code, Some(0), "{case}: {said}");
        assert!(said.contains("commands are refused") && said.contains(fix), "{case}: {said}");
        for is_running in [true, false] {
            if !is_running {
                gateway.kill9();
            }
            let (code, said) = run(&["doctor"]);
            assert_eq!(code, Some(1), "{case}, gateway running: {is_running}: {said}");
            assert!(said.contains(reason) && said.contains(fix), "{case}: {said}");
            let (_, json) = run(&["doctor", "--json"]);
            let checks: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(checks["ok"], json!(false), "{checks}");
        }
    }
}
