//! The same over the other backends: the tests of this program run again, as they are. What a backend does not have is
//! listed here by the names of its tests, with the reason.

use std::process::Command;

use moltbot_testkit::ordinary_user::run_tests_again_with;

use crate::room::{BACKEND_VARIABLE, HELPER_VARIABLE, has};

/// A test that does not hold for a backend, and why.
type Missing = (&'static str, &'static str);

const NOTHING_AHEAD: &str = "only the embedded backend builds walls ahead";

/// `bwrap` has all walls of the embedded backend, but that its processes are told what is mounted.
const BUBBLEWRAP: &[Missing] = &[
    ("ahead::", NOTHING_AHEAD),
    ("view::no_process_tells_what_is_mounted", "the root stays in the namespace that bubblewrap made"),
];

/// What is otherwise in a run as an ordinary user, who can only nest within a user namespace.
const BUBBLEWRAP_NESTED: &[Missing] = &[
    ("pitfalls::pitfall_05", "within a user namespace nobody is root, so /usr/bin/bwrap is not root's there"),
    (
        "pitfalls::two_hundred",
        "within a user namespace nobody is root, so /usr/bin/bwrap is not root's there",
    ),
    ("pitfalls::siege_ten_thousand", "the same"),
];

const NO_ROOT: &str = "there is no private root: what is hidden is there, and can be named and not read";
const NO_PROC: &str = "there is no /proc for the command to look at";
const NO_NETWORK: &str = "there is no network of its own, and so no proxy; the config refuses one";
const NOT_HELD: &str = "without mounts no path of a workspace can be held";

/// The walls that `embedded-weak` does not have (`moltbot_policy::profile::missing_walls`), and what follows.
const WEAK: &[Missing] = &[
    ("ahead::", NOTHING_AHEAD),
    ("network::a_command_reaches_its_proxy_and_programs_find_it", NO_NETWORK),
    ("network::nothing_but_the_proxy_is_reached", NO_NETWORK),
    ("pitfalls::pitfall_08_18", "no /proc is mounted, so that nothing fails where parts of it are hidden"),
    ("resources::a_fork_bomb", "it counts in /proc; weak::a_fork_bomb counts from outside"),
    (
        "resources::files_and_folders_in_memory",
        "the temporary folder is on a disk, and bounded by its room alone",
    ),
    ("resources::limits_are_those_of_the_profile", "the keeper counts processes, and not the kernel"),
    ("resources::memory_in_sockets", "sockets of the command cannot be told from those of others"),
    ("view::a_command_sees_its_own_world", NO_ROOT),
    ("view::nothing_is_left_of_privileges", NO_PROC),
    ("view::no_process_tells_what_is_mounted", NO_PROC),
    ("view::pitfall_14", NO_PROC),
    (
        "view::the_environment_has_four_names",
        "it names the temporary folder besides, and descriptors are seen in /proc",
    ),
    ("view::the_state_folder_beside", NO_ROOT),
    ("workspace::a_file_system_that_cannot_lend", "without mounts a root gateway lends no workspace at all"),
    ("workspace::a_file_that_leads_git", NOT_HELD),
    ("workspace::files_made_inside", "the command has the number of its user on this machine"),
    ("workspace::what_the_host_runs_or_obeys", NOT_HELD),
];

const BUBBLEWRAP_PROGRAM: &str = "/usr/bin/bwrap";

#[test]
fn the_same_holds_in_bubblewrap() {
    if !has(BUBBLEWRAP_PROGRAM) {
        return no_bubblewrap("the_same_holds_in_bubblewrap");
    }
    if rustix::process::geteuid().is_root() {
        here("bwrap", &[BUBBLEWRAP]);
    } else {
        here("bwrap", &[BUBBLEWRAP, BUBBLEWRAP_NESTED]);
    }
}

#[test]
fn the_same_holds_in_bubblewrap_for_an_ordinary_user() {
    const NAME: &str = "the_same_holds_in_bubblewrap_for_an_ordinary_user";
    if !has(BUBBLEWRAP_PROGRAM) {
        return no_bubblewrap(NAME);
    }
    for_an_ordinary_user(NAME, "bwrap", &[BUBBLEWRAP, BUBBLEWRAP_NESTED]);
}

#[test]
fn the_same_holds_without_namespaces_but_for_what_is_missing() {
    here("embedded-weak", &[WEAK]);
}

#[test]
fn the_same_holds_without_namespaces_for_an_ordinary_user() {
    const NAME: &str = "the_same_holds_without_namespaces_for_an_ordinary_user";
    for_an_ordinary_user(NAME, "embedded-weak", &[WEAK]);
}

fn no_bubblewrap(name: &str) {
    moltbot_testkit::skip::skip(name, "/usr/bin/bwrap is not on this machine");
}

/// Runs the tests again as this user.
fn here(backend: &str, missing: &[&[Missing]]) {
    #[expect(clippy::disallowed_methods, reason = "the tests run themselves over another backend")]
    let output = Command::new(std::env::current_exe().unwrap())
        .args(arguments(missing))
        .env(BACKEND_VARIABLE, backend)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    holds(&said);
}

fn for_an_ordinary_user(name: &str, backend: &str, missing: &[&[Missing]]) {
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(
            name,
            "this run is an ordinary user's, so the other test shows it; run as root to see both",
        );
    }
    let helper = env!("CARGO_BIN_EXE_moltbot-sandbox-helper").as_ref();
    holds(&run_tests_again_with(
        &arguments(missing),
        &[(HELPER_VARIABLE, helper)],
        &[(BACKEND_VARIABLE, backend)],
    ));
}

/// That the run had the batteries in it.
fn holds(said: &str) {
    for battery in [
        "actions::no_action_that_rules_look_out_for_works_and_what_leads_out_is_in_the_book",
        "escape::no_system_call_leads_out",
        "escape::each_call_that_leads_out_ends_its_command_and_is_in_the_book",
        "lifetime::a_timeout_leaves_no_survivor",
        "lifetime::no_command_survives_a_gateway_that_is_killed",
    ] {
        assert!(said.contains(&format!("test {battery} ... ok")), "{battery} did not run: {said}");
    }
}

fn arguments(missing: &[&[Missing]]) -> Vec<&'static str> {
    // Those of `weak` name their backend themselves.
    let elsewhere = ["backends::", "docker::", "ordinary_user::", "weak::"];
    let missing = missing.iter().flat_map(|some| some.iter());
    let skipped = elsewhere.into_iter().chain(missing.map(|(test, why)| {
        assert!(!why.is_empty(), "{test} is left out without a reason");
        *test
    }));
    let skipped = skipped.flat_map(|test| ["--skip", test]);
    ["--test-threads=2"].into_iter().chain(skipped).collect()
}
