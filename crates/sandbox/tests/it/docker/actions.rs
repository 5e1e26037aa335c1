//! What rules for containers look out for, done in one.

use moltbot_sandbox::Exit;

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
    let lines: Vec<&str> = ACTIONS.iter().flat_map(|(_, lines)| *lines).copied().collect();
    let (mut at, mut seen) = (0, Vec::new());
    // Where a line ends the command, the next one begins behind it.
    while at < lines.len() {
        let rest = lines.iter().enumerate().skip(at);
        let script: String = rest
            .map(|(number, line)| {
                format!("echo at {number}\n(cd /workspace; {line}) 2>/dev/null </dev/null | grep -x out\n")
            })
            .collect();
        let outcome = berth.run(&script).await;
        let said = text(&outcome);
        assert!(!said.lines().any(|line| line == "out"), "{said}");
        let last = said
            .lines()
            .filter_map(|line| line.strip_prefix("at ")?.parse::<usize>().ok())
            .next_back()
            .unwrap();
        assert!(outcome.exit == Exit::Escape || last + 1 == lines.len(), "{}: {said}", outcome.exit);
        at = last + 1;
        seen.extend(outcome.attempts.iter().map(|one| one.call));
    }
    for call in ["mount", "unshare"] {
        assert!(seen.contains(&call), "{call} was not seen: {seen:?}");
    }
    assert_eq!(berth.told("command.attempt").len(), seen.len());
    assert_eq!(berth.output("echo on; ls /bin/busybox").await, "on\n/bin/busybox\n");
}
