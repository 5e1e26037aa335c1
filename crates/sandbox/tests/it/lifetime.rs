//! Nothing outlives its command, and no command its gateway.

use std::time::{Duration, Instant};

use moltbot_policy::profile::Profile;
use moltbot_sandbox::{Exit, RunError, Step};
use tokio_util::sync::CancellationToken;

use crate::room::{Room, profile, survivors, text};

/// A number of seconds to sleep that no other test uses, so that it can be found among the processes.
pub(crate) fn marker(tag: u32) -> String {
    format!("{}.{tag}", 1_000_000 + std::process::id())
}

/// Starts five processes that go on by themselves.
pub(crate) fn daemons(marker: &str) -> String {
    format!(
        "trap '' TERM HUP INT; for i in 1 2 3; do (setsid nohup sleep {marker} >/dev/null 2>&1 &) ; done; \
         (sleep {marker} & sleep {marker} &) ; echo ready; "
    )
}

#[tokio::test]
async fn a_timeout_leaves_no_survivor() {
    let room = Room::new();
    let marker = marker(1);
    let profile = Profile { timeout: Duration::from_millis(700), ..profile() };
    let outcome = room.run_with(&format!("{} sleep {marker}", daemons(&marker)), profile).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::TimedOut, "ready\n"));
    assert!(outcome.duration < Duration::from_secs(3), "{:?}", outcome.duration);
    assert_eq!(survivors(&marker), Vec::<String>::new());
}

#[tokio::test]
async fn an_abort_leaves_no_survivor_and_takes_less_than_a_second() {
    let room = Room::new();
    let marker = marker(2);
    let permit = room.permit(&format!("{} sleep {marker}", daemons(&marker)), profile());
    let abort = CancellationToken::new();
    let run = room.sandbox.run(permit, Some(room.open()), abort.clone());
    let aborted = async {
        while survivors(&marker).len() < 5 {
            tokio::task::yield_now().await;
        }
        abort.cancel();
        Instant::now()
    };
    let (outcome, at) = tokio::join!(run, aborted);
    assert!(at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
    assert_eq!(outcome.unwrap().exit, Exit::Aborted);
    assert_eq!(survivors(&marker), Vec::<String>::new());
}

#[tokio::test]
async fn a_command_that_was_aborted_before_it_began_does_not_run() {
    let room = Room::new();
    let abort = CancellationToken::new();
    abort.cancel();
    let permit = room.permit("touch ran", profile());
    let outcome = room.sandbox.run(permit, Some(room.open()), abort).await.unwrap();
    assert_eq!((outcome.exit, room.workspace().join("ran").exists()), (Exit::Aborted, false));
}

#[tokio::test]
async fn what_the_shell_leaves_behind_dies_with_it() {
    let room = Room::new();
    let marker = marker(3);
    let outcome = room.run(&daemons(&marker)).await;
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), "ready\n"));
    assert_eq!(survivors(&marker), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_call_kills_its_command() {
    let room = Room::new();
    let marker = marker(4);
    {
        let permit = room.permit(&format!("{} sleep {marker}", daemons(&marker)), profile());
        let run = room.sandbox.run(permit, Some(room.open()), CancellationToken::new());
        let seen = async {
            while survivors(&marker).len() < 5 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = run => panic!("it ended"),
            () = seen => {},
        }
    }
    let began = Instant::now();
    while !survivors(&marker).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", survivors(&marker));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_signal_and_a_code_are_told_apart() {
    let room = Room::new();
    assert_eq!(room.run("kill -9 $$").await.exit, Exit::Signal(9));
    assert_eq!(room.run("exit 137").await.exit, Exit::Code(137));
    assert_eq!(room.run("no-such-program").await.exit, Exit::Code(127));
}

#[tokio::test]
async fn a_step_that_fails_names_itself_and_runs_nothing() {
    let room = Room::new();
    let request = moltbot_policy::command::CommandRequest {
        script: "touch /workspace/ran".into(),
        directory: "no/such".into(),
        cause: super::room::cause("r"),
    };
    let permit = super::room::judged(request, profile());
    let permit = moltbot_policy::record(permit, &room.ledger).unwrap();
    let failure = room.sandbox.run(permit, Some(room.open()), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(failure, RunError::Setup { step: Step::Directory, .. }), "{failure}");
    assert!(!room.workspace().join("ran").exists());
}

#[tokio::test]
async fn a_helper_that_is_not_there_is_a_failed_start() {
    let room = Room::new();
    let sandbox = moltbot_sandbox::Sandbox::with_helper("/nonexistent/helper".into(), room.ledger.clone());
    let failure =
        sandbox.run(room.permit("true", profile()), None, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(failure, RunError::Setup { step: Step::Start, .. }), "{failure}");
    let sandbox = moltbot_sandbox::Sandbox::with_helper("/bin/true".into(), room.ledger.clone());
    let failure =
        sandbox.run(room.permit("true", profile()), None, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(failure, RunError::Setup { step: Step::Start, .. }), "{failure}");
    assert!(sandbox.posture().await.unwrap_err().to_string().starts_with("no command can run here: start:"));
}

/// Started again by [`the_gateway_is_killed`]; on its own it does nothing but run a short command.
#[tokio::test]
async fn a_gateway_to_be_killed() {
    #[expect(clippy::disallowed_methods, reason = "set by the test below")]
    let marker = std::env::var(MARKER).unwrap_or_else(|_| "0".into());
    let room = Room::new();
    room.run(&format!("{} sleep {marker}", daemons(&marker))).await;
}

const MARKER: &str = "MOLTBOT_TEST_MARKER";

#[tokio::test]
async fn no_command_survives_a_gateway_that_is_killed() {
    let marker = marker(5);
    #[expect(clippy::disallowed_methods, reason = "the test runs itself as the gateway that is killed")]
    let mut gateway = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifetime::a_gateway_to_be_killed"])
        .env(MARKER, &marker)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while survivors(&format!("sleep {marker}")).len() < 6 {
        assert!(began.elapsed() < Duration::from_secs(30), "the gateway did not start its command");
        tokio::task::yield_now().await;
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let began = Instant::now();
    while !survivors(&marker).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", survivors(&marker));
        tokio::task::yield_now().await;
    }
}
