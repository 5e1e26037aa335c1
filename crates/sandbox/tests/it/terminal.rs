//! A command that writes to a terminal: it has one, nothing is typed at it, and its end is that of any other.

use std::time::Duration;

use moltbot_policy::profile::Profile;
use moltbot_sandbox::Exit;

use crate::lifetime::marker;
use crate::room::{Room, has, profile, survivors, text};

fn terminal() -> Profile {
    Profile { terminal: true, ..profile() }
}

#[tokio::test]
async fn a_command_has_a_terminal_to_write_to_when_it_is_asked_for() {
    let room = Room::new();
    let script = "test -t 1 && test -t 2 && echo both; test -t 0 || echo no input; cat; stty size <&1; \
        printf 'a\\tb\\r\\n'; echo err >&2; echo end";
    let outcome = room.run_with(script, terminal()).await.unwrap();
    assert_eq!(
        (outcome.exit, text(&outcome).as_str()),
        (Exit::Code(0), "both\nno input\n24 80\na\tb\r\nerr\nend\n")
    );
    assert_eq!(room.output("test -t 1 || test -t 2 || echo none").await, "none\n", "and none when it is not");
}

#[tokio::test]
async fn all_that_is_written_to_a_terminal_comes() {
    let room = Room::new();
    let expected: String = (1..=15_000).map(|number| format!("{number}\n")).collect();
    let outcome = room.run_with("seq 1 15000", terminal()).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome) == expected, outcome.dropped_bytes), (Exit::Code(0), true, 0));
    let longer = Profile { output_bytes: 1000, ..terminal() };
    let outcome = room.run_with("seq 1 15000", longer).await.unwrap();
    assert_eq!((outcome.output.len(), outcome.truncated), (1000, true));
}

/// CVE-2017-5226 and its kin: text pushed into a terminal is run by who reads there.
#[tokio::test]
async fn a_command_types_nothing_into_its_terminal() {
    const NAME: &str = "a_command_types_nothing_into_its_terminal";
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip(NAME, "there is no /usr/bin/perl on this machine");
    }
    let room = Room::new();
    let script = "perl -e 'my $x = \"x\"; print defined(ioctl(STDOUT, 0x5412, $x)) ? \"typed\" : \"no\"; print ioctl(STDOUT, 0x5413, my $s = \"\\0\" x 8) \
        ? \" size\" : \" $!\"'";
    let outcome = room.run_with(script, terminal()).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), "no size"));
    assert_eq!(outcome.attempts.len(), 1, "{:?}", outcome.attempts);
}

#[tokio::test]
async fn a_terminal_keeps_nobody_alive() {
    let room = Room::new();
    let marker = marker(51);
    let script = format!("trap '' HUP; (setsid sleep {marker} &); sleep {marker} & echo on");
    let outcome = room.run_with(&script, terminal()).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), "on\n"));
    assert_eq!(survivors(&marker), Vec::<String>::new());
    let short = Profile { timeout: Duration::from_secs(1), ..terminal() };
    let outcome = room.run_with(&format!("echo on; trap '' HUP TERM; sleep {marker}"), short).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::TimedOut, "on\n"));
    assert_eq!(survivors(&marker), Vec::<String>::new());
}
