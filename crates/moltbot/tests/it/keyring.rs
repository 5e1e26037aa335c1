//! `secrets rekey --wrap keyring` with a real keyring: a session bus and gnome-keyring in a folder of their own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::program::Program;

/// The keyring's own password.
const PASSWORD: &str = "correct horse battery staple";
/// How long the bus and the keyring may take to be there.
const START: Duration = Duration::from_secs(20);

/// A session bus, and the home of the keyring on it.
struct Session {
    home: TempDir,
    address: String,
    bus: Child,
    keyring: Option<Child>,
}

impl Session {
    /// Starts a bus and an unlocked keyring; nothing where there are no such programs, which is told as a skip.
    fn start(test: &str) -> Option<Self> {
        let missing = ["dbus-daemon", "dbus-send", "gnome-keyring-daemon"]
            .into_iter()
            .find(|program| !Path::new("/usr/bin").join(program).exists());
        if let Some(program) = missing {
            moltbot_testkit::skip::skip(test, &format!("there is no {program}; tests/setup.sh installs it"));
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let address = format!("unix:path={}", home.path().join("bus").display());
        let mut bus = command("dbus-daemon", home.path())
            .args(["--session", "--nofork", "--nopidfile", "--print-address", "--address", &address])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It prints its address when it listens.
        let mut line = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:path="), "{line}");
        let mut session = Self { home, address, bus, keyring: None };
        session.open(Some(PASSWORD));
        Some(session)
    }

    /// Starts the keyring, unlocked when there is a password, in place of the one that runs.
    fn open(&mut self, password: Option<&str>) {
        self.close();
        let mut keyring = command("gnome-keyring-daemon", self.home.path());
        keyring.args(["--foreground", "--components=secrets"]).args(password.map(|_| "--unlock"));
        keyring.env("DBUS_SESSION_BUS_ADDRESS", &self.address).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut keyring = keyring.spawn().unwrap();
        let mut input = keyring.stdin.take().unwrap();
        input.write_all(password.unwrap_or_default().as_bytes()).unwrap();
        drop(input);
        self.keyring = Some(keyring);
        let until = Instant::now() + START;
        // By its name on the bus: asking the service itself would have the bus start another one.
        while !self.is_there() {
            assert!(Instant::now() < until, "the keyring does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_there(&self) -> bool {
        let asked = command("dbus-send", self.home.path())
            .args([
                &format!("--bus={}", self.address),
                "--print-reply",
                "--dest=org.freedesktop.DBus",
                "/org/freedesktop/DBus",
            ])
            .args(["org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&asked.stdout).contains("boolean true")
    }

    fn close(&mut self) {
        if let Some(mut keyring) = self.keyring.take() {
            keyring.kill().unwrap();
            keyring.wait().unwrap();
            // The bus learns of it by itself; until then it would answer for the one that is gone.
            let until = Instant::now() + START;
            while self.is_there() {
                assert!(Instant::now() < until, "the bus does not notice that the keyring is gone");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// The items of this installation's kind: how many there are, whatever they hold.
    fn items(&self) -> usize {
        let asked = command("dbus-send", self.home.path())
            .args([&format!("--bus={}", self.address), "--print-reply", "--dest=org.freedesktop.secrets"])
            .args(["/org/freedesktop/secrets", "org.freedesktop.Secret.Service.SearchItems"])
            .arg("dict:string:string:application,moltbot")
            .output()
            .unwrap();
        let answer = String::from_utf8(asked.stdout).unwrap();
        assert!(asked.status.success(), "{answer}");
        answer.matches("object path").count()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
        self.bus.kill().unwrap();
        self.bus.wait().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the test starts a desktop's programs")]
fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("XDG_RUNTIME_DIR", home);
    command.env("XDG_DATA_HOME", home.join("data")).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn ok(program: &Program, arguments: &[&str]) -> String {
    let ran = program.run(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran.out
}

/// Nothing opens, and it is told why and what to do.
fn assert_refused(program: &Program, says: &str, fix: &str) {
    for arguments in
        [&["gateway", "run"][..], &["up", "--detach", "--port", "0"], &["secrets", "rekey", "--wrap", "none"]]
    {
        let ran = program.run(arguments);
        assert_eq!(ran.code, 78, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(says) && ran.err.contains(fix), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_key_in_the_keyring_wraps_the_root_keys_and_without_it_nothing_opens() {
    const NAME: &str = "keyring::a_key_in_the_keyring_wraps_the_root_keys_and_without_it_nothing_opens";
    let Some(mut session) = Session::start(NAME) else { return };
    let program = Program::new().with("DBUS_SESSION_BUS_ADDRESS", session.address.clone());
    let token = ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]);
    assert!(ok(&program, &["secrets", "rekey", "--wrap", "keyring"]).contains("wrapped by: keyring"));
    assert_eq!(session.items(), 1);
    assert_eq!(ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]), token);
    program.start();
    ok(&program, &["health"]);
    ok(&program, &["gateway", "stop"]);
    // Again: another key, and the old one is gone when the new key file is there. A rotation keeps the wrapping.
    ok(&program, &["secrets", "rekey", "--wrap", "keyring"]);
    assert_eq!(session.items(), 1);
    ok(&program, &["secrets", "rotate"]);
    assert!(ok(&program, &["secrets", "status"]).contains("wrapping  keyring"));
    // It outlives the keyring's process, and is of no use while that is locked.
    session.open(None);
    assert_refused(&program, "it is locked", "gnome-keyring-daemon --unlock");
    session.open(Some(PASSWORD));
    program.start();
    ok(&program, &["health"]);
    ok(&program, &["gateway", "stop"]);
    // Back, and nothing is left in the keyring.
    ok(&program, &["secrets", "rekey", "--wrap", "none"]);
    assert_eq!(session.items(), 0);
    session.close();
    assert_eq!(ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]), token);
}

#[test]
fn the_old_key_stays_in_the_keyring_until_the_new_key_file_is_on_disk() {
    const NAME: &str = "keyring::the_old_key_stays_in_the_keyring_until_the_new_key_file_is_on_disk";
    let Some(session) = Session::start(NAME) else { return };
    let program = Program::new().with("DBUS_SESSION_BUS_ADDRESS", session.address.clone());
    ok(&program, &["secrets", "rekey", "--wrap", "keyring"]);
    let token = ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]);
    // The key file cannot be written now.
    let state = moltbot_vault::StateDir::open_or_create(&program.state()).unwrap();
    let lock = state.lock("keys/writer.lock", b"test").unwrap();
    for wrap in ["keyring", "none"] {
        assert_eq!(program.run(&["secrets", "rekey", "--wrap", wrap]).code, 1, "{wrap}");
        assert_eq!(ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]), token, "{wrap}");
    }
    assert_eq!(session.items(), 2, "the new key, which wraps nothing, is told of in the manual");
    drop(lock);
    ok(&program, &["secrets", "rekey", "--wrap", "keyring"]);
    assert_eq!(ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]), token);
}

/// Killed at random points, a change of the wrapping leaves a key file whose key is in the keyring.
#[test]
fn a_rekey_that_is_killed_at_any_point_loses_nothing() {
    let Some(session) = Session::start("keyring::a_rekey_that_is_killed_at_any_point_loses_nothing") else {
        return;
    };
    let program = Program::new().with("DBUS_SESSION_BUS_ADDRESS", session.address.clone());
    let token = ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]);
    for round in 0..30 {
        let wrap = if round % 4 == 3 { "none" } else { "keyring" };
        let mut rekey = program.command(&["secrets", "rekey", "--wrap", wrap]);
        let mut child = rekey.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let drawn = u64::from_be_bytes(moltbot_vault::random().unwrap()) % 40_000;
        std::thread::sleep(Duration::from_micros(drawn));
        child.kill().unwrap();
        child.wait().unwrap();
        let read = ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]);
        assert_eq!(read, token, "round {round}, killed after {drawn} µs");
    }
    ok(&program, &["secrets", "rekey", "--wrap", "keyring"]);
    assert_eq!(ok(&program, &["secrets", "get", "gateway.auth.token", "--raw"]), token);
}

