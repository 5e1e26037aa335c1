//! A full disk, through the real binary on a real small one: nothing is done that cannot be recorded, the owner at this
//! machine still gets in, a stranger uses nothing up, and all goes on when there is room again.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use moltbot_testkit::client::{Client, Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::http;
use moltbot_testkit::skip::skip;
use rustix::fs::statvfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// Of 64 MiB the book counts as full what has less than a sixteenth left, and sets a quarter aside.
const LOW: u64 = 2 * 1024 * 1024;
const ASIDE: u64 = 16 * 1024 * 1024;

/// The state folder on a disk of its own, unmounted when the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Puts the state folder of `home` on 64 MiB; nothing where mounting is not allowed.
    fn under(home: &Home) -> Option<Self> {
        let (at, config) = (home.state_path(), home.config_text().unwrap());
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("none", &at, "tmpfs", flags, c"size=64m,mode=0700").ok()?;
        home.write_config_text(&config);
        Some(Self(at))
    }

    fn free(&self) -> u64 {
        let space = statvfs(&self.0).unwrap();
        space.f_bavail * space.f_frsize
    }

    /// Somebody else's file takes all but `left` bytes.
    #[expect(clippy::disallowed_methods, reason = "somebody else fills the disk")]
    fn fill(&self, left: u64) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for size in [256 * 1024, 4096, 64] {
            let mut written = true;
            while written && self.free() >= left + size {
                written = file.write_all(&vec![1; usize::try_from(size).unwrap()]).is_ok();
            }
        }
        while left == 0 && file.write_all(&[1; 512]).is_ok() {}
    }

    #[expect(clippy::disallowed_methods, reason = "somebody else makes room")]
    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
fn book(home: &Home) -> Vec<Value> {
    let mut paths: Vec<PathBuf> =
        home.state_path().join("ledger").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let segments = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "mlog"));
    let text: String = segments.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(records: &[Value], action: &str, decision: &str) -> usize {
    records.iter().filter(|record| record["action"] == action && record["decision"] == decision).count()
}

async fn owner(gateway: &Gateway) -> Client {
    gateway.connect().device(&Device::from_seed(1), SignatureVersion::V3).open().await.unwrap()
}

async fn require_refused(client: &Client, model: &ScriptedModel) {
    let asked = model.requests().len();
    let send = json!({"sessionKey": "main", "message": "do it", "idempotencyKey": "k1"});
    for method in ["chat.send", "agent"] {
        let refused = client.call(method, send.clone()).await.unwrap_err();
        assert_eq!(refused.details, Some(json!({"code": "not_recorded"})), "{method}: {refused:?}");
        assert!(refused.message.contains("free"), "it says what to do: {refused:?}");
    }
    assert_eq!(model.requests().len(), asked);
}

/// What the owner can do and nobody else, whatever is left of the disk.
async fn require_full(home: &Home, gateway: &Gateway, model: &ScriptedModel) {
    let client = owner(gateway).await;
    let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap().to_string();
    assert!(history.contains("before"), "{history}");
    require_refused(&client, model).await;
    let config = home.config_text().unwrap();
    let changed = run(PROGRAM, home, &["config", "set", "logging.level", "\"debug\""]);
    assert_eq!(changed.status.code(), Some(75), "{changed:?}");
    assert!(String::from_utf8_lossy(&changed.stderr).contains("cannot be recorded"), "{changed:?}");
    assert_eq!(home.config_text().unwrap(), config);
    assert!(run(PROGRAM, home, &["health"]).status.success());
}

