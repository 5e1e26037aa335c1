//! A stop ends everything at once, whatever the runtime does.

use std::time::{Duration, Instant};

use moltbot_sandbox::{Killed, RunError, Sandbox, Stopper};
use tokio_util::sync::CancellationToken;

use crate::room::{Room, helper, profile, survivors};

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
    assert_eq!((killed, left), (Killed { killed: COMMANDS * 2, left: 0 }, Vec::new()));
    assert!(took < Duration::from_secs(1), "{took:?}");
    for run in running {
        let ended = runtime.block_on(run).unwrap();
        assert!(matches!(ended, Err(RunError::Lost)), "{ended:?}");
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
