//! Who is on this machine, to the real binary: the user whose program connects, and no other.

use std::process::Output;

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Circumstances, Gateway, command_in};
use moltbot_testkit::skip::skip;
use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::secrets::{PROGRAM, book_in};

/// A user that exists nowhere, as the owner of the gateway.
const OWNER: u32 = 4242;

fn as_owner() -> Circumstances {
    Circumstances { user: Some(OWNER), ..Circumstances::default() }
}

/// A gateway of that user, and the program where he can reach it: the build folder may be in root's home.
fn house() -> (ScriptedModel, Home, Gateway) {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    std::fs::copy(PROGRAM, home.path().join("program")).unwrap();
    home.give_to(OWNER);
    let gateway = Gateway::start_in(as_owner(), home.path().join("program"), &home);
    (model, home, gateway)
}

fn done(home: &Home, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        command_in(&as_owner(), home.path().join("program"), home, arguments).output().unwrap();
    let out = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{arguments:?}: {out}{}", String::from_utf8_lossy(&stderr));
    out
}

/// Root and every other user of the machine may connect to loopback, and may have seen the token. That alone makes nobody
/// the owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_of_this_machine_is_not_local_although_he_holds_the_token() {
    let name = "another_user_of_this_machine_is_not_local_although_he_holds_the_token";
    if !geteuid().is_root() {
        return skip(name, "running a gateway as another user needs root");
    }
    let (_model, home, gateway) = house();
    let device = Device::from_seed(1);
    let stranger = || gateway.connect().device(&device, SignatureVersion::V3).scopes(&["operator.admin"]);
    let refused = stranger().open().await.err().expect("a stranger").error.expect("an answer");
    assert_eq!(refused.code, ErrorCode::NotPaired, "{refused:?}");
    // Without the nonce only who is local is heard at all.
    let old = gateway.connect().device(&device, SignatureVersion::V1).open().await;
    assert_eq!(old.err().unwrap().error.unwrap().code, ErrorCode::InvalidRequest);
    // The token alone reads and writes, and is told from the owner in the book.
    let bare = gateway.connect().open().await.unwrap();
    assert_eq!(bare.hello["auth"]["scopes"], json!(["operator.read", "operator.write"]));

    // The owner's command line is local, and decides about the stranger.
    let list: Value = serde_json::from_str(&done(&home, &["clients", "list", "--json"])).unwrap();
    let rows = list["clients"].as_array().unwrap();
    let locality = |own: bool| {
        let row = rows.iter().find(|row| row["own"] == json!(own)).unwrap_or_else(|| panic!("{rows:?}"));
        row["locality"].as_str().unwrap().to_owned()
    };
    assert_eq!((locality(true), locality(false)), ("local".into(), "remote".into()));
    let request = refused.details.unwrap()["requestId"].as_str().unwrap().to_owned();
    done(&home, &["devices", "approve", &request]);
    assert!(stranger().open().await.is_ok(), "what a person approved holds");
    let book = book_in(home.path());
    assert!(book.contains(r#""locality":"remote""#) && book.contains("pairing.silent"), "both are told");
}

/// What others of this machine guess is not counted against its owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guesses_of_another_user_do_not_keep_the_owner_out() {
    let name = "the_guesses_of_another_user_do_not_keep_the_owner_out";
    if !geteuid().is_root() {
        return skip(name, "running a gateway as another user needs root");
    }
    let (_model, home, gateway) = house();
    let mut last = None;
    for _ in 0..6 {
        let rejected = Connect::to(gateway.port()).token("wrong").open().await.err().unwrap();
        last = rejected.error;
    }
    assert_eq!(last.unwrap().code, ErrorCode::RateLimited);
    done(&home, &["health"]);
    assert!(gateway.connect().open().await.is_err(), "and the guesser stays out");
}
