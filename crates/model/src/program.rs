//! The program: from its start to its end.
//!
//! It is started twice. The engine takes its number of threads from the environment and asks for it once, so the first start
//! reads nothing but that number from the packet that waits, and starts the program again, with that environment alone.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::sync::{Arc, mpsc};
use std::thread;

use moltbot_config::limits::LOCAL_MODEL_THREADS;
use serde_json::Value;

use crate::control::{self, Load, Packet};
use crate::failure::{Code, Failure};
use crate::http::House;
use crate::load::{self, Loaded};
use crate::lockdown::lock_down;
use crate::serve::serve;
use crate::work::Queue;

/// Does what `arguments` say, and gives the exit code.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let argument = arguments.next().map(|argument| argument.to_string_lossy().into_owned());
    match (argument.as_deref(), arguments.next()) {
        (Some("--version" | "-V"), None) => say(concat!("moltbot-model ", env!("CARGO_PKG_VERSION"))),
        (Some("--help" | "-h"), None) => say(HELP),
        (argument, None) => start(argument),
        (_, Some(_)) => refuse(),
    }
}

const HELP: &str = "moltbot-model serves one local language model to the moltbot gateway, which starts it.

It takes no arguments: its standard input is a socket of the gateway (Unix, SEQPACKET), over which the model's file and then
connections are handed to it. It verifies the file, locks itself down, and speaks /v1/chat/completions and /v1/models.

Example: moltbot-model --version
Exit codes: 0 the gateway has closed the socket; 1 the model cannot be served, which the gateway is told; 2 wrong use";

fn start(argument: Option<&str>) -> u8 {
    let threads =
        argument.map(|argument| argument.strip_prefix(THREADS).and_then(|count| count.parse().ok()));
    let control = rustix::stdio::stdin();
    match threads {
        Some(None) => return refuse(),
        None | Some(Some(_)) if !control::is_control(control) => return refuse(),
        None | Some(Some(_)) => {}
    }
    if lacks_instructions() {
        return failed(control, &Code::Engine.because(
            "this build of moltbot-model needs a processor with AVX2, and this one has none; install the build for older processors",
        ));
    }
    let ended = match control::peek(control) {
        Ok(None) => return 0,
        Ok(Some(load)) => match threads.flatten() {
            None => Err(again(load.threads)),
            Some(threads) => serve_model(control, threads),
        },
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(()) => 0,
        Err(failure) => failed(control, &failure),
    }
}

/// The argument of the second start.
const THREADS: &str = "--threads=";

/// Starts this program again, with an environment that says how many threads compute. Comes back only when that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "this same program, in this same process, before it has read anything"
)]
fn again(threads: usize) -> Failure {
    let count = threads.to_string();
    let cause = std::process::Command::new("/proc/self/exe")
        .arg(format!("{THREADS}{threads}"))
        .env_clear()
        .env("RAYON_NUM_THREADS", &count)
        .env("CANDLE_NUM_THREADS", &count)
        .exec();
    Code::Engine.explained("this program cannot start itself again; /proc must be there", &cause)
}

/// Serves the model of the packet that waits, until the gateway closes the socket.
fn serve_model(control: BorrowedFd<'static>, threads: usize) -> Result<(), Failure> {
    let lost = |cause: io::Error| Code::Protocol.explained("the control socket failed", &cause);
    let (load, file) = match control::receive(control).map_err(lost)? {
        None => return Ok(()),
        Some(Ok((Packet::Load(load), file))) if load.threads == threads => (load, file),
        Some(Ok(_)) => return Err(Code::Protocol.because("the first packet must be load")),
        Some(Err(failure)) => return Err(failure),
    };
    if candle_core::utils::get_num_threads() != threads {
        return Err(Code::Engine.because(format!(
            "the engine would compute with other than {threads} threads; start the program without arguments"
        )));
    }
    let name = load.name.clone();
    let queue = Arc::new(Queue::default());
    let (ready, gone) = work(load, file, Arc::clone(&queue))?;
    let house = Arc::new(House::new(name, &ready, queue));
    let failed = |cause: io::Error| Code::Engine.explained("connections cannot be served", &cause);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    // A stream to the runtime, which knows no other kind: what is read from it is whole packets.
    let packets = UnixStream::from(control.try_clone_to_owned().map_err(failed)?);
    lock_down()?;
    control::send_ready(control, &ready).map_err(lost)?;
    runtime.block_on(serve(packets, house, gone))
}

/// Loads the model on a thread that then answers what is in `queue`: what is said of the model, and a receiver that fails
/// when the thread has ended.
fn work(
    load: Load,
    file: OwnedFd,
    queue: Arc<Queue>,
) -> Result<(Value, tokio::sync::oneshot::Receiver<()>), Failure> {
    let (tell, told) = mpsc::sync_channel(1);
    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
    let begun = thread::Builder::new().name("model".into()).stack_size(STACK).spawn(move || {
        let alive = alive;
        let loaded = pool(load.threads).and_then(|()| load::load(&load, &file));
        drop(file);
        match loaded {
            Err(failure) => drop(tell.send(Err(failure))),
            Ok(Loaded { speaker, ready }) => {
                if tell.send(Ok(ready)).is_ok() {
                    speaker.serve(&queue)
                }
            }
        }
        drop(alive);
    });
    let failed = |cause: &dyn std::fmt::Display| Code::Engine.explained("the model's thread failed", &cause);
    begun.map_err(|cause| failed(&cause))?;
    let ready = told.recv().map_err(|cause| failed(&cause))??;
    Ok((ready, gone))
}

/// The stack of the thread that reads templates and cuts text: both go as deep as what they read.
const STACK: usize = 16 * 1024 * 1024;

/// Makes this thread and as many others as it takes the ones that compute.
fn pool(threads: usize) -> Result<(), Failure> {
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
    built.map_err(|cause| Code::Engine.explained("the threads that compute cannot be started", &cause))
}

/// Whether this build was made for a processor that this one is not.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
fn lacks_instructions() -> bool {
    // Asked of the processor: the standard library's answer was settled when this was built.
    let basic = std::arch::x86_64::__cpuid(1).ecx;
    let highest = std::arch::x86_64::__cpuid(0).eax;
    let extended = if highest < 7 { 0 } else { std::arch::x86_64::__cpuid_count(7, 0).ebx };
    // FMA, whether the system keeps the registers, F16C; AVX2, BMI2.
    const BASIC: u32 = 1 << 12 | 1 << 27 | 1 << 29;
    const EXTENDED: u32 = 1 << 5 | 1 << 8;
    basic & BASIC != BASIC || extended & EXTENDED != EXTENDED
}

/// Whether this build was made for a processor that this one is not.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
const fn lacks_instructions() -> bool {
    false
}

/// Says on the control socket why there is no model.
fn failed(control: BorrowedFd<'_>, failure: &Failure) -> u8 {
    if control::send_failed(control, failure).is_err() {
        complain(&failure.message);
    }
    1
}

fn refuse() -> u8 {
    complain(&format!(
        "it is started by the moltbot gateway, with a socket as its standard input; for a model set `models` in the gateway's config (its own argument is {THREADS}1 to {LOCAL_MODEL_THREADS})"
    ));
    2
}

fn complain(what: &str) {
    // Who has closed stderr does not want to know.
    drop(writeln!(io::stderr(), "moltbot-model: {what}"));
}

fn say(text: &str) -> u8 {
    u8::from(writeln!(io::stdout(), "{text}").is_err())
}
