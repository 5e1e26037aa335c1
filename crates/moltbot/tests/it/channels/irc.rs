//! IRC with Debian's ngircd, which has no services: senders are known by their masks, which the config has to allow.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_testkit::home::free_port;
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract::Stage;

const PROGRAM: &str = "/usr/sbin/ngircd";

/// A running server. Killed when it is dropped.
struct Ngircd {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

/// Somebody on a network.
pub(super) struct Person {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Ngircd {
    #[expect(clippy::disallowed_methods, reason = "a file for another program")]
    fn start() -> Option<Self> {
        if !std::path::Path::new(PROGRAM).exists() {
            return None;
        }
        let mut server = Self { folder: tempfile::tempdir().unwrap(), port: free_port(), child: None };
        let port = server.port;
        let config = format!(
            "[Global]\nName = irc.test.local\nInfo = test\nListen = 127.0.0.1\nPorts = {port}\n\
             ServerUID = {user}\nServerGID = {user}\n[Limits]\nMaxConnectionsIP = 0\nMaxPenaltyTime = 0\n\
             [Options]\nIdent = no\nPAM = no\nDNS = no\n",
            user = rustix::process::geteuid().as_raw(),
        );
        std::fs::write(server.folder.path().join("conf"), config).unwrap();
        server.run();
        Some(server)
    }

    #[expect(clippy::disallowed_methods, reason = "somebody else's server")]
    fn run(&mut self) {
        let child = Command::new(PROGRAM)
            .arg("-n")
            .arg("-f")
            .arg(self.folder.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "ngircd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Ngircd {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Person {
    /// Somebody with that nick.
    #[expect(clippy::disallowed_methods, reason = "somebody else's client")]
    pub(super) fn connect(port: u16, name: &str) -> Self {
        let stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
        let mut person = Self { stream, line: Vec::new() };
        person.send(&format!("NICK {name}\r\nUSER {name} 0 * :{name}"));
        person.wait(Duration::from_secs(20), |line| line.contains(" 001 ")).expect("a welcome");
        person
    }

    /// Is in the one channel from now on.
    pub(super) fn join(&mut self) {
        self.send("JOIN #home");
        self.wait(Duration::from_secs(20), |line| line.contains(" 366 ")).expect("the channel");
    }

    /// Is in the one channel, in which it may be already.
    pub(super) fn join_again(&mut self) {
        self.send("JOIN #home\r\nNAMES #home");
        self.wait(Duration::from_secs(20), |line| line.contains(" 366 ")).expect("the channel");
    }

    /// Is gone when this returns.
    pub(super) fn quit(mut self) {
        self.send("QUIT :gone");
        self.wait(Duration::from_secs(20), |line| line.starts_with("ERROR")).expect("a goodbye");
    }

    /// Takes a nick, as soon as it is free.
    pub(super) fn rename(&mut self, name: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            self.send(&format!("NICK {name}"));
            let heard =
                self.wait(Duration::from_secs(5), |line| line.contains(" NICK ") || line.contains(" 433 "));
            if heard.is_some_and(|line| line.contains(" NICK ")) {
                return;
            }
        }
        panic!("the nick is not free");
    }

    /// The next that the assistant says.
    pub(super) fn hear(&mut self, patience: Duration) -> Option<String> {
        self.wait(patience, |line| line.starts_with(":molt!") && line.contains(" PRIVMSG "))
    }

    pub(super) fn send(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The next line that `is_it` is true of; pings are answered.
    pub(super) fn wait(&mut self, patience: Duration, is_it: impl Fn(&str) -> bool) -> Option<String> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            self.stream.get_ref().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            match self.stream.read_until(b'\n', &mut self.line) {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => panic!("{error}"),
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
            if let Some(token) = line.strip_prefix("PING ") {
                self.send(&format!("PONG {token}"));
            }
            if is_it(&line) {
                return Some(line);
            }
        }
        None
    }
}

impl Stage for Ngircd {
    type Person = Person;

    fn channel(&self) -> &'static str {
        "irc"
    }

    fn configure(&self, config: &mut Value, listed: &[String]) {
        config["channels"] = json!({"irc": {
            "host": "127.0.0.1", "port": self.port, "tls": false, "nick": "molt", "dangerouslyTrustMasks": true,
            "groups": {"#home": {}}, "groupAllowFrom": listed,
        }});
    }

    fn person(&mut self, name: &str) -> Person {
        let mut person = Person::connect(self.port, name);
        person.join();
        person
    }

    fn id(&self, name: &str) -> String {
        format!("irc:default:mask:{name}!~{name}@127.0.0.1")
    }

    fn rename(&mut self, person: &mut Person, name: &str) {
        person.rename(name);
    }

    fn say(&mut self, person: &mut Person, text: &str) {
        person.send(&format!("PRIVMSG molt :{text}"));
    }

    fn say_in_group(&mut self, person: &mut Person, text: &str) {
        person.send(&format!("PRIVMSG #home :molt: {text}"));
    }

    fn hear(&mut self, person: &mut Person, patience: Duration) -> Option<String> {
        person.hear(patience)
    }

    fn most_bytes(&self) -> usize {
        512
    }

    fn outage(&mut self) {
        self.kill();
        self.run();
    }
}

fn with_ngircd(name: &str, test: impl FnOnce(Ngircd)) {
    match Ngircd::start() {
        Some(server) => test(server),
        None => skip(name, "ngircd is not installed"),
    }
}

super::contract::every_channel_passes! {
    d_130_d_132_d_137_irc_pairs_in_both_directions_and_tells_strangers_nothing: pairing_in_both_directions,
    d01_d05_irc_names_let_nobody_in_and_a_pairing_does_not_count_in_groups: names_let_nobody_in,
    irc_a_kill_loses_and_doubles_nothing: a_kill_loses_and_doubles_nothing,
    irc_an_outage_ends: an_outage_ends,
    irc_in_order_and_each_once: in_order_and_each_once,
    irc_a_long_answer_comes_in_pieces: a_long_answer_comes_in_pieces,
    d_136_irc_strangers_keep_nobody_out: strangers_keep_nobody_out,
    irc_the_owner_decides_in_a_chat: the_owner_decides_in_a_chat,
    irc_a_sender_stops_what_he_caused: a_sender_stops_what_he_caused,
    irc_linked_identities_share_a_conversation: linked_identities_share_a_conversation
    => with_ngircd
}
