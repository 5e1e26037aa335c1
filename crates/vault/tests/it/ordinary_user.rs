//! The same, as an ordinary user: when the tests run as root, they run again as one.

use moltbot_testkit::ordinary_user::run_tests_again;

#[test]
fn the_same_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(
            "ordinary_user::the_same_holds_for_an_ordinary_user",
            "this run is an ordinary user's, so the other tests show it; run as root to see both",
        );
    }
    let said = run_tests_again(
        &["--test-threads=2", "permissions::", "history::", "state_dir::", "owner_file::"],
        &[],
    );
    assert!(said.contains("test permissions::d_62_a_stricter_mode_stays ... ok"), "{said}");
}
