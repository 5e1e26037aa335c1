use moltbot_config::{ConfigErrorKind, Surroundings, limits, load, seal_all};

use crate::read;
use crate::toy::{Toy, with};

fn kinds(text: &[u8]) -> Vec<ConfigErrorKind> {
    match load(text, "moltbot.json", &Surroundings::plain(&|_| None)) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.errors().iter().map(|error| error.kind).collect(),
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let huge = vec![b' '; 10 * 1024 * 1024];
    assert_eq!(kinds(&huge), [ConfigErrorKind::Size]);
    let report = load(&huge, "moltbot.json", &Surroundings::plain(&|_| None)).unwrap_err().to_string();
    assert_eq!(
        report,
        "moltbot.json is not a valid config: 1 error\n\nthe file: it has 10485760 bytes; a config has at most 1048576\n  fix: check that this is a config\n"
    );
}

#[test]
fn invalid_utf8_is_named_by_its_offset() {
    let errors =
        load(b"{\n  // caf\xc3\xa9 \xff\n}", "moltbot.json", &Surroundings::plain(&|_| None)).unwrap_err();
    let error = &errors.errors()[0];
    assert_eq!((error.kind, error.line, error.column), (ConfigErrorKind::Encoding, 2, 11));
    assert_eq!(error.message, "it is not UTF-8: byte 13 is 0xff");
}

#[test]
fn a_truncated_file_says_where_it_was_open() {
    let full = include_str!("../data/full-openclaw.json5");
    for length in (0..full.len()).step_by(97) {
        let Some(text) = full.get(..length) else { continue };
        let errors = read(text).expect_err("half a config");
        assert_eq!(errors.errors().len(), 1, "{length}");
        assert_eq!(errors.errors()[0].kind, ConfigErrorKind::Syntax, "{length}");
        assert!(errors.errors()[0].line > 0);
    }
    let report = read("{\n  gateway: {\n    port: 1,\n").unwrap_err().to_string();
    assert_eq!(
        report,
        "moltbot.json is not a valid config: 1 error\n\ngateway (line 2, column 12): the file ends inside this object\n  2 | gateway: {\n    |          ^\n  fix: add the missing '}'\n"
    );
}

#[test]
fn depth_and_numbers_of_errors_are_bounded() {
    let deep = |open: &str, n: usize| format!("{{ui: {}", open.repeat(n));
    for text in [
        deep("[", 400_000),
        deep("{a:", 300_000),
        deep("-", 900_000),
        format!("{{ui: {}1{}}}", "[".repeat(100), "]".repeat(100)),
    ] {
        assert_eq!(kinds(text.as_bytes()), [ConfigErrorKind::Syntax]);
    }
    let wrong: String = (0..60_000).map(|n| format!("k{n}:1,")).collect();
    let errors = read(&format!("{{{wrong}}}")).unwrap_err();
    assert_eq!(errors.errors().len(), 100);
    assert!(errors.to_string().contains("60000 errors"), "all are counted");
    assert!(errors.to_string().ends_with("and 59900 more\n"));
    let full = usize::try_from(limits::CONFIG_BYTES).unwrap() - 10;
    let dollars = format!("{{ui: {{a: '{}'}}}}", "${".repeat(full / 2 - 10));
    assert!(read(&dollars).is_ok(), "what is no reference is text");
    let missing = format!("{{ui: {{a: '{}'}}}}", "${A}".repeat(full / 4 - 10));
    assert_eq!(read(&missing).unwrap_err().errors().len(), 100);
    let unserved: String = (0..60_000).map(|n| format!("typing{n}:0,")).collect();
    assert_eq!(read(&format!("{{agents: {{defaults: {{{unserved}}}}}}}")).unwrap().unsupported.len(), 60_000);
    let keys: String = (0..80_000).map(|n| format!("'{n}':0,")).collect();
    assert!(read(&format!("{{ui: {{{keys}}}}}")).is_ok());
}

#[test]
fn secrets_of_a_large_config_are_found_in_one_walk() {
    let elements: String = (0..20_000).map(|n| format!("{{id:'{n}',env:{{A:'b'}}}},")).collect();
    let sealed = seal_all(&format!("{{ui:[{elements}]}}"), &Toy(1)).unwrap();
    assert_eq!(sealed.paths.len(), 20_000);
    let members: String = (0..50_000).map(|n| format!("A{n}:'sealed:',")).collect();
    let errors = with(&Toy(1), false, &format!("{{env:{{{members}}}}}")).unwrap_err();
    assert!(errors.to_string().contains("50000 errors"), "all are counted");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        kinds(&bytes);
    }

    #[test]
    fn no_text_of_json5_signs_makes_it_panic(text in "[\\[\\]{}:,'\"\\\\/*+.\\-0-9a-fxuINn$ \n\u{e9}\u{2028}]{0,120}") {
        kinds(text.as_bytes());
        kinds(format!("{{gateway: {{auth: {{token: {text}}}}}}}").as_bytes());
    }

    #[test]
    fn no_damage_to_a_config_makes_it_panic(at in 0..10_000_usize, byte in proptest::num::u8::ANY) {
        let mut text = include_bytes!("../data/full-openclaw.json5").to_vec();
        let at = at % text.len();
        text[at] = byte;
        kinds(&text);
    }
}
