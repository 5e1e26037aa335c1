//! Nothing in a container outlives its command, and the container itself stays warm.

use std::time::{Duration, Instant};

use moltbot_policy::profile::Profile;
use moltbot_sandbox::Exit;
use tokio_util::sync::CancellationToken;

use super::berth::Berth;
use crate::lifetime::marker;
use crate::room::{survivors, text};

/// Starts five processes that go on by themselves. There is no `nohup` in busybox.
fn daemons(marker: &str) -> String {
    crate::lifetime::daemons(marker).replace("nohup ", "")
}

/// Waits until the command has started all it starts, and gives up after a while.
async fn all_run(marker: &str) {
    let began = Instant::now();
    while survivors(&format!("sleep {marker}")).len() < 6 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the command did not start: {:?}",
            survivors(marker)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_in_a_container_and_the_next_one_in_the_same() {
    let Some(berth) = Berth::new("a_command_runs_in_a_container_and_the_next_one_in_the_same") else {
        return;
    };
    assert_eq!(berth.output("echo hello; echo world >&2").await, "hello\nworld\n");
    let first = berth.id();
    assert_eq!(berth.output("touch /workspace/made; ls /workspace").await, "made\n");
    assert_eq!(berth.id(), first, "a warm container");
    assert!(berth.room.workspace().join("made").exists(), "the workspace is the host's");
    assert_eq!(berth.run("exit 7").await.exit, Exit::Code(7));
    assert_eq!(berth.run("kill -9 $$").await.exit, Exit::Signal(9));
    assert_eq!(berth.run("no-such-program").await.exit, Exit::Code(127));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_in_a_container_leaves_no_survivor_and_the_container_warm() {
    let Some(berth) = Berth::new("a_timeout_in_a_container_leaves_no_survivor_and_the_container_warm") else {
        return;
    };
    berth.output("true").await;
    let (id, marker) = (berth.id(), marker(31));
    let profile = Profile { timeout: Duration::from_millis(1500), ..berth.profile() };
    let script = format!("{} sleep {marker}", daemons(&marker));
    let outcome = berth.room.run_with(&script, profile).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::TimedOut, "ready\n"));
    assert!(outcome.duration < Duration::from_secs(5), "{:?}", outcome.duration);
    assert_eq!(survivors(&marker), Vec::<String>::new());
    assert_eq!(berth.output("echo on").await, "on\n");
    assert_eq!(berth.id(), id, "only the command was ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_in_a_container_leaves_no_survivor() {
    let Some(berth) = Berth::new("an_abort_in_a_container_leaves_no_survivor") else { return };
    let marker = marker(32);
    let permit = berth.room.permit(&format!("{} sleep {marker}", daemons(&marker)), berth.profile());
    let abort = CancellationToken::new();
    let run = berth.room.sandbox.run(permit, Some(berth.room.open()), abort.clone());
    let aborted = async {
        all_run(&marker).await;
        abort.cancel();
        Instant::now()
    };
    let (outcome, at) = tokio::join!(run, aborted);
    assert!(at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
    assert_eq!(outcome.unwrap().exit, Exit::Aborted);
    assert_eq!(survivors(&marker), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_leaves_behind_in_a_container_dies_with_it() {
    let Some(berth) = Berth::new("what_a_command_leaves_behind_in_a_container_dies_with_it") else { return };
    let marker = marker(33);
    let outcome = berth.run(&daemons(&marker)).await;
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), "ready\n"));
    assert_eq!(survivors(&marker), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_commands_in_one_container_do_not_end_each_other() {
    let Some(berth) = Berth::new("two_commands_in_one_container_do_not_end_each_other") else { return };
    berth.output("true").await;
    let short = Profile { timeout: Duration::from_millis(700), ..berth.profile() };
    let attack = "for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p != $$ ] && kill -9 $p 2>/dev/null && echo killed; done; \
        kill -9 -1 2>/dev/null; sleep 60";
    let (one, two) = tokio::join!(
        berth.room.run_with("sleep 2; echo whole", berth.profile()),
        berth.room.run_with(attack, short)
    );
    assert_eq!(text(&one.unwrap()), "whole\n");
    assert!(!text(&two.unwrap()).contains("killed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_in_a_container_stops_at_its_limit_and_ends_with_its_command() {
    let Some(mut berth) =
        Berth::new("a_fork_bomb_in_a_container_stops_at_its_limit_and_ends_with_its_command")
    else {
        return;
    };
    berth.docker.pids_limit = 40;
    let marker = marker(34);
    let profile = Profile { timeout: Duration::from_secs(2), ..berth.profile() };
    let script = format!(
        "bomb() {{ (setsid sleep {marker} &) ; bomb | bomb & }}; bomb 2>/dev/null; sleep 1; set -- /proc/[0-9]*; echo $#; wait"
    );
    let outcome = berth.room.run_with(&script, profile).await.unwrap();
    let seen = text(&outcome);
    let most = seen.lines().filter_map(|line| line.trim().parse::<u32>().ok()).max().unwrap_or(0);
    assert!(most <= 41, "{most} processes");
    assert_eq!(survivors(&marker), Vec::<String>::new());
    assert_eq!(berth.output("echo on").await, "on\n", "the container lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_a_container_is_capped_and_the_rest_is_counted() {
    let Some(berth) = Berth::new("output_of_a_container_is_capped_and_the_rest_is_counted") else { return };
    let profile = Profile { output_bytes: 100_000, ..berth.profile() };
    let outcome = berth.room.run_with("head -c 20000000 /dev/zero; echo end >&2", profile).await.unwrap();
    assert_eq!((outcome.exit, outcome.output.len(), outcome.truncated), (Exit::Code(0), 100_000, true));
    assert_eq!(outcome.dropped_bytes, 20_000_004 - 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_what_runs_in_a_container_and_lets_nothing_begin() {
    let Some(berth) = Berth::new("a_stop_ends_what_runs_in_a_container_and_lets_nothing_begin") else {
        return;
    };
    let marker = marker(36);
    let stopper = berth.room.sandbox.stopper();
    let permit = berth.room.permit(&format!("{} sleep {marker}", daemons(&marker)), berth.profile());
    let run = berth.room.sandbox.run(permit, Some(berth.room.open()), CancellationToken::new());
    let stopped = async {
        all_run(&marker).await;
        let began = Instant::now();
        let killed = stopper.stop().wait(Duration::from_secs(1));
        (killed.left, survivors(&marker), began.elapsed())
    };
    let (outcome, (left, alive, took)) = tokio::join!(run, stopped);
    assert_eq!((left, alive), (0, Vec::new()));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(outcome.unwrap().exit, Exit::Aborted);
    let refused = berth.room.run_with("touch ran", berth.profile()).await;
    assert!(refused.is_err() || refused.is_ok_and(|outcome| outcome.exit == Exit::Aborted));
    assert!(!berth.room.workspace().join("ran").exists(), "it began while everything was stopped");
    stopper.resume();
    assert_eq!(berth.output("echo on").await, "on\n");
}

/// Started again by [`no_command_in_a_container_survives_a_gateway_that_is_killed`]; on its own it does little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_a_container_to_be_killed() {
    #[expect(clippy::disallowed_methods, reason = "set by the test below")]
    let Ok(marker) = std::env::var(MARKER) else { return };
    let berth = Berth::new("a_gateway_with_a_container_to_be_killed").unwrap();
    let profile = Profile { timeout: Duration::from_secs(120), ..berth.profile() };
    let script = format!("{} sleep {marker}", daemons(&marker));
    berth.room.run_with(&script, profile).await.unwrap();
}

const MARKER: &str = "MOLTBOT_TEST_MARKER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_in_a_container_survives_a_gateway_that_is_killed() {
    let Some(berth) = Berth::new("no_command_in_a_container_survives_a_gateway_that_is_killed") else {
        return;
    };
    let marker = marker(35);
    #[expect(clippy::disallowed_methods, reason = "the test runs itself as the gateway that is killed")]
    let mut gateway = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "docker::lifetime::a_gateway_with_a_container_to_be_killed"])
        .env(MARKER, &marker)
        .env("MOLTBOT_TEST_ENGINE", berth.engine.socket())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let prefix = format!("t{}-", gateway.id());
    all_run(&marker).await;
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let began = Instant::now();
    while !survivors(&marker).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", survivors(&marker));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = berth.engine.ask(&["ps", "--filter", &format!("name={prefix}"), "--format", "{{.Names}}"]);
    assert!(!left.is_empty(), "its container waits for the next gateway");
    berth.engine.ask(&["rm", "--force", "--volumes", &left]);
}
