use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn client(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn from(client: IpAddr) -> Asking {
    let locality = if client.is_loopback() { Locality::Local } else { Locality::Remote };
    Asking { client, locality, credential: "token" }
}

fn asking(text: &str) -> Asking {
    from(client(text))
}

fn device(id: &str) -> Signed {
    Signed { id: id.into(), fresh: true, held: None }
}

/// The `n`th of many unrelated addresses.
fn nth(n: u32) -> Asking {
    from(IpAddr::V4((0xcb00_0000 + n).into()))
}

#[test]
fn five_tries_then_none_for_five_minutes() {
    let mut throttle = Throttle::default();
    for n in 0..5 {
        assert!(throttle.admit(asking("203.0.113.9"), SECOND * n).is_ok(), "try {n}");
    }
    let refused = throttle.admit(asking("203.0.113.9"), SECOND * 10).unwrap_err();
    assert_eq!(refused.retry_after, SECOND * 294);
    assert!(throttle.admit(asking("203.0.113.10"), SECOND * 10).is_ok(), "another source is not affected");
    assert!(throttle.admit(asking("203.0.113.9"), SECOND * 303).is_err());
    for n in 0..5 {
        assert!(throttle.admit(asking("203.0.113.9"), SECOND * 304).is_ok(), "allowed again after it: {n}");
    }
    assert!(throttle.admit(asking("203.0.113.9"), SECOND * 304).is_err());
}

#[test]
fn d_32_the_border_of_a_window_gives_no_more_tries() {
    let mut throttle = Throttle::default();
    assert!(throttle.admit(asking("203.0.113.9"), SECOND).is_ok());
    for n in 0..4 {
        assert!(throttle.admit(asking("203.0.113.9"), SECOND * 299).is_ok(), "try {n}");
    }
    assert_eq!(throttle.admit(asking("203.0.113.9"), SECOND * 302).unwrap_err().retry_after, SECOND * 297);
}

#[test]
fn d_32_a_thousand_sources_guess_no_faster_than_the_budget() {
    let mut throttle = Throttle::default();
    let mut evaluated = Vec::new();
    for n in 0..10_000_u32 {
        let now = SECOND * (n / 50); // ten thousand tries of a thousand sources in 200 s
        if throttle.admit(nth(n % 1000), now).is_ok() {
            evaluated.push(now);
        }
    }
    let most = |window| {
        evaluated.iter().filter(|at| window <= **at && **at < window + limits::GUESSES_WINDOW).count()
    };
    let worst = (0..200).map(|second| most(SECOND * second)).max().unwrap();
    assert_eq!(worst, limits::GUESSES_AT_ONE - limits::GUESSES_HERE, "{} in all", evaluated.len());
    let refused = throttle.admit(nth(5000), SECOND * 200).unwrap_err();
    assert!(refused.retry_after <= limits::GUESSES_WINDOW, "{refused:?}");
}

#[test]
fn d_34_strangers_lock_out_neither_this_machine_nor_a_known_device() {
    let mut throttle = Throttle::default();
    throttle.learn("phone");
    let relayed = Asking { locality: Locality::Remote, ..asking("127.0.0.1") };
    for n in 0..1000 {
        drop(throttle.admit(nth(n), SECOND));
        drop(throttle.admit(relayed, SECOND));
    }
    assert!(throttle.admit(nth(7), SECOND).is_err());
    assert!(throttle.admit(relayed, SECOND).is_err(), "a proxy on this machine is not exempt");
    assert!(throttle.admit(asking("127.0.0.1"), SECOND).is_ok());
    assert!(throttle.admit_device(&device("phone"), nth(7), SECOND).unwrap().is_ok());
    assert!(
        throttle.admit_device(&device("other"), nth(7), SECOND).is_none(),
        "a stranger, whatever its key"
    );
}

#[test]
fn d_37_a_success_gives_back_the_tries_of_its_source_and_credential_only() {
    let mut throttle = Throttle::default();
    throttle.learn("phone");
    let password = |asking| Asking { credential: "password", ..asking };
    for _ in 0..2 {
        assert!(throttle.admit(asking("203.0.113.9"), SECOND).is_ok());
        assert!(throttle.admit(password(asking("203.0.113.9")), SECOND).is_ok());
    }
    let phone = throttle.admit_device(&device("phone"), asking("203.0.113.9"), SECOND).unwrap().unwrap();
    assert!(!throttle.succeeded(&phone), "a device's success is not its source's");
    let good = throttle.admit(password(asking("203.0.113.9")), SECOND).unwrap();
    assert!(throttle.succeeded(&good));
    for n in 0..3 {
        assert!(
            throttle.admit(asking("203.0.113.9"), SECOND).is_ok(),
            "two tries at the token are left: {n}"
        );
    }
    assert!(throttle.admit(asking("203.0.113.9"), SECOND).is_err());
}

#[test]
fn d_37_a_known_device_has_five_tries_of_its_own() {
    let mut throttle = Throttle::default();
    throttle.learn("phone");
    let mut phone = |n| throttle.admit_device(&device("phone"), nth(n), SECOND).unwrap();
    for n in 0..5 {
        assert!(phone(n).is_ok(), "try {n}");
    }
    assert_eq!(phone(6).unwrap_err().retry_after, limits::SIGN_IN_WINDOW);
    throttle.forget("phone");
    assert!(throttle.admit_device(&device("phone"), nth(7), SECOND).is_none());
}

#[test]
fn a_success_resets_its_source_only() {
    let mut throttle = Throttle::default();
    for _ in 0..4 {
        assert!(throttle.admit(asking("127.0.0.1"), SECOND).is_ok());
        assert!(throttle.admit(asking("203.0.113.9"), SECOND).is_ok());
    }
    let good = throttle.admit(asking("127.0.0.1"), SECOND).unwrap();
    assert!(throttle.succeeded(&good));
    assert!(throttle.admit(asking("203.0.113.9"), SECOND).is_ok());
    assert!(throttle.admit(asking("203.0.113.9"), SECOND).is_err());
    for _ in 0..5 {
        assert!(throttle.admit(asking("127.0.0.1"), SECOND).is_ok());
    }
    assert!(throttle.admit(asking("127.0.0.1"), SECOND).is_err());
}

#[test]
fn mapped_addresses_and_neighbours_in_a_64_are_one_source() {
    let source = |text| Source::of(client(text));
    assert_eq!(source("::ffff:203.0.113.9"), source("203.0.113.9"));
    assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    for here in ["127.0.0.1", "127.9.8.7", "::ffff:127.0.0.2"] {
        assert_eq!(source(here), source("::1"), "{here}");
        assert_ne!(source(here), Source::of_peer(client(here), Locality::Remote), "{here} by a proxy");
    }
}

#[test]
fn d_33_another_64_of_the_same_48_gets_eight_times_the_tries_and_no_more() {
    let mut throttle = Throttle::default();
    let mut evaluated = 0;
    for second in 0..290 {
        for n in 0..10 {
            let neighbour = asking(&format!("2001:db8:1:{:x}::1", second * 10 + n));
            evaluated += usize::from(throttle.admit(neighbour, SECOND * second).is_ok());
        }
    }
    assert_eq!(evaluated, limits::FAILED_SIGN_INS * limits::SOURCES_48);
    assert!(throttle.admit(asking("2001:db8:2::1"), SECOND * 290).is_ok(), "another /48 is not affected");
}

#[test]
fn d_33_memory_is_bounded_whoever_tries() {
    let mut throttle = Throttle::default();
    for n in 0..200_000_u32 {
        drop(throttle.admit(nth(n), Duration::from_millis(20) * n));
        drop(throttle.admit(
            from(IpAddr::V6(Ipv6Addr::from_bits(u128::from(n) << 80))),
            Duration::from_millis(20) * n,
        ));
        throttle.learn(&n.to_string());
    }
    let (tries, known) = (throttle.tries().count(), throttle.known().count());
    assert!(tries <= 600 && known == limits::KNOWN_DEVICES, "{tries} tries and {known} devices");
}

#[test]
fn d_37_what_is_kept_counts_after_a_restart_and_what_is_not_known_refuses_strangers() {
    let mut before = Throttle::default();
    before.learn("phone");
    for n in 0..5 {
        assert!(before.admit(asking("203.0.113.9"), SECOND * n).is_ok());
    }
    let mut after = Throttle::default();
    let known = before.known().map(str::to_owned).collect();
    after.restore(before.tries().cloned().collect(), known);
    assert_eq!(
        after.admit(asking("203.0.113.9"), SECOND * 10),
        before.admit(asking("203.0.113.9"), SECOND * 10)
    );
    assert!(after.knows("phone"));

    let mut closed = Throttle::default();
    closed.learn("phone");
    closed.close_until(SECOND * 300);
    assert_eq!(closed.admit(nth(1), SECOND * 10).unwrap_err().retry_after, SECOND * 290);
    assert!(closed.admit(asking("::1"), SECOND * 10).is_ok());
    assert!(closed.admit_device(&device("phone"), nth(1), SECOND * 10).unwrap().is_ok());
    assert!(closed.admit(nth(1), SECOND * 300).is_ok());
}

/// One thing that happens: somebody tries, rightly or not, after a while.
#[derive(Clone, Debug)]
struct Step {
    after: u32,
    who: u32,
    right: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (prop_oneof![4 => 0..3_u32, 1 => 0..200_u32], 0..40_u32, prop::bool::weighted(0.1));
    prop::collection::vec(step.prop_map(|(after, who, right)| Step { after, who, right }), 1..400)
}

/// Few sources try often, so that each of their budgets is reached; the last two are this machine's.
fn somebody(who: u32) -> Asking {
    match who {
        0 => asking("127.0.0.1"),
        1 => Asking { locality: Locality::Remote, ..asking("::1") },
        2..12 => asking(&format!("2001:db8:1:{who}::1")),
        _ => Asking { credential: if who.is_multiple_of(2) { "token" } else { "password" }, ..nth(who) },
    }
}

/// The most of these times within one window, its end not included.
fn most(times: &[Duration], window: Duration) -> usize {
    let within =
        |first: &Duration| times.iter().filter(|at| *first <= **at && **at < *first + window).count();
    times.iter().map(within).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn d_32_no_window_has_more_failed_guesses_than_its_budget(steps in steps()) {
        let (mut throttle, mut now) = (Throttle::default(), Duration::ZERO);
        let mut failed: Vec<(u32, &str, Duration)> = Vec::new();
        let mut runs: std::collections::BTreeMap<u32, Vec<Duration>> = Default::default();
        for Step { after, who, right } in steps {
            now += SECOND * after;
            let Ok(attempt) = throttle.admit(somebody(who), now) else { continue };
            if right {
                throttle.succeeded(&attempt);
                runs.remove(&who);
                continue;
            }
            failed.push((who, somebody(who).credential, now));
            let run = runs.entry(who).or_default();
            run.push(now);
            prop_assert!(most(run, limits::SIGN_IN_WINDOW) <= limits::FAILED_SIGN_INS, "{who}: {run:?}");
        }
        let times = |counts: &dyn Fn(u32, &str) -> bool| -> Vec<Duration> {
            failed.iter().filter(|(who, credential, _)| counts(*who, credential)).map(|(.., at)| *at).collect()
        };
        let strangers_all = most(&times(&|who, _| who > 1), limits::GUESSES_WINDOW);
        prop_assert!(strangers_all <= limits::GUESSES_IN_ALL - limits::GUESSES_HERE, "{strangers_all}");
        for credential in ["token", "password"] {
            let each = most(&times(&|who, found| who > 1 && found == credential), limits::GUESSES_WINDOW);
            prop_assert!(each <= limits::GUESSES_AT_ONE - limits::GUESSES_HERE, "{credential}: {each}");
        }
        let wide = most(&times(&|who, _| (2..12).contains(&who)), limits::SIGN_IN_WINDOW);
        prop_assert!(wide <= limits::FAILED_SIGN_INS * limits::SOURCES_48, "{wide} of one /48");
    }

    #[test]
    fn who_is_refused_is_admitted_when_told(tries in prop::collection::vec((0..40_u32, 0..30_u32), 1..200)) {
        let (mut throttle, mut now) = (Throttle::default(), Duration::ZERO);
        for (who, after) in tries {
            now += SECOND * after;
            if let Err(limited) = throttle.admit(somebody(who), now) {
                prop_assert!(limited.retry_after <= limits::SIGN_IN_WINDOW);
                now += limited.retry_after;
                prop_assert!(throttle.admit(somebody(who), now).is_ok(), "{who} after {limited:?}");
            }
        }
    }
}

#[test]
fn the_strict_profiles_lock_after_three_for_fifteen_minutes_and_forget_nobody() {
    let mut throttle = Throttle::of(Strictness::of(SecurityProfile::Asvs));
    let client = "203.0.113.9".parse().unwrap();
    let asking = Asking { client, locality: Locality::Remote, credential: "token" };
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    for n in 0..3 {
        assert!(throttle.admit(asking, minutes(n * 7)).is_ok(), "try {n} within fifteen minutes");
    }
    let wait = throttle.admit(asking, minutes(14)).unwrap_err().retry_after;
    assert_eq!(wait, minutes(15), "fifteen minutes from the third");
    assert!(throttle.admit(asking, minutes(28)).is_err());
    assert!(throttle.admit(asking, minutes(30)).is_ok());
    for n in 0..limits::KNOWN_DEVICES {
        assert!(throttle.learn(&n.to_string()));
    }
    assert!(!throttle.learn("one more") && !throttle.knows("one more"));
    assert!(throttle.knows("0"), "a flood of devices pushes nobody out");
}
