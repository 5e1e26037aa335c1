//! From the text of a command to its verdict: no panic, no endless work; what a shell starts inside is judged no milder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moltbot_policy::command::{Choice, Rules, judge};

// A parser that gives up is caught, and its text refused; only what nobody catches is a finding.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |script: &str| {
    let rules = Rules::built_in().expect("built-in rules");
    let verdict = judge(script, rules);
    assert!(verdict.choice == Choice::Run || !verdict.reasons.is_empty(), "a reason for each question");
    if verdict.simple().is_some() {
        assert!(!verdict.parts.is_empty(), "a simple command has a part");
    }
    // Behind `-c` a word with a sign in front is an option of the shell, and no script.
    let option = script.trim_start().starts_with(['-', '+']);
    let plain = !option && !script.contains(['\'', '\0', '#']) && !script.contains("<<") && script.len() < 4096;
    if plain && verdict.choice != Choice::Run {
        let inside = judge(&format!("sh -c '{script}'"), rules);
        assert!(inside.choice >= verdict.choice, "{script:?}: {:?} became {:?}", verdict.choice, inside.choice);
    }
});
