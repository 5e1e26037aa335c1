//! What this machine does without moltbot: the measure of how fast it is, taken in the same run and in turns with what
//! it is compared with, so that a busy moment falls on both.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::Outcome;
use crate::gateway::proc_text;

/// The argument by which this program does the work of [`first_start`] in a process of its own.
pub(crate) const FIRST_START: &str = "--first-start";
/// How many files it makes: those of a gateway's first start, each flushed, and its folder as well.
const FILES: u32 = 22;
/// How much it puts in order, so that half of its time is its own and not the kernel's.
const ENTRIES: u32 = 30_000;

/// What any program does that starts for the first time and keeps what it has: files in a new folder, each safe from a power cut, and
/// some work in memory. The kernel's part of it depends on the machine as that of the gateway's start does: on its disk, its file system,
/// and on who else uses the processor.
#[expect(clippy::disallowed_methods, reason = "what the program's start is compared with")]
pub(crate) fn first_start(folder: &Path) -> Outcome<()> {
    let place = std::fs::File::open(folder)?;
    for number in 0..FILES {
        let (draft, path) = (folder.join("draft"), folder.join(number.to_string()));
        let mut file = std::fs::File::create_new(&draft)?;
        file.write_all(&[b'x'; 1024])?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        place.sync_all()?;
    }
    let entry = |number: u32| (number.wrapping_mul(2_654_435_761).to_string(), number);
    std::hint::black_box((0..ENTRIES).map(entry).collect::<BTreeMap<_, _>>());
    Ok(())
}

/// Has that done in `folder`: its processor time, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "what the program's start is compared with")]
pub(crate) fn first_start_cpu(folder: &Path) -> Outcome<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    cpu_of(command.arg(FIRST_START).arg(folder).env_clear().stdin(Stdio::null()).spawn()?)
}

/// Waits for the end of a process: its processor time, in milliseconds.
fn cpu_of(mut child: Child) -> Outcome<f64> {
    let pid = Pid::from_raw(i32::try_from(child.id())?).ok_or("a child without a number")?;
    // Not reaped yet, so that its counters can still be read.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let counters = proc_text(format!("/proc/{}/schedstat", child.id()).as_ref())?;
    if !child.wait()?.success() {
        return Err("what the program is compared with has failed".into());
    }
    Ok(counters.split_whitespace().next().unwrap_or("0").parse::<f64>()? / 1e6)
}

/// A file beside the homes of the measured gateways.
pub(crate) struct PlainFile(std::fs::File);

impl PlainFile {
    pub(crate) fn open() -> Outcome<Self> {
        Ok(Self(tempfile::tempfile()?))
    }

    /// Writes 4 KiB to its end and flushes them to the disk, so many times: in milliseconds.
    pub(crate) fn flushes(&mut self, times: u32) -> Outcome<f64> {
        let began = Instant::now();
        for _ in 0..times {
            self.0.write_all(&[b'x'; 4096])?;
            self.0.sync_data()?;
        }
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    }
}

/// Bytes of one request and of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) ask: usize,
    pub(crate) answer: usize,
}

/// A server on loopback, on a thread of its own, that answers so many bytes with so many and looks at none.
pub(crate) struct Echo {
    port: u16,
    sizes: Sizes,
}

impl Echo {
    /// Starts it; it ends with this program.
    #[expect(clippy::disallowed_methods, reason = "what the gateway is compared with")]
    pub(crate) fn start(sizes: Sizes) -> Outcome<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    // A client that goes away ends its task, which is what is wanted.
                    tokio::spawn(async move { drop(answer(stream, sizes).await) });
                }
                #[expect(unreachable_code, reason = "names the type of the errors above")]
                Ok::<(), std::io::Error>(())
            })
        });
        Ok(Self { port, sizes })
    }

    /// Answers per second with as many connections, each with `window` requests under way.
    #[expect(clippy::disallowed_methods, reason = "a client of the reference, on loopback")]
    pub(crate) async fn rate(&self, connections: u32, times: u32, window: usize) -> Outcome<f64> {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let each = usize::try_from(times)?;
        let began = Instant::now();
        let all = streams.iter_mut().map(|stream| ask(stream, self.sizes, each, window));
        futures_util::future::try_join_all(all).await?;
        Ok(f64::from(connections) * f64::from(times) / began.elapsed().as_secs_f64())
    }
}

async fn answer(mut stream: TcpStream, sizes: Sizes) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut waiting = 0;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => waiting += read,
        }
        stream.write_all(&vec![b'x'; waiting / sizes.ask * sizes.answer]).await?;
        waiting %= sizes.ask;
    }
}

/// The same windows as [`Wire::many`](crate::wire::Wire::many).
async fn ask(stream: &mut TcpStream, sizes: Sizes, times: usize, window: usize) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let (mut sent, mut received) = (0, 0);
    while received < times * sizes.answer {
        let more = (window + received / sizes.answer - sent).min(times - sent);
        stream.write_all(&vec![b'x'; more * sizes.ask]).await?;
        sent += more;
        let enough = (received + sizes.answer).max((sent - (window / 2).min(sent)) * sizes.answer);
        while received < enough.min(sent * sizes.answer) {
            match stream.read(&mut buffer).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => received += read,
            }
        }
    }
    Ok(())
}
