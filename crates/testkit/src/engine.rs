//! A container engine of the tests' own: Debian's `dockerd` on a socket in a temporary folder, without a network.
//!
//! A whole run starts one for all its tests (`tests/engine.sh`) and names its socket in `MOLTBOT_TEST_ENGINE`; a test
//! that runs alone starts its own. Images are made here, from busybox: nothing is fetched.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::skip::skip;

/// The image that tests use: busybox, this machine's bash and perl, and a few empty folders.
pub const IMAGE: &str = "moltbot-test:busybox";

/// An engine that answers.
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
    /// The one that this test has started, and its folder.
    own: Option<(Child, tempfile::TempDir)>,
}

impl Engine {
    /// The engine of this run, or one of this test's own. `None`, and the test is noted as skipped, where none can run.
    ///
    /// # Panics
    /// When one should run here and does not.
    pub fn start(test: &str) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "set by the test run, not by the owner")]
        let shared = std::env::var_os("MOLTBOT_TEST_ENGINE").filter(|socket| !socket.is_empty());
        if let Some(socket) = shared {
            let engine = Self { socket: socket.into(), own: None };
            engine.import_once();
            return Some(engine);
        }
        if !rustix::process::geteuid().is_root() {
            skip(test, "only root can start a container engine");
            return None;
        }
        for program in ["/usr/sbin/dockerd", "/usr/bin/docker", "/bin/busybox"] {
            if !Path::new(program).exists() {
                skip(test, &format!("there is no {program}; `sh tests/setup.sh` installs it"));
                return None;
            }
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let engine = Self::start_in(folder);
        engine.import(IMAGE);
        Some(engine)
    }

    #[expect(clippy::disallowed_methods, reason = "the tests' own engine")]
    fn start_in(folder: tempfile::TempDir) -> Self {
        let at = |name: &str| folder.path().join(name);
        let socket = at("engine.sock");
        let log = std::fs::File::create(at("log")).expect("a log in a folder of our own");
        let child = Command::new("/usr/bin/setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "/usr/sbin/dockerd",
                "--bridge=none",
                "--iptables=false",
                "--ip-masq=false",
            ])
            .arg(format!("--host=unix://{}", socket.display()))
            .arg(format!("--data-root={}", at("data").display()))
            .arg(format!("--exec-root={}", at("exec").display()))
            .arg(format!("--pidfile={}", at("pid").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let mut engine = Self { socket, own: Some((child, folder)) };
        for _ in 0..600 {
            if engine.docker(&["version"]).status.success() {
                return engine;
            }
            if let Some((child, folder)) = &mut engine.own
                && let Ok(Some(status)) = child.try_wait()
            {
                let said = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                panic!("dockerd ended with {status}: {said}");
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("dockerd does not answer");
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks it by its own command line.
    ///
    /// # Panics
    /// When there is no `docker`.
    #[expect(clippy::disallowed_methods, reason = "the tests' own engine")]
    pub fn docker(&self, arguments: &[&str]) -> std::process::Output {
        let host = format!("unix://{}", self.socket.display());
        Command::new("/usr/bin/docker").args(["--host", &host]).args(arguments).output().expect("docker runs")
    }

    /// What its command line prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Makes the image when there is none. One test at a time: a second import would be another image of that name.
    #[expect(clippy::disallowed_methods, reason = "a lock beside the tests' own engine")]
    fn import_once(&self) {
        let lock =
            std::fs::File::create(self.socket.with_extension("lock")).expect("a lock beside the socket");
        lock.lock().expect("a lock of our own");
        if !self.docker(&["image", "inspect", IMAGE]).status.success() {
            self.import(IMAGE);
        }
    }

    /// Makes an image of busybox.
    ///
    /// # Panics
    /// When it cannot.
    #[expect(clippy::disallowed_methods, reason = "the tests' own image")]
    pub fn import(&self, tag: &str) {
        let root = busybox_root();
        let tar =
            Command::new("tar").arg("-c").arg("-C").arg(root.path()).arg(".").output().expect("tar runs");
        let host = format!("unix://{}", self.socket.display());
        let mut import = Command::new("/usr/bin/docker")
            .args(["--host", &host, "import", "-", tag])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker runs");
        import.stdin.take().expect("a pipe").write_all(&tar.stdout).expect("docker reads");
        assert!(import.wait().expect("docker ends").success(), "docker import");
    }
}

/// A root of busybox, with the names of its programs.
///
/// # Panics
/// When there is no busybox.
#[expect(clippy::disallowed_methods, reason = "the tests' own image")]
pub fn busybox_root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "usr", "var/tmp", "run", "workspace"] {
        std::fs::create_dir_all(root.path().join(folder)).expect("a folder of our own");
    }
    let busybox = root.path().join("bin/busybox");
    std::fs::copy("/bin/busybox", &busybox).expect("busybox can be copied");
    rustix::fs::chmod(root.path(), rustix::fs::Mode::from_raw_mode(0o755))
        .expect("a mode of a folder of our own");
    let names = Command::new(&busybox).arg("--list").output().expect("busybox runs");
    for name in String::from_utf8_lossy(&names.stdout).lines().filter(|name| *name != "busybox") {
        rustix::fs::symlink("busybox", root.path().join("bin").join(name)).expect("a link of our own");
    }
    for program in ["/bin/bash", "/usr/bin/perl"] {
        add_program(root.path(), Path::new(program));
    }
    // What perl loads by itself.
    for libraries in std::fs::read_dir("/usr/lib").expect("this machine's libraries").flatten() {
        let base = libraries.path().join("perl-base");
        if base.is_dir() {
            let there = root.path().join(base.strip_prefix("/").expect("an absolute path"));
            std::fs::create_dir_all(there.parent().expect("a folder")).expect("a folder of our own");
            let copied = Command::new("cp").arg("-a").arg(&base).arg(&there).status().expect("cp runs");
            assert!(copied.success(), "cp {}", base.display());
        }
    }
    root
}

/// Puts a program of this machine and its libraries into a root, where there is one.
#[expect(clippy::disallowed_methods, reason = "the tests' own image")]
fn add_program(root: &Path, program: &Path) {
    if !program.exists() {
        return;
    }
    let needs = Command::new("ldd").arg(program).output().expect("ldd runs");
    let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
    let libraries = needs.split_ascii_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    for file in libraries.chain([program]) {
        let there = root.join(file.strip_prefix("/").expect("an absolute path"));
        std::fs::create_dir_all(there.parent().expect("a folder")).expect("a folder of our own");
        std::fs::copy(file, &there).expect("a program can be copied");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some((mut child, _folder)) = self.own.take() else { return };
        // It ends its containers, and unmounts what it has mounted.
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("dockerd can be ended");
        }
        child.wait().expect("dockerd ends");
    }
}
