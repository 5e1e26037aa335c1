//! IRC with Debian's InspIRCd and Atheme's services, over TLS: senders are known by their accounts, and nobody by a nick.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_testkit::home::{Home, free_port};
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::skip::skip;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::contract::{House, Stage};
use super::irc::Person;
use crate::secrets::{PROGRAM, book_in};

const SERVER: &str = "/usr/sbin/inspircd";
const SERVICES: &str = "/usr/bin/atheme-services";
const PATIENCE: Duration = Duration::from_secs(20);
/// What everybody's account is kept with.
const PASSWORD: &str = "correct-horse-battery";
/// The assistant's own account.
const OURS: &str = "molt";

/// A running network. Killed when it is dropped.
pub(super) struct Network {
    folder: TempDir,
    plain: u16,
    tls: u16,
    link: u16,
    children: Vec<Child>,
    tells: Tells,
}

/// How the network says as whom somebody is signed in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// When he joins a channel of ours and when it changes.
    ByEvents,
    /// With each message as well.
    ByTags,
}

#[expect(clippy::disallowed_methods, reason = "files and programs of somebody else's network")]
impl Network {
    fn start(tells: Tells) -> Option<Self> {
        if ![SERVER, SERVICES].iter().all(|program| Path::new(program).exists()) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let [plain, tls, link] = [free_port(), free_port(), free_port()];
        let mut network = Self { folder, plain, tls, link, children: Vec::new(), tells };
        network.make_certificate("cert.pem", "key.pem");
        network.write("ircd.conf", &network.server_config());
        network.write("atheme.conf", &network.services_config());
        network.run();
        Some(network)
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = std::fs::File::create(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        rustix::fs::chmod(self.path(name), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    }

    /// Makes a certificate for this machine; answers its fingerprint as services write it.
    fn make_certificate(&self, certificate: &str, key: &str) -> String {
        let pair = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&pair).unwrap();
        self.write(certificate, &made.pem());
        self.write(key, &pair.serialize_pem());
        Sha256::digest(made.der()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&mut self) {
        let config = self.path("ircd.conf");
        let server = ["--nofork", "--runasroot", "--config", config.to_str().unwrap()];
        self.spawn(SERVER, &server);
        self.wait_for(|| TcpStream::connect(("127.0.0.1", self.plain)).is_ok(), "InspIRCd listens");
        let [config, data, log, pid] = ["atheme.conf", "", "atheme.log", "atheme.pid"]
            .map(|name| self.path(name).to_str().unwrap().to_owned());
        self.spawn(SERVICES, &["-n", "-c", &config, "-D", &data, "-l", &log, "-p", &pid]);
        let is_synced = || {
            std::fs::read_to_string(self.path("atheme.log"))
                .is_ok_and(|log| log.contains("finished synching"))
        };
        self.wait_for(is_synced, "the services are on the network");
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.children.push(child.unwrap());
    }

    fn wait_for(&self, is_there: impl Fn() -> bool, what: &str) {
        let end = Instant::now() + PATIENCE;
        while !is_there() {
            assert!(Instant::now() < end, "not true in time: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Has the services end by themselves: they keep their accounts, which they would forget when they are killed.
    fn end_services(&mut self) {
        let mut services = self.children.pop().unwrap();
        let id = rustix::process::Pid::from_child(&services);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        services.wait().unwrap();
    }

    fn kill(&mut self) {
        for mut child in self.children.drain(..) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // Another run has to say so anew.
        drop(std::fs::remove_file(self.path("atheme.log")));
    }

    fn server_config(&self) -> String {
        let folder = self.folder.path().display();
        let Self { tls, link, .. } = self;
        self.common_config("irc", self.plain)
            + &format!(
                "<module name=\"ssl_gnutls\">\n<module name=\"sslinfo\">\n<module name=\"sha256\">\n\
                 <sslprofile name=\"own\" provider=\"gnutls\" certfile=\"{folder}/cert.pem\" keyfile=\"{folder}/key.pem\" \
                 requestclientcert=\"yes\" hash=\"sha256\">\n\
                 <bind address=\"127.0.0.1\" port=\"{tls}\" type=\"clients\" sslprofile=\"own\">\n\
                 <bind address=\"127.0.0.1\" port=\"{link}\" type=\"servers\">\n\
                 <link name=\"far.test.local\" ipaddr=\"127.0.0.1\" port=\"{link}\" allowmask=\"127.0.0.0/8\" \
                 sendpass=\"between\" recvpass=\"between\">\n\
                 <link name=\"services.test.local\" ipaddr=\"127.0.0.1\" port=\"{link}\" allowmask=\"127.0.0.0/8\" \
                 sendpass=\"between\" recvpass=\"between\">\n"
            )
    }

    /// What each server of the network is told, but for its links.
    fn common_config(&self, name: &str, port: u16) -> String {
        let folder = self.folder.path().display();
        let mut modules = vec![
            "cap",
            "ircv3",
            "ircv3_capnotify",
            "ircv3_msgid",
            "services_account",
            "sasl",
            "spanningtree",
        ];
        if self.tells == Tells::ByTags {
            modules.push("ircv3_accounttag");
        }
        let modules: String = modules.iter().map(|name| format!("<module name=\"{name}\">\n")).collect();
        format!(
            "<server name=\"{name}.test.local\" description=\"test\" network=\"Test\">\n\
             <admin name=\"t\" nick=\"t\" email=\"t@test.local\">\n\
             <path datadir=\"{folder}\" logdir=\"{folder}\" runtimedir=\"{folder}\">\n<pid file=\"{folder}/{name}.pid\">\n\
             {modules}\
             <bind address=\"127.0.0.1\" port=\"{port}\" type=\"clients\">\n\
             <connect allow=\"*\" resolvehostnames=\"no\" threshold=\"1000\" commandrate=\"100000\" fakelag=\"no\" \
             localmax=\"100\" globalmax=\"100\" timeout=\"20\">\n\
             <uline server=\"services.test.local\" silent=\"yes\">\n<sasl target=\"services.test.local\">\n\
             <dns server=\"127.0.0.1\" timeout=\"1\">\n"
        )
    }

    /// Starts another server, with a link to the first that `end_far` cuts. Gives the port for its people.
    fn start_far(&mut self) -> u16 {
        let (port, link) = (free_port(), self.link);
        let config = self.common_config("far", port)
            + &format!(
                "<link name=\"irc.test.local\" ipaddr=\"127.0.0.1\" port=\"{link}\" allowmask=\"127.0.0.0/8\" \
                 sendpass=\"between\" recvpass=\"between\">\n<autoconnect period=\"1\" server=\"irc.test.local\">\n"
            );
        self.write("far.conf", &config);
        let config = self.path("far.conf");
        self.spawn(SERVER, &["--nofork", "--runasroot", "--config", config.to_str().unwrap()]);
        self.wait_for(|| TcpStream::connect(("127.0.0.1", port)).is_ok(), "the other server listens");
        port
    }

    fn end_far(&mut self) {
        let mut far = self.children.pop().unwrap();
        far.kill().unwrap();
        far.wait().unwrap();
    }

    /// Takes a module from the first server, which goes on.
    fn unload(&self, module: &str) {
        self.write("ircd.conf", &self.server_config().replace(&format!("<module name=\"{module}\">\n"), ""));
        let id = rustix::process::Pid::from_child(&self.children[0]);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }

    fn services_config(&self) -> String {
        let modules = [
            "protocol/inspircd",
            "backend/opensex",
            "crypto/pbkdf2v2",
            "nickserv/main",
            "nickserv/identify",
            "nickserv/register",
            "nickserv/cert",
            "nickserv/logout",
            "saslserv/main",
            "saslserv/plain",
            "saslserv/external",
        ];
        let modules: String =
            modules.iter().map(|name| format!("loadmodule \"modules/{name}\";\n")).collect();
        let service = |name: &str| {
            format!("nick = \"{name}\"; user = \"{name}\"; host = \"services.test.local\"; real = \"s\";")
        };
        format!(
            "{modules}serverinfo {{ name = \"services.test.local\"; desc = \"s\"; numeric = \"00A\"; recontime = 1; \
             netname = \"Test\"; hidehostsuffix = \"x\"; adminname = \"t\"; adminemail = \"t@test.local\"; \
             registeremail = \"t@test.local\"; mta = \"/bin/true\"; loglevel = {{ error; info; }}; maxcertfp = 5; \
             maxlogins = 10; maxusers = 0; emaillimit = 100; emailtime = 1; auth = none; casemapping = rfc1459; }};\n\
             uplink \"irc.test.local\" {{ host = \"127.0.0.1\"; port = {link}; send_password = \"between\"; \
             receive_password = \"between\"; }};\nnickserv {{ {} }};\nsaslserv {{ {} }};\n\
             logfile \"{}\" {{ error; info; debug; }};\n",
            service("NickServ"),
            service("SaslServ"),
            self.path("atheme.log").display(),
            link = self.link,
        )
    }

    /// Somebody with that nick and no account.
    fn stranger(&self, nick: &str) -> Person {
        let mut person = Person::connect(self.plain, nick);
        person.join();
        person
    }

    /// Signs in to the account of that name, which is made at first. A server that was linked just now may not know the
    /// services yet: it is asked again.
    fn sign_in(&self, person: &mut Person, account: &str) {
        let is_answer = |line: &str| {
            line.contains(" 900 ")
                || line.contains(" 401 ")
                || line.contains("is not registered")
                || line.contains("is not a registered")
        };
        let end = Instant::now() + PATIENCE;
        let answer = loop {
            person.send(&format!("PRIVMSG NickServ :IDENTIFY {account} {PASSWORD}"));
            let answer = person.wait(PATIENCE, is_answer).expect("an answer of NickServ");
            if !answer.contains(" 401 ") {
                break answer;
            }
            assert!(Instant::now() < end, "the services are not there: {answer}");
            std::thread::sleep(Duration::from_millis(100));
        };
        if !answer.contains(" 900 ") {
            person.send(&format!("PRIVMSG NickServ :REGISTER {PASSWORD} {account}@test.local"));
            person.wait(PATIENCE, |line| line.contains(" 900 ")).expect("an account");
        }
    }

    /// The settings of the network, with our account.
    fn settings(&self) -> Value {
        json!({
            "host": "127.0.0.1", "port": self.tls, "caFile": self.path("cert.pem"), "nick": OURS,
            "sasl": {"username": OURS, "password": PASSWORD},
        })
    }

    /// Our account, as its owner made it.
    fn make_ours(&self) {
        let mut owner = self.stranger(OURS);
        self.sign_in(&mut owner, OURS);
        owner.quit();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Stage for Network {
    type Person = Person;

    fn channel(&self) -> &'static str {
        "irc"
    }

    fn configure(&self, config: &mut Value, listed: &[String]) {
        let mut irc = self.settings();
        irc["groups"] = json!({"#home": {}});
        irc["groupAllowFrom"] = json!(listed);
        config["channels"] = json!({"irc": irc});
    }

    fn person(&mut self, name: &str) -> Person {
        let mut person = self.stranger(name);
        self.sign_in(&mut person, name);
        person
    }

    fn id(&self, name: &str) -> String {
        format!("irc:default:account:{name}")
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
        self.end_services();
        self.kill();
        self.run();
    }
}

fn with_network(name: &str, test: impl FnOnce(Network)) {
    with(Tells::ByTags, name, test);
}

/// With a network that has no tag `account`.
fn with_events(name: &str, test: impl FnOnce(Network)) {
    with(Tells::ByEvents, name, test);
}

fn with(tells: Tells, name: &str, test: impl FnOnce(Network)) {
    match Network::start(tells) {
        Some(network) => {
            network.make_ours();
            test(network);
        }
        None => skip(name, "inspircd and atheme-services are not installed"),
    }
}

super::contract::every_channel_passes! {
    d_130_d_132_d_137_irc_accounts_pair_in_both_directions_and_strangers_are_told_nothing: pairing_in_both_directions,
    d01_d05_irc_accounts_are_who_somebody_is: names_let_nobody_in,
    irc_accounts_a_kill_loses_and_doubles_nothing: a_kill_loses_and_doubles_nothing,
    irc_accounts_in_order_and_each_once: in_order_and_each_once,
    d_136_irc_accounts_strangers_keep_nobody_out: strangers_keep_nobody_out,
    irc_accounts_the_owner_decides_in_a_chat: the_owner_decides_in_a_chat,
    irc_accounts_linked_identities_share_a_conversation: linked_identities_share_a_conversation,
    irc_accounts_an_outage_ends: an_outage_ends
    => with_network
}

mod by_events {
    use super::with_events;

    super::super::contract::every_channel_passes! {
        d_130_d_132_d_137_irc_events_pair_in_both_directions_and_strangers_are_told_nothing: pairing_in_both_directions,
        d01_d05_irc_events_are_who_somebody_is: names_let_nobody_in,
        irc_events_a_kill_loses_and_doubles_nothing: a_kill_loses_and_doubles_nothing,
        irc_events_the_owner_decides_in_a_chat: the_owner_decides_in_a_chat,
        irc_events_an_outage_ends: an_outage_ends
        => with_events
    }
}

/// On a network that tells accounts by events, each way out of our sight ends what was known: who takes the nick then is
/// nobody.
#[test]
fn d05_who_takes_the_nick_of_somebody_who_left_is_nobody() {
    with_events("d05_who_takes_the_nick_of_somebody_who_left_is_nobody", |network| {
        // There at first, so that she may order people out.
        let mut op = network.stranger("op");
        let mut house = House::new(network, &["ann"]);
        let mut ann = house.stage.person("ann");
        house.let_in("ann", &mut ann);
        let mut eve = house.stage.stranger("eve");
        let mut asked = 0;
        for way in ["PART #home", "KICK", "LOGOUT", "NICK away", "QUIT :gone"] {
            house.stage.say(&mut ann, &format!("before {way}"));
            assert!(house.heard(&mut ann).contains("before"), "{way}: she is known");
            asked += 1;
            match way {
                "KICK" => op.send("KICK #home ann"),
                "LOGOUT" => ann.send("PRIVMSG NickServ :LOGOUT"),
                _ => ann.send(way),
            }
            let is_told = |line: &str| {
                line.starts_with("ERROR")
                    || [" PART ", " KICK ", " NICK ", " 901 "].iter().any(|word| line.contains(word))
            };
            ann.wait(PATIENCE, is_told).unwrap_or_else(|| panic!("{way}"));
            // The account alone, with nobody else under the nick.
            if !way.contains("QUIT") && !way.contains("NICK") {
                house.stage.say(&mut ann, "am I known?");
                house.hears_nothing(&mut ann);
                ann.send("NICK away");
                ann.wait(PATIENCE, |line| line.contains(" NICK ")).expect("another nick");
            }
            house.stage.rename(&mut eve, "ann");
            for text in ["it is me", "/pair list"] {
                house.stage.say(&mut eve, text);
                house.stage.say_in_group(&mut eve, text);
            }
            house.hears_nothing(&mut eve);
            assert_eq!(house.model.requests().len(), asked, "{way}");
            house.stage.rename(&mut eve, "eve");
            if !way.contains("QUIT") {
                house.stage.rename(&mut ann, "ann");
                if way == "LOGOUT" {
                    house.stage.sign_in(&mut ann, "ann");
                }
                ann.join_again();
            }
        }
        let mut ann = house.stage.person("ann");
        house.stage.say(&mut ann, "back");
        assert!(house.heard(&mut ann).contains("back"));
    });
}

/// When the network falls apart, whoever is on the other part is nobody, and his nick is somebody else's.
#[test]
fn d05_who_takes_a_nick_while_the_network_is_split_is_nobody() {
    with_events("d05_who_takes_a_nick_while_the_network_is_split_is_nobody", |mut network| {
        let port = network.start_far();
        let mut house = House::new(network, &["ann"]);
        let mut eve = house.stage.stranger("eve");
        let mut ann = Person::connect(port, "ann");
        ann.join();
        house.stage.sign_in(&mut ann, "ann");
        eve.wait(PATIENCE, |line| line.starts_with(":ann!") && line.contains(" JOIN ")).expect("one network");
        house.let_in("ann", &mut ann);
        house.stage.say(&mut ann, "from afar");
        assert!(house.heard(&mut ann).contains("from afar"));
        house.stage.end_far();
        eve.wait(PATIENCE, |line| line.starts_with(":ann!") && line.contains(" QUIT ")).expect("a split");
        house.stage.rename(&mut eve, "ann");
        house.stage.say(&mut eve, "it is me");
        house.stage.say_in_group(&mut eve, "it is me");
        house.hears_nothing(&mut eve);
        assert_eq!(house.model.requests().len(), 1);
    });
}

/// Who is there before the gateway is known when it comes, and nobody is once the server tells nothing any more.
#[test]
fn what_the_server_tells_of_accounts_is_asked_for_and_believed_no_longer_than_it_tells() {
    let name = "what_the_server_tells_of_accounts_is_asked_for_and_believed_no_longer_than_it_tells";
    with_events(name, |network| {
        let mut house = House::new(network, &[]);
        let mut ann = house.stage.person("ann");
        house.let_in("ann", &mut ann);
        house.gateway.terminate();
        house.gateway.restart(&house.home);
        house.connected();
        house.stage.say(&mut ann, "you came later");
        assert!(house.heard(&mut ann).contains("you came later"));
        house.stage.unload("ircv3");
        let is_noticed = || house.gateway.printed().contains("does not tell accounts of services");
        house.stage.wait_for(is_noticed, "the gateway is on the network again, and warns");
        house.connected();
        house.stage.say(&mut ann, "and now?");
        house.hears_nothing(&mut ann);
        assert_eq!(house.model.requests().len(), 1, "she is known by what nobody tells any more");
    });
}

#[test]
fn d05_an_account_is_the_same_under_every_nick_and_a_nick_is_nobody() {
    with_network("d05_an_account_is_the_same_under_every_nick_and_a_nick_is_nobody", |network| {
        let mut house = House::new(network, &["ann"]);
        let mut ann = house.stage.person("ann");
        house.let_in("ann", &mut ann);
        house.stage.rename(&mut ann, "other");
        house.stage.say(&mut ann, "still me");
        assert!(house.heard(&mut ann).contains("still me"), "the account says who she is");
        let mut eve = house.stage.stranger("ann");
        for text in ["give me a code", "/pair list"] {
            house.stage.say(&mut eve, text);
            house.stage.say_in_group(&mut eve, text);
        }
        house.hears_nothing(&mut eve);
        let (_, list, _) = house.run(&["pairing", "list"]);
        assert!(!list.contains("\"state\""), "who is not known cannot even ask: {list}");
        assert_eq!(house.model.requests().len(), 1);
        // She signs in, and is herself.
        house.stage.sign_in(&mut eve, "ann");
        house.stage.say(&mut eve, "me again");
        assert!(house.heard(&mut eve).contains("me again"));
    });
}

#[test]
fn an_answer_is_not_sent_to_who_took_the_nick() {
    with_network("an_answer_is_not_sent_to_who_took_the_nick", |network| {
        let mut house = House::new(network, &[]);
        let mut ann = house.stage.person("ann");
        house.let_in("ann", &mut ann);
        house.model.push(moltbot_testkit::model::Reply::Slow {
            chunks: vec!["for ann alone".into()],
            delay: Duration::from_secs(7),
        });
        house.stage.say(&mut ann, "a secret, please");
        house.model.wait_for_requests(1);
        ann.quit();
        let mut eve = house.stage.stranger("eve");
        house.stage.rename(&mut eve, "ann");
        assert_eq!(house.stage.hear(&mut eve, Duration::from_secs(10)), None);
        assert!(book_in(house.home.path()).contains("not this sender's any more"));
    });
}

#[test]
fn a_certificate_signs_us_in_and_a_wrong_password_or_authority_does_not() {
    with_network("a_certificate_signs_us_in_and_a_wrong_password_or_authority_does_not", |mut network| {
        let fingerprint = network.make_certificate("own.pem", "own-key.pem");
        let mut owner = network.stranger("owner");
        network.sign_in(&mut owner, OURS);
        owner.send(&format!("PRIVMSG NickServ :CERT ADD {fingerprint}"));
        owner
            .wait(PATIENCE, |line| line.contains("NickServ") && line.to_lowercase().contains("added"))
            .expect("CERT ADD");
        owner.quit();
        let mut ann = network.person("ann");

        let account = |change: &dyn Fn(&mut Value)| {
            let mut account = network.settings();
            change(&mut account);
            account
        };
        let external = json!({"mechanism": "external", "certPath": network.path("own.pem"), "keyPath": network.path("own-key.pem")});
        let accounts = json!({
            "by-key": account(&|it| { it["sasl"] = external.clone(); it["allowFrom"] = json!(["ann"]); }),
            "by-word": account(&|it| it["nick"] = json!("molt2")),
            "wrong": account(&|it| { it["nick"] = json!("molt3"); it["sasl"]["password"] = json!("another-password"); }),
            "strange": account(&|it| { it["nick"] = json!("molt4"); it["caFile"] = json!(network.path("own.pem")); }),
        });
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        home.change_config(|config| config["channels"] = json!({"irc": {"accounts": accounts}}));
        let gateway = Gateway::start(PROGRAM, &home);
        let state = || {
            let ran = run(PROGRAM, &home, &["gateway", "call", "channels.status"]);
            let status: Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
            let mut all: Vec<(String, bool, String)> = Vec::new();
            for account in status["channelAccounts"]["irc"].as_array().into_iter().flatten() {
                let text = |name: &str| account[name].as_str().unwrap_or_default().to_owned();
                all.push((text("accountId"), account["connected"] == true, text("lastError")));
            }
            all
        };
        let is_settled = || {
            let all = state();
            all.len() == 4 && all.iter().all(|(_, connected, error)| *connected || !error.is_empty())
        };
        network.wait_for(is_settled, "each account is connected or says why not");
        for (name, connected, error) in state() {
            let expected = matches!(name.as_str(), "by-key" | "by-word");
            assert_eq!(connected, expected, "{name}: {error}");
            assert!(!error.contains(PASSWORD) && !error.contains("another-password"), "{error}");
        }
        for nick in ["molt", "molt2"] {
            ann.send(&format!("WHOIS {nick}"));
            let account = ann
                .wait(PATIENCE, |line| line.contains(&format!(" {nick} {OURS} ")) && line.contains(" 330 "));
            assert!(account.is_some(), "{nick} is signed in");
        }
        // She is known on the one network, and a stranger on the other, whatever her account is called.
        network.say(&mut ann, "hello");
        assert!(network.hear(&mut ann, PATIENCE).expect("an answer").contains("hello"));
        ann.send("PRIVMSG molt2 :hello");
        let told = ann.wait(PATIENCE, |line| line.starts_with(":molt2!") && line.contains(" PRIVMSG "));
        assert!(told.expect("a code").contains("Pairing code"));
        drop(gateway);
    });
}
