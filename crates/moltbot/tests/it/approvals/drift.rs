//! What changes between the yes and the run, so that the run is refused.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::stage::{ALWAYS, Stage};

/// What is asked about, and what somebody else does to the workspace before the yes.
const CHANGES: [(&str, &str, &str, &str); 8] = [
    ("a script of an interpreter, in place", "bash job.sh", "", "echo touch ran > job.sh"),
    (
        "a script of an interpreter, by another file",
        "bash job.sh",
        "",
        "echo true > other; mv other job.sh; chmod 755 job.sh",
    ),
    ("a script that is gone", "bash job.sh", "", "rm job.sh"),
    ("a program of the workspace, in place", "./job.sh", "", "echo touch ran >> job.sh"),
    (
        "a program of the workspace, by a link",
        "./job.sh",
        "",
        "echo touch ran > evil.sh; chmod 755 evil.sh; ln -sf evil.sh job.sh",
    ),
    ("the folder, by a link", "bash ../job.sh", "sub", "mv sub sub-before; ln -s elsewhere sub"),
    ("the folder, by another one", "ls", "sub", "mv sub sub-before; mkdir sub"),
    ("the folder is gone", "ls", "sub", "rmdir sub"),
];

#[expect(clippy::disallowed_methods, reason = "somebody else changes files meanwhile")]
pub(super) fn outside(workspace: &Path, script: &str) {
    let ended = Command::new("/bin/sh").arg("-ec").arg(script).current_dir(workspace).status().unwrap();
    assert!(ended.success(), "{script}");
}

/// A yes that holds for an hour is for the same walls: other ones are asked about again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e14_a_yes_for_an_hour_is_none_for_other_walls_or_another_command() {
    let mut stage = Stage::new(ALWAYS).await;
    let plain = json!({"command": "echo hour"});
    let asked = stage.ask_with("main", &plain).await;
    assert!(stage.answer(&asked, "allow-session").await.starts_with("exit code 0"));
    assert!(stage.exec(&plain).await.starts_with("exit code 0"), "the very same is not asked about");
    for other in [
        json!({"command": "echo hour", "timeout": 7}),
        json!({"command": "echo  hour"}),
        json!({"command": "A=b echo hour"}),
        json!({"command": "env A=b echo hour"}),
        json!({"command": "echo hour", "directory": "sub"}),
    ] {
        outside(&stage.workspace(), "mkdir -p sub");
        let asked = stage.ask_with("main", &other).await;
        let told = stage.answer(&asked, "deny").await;
        assert!(!told.contains("exit code 0"), "{other}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e14_whatever_is_swapped_between_the_yes_and_the_run_it_is_refused() {
    const FRESH: &str = "rm -rf job.sh evil.sh other ran sub sub-before elsewhere; mkdir sub elsewhere; \
         printf '#!/bin/sh\\ntrue\\n' > job.sh; chmod 755 job.sh";
    let mut stage = Stage::new(ALWAYS).await;
    let workspace = stage.workspace();
    for (what, command, directory, change) in CHANGES {
        outside(&workspace, FRESH);
        let arguments = json!({"command": command, "directory": directory});
        let asked = stage.ask_with("main", &arguments).await;
        outside(&workspace, change);
        let told = stage.answer(&asked, "allow-once").await;
        let refused = told.contains("what was approved has changed since")
            || told.contains("cannot be opened, or a link leads to it");
        assert!(refused, "{what}: {told}");
        assert!(!workspace.join("ran").exists(), "{what}");
    }
    let refused: Vec<Value> = stage.book("command.start");
    assert!(refused.iter().any(|line| line["details"]["code"] == "approval_drift"), "{refused:?}");
    outside(&workspace, FRESH);
    let asked = stage.ask("./job.sh").await;
    let told = stage.answer(&asked, "allow-once").await;
    assert!(told.starts_with("exit code 0"), "what has not changed runs: {told}");
}
