//! The same, as an ordinary user: when the tests run as root, they run again as one.

use moltbot_testkit::ordinary_user::run_tests_again;

use crate::room::HELPER_VARIABLE;

#[test]
fn the_same_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(
            "the_same_holds_for_an_ordinary_user",
            "this run is an ordinary user's, so the other tests show it; run as root to see both",
        );
    }
    let helper = env!("CARGO_BIN_EXE_moltbot-sandbox-helper").as_ref();
    let said = run_tests_again(
        &["--test-threads=2", "--skip", "ordinary_user", "--skip", "docker::", "--skip", "backends::"],
        &[(HELPER_VARIABLE, helper)],
    );
    assert!(said.contains("test escape::no_system_call_leads_out ... ok"), "{said}");
}