#[test]
fn without_a_keyring_nothing_is_wrapped_and_nothing_takes_its_place() {
    const NAME: &str = "keyring::without_a_keyring_nothing_is_wrapped_and_nothing_takes_its_place";
    let Some(session) = Session::start(NAME) else { return };
    // No bus: the key file stays as it is.
    let program = Program::new().with("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    ok(&program, &["config", "validate"]);
    let ran = program.run(&["secrets", "rekey", "--wrap", "keyring"]);
    assert!(
        ran.code == 1
            && ran.err.contains("it does not answer")
            && ran.err.contains("DBUS_SESSION_BUS_ADDRESS"),
        "{ran:?}"
    );
    assert!(ok(&program, &["secrets", "status"]).contains("wrapping  none"));
    // Wrapped, and then in a session without that keyring, or without the item.
    let program = program.with("DBUS_SESSION_BUS_ADDRESS", session.address.clone());
    ok(&program, &["secrets", "rekey", "--wrap", "keyring"]);
    let program = program.with("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    assert_refused(&program, "it does not answer", "DBUS_SESSION_BUS_ADDRESS");
    let Some(other) = Session::start(NAME) else { return };
    let program = program.with("DBUS_SESSION_BUS_ADDRESS", other.address.clone());
    assert_refused(&program, "it has no item for this installation", "restore its backup");
    let program = program.with("DBUS_SESSION_BUS_ADDRESS", session.address.clone());
    ok(&program, &["secrets", "rekey", "--wrap", "none"]);
}
