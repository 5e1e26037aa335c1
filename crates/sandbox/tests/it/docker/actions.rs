//! What rules for containers look out for, done in one.

use super::berth::Berth;
use crate::actions::ACTIONS;
use crate::room::{has, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_action_that_rules_look_out_for_works_in_a_container() {
    const NAME: &str = "no_action_that_rules_look_out_for_works_in_a_container";
    let Some(berth) = Berth::new(NAME) else { return };
    if !has("/usr/bin/perl") {
        moltbot_testkit::skip::skip(
            NAME,
            "system calls of three lines were not tried: there is no /usr/bin/perl",
        );
    }
    let mut script = String::new();
    for (name, lines) in ACTIONS {
        script += &format!("echo '{name}:'\n");
        for line in *lines {
            script += &format!("(cd /workspace; {line}) 2>/dev/null </dev/null | grep -x out\n");
        }
    }
    let expected: String = ACTIONS.iter().map(|(name, _)| format!("{name}:\n")).collect();
    let seen = text(&berth.run(&script).await);
    assert_eq!(seen, expected);
    assert_eq!(berth.output("echo on; ls /bin/busybox").await, "on\n/bin/busybox\n");
}
