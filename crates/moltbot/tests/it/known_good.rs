//! The config that worked last, through the real binary: kept sealed, started with on demand, and never a default in its
//! place.

use std::time::{Duration, Instant};

use moltbot_testkit::client::{Device, SignatureVersion};
use moltbot_testkit::home::{Home, PROVIDER_KEY};
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::vault;
use moltbot_vault::History;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const GOOD: &str = "history/last-known-good";
const FLAG: &str = "--last-known-good";

/// The file of the config that worked last.
fn kept(home: &Home) -> Option<Vec<u8>> {
    home.state().read(GOOD, 1 << 20).unwrap()
}

fn has(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// The exit code of a start, and what it said.
fn start(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(PROGRAM, home, &[&["gateway", "run"], arguments].concat());
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// With an invalid config the start says what would work, and that works; the file stays as it is.
async fn require_way_back(home: &Home, token: &str) {
    let broken = "{ gateway: { prot: 1 } }";
    home.write_config_text(broken);
    let (code, said) = start(home, &[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("gateway.prot") && said.contains("moltbot gateway run --last-known-good"),
        "{said}"
    );
    let gateway = Gateway::start_as(&["gateway", "run", FLAG], PROGRAM, home);
    let client = moltbot_testkit::client::Connect::to(home.port()).token(token);
    let client = client.scopes(&["operator.admin"]).device(&Device::from_seed(1), SignatureVersion::V3);
    let mut client = client.open().await.unwrap();
    assert_eq!(client.chat("main", "does it work?").await.state, "final", "{}", gateway.printed());
    assert_eq!(home.config_text().unwrap(), broken, "the owner's file is not replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_config_names_the_one_that_worked_and_it_serves() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let (good, token) = (home.config_text().unwrap(), home.token().unwrap());
    let (code, said) = {
        home.write_config_text("{ gateway: { prot: 1 } }");
        start(&home, &[])
    };
    assert!(code == Some(78) && !said.contains(FLAG), "nothing is offered that is not there: {said}");
    let (code, said) = start(&home, &[FLAG]);
    assert!(code == Some(78) && said.contains("no config has worked here"), "{code:?} {said}");

    let state = home.state();
    History::new(&state, &vault(&state)).mark_good(good.as_bytes(), 1_767_225_600_000).unwrap();
    let sealed = kept(&home).unwrap();
    assert!(!has(&sealed, PROVIDER_KEY) && !has(&sealed, &token) && !has(&sealed, "apiKey"), "it is sealed");
    require_way_back(&home, &token).await;

    // Not one of its bytes can be changed.
    for at in (0..sealed.len()).step_by(sealed.len() / 7) {
        let mut forged = sealed.clone();
        forged[at] ^= 1;
        state.write(GOOD, &forged).unwrap();
        let (code, said) = start(&home, &[FLAG]);
        assert!(code.is_some_and(|code| code != 0), "byte {at} of {}: {said}", sealed.len());
        assert!(said.contains("history"), "byte {at}: {said}");
    }
    state.write(GOOD, &sealed).unwrap();
    require_way_back(&home, &token).await;
}

/// Real time, because no build lets anybody say how long a minute is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_that_served_for_a_minute_is_kept_and_one_that_did_not_is_not() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let token = home.token().unwrap();
    let began = Instant::now();
    let mut gateway = Gateway::start(PROGRAM, &home);
    std::thread::sleep(Duration::from_secs(50));
    assert_eq!(kept(&home), None, "after {:?}", began.elapsed());
    while kept(&home).is_none() {
        assert!(began.elapsed() < Duration::from_secs(90), "nothing was kept");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(began.elapsed() >= Duration::from_secs(60), "after {:?}", began.elapsed());
    gateway.terminate();
    let sealed = kept(&home).unwrap();
    assert!(!has(&sealed, PROVIDER_KEY) && !has(&sealed, &token), "it is sealed");
    require_way_back(&home, &token).await;
}
