//! Our reader of JSON5 against the npm package `json5`, which the other generations read their configs with.

use std::process::Command;

use moltbot_testkit::skip::skip;
use serde_json::Value;

use crate::foreign::{repository, tools};

/// Texts that are compared.
const TEXTS: usize = 3000;

/// Numbers that look random and are the same at every run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(below).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.next(of.len())]
    }

    fn space(&mut self) -> String {
        let spaces =
            ["", "", "", " ", "\n", "\t", "// c\n", "/* * */", "\u{a0}", "\u{feff}", "\u{2028}", "/**/"];
        (0..self.next(3)).map(|_| self.one(&spaces)).collect()
    }

    fn text(&mut self) -> String {
        let quote = self.one(&["'", "\""]);
        let parts = [
            "a", "é", "🦞", " ", "\\n", "\\x41", "\\u00e9", "\\\n", "\\0", "\\'", "\\\"", "\\q", "\\\\",
            "/*", "//", "{", "\\v",
        ];
        let inside: String = (0..self.next(6)).map(|_| self.one(&parts)).collect();
        format!("{quote}{inside}{quote}")
    }

    fn value(&mut self, depth: usize) -> String {
        let numbers = [
            "0",
            "-0",
            "+1",
            "12",
            ".5",
            "5.",
            "-1.25e3",
            "1E-2",
            "0x1F",
            "-0Xab",
            "Infinity",
            "-Infinity",
            "NaN",
            "1e308",
            "007",
            "1_0",
            "0.1",
            "9007199254740993",
        ];
        match self.next(if depth == 0 { 5 } else { 9 }) {
            0 => self.one(&["true", "false", "null"]).into(),
            1 | 2 => self.one(&numbers).into(),
            3 | 4 => self.text(),
            5 | 6 => {
                let items: Vec<String> = (0..self.next(4)).map(|_| self.spaced(depth)).collect();
                let comma = if self.next(3) == 0 { "," } else { "" };
                format!("[{}{comma}{}]", items.join(","), self.space())
            }
            _ => {
                let members: Vec<String> = (0..self.next(4)).map(|_| self.member(depth)).collect();
                let comma = if self.next(3) == 0 { "," } else { "" };
                format!("{{{}{comma}{}}}", members.join(","), self.space())
            }
        }
    }

    fn member(&mut self, depth: usize) -> String {
        let key = match self.next(3) {
            0 => self.text(),
            _ => self.one(&["a", "b_1", "$c", "é", "_", "true", "Infinity", "$include", "1x", "a-b"]).into(),
        };
        format!("{}{key}{}:{}", self.space(), self.space(), self.spaced(depth))
    }

    fn spaced(&mut self, depth: usize) -> String {
        let value = self.value(depth - 1);
        format!("{}{value}{}", self.space(), self.space())
    }

    /// A text, and now and then one with a character too many or too few.
    fn whole(&mut self) -> String {
        let mut text = self.value(3);
        if self.next(3) == 0 {
            let mut characters: Vec<char> = text.chars().collect();
            let place = self.next(characters.len().max(1));
            if self.next(2) == 0 && place < characters.len() {
                characters.remove(place);
            } else {
                characters.insert(
                    place,
                    self.one(&[",", "}", "[", "'", ":", "/", "+", "1"]).chars().next().unwrap(),
                );
            }
            text = characters.into_iter().collect();
        }
        text
    }
}

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => ours.as_f64() == theirs.as_f64(),
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, ours)| theirs.get(key).is_some_and(|theirs| same(ours, theirs)))
        }
        (ours, theirs) => ours == theirs,
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a foreign program, as a child of the test")]
fn what_the_npm_package_reads_we_read_the_same() {
    if !tools().join("node/node_modules/json5").exists() {
        return skip(
            "what_the_npm_package_reads_we_read_the_same",
            "json5 of npm is missing; run tests/setup.sh",
        );
    }
    let mut chance = Chance(5);
    let texts: Vec<String> = (0..TEXTS).map(|_| chance.whole()).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("texts.json");
    std::fs::write(&file, serde_json::to_string(&texts).unwrap()).unwrap();
    let output = Command::new("node")
        .arg(repository().join("tests/compat/json5_oracle.mjs"))
        .arg(&file)
        .env("MODULES", tools().join("node"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcomes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcomes.len(), TEXTS);
    let (mut read, mut refused) = (0, 0);
    for (text, theirs) in texts.iter().zip(&outcomes) {
        let ours = moltbot_config::value(text);
        match (&ours, theirs.get("value")) {
            (Ok(ours), Some(theirs)) => {
                assert!(same(ours, theirs), "{text:?}\n{ours}\n{theirs}");
                read += 1;
            }
            (Err(_), None) => refused += 1,
            (ours, theirs) => panic!("{text:?}: we say {ours:?}, they say {theirs:?}"),
        }
    }
    assert!(read > TEXTS / 2 && refused > TEXTS / 20, "{read} read, {refused} refused");
}
