//! Of commands that go on without their turn, and of what waits for the agent's next look around.

use std::time::Duration;

use super::COMMANDS;

/// Commands that run in the background at once: half of the places, so that others find one.
pub const PROCESSES: usize = COMMANDS / 2;
/// Those of one conversation.
pub const PROCESSES_OF_SESSION: usize = 4;
/// Commands of the background that have ended and that a conversation can still ask for.
pub const PROCESSES_ENDED: usize = 16;
/// Those of all conversations: each has up to 200 kB in memory.
pub const PROCESSES_ENDED_ALL: usize = 64;
/// How long one call of `process` waits for something new.
pub const PROCESS_POLL: Duration = Duration::from_secs(30);
/// What waits to be told to the agent when it looks around next: a hundred lines are as much as it should be told at once.
pub const SYSTEM_EVENTS: u32 = 100;
/// Those of them that hooks said: the other half is always free for what the owner says.
pub const HOOK_EVENTS: u32 = 50;
/// The longest of them, in bytes: two pages.
pub const SYSTEM_EVENT_BYTES: usize = 4096;
