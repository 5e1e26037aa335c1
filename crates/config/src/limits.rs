//! Limits that are not settings: each with the reason for its value.

use std::time::Duration;

mod background;
mod files;
mod local_model;
mod models;

pub use background::*;
pub use files::{
    CONFIG_LOOK, INCLUDE_DEPTH, INCLUDED_FILES, SECRET_FILE_BYTES, SECRET_PROGRAM_BYTES,
    SECRET_PROGRAM_GRACE, SECRET_PROGRAM_IDS, VARIABLES_BYTES,
};
pub use local_model::*;
pub use models::*;

/// How long a container engine may take for one answer.
pub const CONTAINER_ENGINE: Duration = Duration::from_secs(60);
/// How often containers are looked at that may be due to go.
pub const CONTAINER_PRUNE: Duration = Duration::from_secs(300);
/// How long one command that prepares a container may take.
pub const CONTAINER_SETUP: Duration = Duration::from_secs(60);

/// The largest config file, in bytes. The original's largest documented config has 40 kB.
pub const CONFIG_BYTES: u64 = 1024 * 1024;
/// The arguments of such a program together, in bytes: less than the least that systems take.
pub const SECRET_PROGRAM_ARGUMENTS_BYTES: usize = 64 * 1024;
/// How long the processes of such a program may take to die when they are killed.
pub const SECRET_PROGRAM_END: Duration = Duration::from_secs(2);
/// How long a gateway serves before its config counts as one that works: what fails, fails within a minute.
pub const KNOWN_GOOD: Duration = Duration::from_secs(60);
/// The deepest nesting of a config. The schema has 9 levels.
pub const CONFIG_DEPTH: usize = 32;
/// The largest WebSocket message before sign-in, in bytes: a `connect` with every member has 2 kB.
pub const CONNECT_BYTES: usize = 4 * 1024;
/// The largest WebSocket message, in bytes: what upstream servers announce.
pub const MESSAGE_BYTES: usize = 512 * 1024;
/// How much may wait for a client that takes next to nothing, in bytes, before it is dropped. Beside it the kernel holds
/// [`SEND_BUFFER`].
pub const BUFFERED_BYTES: usize = 256 * 1024;
/// What a client for which more than that waits has to take within [`TAKEN`], in bytes: the slowest lines have that.
pub const TAKEN_BYTES: usize = 16 * 1024;
/// The time of [`TAKEN_BYTES`]. The kernel takes more when a third of [`SEND_BUFFER`] is free, not byte by byte.
pub const TAKEN: Duration = Duration::from_secs(10);
/// How much may wait for a client whatever it takes, in bytes, besides the one answer that is being sent.
pub const BUFFERED_MOST: usize = 1536 * 1024;
/// What the kernel is to hold for each connection that has not taken it, in bytes; it adds as much for itself. Left to
/// itself it takes some megabytes for whoever does not read.
pub const SEND_BUFFER: u32 = 128 * 1024;
/// How long a connection may last on which nobody signs in, from its acceptance to its end, whatever its peer does. What is
/// told before then leaves half a second of it to a loaded machine. Upstream clients take less than 1 s.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// The part of [`HANDSHAKE`] in which the peer has to say who it is.
pub const HANDSHAKE_WORDS: Duration = Duration::from_secs(9);
/// How long somebody who did not sign in may take to hear why he has to go. With [`HANDSHAKE_WORDS`] less than [`HANDSHAKE`].
pub const HANDSHAKE_GOODBYE: Duration = Duration::from_millis(500);
/// How long a peer has to send a request head: against slow senders.
pub const HEAD: Duration = Duration::from_secs(5);
/// How long a peer has to set up TLS: a phone on a bad line takes 2 s. With [`HEAD`] no more than [`HANDSHAKE_WORDS`].
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(4);
/// The largest file with the gateway's certificate or its key that is read, in bytes: a long chain has 10 kB.
pub const CERTIFICATE_BYTES: u64 = 256 * 1024;
/// How long a server of this machine may take to answer: it has to look only.
pub const LOCAL_SOCKET: Duration = Duration::from_secs(2);
/// The largest answer of one, in bytes: Tailscale's status without the other machines has 10 kB.
pub const LOCAL_SOCKET_BYTES: usize = 1024 * 1024;
/// Questions to Tailscale at once about who somebody is; more of them count as unanswered.
pub const TAILSCALE_QUESTIONS: usize = 8;
/// Addresses beyond loopback that a gateway's lock tells: machines with more have them for containers.
pub const ADDRESSES_TOLD: usize = 16;
/// The largest request head, in bytes: browsers send 2 kB.
pub const HEAD_BYTES: usize = 8 * 1024;
/// Header lines of one request: browsers send 20.
pub const HEADERS: usize = 64;
/// The largest body of a chat completion, in bytes: upstream's limit.
pub const COMPLETION_BYTES: usize = 1024 * 1024;
/// The time between ticks. Clients close after two that are missing.
pub const TICK: Duration = Duration::from_secs(30);
/// How long a client may give no sign of life, although each tick asks for one.
pub const DEAD: Duration = Duration::from_secs(75);
/// Connections from elsewhere that have not signed in, all together (OpenSSH's `MaxStartups 10:30:100`).
pub const UNAUTHENTICATED_CONNECTIONS: usize = 100;
/// From this many of them on, some that come are turned away by chance, so that nobody can fill all places for sure.
pub const EARLY_DROP_FROM: usize = 10;
/// How many of a hundred are turned away there; it grows evenly to all of them at [`UNAUTHENTICATED_CONNECTIONS`].
pub const EARLY_DROP_PERCENT: usize = 30;
/// Connections of one source that have not signed in. Programs open one or two at a time.
pub const UNAUTHENTICATED_EACH: usize = 4;
/// Connections that have not signed in, of this machine and of proxies that the owner trusts, before the one that has
/// waited longest for its peer makes room: 20 kB each, for as long as a handshake takes.
pub const UNAUTHENTICATED_HERE: usize = 100;
/// What a failed sign-in adds to the penalty of its source. This and the next are OpenSSH's `PerSourcePenalties`.
pub const PENALTY_FAILED: Duration = Duration::from_secs(5);
/// What a connection adds that ends before anybody has tried to sign in.
pub const PENALTY_SILENT: Duration = Duration::from_secs(1);
/// What a connection adds that has not signed in by its deadline.
pub const PENALTY_LATE: Duration = Duration::from_secs(10);
/// What a frame or head adds that no honest client sends.
pub const PENALTY_MALFORMED: Duration = Duration::from_secs(10);
/// What a `Host` or `Origin` adds that is not ours.
pub const PENALTY_FOREIGN: Duration = Duration::from_secs(10);
/// The least penalty that is enforced: one mistake of an honest client is not.
pub const PENALTY_LEAST: Duration = Duration::from_secs(15);
/// The longest penalty.
pub const PENALTY_MOST: Duration = Duration::from_secs(600);
/// An IPv6 network of 48 bits is refused when the penalties of its sources come to this many times [`PENALTY_LEAST`].
pub const PENALTY_SHARE_48: u32 = 8;
/// Penalties that are remembered, of IPv4 addresses and of IPv6 networks each, with about 200 bytes: 2 MB in all.
pub const PENALTIES: usize = 4096;
/// Connections in all: 5 000 idle ones take about 50 MB.
pub const CONNECTIONS: usize = 10_000;
/// Failed sign-ins from one address within [`SIGN_IN_WINDOW`] before it is refused. Five forgives a typo.
pub const FAILED_SIGN_INS: usize = 5;
/// An IPv6 network of 48 bits may fail as often as so many of its 65 536 networks of 64 bits, which are one source each.
/// One customer often has a whole one.
pub const SOURCES_48: usize = 8;
/// The window of [`FAILED_SIGN_INS`], and how long a refusal lasts.
pub const SIGN_IN_WINDOW: Duration = Duration::from_secs(300);
/// Failed guesses that are compared within [`GUESSES_WINDOW`], whoever makes them: a guesser with a thousand addresses
/// is no faster than one with twelve. A password of the weakest that is taken lasts for centuries.
pub const GUESSES_IN_ALL: usize = 60;
/// Failed guesses at one credential within [`GUESSES_WINDOW`].
pub const GUESSES_AT_ONE: usize = 30;
/// The part of both that is set aside for this machine, so that strangers cannot keep its owner out: what its two sources,
/// one direct and one by a proxy or page, may try at most.
pub const GUESSES_HERE: usize = 2 * FAILED_SIGN_INS;
/// The time of [`GUESSES_IN_ALL`] and [`GUESSES_AT_ONE`].
pub const GUESSES_WINDOW: Duration = Duration::from_secs(60);
/// Tries that the throttle remembers, of twice its window, with about 120 bytes each: [`GUESSES_IN_ALL`] a minute are 600,
/// and [`KNOWN_DEVICES`] that all fail 2560; with the fifteen minutes of the strict profiles 1800 and 1536.
pub const THROTTLE_TRIES: usize = 4096;
/// Devices that are known to have signed in, with about 100 bytes each: their tries are counted by themselves.
pub const KNOWN_DEVICES: usize = 256;
/// The largest file that the throttle is kept in, in bytes: all that it may remember, at 160 bytes each.
pub const THROTTLE_BYTES: u64 = 1024 * 1024;
/// Sources whose refusals for too many tries are told apart in the book; those of others are counted together.
pub const LIMITED_SOURCES: usize = 64;
/// Comparisons with a password's hash at once: each takes 19 MiB, and more would let a guesser have the machine.
pub const SLOW_COMPARISONS: usize = 2;
/// Sources and credentials of HTTP requests whose successes share a record for a minute; those of more are recorded one by
/// one.
pub const SHARED_SUCCESSES: usize = 256;
/// How far a device's clock may be off.
pub const SIGNATURE_SKEW: Duration = Duration::from_secs(600);
/// Turns that may wait in one session. More is a client that does not listen.
pub const QUEUED_TURNS: usize = 100;
/// Model calls in one turn: a model that loops is stopped.
pub const TURN_STEPS: u32 = 50;
/// Bytes of tool calls in the report of a turn: what a client takes in one message.
pub const TURN_REPORT_BYTES: u64 = 4 * 1024 * 1024;
/// Tokens that one turn may use in all.
pub const TURN_TOKENS: u64 = 2_000_000;
/// Characters of a message sent to the agent.
pub const MESSAGE_CHARS: usize = 200_000;
/// The longest output of a command that is kept, in bytes; the rest is read and thrown away.
pub const COMMAND_OUTPUT_BYTES: usize = 100_000;
/// The owner's rules for commands, in bytes.
pub const COMMAND_RULES_BYTES: u64 = 1024 * 1024;
/// The longest command, in bytes.
pub const COMMAND_BYTES: usize = 64 * 1024;
/// The largest file that a tool reads or writes, in bytes.
pub const TOOL_FILE_BYTES: u64 = 2 * 1024 * 1024;
/// The longest text of a file that one call of `read` gives to the model, in bytes.
pub const TOOL_READ_BYTES: usize = 100_000;
/// One line or event of a model's stream, in bytes.
pub const MODEL_EVENT_BYTES: usize = 1024 * 1024;
/// A model's whole answer, in bytes.
pub const MODEL_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long to wait for a connection to a provider.
pub const PROVIDER_CONNECT: Duration = Duration::from_secs(10);
/// Connections that one command may have at once through its proxy.
pub const PROXY_CONNECTIONS: usize = 64;
/// How long a command may take for the head of a request to its proxy, or for the first message in a tunnel.
pub const PROXY_HEAD: Duration = Duration::from_secs(10);
/// The most of either, in bytes. A first message with keys for the time after quantum computers has 2 kB.
pub const PROXY_HEAD_BYTES: usize = 32 * 1024;
/// How long a server may take for the head of its answer to a command.
pub const PROXY_ANSWER: Duration = Duration::from_secs(60);
/// How long a provider may be silent: slow local models take a minute to read a long prompt.
pub const PROVIDER_IDLE: Duration = Duration::from_secs(180);
/// Tries of one model call in all, when the provider answers 429 or 5xx.
pub const PROVIDER_TRIES: u32 = 4;
/// How long a stop may wait for running turns.
pub const DRAIN: Duration = Duration::from_secs(30);
/// How long the book may take to write before what waits for it is refused.
pub const RECORD: Duration = Duration::from_secs(2);
/// The longest wait between two tries of a model call, whatever the provider asks for.
pub const PROVIDER_WAIT: Duration = Duration::from_secs(60);
/// The first wait between two tries of a model call; each later one is twice as long.
pub const PROVIDER_BACKOFF: Duration = Duration::from_millis(500);
/// How long an unused connection to a provider is kept: the next step of a turn comes within seconds.
pub const PROVIDER_KEEP: Duration = Duration::from_secs(60);
/// Unused connections kept to one provider.
pub const PROVIDER_KEPT: usize = 2;
/// A provider's error message that is read, in bytes.
pub const PROVIDER_ERROR_BYTES: usize = 64 * 1024;
/// How long a model server on this machine may take to say which models it has.
pub const DISCOVERY: Duration = Duration::from_millis(300);
/// The largest list of models that is read, in bytes: a thousand models take 200 kB.
pub const DISCOVERY_BYTES: usize = 512 * 1024;
/// Connections that wait to be accepted: what a burst of reconnecting clients needs.
pub const BACKLOG: u32 = 1024;
/// How often a free port is drawn again when it is taken on the second address.
pub const FREE_PORT_TRIES: u32 = 16;
/// Tool calls in one answer of a model.
pub const MODEL_TOOL_CALLS: usize = 64;
/// What a lock file may say about its holder, in bytes: a process id, a port and a version have 100.
pub const LOCK_BYTES: u64 = 4096;
/// The longest text of one member of a record in the book, in bytes; the rest is cut off and counted.
pub const LEDGER_TEXT_BYTES: usize = 4096;
/// Details of one record in the book. The longest entry has 4.
pub const LEDGER_DETAILS: usize = 16;
/// Records that may wait for the book: more than there are threads that can wait for it.
pub const LEDGER_WAITING: usize = 4096;
/// How long the book may gather records for one flush under load. A flush of an ordinary disk takes as long.
pub const LEDGER_GATHER: Duration = Duration::from_millis(5);
/// Records of the book in one flush: beyond this a flush costs more by its bytes than by its being one.
pub const LEDGER_BATCH: usize = 256;
/// Bytes of the book in one flush, give or take one record. No more than this can be torn by a power cut.
pub const LEDGER_BATCH_BYTES: usize = 1024 * 1024;
/// The longest line of the book, in bytes: every text of a record at its longest, each character escaped.
pub const LEDGER_LINE_BYTES: usize = 512 * 1024;
/// The size at which a segment of the book ends, in bytes: verified in a fifth of a second at start.
pub const LEDGER_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Frames of one WebSocket message, and control frames before it is whole: clients send one.
pub const FRAGMENTS: usize = 64;
/// Requests of one connection that are being answered at the same time. Clients have a handful.
pub const REQUESTS_IN_FLIGHT: usize = 128;
/// Runs that wait or work, of all sessions: each may hold [`MESSAGE_CHARS`].
pub const RUNS: usize = 1000;
/// Chat completions that are answered at the same time: each holds its answer until the client took it.
pub const COMPLETIONS_IN_FLIGHT: usize = 64;
/// Looks at the gateway over HTTP, of one kind, that are answered at the same time.
pub const VIEWS_IN_FLIGHT: usize = 8;
/// How long a client has to send a request's body: 1 MiB takes a slow line 10 s.
pub const BODY: Duration = Duration::from_secs(30);
/// Calls of hooks that are answered at the same time: each may hold a body of [`crate::settings::HooksConfig`]'s size.
pub const HOOKS_IN_FLIGHT: usize = 16;
/// Calls of hooks whose body is read before it is known who calls, because they are signed: 2 MB at most.
pub const UNVERIFIED_HOOKS: usize = 8;
/// How long a caller of a hook has to send its body.
pub const HOOK_BODY: Duration = Duration::from_secs(10);
/// How far the time of a signed call may be from now: what Slack and Stripe advise. A call is repeated within it alone.
pub const HOOK_REPLAY: Duration = Duration::from_secs(300);
/// The longest text that a template makes, in characters, and what one call may say.
pub const HOOK_CHARS: usize = 100_000;
/// `{{…}}` in one template: the longest preset has 4.
pub const HOOK_PLACEHOLDERS: usize = 64;
/// Mappings of hooks.
pub const HOOK_MAPPINGS: usize = 64;
/// How long a client may take nothing of an HTTP answer. Slow lines take something every second.
pub const UNREAD: Duration = Duration::from_secs(20);
/// How long a closing connection may take to say goodbye.
pub const LINGER: Duration = Duration::from_secs(1);
/// The least time between two chat deltas of one run: each carries the whole text so far.
pub const DELTA_INTERVAL: Duration = Duration::from_millis(150);
/// The longest text so far that chat deltas tell, in bytes; what is longer comes with the end of the run. Each
/// delta costs its whole length, and no model writes 60 000 tokens for somebody who reads along.
pub const DELTA_BYTES: usize = 256 * 1024;
/// The longest that `agent.wait` waits.
pub const AGENT_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Messages of a session that are read at once: what upstream's `chat.history` allows.
pub const HISTORY_MESSAGES: u32 = 1000;
/// Bytes of messages that are read at once: what upstream's `chat.history` answers at most.
pub const HISTORY_BYTES: usize = 6 * 1024 * 1024;
/// Characters of a session's last message in a list: what `sessions.preview` shows when not told otherwise.
pub const PREVIEW_CHARS: usize = 240;
/// Sessions in one list: 1000 rows have about 400 kB.
pub const SESSIONS_LISTED: u32 = 1000;
/// Changes of the state db that share one commit: more would make the first of them wait.
pub const STATE_BATCH: usize = 64;
/// Pages of the state db that one connection remembers, in KiB: the inner pages of a large file fit.
pub const STATE_CACHE_KIB: i64 = 512;
/// The largest state db that is checked as a whole after an unclean stop, in bytes: that takes 0.1 s.
pub const STATE_CHECKED_BYTES: i64 = 32 * 1024 * 1024;
/// Reads of the state db at once: one long history does not keep the others waiting.
pub const STATE_READERS: usize = 2;
/// The largest state db that is written anew while changes wait, after a deletion, in bytes: that takes half a second.
pub const STATE_SCRUBBED_BYTES: i64 = 64 * 1024 * 1024;
/// Words of the state db that are sealed again in one commit, in bytes: the memory that it takes, twice.
pub const STATE_SEALED_BYTES: usize = 1024 * 1024;
/// Changes that wait for the state db; who comes later waits outside. Each holds one message in memory.
pub const STATE_WAITING: usize = 1024;
/// Characters of a session's title: one line of a terminal.
pub const TITLE_CHARS: usize = 80;
/// Conversations of an account that are told of one stop.
pub const CONVERSATIONS_TOLD: usize = 1000;
/// How long a stop waits until what it killed has ended: a second in all, with what it does besides.
pub const STOP: Duration = Duration::from_millis(900);
/// Commands at once: with 2 GiB each, more would be the owner's memory.
pub const COMMANDS: usize = 16;
/// How often the memory of a command's processes is added up. A hog can take about 1 GiB in that time.
pub const MEMORY_WATCH: Duration = Duration::from_millis(200);
/// Bytes that a workspace's disk keeps: a command that takes of the last of them is killed. The gateway's own state may be
/// on the same disk, and what cannot be recorded is not done.
pub const DISK_KEPT: u64 = 256 * 1024 * 1024;
/// How long the kernel may take to end what was killed, and the pipe to run dry: disks can hold a process.
pub const COMMAND_END: Duration = Duration::from_secs(10);
/// Records of the book between two of its signed checkpoints: what a thief of the key could still change unseen.
pub const LEDGER_CHECKPOINT: u64 = 256;
/// How long a record of the book waits for a checkpoint, and a buffered one for the disk.
pub const LEDGER_DIRTY: Duration = Duration::from_secs(1);
/// The time between checkpoints of an idle book: who reads it sees by them that nothing is missing.
pub const LEDGER_HEARTBEAT: Duration = Duration::from_secs(60);
/// How long one signing key of the book is used: who steals it can rewrite no more than this.
pub const LEDGER_EPOCH: Duration = Duration::from_secs(15 * 60);
/// How long a segment of the book may grow.
pub const LEDGER_SEGMENT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long segments of the book are kept: over a year (DISA ASD STIG, APSC-DV-002900).
pub const LEDGER_RETENTION: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Buffered records that may wait for the book: a minute of heavy traffic; more are counted and dropped.
pub const LEDGER_BUFFERED: usize = 10_000;
/// Acts that were done although they could not be recorded and wait for that: stops, of which there are few.
pub const LEDGER_DEFERRED: usize = 64;
/// What the book sets aside for a full disk, in bytes: 100 000 sign-ins of the owner.
pub const LEDGER_RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// No more than one part in this many of the file system is set aside.
pub const LEDGER_RESERVE_PART: u64 = 4;
/// A disk with fewer free bytes than this counts as full. A share would refuse acts on a large disk with room for years.
pub const LEDGER_FULL_BYTES: u64 = 16 * 1024 * 1024;
/// On a small file system it is this part of it.
pub const LEDGER_FULL_PART: u64 = 16;
/// Below this many free bytes a warning is logged.
pub const LEDGER_LOW_BYTES: u64 = 1024 * 1024 * 1024;
/// How long a book refuses at once after a disk that says it has room took nothing: a quota, mostly.
pub const LEDGER_FULL_PAUSE: Duration = Duration::from_secs(1);
/// A clock that goes back by more than this is noted in the book. Time services step by less.
pub const LEDGER_CLOCK_STEP: Duration = Duration::from_secs(2);
/// The largest file that remembers a head of the book, in bytes. It has 500.
pub const LEDGER_HEAD_BYTES: u64 = 16 * 1024;
/// Certificates of signing keys that are read, in bytes: those of a century.
pub const LEDGER_EPOCHS_BYTES: u64 = 1024 * 1024 * 1024;
/// Misfits that a verification of the book tells in full.
pub const LEDGER_PROBLEMS: usize = 64;
/// Records of the book that are read into one answer.
pub const LEDGER_READ: usize = 10_000;
/// The size at which a view of the book is turned over, in bytes: as operators know it.
pub const VIEW_BYTES: u64 = 10 * 1024 * 1024;
/// Old files of a view that are kept: as operators know it.
pub const VIEW_FILES: u32 = 5;
/// Refusals of one source in one minute that a view has a line for; more are counted. The throttle lets five
/// through in five minutes, over each of two ways in.
pub const VIEW_REPEATS: u32 = 10;
/// Refusals in one minute that a view has a line for, whoever they are of: a flood takes more than a day to push the
/// one before it out.
pub const VIEW_REFUSALS: u32 = 60;
/// Sign-ins of one device from one source in one minute that a view has a line for: one a second.
pub const VIEW_SUCCESSES_EACH: u32 = 60;
/// Sign-ins in one minute that a view has a line for.
pub const VIEW_SUCCESSES: u32 = 600;
/// Lines of a view that are read into one answer.
pub const VIEW_READ: usize = 10_000;
/// Paths whose permissions are looked at when a gateway starts. A state folder has a hundred; these take 30 ms.
pub const PERMISSION_PATHS: usize = 20_000;
/// The deepest folder whose permissions are looked at: what moltbot makes is four deep.
pub const PERMISSION_DEPTH: usize = 32;
/// How old a temporary file must be before a start removes it, in milliseconds: no write takes this long.
pub const LEFTOVER_AGE_MS: u64 = 10_000;
/// Versions of the config that are kept for `moltbot config undo`.
pub const CONFIG_VERSIONS: usize = 5;
/// Plaintext backups beside the config that are sealed at once. The original keeps five, and people some by hand.
pub const CONFIG_BACKUPS: usize = 64;
/// How long a server that takes a stream may take nothing before the connection counts as lost.
pub const STREAM_WRITE: Duration = Duration::from_secs(30);
/// How long a server that takes a stream may take to read to its end.
pub const STREAM_END: Duration = Duration::from_secs(10);
/// The largest file with certificates of authorities that is read, in bytes: those of a Debian have 220 kB.
pub const AUTHORITIES_BYTES: u64 = 1024 * 1024;
/// The time between two heads that are sent or kept elsewhere: so much of the end of a book can be cut off unseen.
pub const LEDGER_REMEMBERED: Duration = Duration::from_secs(60);
/// How long new records gather before they are sent elsewhere: those of a turn go together.
pub const LEDGER_SENT_AFTER: Duration = Duration::from_millis(500);
/// Records that are sent elsewhere at once: with as many in memory a collector still takes them in one request.
pub const LEDGER_SENT_RECORDS: usize = 256;
/// Bytes of the book that are sent elsewhere at once, give or take one record.
pub const LEDGER_SENT_BYTES: usize = 256 * 1024;
/// How long one connection that takes records is used: then its end shows that they were read. After a connection that
/// broke, no more than these are sent again.
pub const LEDGER_SENT_EACH: Duration = Duration::from_secs(15 * 60);
/// Records that one connection takes, for the same reason.
pub const LEDGER_SENT_RECORDS_EACH: u64 = 10_000;
/// The first wait before a server that did not take records is tried again; each later one is twice as long.
pub const LEDGER_SENT_BACKOFF: Duration = Duration::from_secs(1);
/// The longest such wait: it is how late a server that is back may hear of it.
pub const LEDGER_SENT_WAIT: Duration = Duration::from_secs(60);
/// How long a collector may take to answer.
pub const LEDGER_SENT_IDLE: Duration = Duration::from_secs(30);
/// What of a collector's answer is read, in bytes.
pub const LEDGER_SENT_ANSWER_BYTES: usize = 64 * 1024;
/// How long a stop may wait for the last records to be sent; the rest is sent after the next start.
pub const LEDGER_SENT_STOP: Duration = Duration::from_secs(3);
/// Commands that wait for the owner's yes at once: more than a person answers within their time.
pub const APPROVALS: usize = 32;
/// Those of one conversation, or of one client: a conversation that asks without end leaves room for the others.
pub const APPROVALS_EACH: usize = 4;
/// Answers that hold for an hour, at once.
pub const APPROVALS_STANDING: usize = 256;
/// Devices that wait for approval at once. Those that wait are never pushed out; more are told to come again.
pub const PENDING_DEVICES: usize = 64;
/// Devices of one source that wait for approval at once: a person has few, and a flood from one place must leave room.
pub const PENDING_DEVICES_EACH: usize = 3;
/// How long a device waits for approval, in milliseconds: as existing clients know it.
pub const PENDING_DEVICE_MS: u64 = 300_000;
/// Devices that are known, approved or revoked: 1 kB each.
pub const PAIRED_DEVICES: usize = 1000;
/// Commands that a node offers: a phone has thirty.
pub const NODE_COMMANDS: usize = 64;
/// Characters of a command's name.
pub const NODE_COMMAND_CHARS: usize = 64;
/// How long a node's command may take when nobody says so, in milliseconds: as existing clients expect.
pub const NODE_INVOKE_MS: u64 = 30_000;
/// The longest that it may take, in milliseconds.
pub const NODE_INVOKE_LONGEST_MS: u64 = 600_000;
/// Commands that nodes have not answered yet: each holds a request of a client.
pub const NODE_INVOKES: usize = 64;
/// Keys of commands that are remembered, so that none is done twice.
pub const NODE_KEYS: usize = 256;
/// What a device says of itself is kept up to this length, in characters.
pub const DEVICE_TEXT_CHARS: usize = 128;
/// The largest file of paired devices that is imported, in bytes.
pub const DEVICES_FILE_BYTES: u64 = 1024 * 1024;
/// How old the time of a device's last sign-in may be before it is written again, in milliseconds.
pub const DEVICE_SEEN_MS: u64 = 60_000;
/// How long Telegram holds a request for updates when there are none: proxies on the way end silent connections after a minute.
pub const TELEGRAM_POLL: Duration = Duration::from_secs(25);
/// How long Telegram may be silent beyond that.
pub const TELEGRAM_IDLE: Duration = Duration::from_secs(15);
/// Updates in one answer of Telegram: few, because what comes after one that cannot be kept is told again.
pub const TELEGRAM_UPDATES: usize = 20;
/// An answer of Telegram, in bytes: so many updates, each as long as Telegram makes one, have half of it.
pub const TELEGRAM_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long to stay away while another program polls with the same token: each of its requests ends ours.
pub const TELEGRAM_CONFLICT: Duration = Duration::from_secs(30);
/// How long to wait for the rest of an album, whose files come as messages of their own.
pub const TELEGRAM_ALBUM: Duration = Duration::from_millis(700);
/// How often we look whether Telegram still posts updates to us.
pub const TELEGRAM_WEBHOOK_LOOK: Duration = Duration::from_secs(300);
/// Updates that are known by their numbers: what Telegram repeats, it repeats soon.
pub const TELEGRAM_SEEN: usize = 1000;
/// Files of one message that are taken: an album of Telegram has ten.
pub const FILES_TAKEN: usize = 10;
/// How long the files of one message may take: what arrives behind it waits.
pub const FILES_WAIT: Duration = Duration::from_secs(30);
/// The largest post of a vendor, in bytes: an update of Telegram has 100 kB at the very most.
pub const WEBHOOK_BYTES: usize = 256 * 1024;
/// Posts of one account that are read at the same time. A vendor sends one or two.
pub const WEBHOOKS_IN_FLIGHT: usize = 4;
/// How long a vendor has to send the body of a post.
pub const WEBHOOK_BODY: Duration = Duration::from_secs(10);
/// Strangers on one account of a channel that have a pairing code at once.
pub const SENDER_CODES: usize = 3;
/// Strangers on one account of a channel that are remembered without a code while no place is free, so that the owner sees
/// them and may approve one by id.
pub const SENDERS_WAITING: usize = 32;
/// Wrong pairing codes for one channel within [`SENDER_GUESSES_MS`]. Five forgives a typo.
pub const SENDER_GUESSES: usize = 5;
/// The time of [`SENDER_GUESSES`], in milliseconds.
pub const SENDER_GUESSES_MS: u64 = 60 * 60 * 1000;
/// Senders that are known, approved or blocked: 300 bytes each.
pub const KNOWN_SENDERS: usize = 1000;
/// Characters of a sender's name that are kept and shown.
pub const SENDER_NAME_CHARS: usize = 64;
/// The largest file of senders that is imported, in bytes.
pub const SENDERS_FILE_BYTES: u64 = 1024 * 1024;
/// Holders of allowances that are told apart in a day, 200 bytes each; whoever comes after them waits for the next day.
pub const ALLOWANCES: usize = 10_000;
/// Senders whose refused messages are told apart in the book within a minute; those of others are counted together.
pub const REFUSED_SENDERS: usize = 64;
/// The first wait before a channel's driver that failed is run again, and a piece that was not sent is sent again; each
/// later one is twice as long.
pub const CHANNEL_BACKOFF: Duration = Duration::from_secs(1);
/// The longest such wait. Networks that are gone for hours are asked twelve times an hour.
pub const CHANNEL_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A driver that ran this long was well: the next wait is a short one again.
pub const CHANNEL_WELL: Duration = Duration::from_secs(60);
/// How long a driver may take to send one piece.
pub const CHANNEL_SEND: Duration = Duration::from_secs(30);
/// How often it is shown that an answer is being written. Vendors show it for five seconds or so.
pub const CHANNEL_WORKING: Duration = Duration::from_secs(4);
/// Answers for one account of a channel that are looked at for the next to be sent.
pub const CHANNEL_WAITING: u32 = 256;
/// Pieces that one answer is cut into at most: more is a model that does not end.
pub const CHANNEL_PIECES: usize = 64;
/// The longest line that an IRC server sends, in bytes: 512, and 8191 of tags before them.
pub const IRC_LINE_BYTES: usize = 8191 + 512;
/// How long the sign-in to an IRC server may take: servers look up names and identities for 30 s.
pub const IRC_SIGN_IN: Duration = Duration::from_secs(60);
/// How long an IRC server may be silent before it is asked for a sign of life, and then before it counts as gone.
pub const IRC_SILENCE: Duration = Duration::from_secs(90);
/// How long an IRC server may take to say what became of a message.
pub const IRC_ANSWER: Duration = Duration::from_secs(20);
/// People in our channels on IRC whose accounts are kept on a network that does not tag each message, about 300 bytes each.
/// Who comes when there are more is not known.
pub const IRC_PEOPLE: usize = 4096;
/// Messages that are sent to an IRC server at once. RFC 2813 (5.8) allows ten seconds' worth.
pub const IRC_BURST: u32 = 5;
/// The pace after that: two seconds for each (RFC 2813, 5.8).
pub const IRC_PACE: Duration = Duration::from_secs(2);