/// A home on a small disk, with a gateway that has answered once.
async fn begin(name: &str) -> Option<(ScriptedModel, Home, SmallDisk, Gateway)> {
    let model = ScriptedModel::queue([Reply::text("before")]);
    let home = Home::with_model(&model);
    let Some(disk) = SmallDisk::under(&home) else {
        skip(&format!("full_disk::{name}"), "cannot mount a tmpfs");
        return None;
    };
    let gateway = Gateway::start(PROGRAM, &home);
    assert_eq!(owner(&gateway).await.chat("main", "hello").await.text, "before");
    // The command line's own device key is made by its first call.
    assert!(run(PROGRAM, &home, &["health"]).status.success());
    // All of it: who fills the disk before takes what is to be set aside.
    let aside = || disk.0.join("ledger/reserve").metadata().map_or(0, |file| file.len());
    while aside() < ASIDE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some((model, home, disk, gateway))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_every_act_and_the_owner_gets_in_reads_and_stops() {
    let name = "a_full_disk_refuses_every_act_and_the_owner_gets_in_reads_and_stops";
    let Some((model, home, disk, mut gateway)) = begin(name).await else { return };
    disk.fill(LOW);
    require_full(&home, &gateway, &model).await;
    assert!(disk.0.join("ledger/reserve").exists(), "there is some room still");
    disk.fill(0);
    assert_eq!(disk.free(), 0);
    require_full(&home, &gateway, &model).await;
    // The last page of the book may have room for some more records.
    for _ in 0..32 {
        drop(owner(&gateway).await);
    }
    assert!(!disk.0.join("ledger/reserve").exists(), "it pays for the owner");
    let stopped = run(PROGRAM, &home, &["gateway", "stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(gateway.wait().success(), "{}", gateway.printed());
    let records = book(&home);
    assert_eq!(count(&records, "gateway.stop", "done"), 1, "the stop is recorded");
    assert_eq!(count(&records, "ledger.disk_full", "done"), 1);
    assert_eq!(count(&records, "config.change", "allowed"), 0);

    disk.empty();
    gateway.restart(&home);
    model.push(Reply::text("after"));
    assert_eq!(owner(&gateway).await.chat("main", "again").await.text, "after");
    assert!(run(PROGRAM, &home, &["ledger", "verify"]).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_restart_all_goes_on_when_there_is_room_again() {
    let Some((model, home, disk, gateway)) =
        begin("without_a_restart_all_goes_on_when_there_is_room_again").await
    else {
        return;
    };
    disk.fill(0);
    let mut client = owner(&gateway).await;
    require_refused(&client, &model).await;
    disk.empty();
    // A disk that took nothing is not asked again for a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    model.push(Reply::text("after"));
    assert_eq!(client.chat("main", "again").await.text, "after");
    assert!(count(&book(&home), "ledger.resumed", "done") >= 1);
    assert!(run(PROGRAM, &home, &["config", "set", "logging.level", "\"debug\""]).status.success());
}

/// The turn is under way when the disk fills: its next command does not begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_of_a_turn_that_runs_is_refused() {
    let Some((model, home, disk, gateway)) = begin("a_tool_of_a_turn_that_runs_is_refused").await else {
        return;
    };
    let wait = json!({"command": "touch begun; while [ -e begun ]; do sleep 0.05; done"});
    model.push(Reply::tool("exec", &wait));
    model.push(Reply::tool("exec", &json!({"command": "touch second"})));
    model.push(Reply::text("I could not"));
    let mut client = owner(&gateway).await;
    let turn = client.send_chat("main", "run both").await;
    let workspace = home.state_path().join("workspace");
    while !workspace.join("begun").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    disk.fill(LOW);
    remove(&workspace.join("begun"));
    let ended = client.finish_chat(turn).await;
    assert_eq!(ended.text, "I could not", "{}", ended.end);
    let told = model.requests().last().unwrap().tool_results().join("\n");
    assert!(told.contains("command.start is refused because it cannot be recorded"), "{told}");
    assert!(!workspace.join("second").exists(), "a command ran without a record");
}

#[expect(clippy::disallowed_methods, reason = "what the command waits for")]
fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

/// Not even the reserve is left: the stop is done all the same, and the next start says that it is not in the book.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_cannot_be_recorded_is_done_and_told_by_the_next_start() {
    let Some((_model, home, disk, mut gateway)) =
        begin("a_stop_that_cannot_be_recorded_is_done_and_told_by_the_next_start").await
    else {
        return;
    };
    disk.fill(0);
    while disk.0.join("ledger/reserve").exists() {
        drop(owner(&gateway).await);
    }
    disk.fill(0);
    // What is left of the last page of the book is used up, too.
    while gateway.connect().open().await.is_ok() {
        disk.fill(0);
    }
    assert!(gateway.terminate().success(), "{}", gateway.printed());
    assert_eq!(count(&book(&home), "gateway.stop", "done"), 0, "there was no room for it");
    disk.empty();
    gateway.restart(&home);
    let records = book(&home);
    let start = records.iter().rfind(|record| record["action"] == "ledger.start").unwrap();
    assert_eq!(start["details"]["before"], "not recorded", "{start}");
    assert!(run(PROGRAM, &home, &["ledger", "verify"]).status.success());
    assert!(gateway.terminate().success());
    assert_eq!(count(&book(&home), "gateway.stop", "done"), 1);
}

/// What never served does not stop.
#[test]
#[expect(clippy::disallowed_methods, reason = "somebody else has the port")]
fn a_start_that_fails_records_no_stop() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let taken = std::net::TcpListener::bind(("127.0.0.1", home.port())).unwrap();
    let failed = run(PROGRAM, &home, &["gateway", "run"]);
    assert_eq!(failed.status.code(), Some(75), "{failed:?}");
    let records = book(&home);
    assert_eq!(count(&records, "gateway.listen", "allowed"), 1, "it was about to listen");
    assert_eq!(count(&records, "gateway.stop", "done"), 0);
    assert_eq!(count(&records, "ledger.stop", "done"), 1, "the book itself was closed");
    drop(taken);
    let mut gateway = Gateway::start(PROGRAM, &home);
    assert!(gateway.terminate().success());
    assert_eq!(count(&book(&home), "gateway.stop", "done"), 1);
}

/// Failures, and successes of peers that are not on this machine, are not paid for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_uses_nothing_of_the_reserve_up() {
    let Some((_model, home, disk, gateway)) = begin("a_stranger_uses_nothing_of_the_reserve_up").await else {
        return;
    };
    disk.fill(0);
    while disk.0.join("ledger/reserve").exists() {
        drop(owner(&gateway).await);
    }
    let refused_before = count(&book(&home), "auth.sign_in", "refused");
    let free = disk.free();
    assert!(free > 8 * 1024 * 1024, "what was set aside is there: {free}");
    let bearer = format!("Bearer {}", gateway.token());
    for _ in 0..100 {
        let forwarded = [("authorization", bearer.as_str()), ("x-forwarded-for", "203.0.113.9")];
        let answer = http(gateway.port(), "POST", "/v1/chat/completions", &forwarded, b"{}");
        assert_eq!(answer.status, 503, "from elsewhere, with the token: {}", answer.text());
    }
    for round in 0..100 {
        for _ in 0..3 {
            let wrong = [("authorization", "Bearer wrong-wrong-wrong-wrong-wrong-wrong")];
            let answer = http(gateway.port(), "POST", "/v1/chat/completions", &wrong, b"{}");
            // Later ones are too many for all strangers together.
            assert!(matches!(answer.status, 429 | 503), "{}", answer.text());
        }
        assert!(Connect::to(gateway.port()).token("wrong").open().await.is_err(), "round {round}");
        // Any success forgives what failed from its address, which is the same here.
        drop(owner(&gateway).await);
    }
    let records = book(&home);
    assert_eq!(count(&records, "auth.sign_in", "refused"), refused_before);
    let used = free.saturating_sub(disk.free());
    assert!(used < 1024 * 1024, "{used} bytes are gone: the owner's 100 sign-ins and the log");
    assert!(records.iter().all(|record| record["details"]["locality"] != "remote"));
}
