//! Debian's rsyslog with its TLS driver, on loopback and in folders of its own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use moltbot_testkit::home::free_port;
use tempfile::TempDir;

use super::authority::Authority;
use super::until;

/// Why the tests of this server are skipped.
pub(super) const MISSING: &str = "rsyslog or rsyslog-gnutls is not installed";
const PROGRAM: &str = "/usr/sbin/rsyslogd";

/// A running server. Killed when it is dropped.
pub(super) struct Rsyslog {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Rsyslog {
    /// Starts one with a certificate for `name`; nothing on a machine that has none.
    #[expect(clippy::disallowed_methods, reason = "files for another program")]
    pub(super) fn start(authority: &Authority, name: &str) -> Option<Self> {
        let driver = |folder: &str| Path::new(folder).join("lmnsd_gtls.so").exists();
        let is_installed =
            ["x86_64", "aarch64"].map(|machine| driver(&format!("/usr/lib/{machine}-linux-gnu/rsyslog")));
        if !Path::new(PROGRAM).exists() || !is_installed.contains(&true) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.vouch_for(name);
        let mut server = Self { folder, port: free_port(), child: None };
        let (port, here) = (server.port, server.folder.path().display());
        let (ca, certificate, key) = (authority.file().display(), certificate.display(), key.display());
        let config = format!(
            r#"
global(workDirectory="{here}" maxMessageSize="64k"
  defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}"
  defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="whole" type="string" string="%rawmsg%\n")
template(name="said" type="string" string="%msg%\n")
if $msgid == "ledger.head" then action(type="omfile" file="{here}/heads" template="said")
else if $programname == "moltbot" then action(type="omfile" file="{here}/records" template="whole")
"#
        );
        std::fs::write(server.folder.path().join("rsyslog.conf"), config).unwrap();
        server.restart();
        Some(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again in the same place, and waits until it listens.
    #[expect(clippy::disallowed_methods, reason = "somebody else's server")]
    pub(super) fn restart(&mut self) {
        let file = |name: &str| self.folder.path().join(name);
        let told = std::fs::File::create(file("told")).unwrap();
        let child = Command::new(PROGRAM)
            .arg("-n")
            .args(["-f".into(), file("rsyslog.conf")])
            .args(["-i".into(), file("pid")])
            .stdout(Stdio::null())
            .stderr(told)
            .spawn();
        self.child = Some(child.unwrap());
        until("the syslog server's start", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Kills it as a power cut would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.remove_pid();
    }

    #[expect(clippy::disallowed_methods, reason = "a file of another program")]
    fn remove_pid(&self) {
        // It does not start while the file of the one before is there.
        std::fs::remove_file(self.folder.path().join("pid")).unwrap_or_default();
    }

    /// The messages with records that it has.
    pub(super) fn records(&self) -> Vec<String> {
        lines(self.folder.path().join("records"))
    }

    /// What the messages with a head say.
    pub(super) fn heads(&self) -> Vec<String> {
        lines(self.folder.path().join("heads"))
    }
}

/// The whole lines of a file; none when it is not there.
#[expect(clippy::disallowed_methods, reason = "a file of another program")]
fn lines(path: PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.kill();
    }
}
