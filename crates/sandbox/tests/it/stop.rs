//! A stop ends everything at once, whatever the runtime does.

use std::time::{Duration, Instant};

use moltbot_policy::Recorded;
use moltbot_policy::approval::{
    ApprovalId, ApprovalsFile, Approver, Asked, Choice, HostPermit, Overview, Place, Rules, decide,
    judge_on_host,
};
use moltbot_policy::command::{self, CommandRequest};
use moltbot_policy::container::Backend;
use moltbot_sandbox::{Exit, Killed, RunError, Sandbox, Stopper, examine};
use tokio_util::sync::CancellationToken;

use crate::room::{Room, backend, cause, helper, profile, survivors};

/// Sandboxes of [`moltbot_config::limits::COMMANDS`] places each: 50 commands do not fit into one.
const SANDBOXES: usize = 4;
const COMMANDS: usize = 52;

#[test]
fn fifty_busy_commands_are_dead_within_a_second_while_the_runtime_is_held_up() {
    let room = Room::new();
    let stopper = Stopper::default();
    let sandboxes: Vec<Sandbox> = (0..SANDBOXES)
        .map(|_| Sandbox::with_stopper(helper(), room.ledger.clone(), stopper.clone()))
        .collect();
    let marker = format!("{}.77", 2_000_000 + std::process::id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let running: Vec<_> = (0..COMMANDS)
        .map(|number| {
            // Each in a session of its own, deaf to signals; every eighth burns a processor besides.
            let burn = if number % 8 == 0 { "(setsid sh -c 'while :; do :; done' &);" } else { "" };
            let script = format!(
                "trap '' TERM HUP INT; (setsid nohup sleep {marker} >/dev/null 2>&1 &); {burn} sleep {marker}"
            );
            let sandbox = sandboxes[number % SANDBOXES].clone();
            let (permit, folder) = (room.permit(&script, profile()), room.open());
            runtime.spawn(async move { sandbox.run(permit, Some(folder), CancellationToken::new()).await })
        })
        .collect();
    runtime.block_on(async {
        while survivors(&marker).len() < COMMANDS * 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The reports of the last births are there, and are read while the runtime still runs.
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    // From here on nothing drives the runtime.
    let began = Instant::now();
    let killed = stopper.stop().wait(Duration::from_millis(900));
    let took = began.elapsed();
    let left = survivors(&marker);
    println!("{} processes of {COMMANDS} commands: dead after {took:?}", killed.killed);
    // The outer process and the first one; without namespaces there is the keeper alone.
    let is_weak = backend() == Backend::EmbeddedWeak;
    let known = if is_weak { COMMANDS } else { COMMANDS * 2 };
    assert_eq!((killed, left), (Killed { killed: known, left: 0 }, Vec::new()));
    assert!(took < Duration::from_secs(1), "{took:?}");
    for run in running {
        let ended = runtime.block_on(run).unwrap();
        let is_kept = matches!(&ended, Ok(outcome) if is_weak && outcome.exit == Exit::Aborted);
        assert!(is_kept || matches!(ended, Err(RunError::Lost)), "{ended:?}");
    }
}

#[tokio::test]
async fn while_stopped_nothing_starts_and_afterwards_it_does() {
    let room = Room::new();
    let stopper = room.sandbox.stopper();
    assert_eq!(stopper.stop().wait(Duration::ZERO), Killed { killed: 0, left: 0 });
    let refused = room.run_with("touch ran", profile()).await.unwrap_err().to_string();
    assert!(refused.contains("moltbot resume") && !room.workspace().join("ran").exists(), "{refused}");
    stopper.resume();
    room.output("touch ran").await;
    assert!(room.workspace().join("ran").exists());
}

/// The permit for a command outside the walls that the owner said yes to.
fn approved(room: &Room, script: &str) -> Recorded<HostPermit> {
    let request =
        CommandRequest { script: script.into(), directory: String::new(), cause: cause("on-the-host") };
    let command = command::review(request, profile(), command::Rules::built_in().unwrap()).unwrap();
    let overview = Overview::of(command.verdict());
    let folder = room.open();
    let seen =
        examine(std::os::fd::AsFd::as_fd(&folder), "", &overview, Place::Host, &backend(), room.home.path())
            .unwrap();
    let rules = Rules::of(&moltbot_config::Config::default().tools.exec, &ApprovalsFile::default(), "main");
    let question = judge_on_host(command, &seen.facts, &rules).unwrap();
    let asked = Asked { id: ApprovalId::from_random([7; 8]), asked_ms: 1, expires_ms: 2 };
    let sender = moltbot_protocol::sender::SenderId::parse("telegram:default:user:1").unwrap();
    let owner = Approver::Person { sender: &sender, is_owner: true, in_group: false };
    let yes = decide(&question, &asked, Choice::AllowOnce, owner, 1).unwrap();
    moltbot_policy::record(yes.open_on_host(&question, &seen.facts, 1).unwrap(), &room.ledger).unwrap()
}

#[test]
fn a_command_outside_the_walls_is_dead_within_a_second_while_the_runtime_is_held_up() {
    let room = Room::new();
    let marker = format!("{}.79", 2_000_000 + std::process::id());
    room.put(
        "job.sh",
        &format!(
            "trap '' TERM HUP INT\nfor i in 1 2 3; do (setsid nohup sleep {marker} >/dev/null 2>&1 &); done\nsleep {marker}\n"
        ),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sandbox, permit, folder) = (room.sandbox.clone(), approved(&room, "bash job.sh"), room.open());
    let running =
        runtime.spawn(async move { sandbox.run_on_host(permit, folder, CancellationToken::new()).await });
    runtime.block_on(async {
        while survivors(&marker).len() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    // From here on nothing drives the runtime.
    let began = Instant::now();
    let killed = room.sandbox.stopper().stop().wait(Duration::from_millis(900));
    let took = began.elapsed();
    println!("a keeper and four processes: dead after {took:?}");
    assert_eq!((killed, survivors(&marker)), (Killed { killed: 1, left: 0 }, Vec::new()));
    assert!(took < Duration::from_secs(1), "{took:?}");
    let ended = runtime.block_on(running).unwrap().unwrap();
    assert_eq!(ended.exit, Exit::Aborted);
}
