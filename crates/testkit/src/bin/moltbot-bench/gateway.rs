//! A gateway process of our own, and what it costs to start one.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;

use crate::Outcome;
use crate::reference;
use crate::wire::Wire;
use moltbot_testkit::figure::{Figure, Limit, Reference, median};

/// A running gateway in a home of its own. Killed by its own process id when dropped.
pub(crate) struct Gateway {
    child: Child,
    /// Removed with it, or with who took it.
    home: Option<Home>,
    pub(crate) port: u16,
    pub(crate) token: String,
}

/// What a gateway without a config is given: the token that it draws for itself is sealed.
const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";

impl Gateway {
    /// Starts the binary in `home` and returns at once.
    #[expect(clippy::disallowed_methods, reason = "measuring means starting the real program")]
    pub(crate) fn spawn(binary: &Path, home: Home) -> Outcome<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let token = home.token().unwrap_or_else(|| TOKEN.into());
        let child = Command::new(binary)
            .args(["gateway", "run", "--port", &port.to_string()])
            .env_clear()
            .env("HOME", home.path())
            .env("MOLTBOT_STATE_DIR", home.state_path())
            .env("PATH", "/usr/bin:/bin")
            .env("MOLTBOT_GATEWAY_TOKEN", &token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, home: Some(home), port, token })
    }

    /// Waits for the first `hello-ok`.
    pub(crate) async fn hello(&self) -> Outcome<Wire> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(wire) = Wire::connect(self.port, &self.token).await {
                return Ok(wire);
            }
            if Instant::now() > deadline {
                return Err("the gateway did not answer within 20 s".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Processor time of all its threads so far, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> Outcome<f64> {
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = proc_text(&task?.path().join("schedstat"))?;
            nanoseconds += text.split_whitespace().next().unwrap_or("0").parse::<f64>()?;
        }
        Ok(nanoseconds / 1e6)
    }

    /// Ends it, and leaves its home.
    pub(crate) fn end(mut self) -> Option<Home> {
        self.home.take()
    }

    /// A line of `/proc/PID/smaps_rollup`, in megabytes.
    pub(crate) fn memory_mb(&self, line: &str) -> Outcome<f64> {
        let text = proc_text(Path::new(&format!("/proc/{}/smaps_rollup", self.child.id())))?;
        let line =
            text.lines().find(|found| found.starts_with(line)).ok_or("no such line in smaps_rollup")?;
        let kilobytes: f64 = line.split_whitespace().nth(1).unwrap_or("0").parse()?;
        Ok(kilobytes / 1024.0)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel's counters are files")]
pub(crate) fn proc_text(path: &Path) -> Outcome<String> {
    Ok(std::fs::read_to_string(path)?)
}

/// The binary's size in megabytes (10⁶ bytes).
pub(crate) fn size(binary: &Path) -> Outcome<f64> {
    let bytes = std::fs::metadata(binary)?.len();
    Ok(f64::from(u32::try_from(bytes)?) / 1e6)
}

/// From nothing (a fresh state folder) to the first `hello-ok`: wall and processor time.
///
/// The processor time has its budget in multiples of what a plain first start takes at the same moment: what it is in milliseconds
/// differs by half between two hours on a machine whose processor others use as well, and by twice between two machines.
///
/// The folders are removed at the end only: without a journal, ext4 passes over the inodes of files that were removed in the
/// last minutes one by one when it looks for one for a new file, and that can be as much again as what is measured.
pub(crate) async fn cold_starts(binary: &Path, times: usize) -> Outcome<Vec<Figure>> {
    let (mut wall, mut cpu, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut homes, mut folders) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let folder = tempfile::tempdir()?;
        plain.push(reference::first_start_cpu(folder.path())?);
        folders.push(folder);
        let began = Instant::now();
        let gateway = Gateway::spawn(binary, Home::empty()?)?;
        gateway.hello().await?;
        wall.push(began.elapsed().as_secs_f64() * 1000.0);
        cpu.push(gateway.cpu_ms()?);
        homes.push(gateway.end());
    }
    drop((homes, folders));
    Ok(vec![
        Figure::new("cold start to hello, wall", "ms", median(wall), Limit::None),
        Figure::new("cold start to hello, CPU", "ms", median(cpu), Limit::Times(1.4))
            .beside(Reference::Time("a plain first start".into(), median(plain))),
    ])
}
