//! `{ source: "exec" }` through the real binary: real scripts give secrets, and no other program gets to run.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Circumstances, Gateway, command};
use serde_json::{Value, json};

use crate::program::Ran;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const TOKEN: &str = "canary-token-q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o";
const KEY: &str = "sk-canary-key-7Qw2Xv9TzR5mKc";
/// What no program is given, and what is written where nobody may read it.
const OTHER: &str = "canary-other-2Lk6vT4nQ1";

/// An installation whose token and key come from a program in a folder of its own.
struct House {
    home: Home,
    bin: PathBuf,
}

impl House {
    fn new(model: &ScriptedModel) -> Self {
        let home = Home::with_model(model);
        let bin = home.path().join("bin");
        make_folder(&bin);
        home.change_config(|config| {
            config["gateway"]["auth"]["token"] = reference("house/token");
            config["models"]["providers"]["scripted"]["apiKey"] = reference("house/key#value");
        });
        Self { home, bin }
    }

    /// The provider, with what a test says of it.
    fn provide(&self, provider: &Value) {
        self.home.change_config(|config| {
            config["secrets"] = json!({"providers": {"house": provider}});
        });
    }

    /// A script, executable by its owner.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.bin.join(name);
        write(&path, &format!("#!/bin/sh\n{text}\n"));
        chmod(&path, 0o700);
        path
    }

    /// Starts a gateway that must be refused, and gives what it said.
    fn refused(&self, provider: &Value) -> String {
        self.provide(provider);
        let began = Instant::now();
        let ran = Ran::of(&command(PROGRAM, &self.home, &["gateway", "run"]).output().unwrap());
        assert_eq!(ran.code, 78, "{provider}: {ran:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{provider} took {:?}", began.elapsed());
        for canary in [TOKEN, KEY, OTHER] {
            assert!(!format!("{ran:?}").contains(canary), "{provider}: {ran:?}");
            assert_eq!(holders(&self.home.state_path(), canary), Vec::<PathBuf>::new(), "{provider}");
        }
        ran.err
    }

    fn records(&self, action: &str) -> Vec<Value> {
        let found = command(PROGRAM, &self.home, &["ledger", "search", "--action", action, "--json"])
            .output()
            .unwrap();
        let text = String::from_utf8(found.stdout).unwrap();
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        records.into_iter().filter(|record| record["action"] == action).collect()
    }
}

fn reference(id: &str) -> Value {
    json!({"source": "exec", "provider": "house", "id": id})
}

/// A script that answers with the token and the key.
fn answering() -> String {
    let answer = json!({"protocolVersion": 1, "values": {"house/token": TOKEN, "house/key#value": KEY}});
    format!(
        "cat > \"$HOME/asked\"\necho run >> \"$HOME/runs\"\nenv > \"$HOME/env\"\nls -l /proc/$$/fd > \"$HOME/fds\"\necho \"$@\" > \"$HOME/args\"\necho {OTHER} >&2\necho '{answer}'"
    )
}

#[expect(clippy::disallowed_methods, reason = "a test puts a program there, as its owner would")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test reads what a program left")]
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test sets the mode of a program")]
fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test makes the folder of a program")]
fn make_folder(path: &Path) {
    std::fs::create_dir(path).unwrap();
    chmod(path, 0o755);
}

