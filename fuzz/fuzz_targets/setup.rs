//! From a setup line to the commands that would run: what passes is plain words, and passes again as a list.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moltbot_policy::command::setup::{SetupCommand, judge};

fuzz_target!(|line: &str| {
    if let Ok(commands) = judge(&SetupCommand::Line(line.to_owned())) {
        for words in &commands {
            assert!(!words.is_empty());
        }
        assert_eq!(judge(&SetupCommand::List(commands.clone())), Ok(commands));
        let line = line.trim();
        assert!(!line.contains(['$', '`', ';', '|', '<', '>', '\n']) || line.contains(['\'', '"']));
    }
});
