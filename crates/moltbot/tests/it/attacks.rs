//! Attacks on the entrances of the real binary: the ones that a gateway on the internet sees every day. Each runs at a
//! reduced size with the other tests, and at its full size in `make siege`.

mod bombs;
mod churn;
mod guessing;
mod medians;
mod pages;
mod penalties;
mod slow;
mod unread;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Connect, Device, Rejection, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use moltbot_testkit::raw::RawSocket;
use serde_json::{Value, json};

use crate::secrets::{PROGRAM, book_in};

/// A gateway behind a proxy on this machine that it believes, so that an attacker can have any address.
struct House {
    gateway: Gateway,
    home: Home,
    _model: ScriptedModel,
}

impl House {
    fn open() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Value)) -> Self {
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        home.change_config(|config| {
            config["gateway"]["trustedProxies"] = json!(["127.0.0.0/8", "::1"]);
            change(&mut config["gateway"]);
        });
        let gateway = Gateway::start(attacked(), &home);
        let house = Self { gateway, home, _model: model };
        for _ in 0..20 {
            block_on(house.known().open()).expect("what is paid once is paid before it is measured");
        }
        house
    }

    fn port(&self) -> u16 {
        self.gateway.port()
    }

    /// The owner's client, whose device has signed in before.
    fn known(&self) -> Connect {
        self.gateway.connect().device(&Device::from_seed(7), SignatureVersion::V3)
    }

    /// An upgrade of somebody with that address.
    fn upgrade(&self, client: &str) -> Result<RawSocket, u16> {
        let headers = [("x-forwarded-for", client)];
        RawSocket::upgrade(self.port(), &headers).map_err(|answer| answer.status)
    }

    #[expect(clippy::disallowed_methods, reason = "the kernel tells of processes in files")]
    fn status(&self, line: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Its resident memory, in bytes.
    fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// How many files and sockets it has open.
    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.gateway.pid())).unwrap().count()
    }

    /// The records of the book with that code: who, and how many refusals they stand for.
    fn refusals(&self, code: &str) -> Vec<(String, usize)> {
        let book = book_in(self.home.path());
        let records = book.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let refused = records.filter(|record| record["details"]["code"] == code);
        let told = |record: Value| {
            let count = record["details"]["count"].as_str().map_or(1, |count| count.parse().unwrap());
            (record["details"]["client"].as_str().unwrap().to_owned(), count)
        };
        refused.map(told).collect()
    }

    /// How long the owner's client takes to sign in.
    ///
    /// # Panics
    /// When it is refused.
    fn sign_in_time(&self) -> Duration {
        let began = Instant::now();
        let opened = block_on(self.known().open());
        assert!(opened.is_ok(), "the owner is refused: {:?}", opened.err());
        began.elapsed()
    }
}

/// What came of a sign-in: nothing when it succeeded.
fn refusal(connect: Connect) -> Option<ErrorCode> {
    block_on(connect.open()).err().map(|rejection: Rejection| match rejection.error {
        Some(error) => error.code,
        None => panic!("no answer: {rejection:?}"),
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The program that is attacked: the one that was built for the tests, or the one that `make siege` names, which is the one
/// that is shipped. What is built beside tests has their libraries' features.
#[expect(clippy::disallowed_methods, reason = "a script says what it built")]
pub(crate) fn attacked() -> PathBuf {
    std::env::var_os("MOLTBOT_ATTACKED").map_or_else(|| PROGRAM.into(), PathBuf::from)
}

/// That the release is attacked, as at full size it is to be.
pub(crate) fn require_release() {
    let program = attacked();
    assert!(program.ends_with("release/moltbot"), "not the release: {}; run `make siege`", program.display());
}

/// Lets this process have as many sockets as the system allows.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}