/// The files beneath a folder that have `needle` in them.
#[expect(clippy::disallowed_methods, reason = "the test looks past the vault")]
fn holders(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, needle));
        } else if path.symlink_metadata().unwrap().is_file() {
            // A search of the standard library's: the book's reserve alone has 64 MB.
            let bytes = std::fs::read(&path).unwrap_or_default();
            found.extend(String::from_utf8_lossy(&bytes).contains(needle).then_some(path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_asked_once_for_the_token_and_a_key_and_they_are_nowhere_else() {
    let model = ScriptedModel::queue([Reply::text("done")]);
    let house = House::new(&model);
    let script = house.script("resolver", &answering());
    house.provide(&json!({
        "source": "exec", "command": script, "args": ["--profile", "prod"], "passEnv": ["PATH", "VAULT_ADDR", "NOT_SET"],
    }));
    let environment =
        [("VAULT_ADDR", "http://127.0.0.1:8200"), ("OTHER_SECRET", OTHER), ("PATH", "/tmp/evil:/usr/bin")];
    let gateway = Gateway::start_with(PROGRAM, &house.home, &environment);
    let connect = moltbot_testkit::client::Connect::to(gateway.port()).token(TOKEN);
    let mut client = connect.scopes(&["operator.write", "operator.read"]).open().await.unwrap();
    assert_eq!(client.chat("main", "hello").await.text, "done");
    let requests = model.requests();
    assert!(
        requests.iter().all(|one| one.header("authorization") == Some(&format!("Bearer {KEY}"))),
        "{requests:?}"
    );
    // One run for both, without a shell's, a stranger's or this program's words in it.
    let home = house.home.path();
    assert_eq!(text(&home.join("runs")), "run\n");
    let asked: Value = serde_json::from_str(&text(&home.join("asked"))).unwrap();
    assert_eq!(
        asked,
        json!({"protocolVersion": 1, "provider": "house", "ids": ["house/key#value", "house/token"]})
    );
    assert_eq!(text(&home.join("args")), "--profile prod\n");
    let environment = text(&home.join("env"));
    let mut names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["HOME", "PATH", "VAULT_ADDR"], "{environment}");
    assert!(
        environment.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
        "{environment}"
    );
    // Nothing that this program had open: neither the book nor a lock nor the keys.
    let open = text(&home.join("fds"));
    assert!(open.contains("resolver") && !open.contains(".moltbot"), "{open}");
    // In the book before it ran and after, and the values nowhere.
    let process = PathBuf::from(format!("/proc/{}", gateway.pid()));
    for canary in [TOKEN, KEY, OTHER] {
        assert_eq!(holders(&house.home.state_path(), canary), Vec::<PathBuf>::new());
        assert!(!text(&process.join("cmdline")).contains(canary) && !gateway.printed().contains(canary));
    }
    let (start, end) = (house.records("secret.ask"), house.records("secret.asked"));
    assert_eq!((start.len(), end.len()), (1, 1), "{start:?} {end:?}");
    assert_eq!(start[0]["details"]["ids"], "house/key#value house/token");
    assert_eq!(
        (&start[0]["decision"], &end[0]["details"]["outcome"]),
        (&json!("allowed"), &json!("answered"))
    );
    assert_eq!(end[0]["details"]["start"], start[0]["seq"].to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_alone_runs_programs_and_the_command_line_says_what_to_do() {
    let model = ScriptedModel::queue([]);
    let house = House::new(&model);
    let script = house.script("resolver", &answering());
    house.provide(&json!({"source": "exec", "command": script}));
    for arguments in
        [&["config", "validate"][..], &["config", "get"], &["config", "set", "logging.level", "\"info\""]]
    {
        let ran = Ran::of(&command(PROGRAM, &house.home, arguments).output().unwrap());
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    }
    assert!(!house.home.path().join("runs").exists(), "a command ran it");
    let _gateway = Gateway::start(PROGRAM, &house.home);
    let ran = Ran::of(&command(PROGRAM, &house.home, &["health"]).output().unwrap());
    assert!(ran.code == 78 && ran.err.contains("set MOLTBOT_GATEWAY_TOKEN"), "{ran:?}");
    let ran =
        command(PROGRAM, &house.home, &["health"]).env("MOLTBOT_GATEWAY_TOKEN", TOKEN).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert_eq!(text(&house.home.path().join("runs")), "run\n");
}

#[test]
fn a_program_that_others_could_change_or_lead_astray_is_not_run() {
    let model = ScriptedModel::queue([]);
    let house = House::new(&model);
    let run = |command: &Path| json!({"source": "exec", "command": command});
    let script = house.script("resolver", &answering());
    let refused = |provider: &Value, says: &str| {
        let told = house.refused(provider);
        assert!(
            told.contains(says) && told.contains("gateway.auth.token"),
            "{provider} does not say {says}: {told}"
        );
        assert!(!house.home.path().join("runs").exists(), "{provider} was run");
    };
    refused(&run(Path::new("bin/resolver")), "command is not the absolute path");
    refused(&run(&house.bin.join("../bin/resolver")), "command is not the absolute path");
    refused(&run(&house.bin.join("absent")), "No such file");
    refused(&run(&house.bin), "it is not a file");
    for (mode, says) in [
        (0o720, "others may write it (mode 0720)"),
        (0o702, "others may write it"),
        (0o600, "it is not executable"),
    ] {
        chmod(&script, mode);
        refused(&run(&script), says);
    }
    chmod(&script, 0o700);
    for mode in [0o775, 0o757] {
        chmod(&house.bin, mode);
        refused(&run(&script), "may be written by others");
    }
    chmod(&house.bin, 0o755);
    let link = house.home.path().join("link");
    symlink(&script, &link).unwrap();
    refused(&run(&link), "is a symbolic link");
    let folder = house.home.path().join("folder");
    symlink(&house.bin, &folder).unwrap();
    refused(&run(&folder.join("resolver")), "is a symbolic link");
    refused(
        &json!({"source": "exec", "command": link, "allowSymlinkCommand": true, "trustedDirs": ["/usr"]}),
        "in none of the trustedDirs",
    );
    // A link in a folder that others may write leads where they like.
    let open = house.home.path().join("open");
    make_folder(&open);
    chmod(&open, 0o777);
    symlink(&script, open.join("link")).unwrap();
    refused(
        &json!({"source": "exec", "command": open.join("link"), "allowSymlinkCommand": true}),
        "may be written by others",
    );
    refused(
        &json!({"source": "exec", "command": script, "passEnv": ["LD_PRELOAD"]}),
        "passEnv has \"LD_PRELOAD\"",
    );
    refused(&json!({"source": "exec"}), "command is not the absolute path");
    // Where the owner says so, a link is followed.
    house.provide(
        &json!({"source": "exec", "command": link, "allowSymlinkCommand": true, "trustedDirs": [house.bin]}),
    );
    drop(Gateway::start(PROGRAM, &house.home));
    assert_eq!(text(&house.home.path().join("runs")), "run\n");
}

/// As root everything is permitted, so that only an ordinary owner shows that it works.
#[test]
fn an_ordinary_owner_is_served_too() {
    let model = ScriptedModel::queue([]);
    let house = House::new(&model);
    let script = house.script("resolver", &answering());
    house.provide(&json!({"source": "exec", "command": script}));
    if !rustix::process::geteuid().is_root() {
        // The other tests have shown it.
        return drop(Gateway::start(PROGRAM, &house.home));
    }
    // The program where another user can reach it: the build folder may be in root's home.
    let copy = house.home.path().join("program");
    std::fs::copy(PROGRAM, &copy).unwrap();
    house.home.give_to(4242);
    let circumstances = Circumstances { user: Some(4242), ..Circumstances::default() };
    drop(Gateway::start_in(circumstances, &copy, &house.home));
    assert_eq!(text(&house.home.path().join("runs")), "run\n");
}

#[test]
fn somebody_elses_program_is_not_run() {
    let model = ScriptedModel::queue([]);
    let house = House::new(&model);
    let script = house.script("resolver", &answering());
    if std::os::unix::fs::chown(&script, Some(1), None).is_err() {
        return moltbot_testkit::skip::skip(
            "programs::somebody_elses_program_is_not_run",
            "only root gives files away",
        );
    }
    let told = house.refused(&json!({"source": "exec", "command": script}));
    assert!(told.contains("it belongs to user 1, who is neither root nor the owner"), "{told}");
    std::os::unix::fs::chown(&script, Some(0), None).unwrap();
    std::os::unix::fs::chown(&house.bin, Some(1), None).unwrap();
    let told = house.refused(&json!({"source": "exec", "command": script}));
    assert!(told.contains("belongs to user 1") && !house.home.path().join("runs").exists(), "{told}");
}

#[test]
fn what_is_no_answer_stops_the_start_and_nothing_of_it_is_told() {
    let model = ScriptedModel::queue([]);
    let house = House::new(&model);
    for (name, script, says) in [
        ("text", format!("echo {TOKEN}"), "it is not the JSON of an answer"),
        ("version", "echo '{\"protocolVersion\":9,\"values\":{}}'".into(), "its protocolVersion is not 1"),
        (
            "missing",
            format!("echo '{{\"protocolVersion\":1,\"values\":{{\"house/key#value\":\"{KEY}\"}}}}'"),
            "gave no secret \"house/token\"",
        ),
        (
            "empty",
            "echo '{\"protocolVersion\":1,\"values\":{\"house/token\":\"\",\"house/key#value\":\"x\"}}'"
                .into(),
            "exec:house/token is empty",
        ),
        (
            "error",
            format!(
                "echo '{{\"protocolVersion\":1,\"errors\":{{\"house/token\":{{\"message\":\"{OTHER}\"}}}}}}'"
            ),
            "it reports an error for it",
        ),
        ("fails", format!("echo {OTHER} >&2; echo {TOKEN}; exit 3"), "ended with exit code 3, after"),
        ("killed", "kill -9 $$".into(), "ended with signal 9"),
        ("long", format!("yes {TOKEN} | head -c 5000"), "printed more than 4096 bytes"),
        ("endless", format!("exec yes {TOKEN}"), "printed more than 4096 bytes"),
        ("silent", "exit 0".into(), "it is not the JSON of an answer"),
    ] {
        let command = house.script(name, &script);
        let told = house.refused(&json!({"source": "exec", "command": command, "maxOutputBytes": 4096}));
        assert!(told.contains(says), "{name} does not say {says}: {told}");
    }
    let ends = house.records("secret.asked");
    assert_eq!(ends.len(), house.records("secret.ask").len());
    assert!(
        ends.iter().all(|end| end["details"]["outcome"] != "answered" || end["details"]["exit"] == "0"),
        "{ends:?}"
    );
}

#[test]
fn a_program_that_hangs_or_leaves_processes_is_killed_with_all_of_them() {
    let model = ScriptedModel::queue([]);
    let house = House::new(&model);
    let answer = json!({"protocolVersion": 1, "values": {"house/token": TOKEN, "house/key#value": KEY}});
    for (name, script, says) in [
        (
            "hangs",
            "echo $$ > \"$HOME/pid\"; exec sleep 1000".to_owned(),
            "did not end within 700 ms and was killed",
        ),
        (
            "deaf",
            "trap '' TERM INT HUP; echo $$ > \"$HOME/pid\"; while :; do sleep 0.05; done".into(),
            "was killed",
        ),
        ("child", format!("sleep 1000 & echo $! > \"$HOME/pid\"; echo '{answer}'"), "left processes behind"),
        // Out of its group and session, with a parent that has ended: this process takes it in.
        (
            "daemon",
            format!(
                "setsid sh -c 'setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $! > \"$HOME/pid\"'; echo '{answer}'"
            ),
            "left processes behind",
        ),
        (
            "hangs-daemon",
            "setsid sh -c 'setsid sleep 1000 & echo $! > \"$HOME/pid\"'; exec sleep 1000".into(),
            "was killed",
        ),
    ] {
        let command = house.script(name, &script);
        let told = house.refused(&json!({"source": "exec", "command": command, "timeoutMs": 700}));
        assert!(told.contains(says), "{name} does not say {says}: {told}");
        let pid = text(&house.home.path().join("pid"));
        assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "{name} left {pid}");
    }
}
