//! What must not be seen in a text: values that are known to be secret, and what has the form of a secret.
//!
//! Pure, and used wherever text leaves for a place that keeps it: the book (which puts an HMAC there, so that
//! a value can still be looked for) and the log (which puts `***`). [`Redactor`] looks for
//!
//! - **known values**, as they are and as JSON, URLs, hex and base64 write them, however they are wrapped;
//! - **known forms**: keys with a vendor's prefix, private keys, JSON Web Tokens, bot tokens, credentials in
//!   headers, URLs, flags and assignments to names such as `API_KEY`.
//!
//! The time is linear in the text's length. A form is a guess: a secret that is neither known nor looks like
//! one stays. What it deliberately leaves alone: hashes, ids, `mkdir -p x`, references such as `${NAME}`.

mod forms;
mod known;
mod names;
mod value;

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use moltbot_config::hole;
use secrecy::SecretString;

use forms::Forms;
use known::Known;

/// Takes secrets out of texts. Clones share the list of known values.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    known: Arc<RwLock<Arc<Known>>>,
}

/// A part of a text, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// What covers both.
    fn and(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl Redactor {
    /// Makes `values` the known ones, in place of those before. Values shorter than eight bytes are left out:
    /// they would be found in ordinary words.
    pub fn hide(&self, values: &[SecretString]) {
        let known = Arc::new(Known::of(values));
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// `text` with every secret replaced by what `replace` makes of it. A known value is given to `replace` as
    /// it was hidden, however the text writes it.
    pub fn redact<'a>(&self, text: &'a str, replace: &dyn Fn(&str) -> String) -> Cow<'a, str> {
        if hole!("log-canary") {
            return Cow::Borrowed(text);
        }
        self.replaced(text, replace, true)
    }

    /// `text` with `instead` in place of every known value, however it is written. What only looks like a secret stays: for
    /// texts that people read, who may have asked for one.
    pub fn redact_known<'a>(&self, text: &'a str, instead: &str) -> Cow<'a, str> {
        self.replaced(text, &|_| instead.to_owned(), false)
    }

    fn replaced<'a>(&self, text: &'a str, replace: &dyn Fn(&str) -> String, guesses: bool) -> Cow<'a, str> {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let bytes = text.as_bytes();
        let mut forms = Forms::default();
        let mut out = String::new();
        let (mut at, mut done) = (0, 0);
        while at < bytes.len() {
            let value = known.at(bytes, at).map(|found| found.span);
            // Both are asked: a value may be known that is only the beginning of what has a form.
            let form = if guesses { forms.at(bytes, at, done) } else { None };
            let Some(found) = value.into_iter().chain(form).reduce(Span::and) else {
                at += 1;
                continue;
            };
            let span = whole(text, widened(&known, bytes, at, found));
            out.push_str(text.get(done..span.start).unwrap_or_default());
            let hidden = text.get(span.start..span.end).unwrap_or_default();
            let value = known.at(bytes, span.start).filter(|found| found.span == span);
            out.push_str(&replace(value.and_then(|found| found.value).unwrap_or(hidden)));
            done = span.end;
            at = done.max(at + 1);
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }
}

/// The span with every known value that begins in it, or between the sign at `from` and it: none may stay in
/// part because a form began later or ended earlier.
fn widened(known: &Known, bytes: &[u8], from: usize, found: Span) -> Span {
    let start = (from..found.start).find(|at| known.at(bytes, *at).is_some()).unwrap_or(found.start);
    let (mut at, mut end) = (start, found.end);
    while at < end {
        end = known.beyond(bytes, at, end);
        at += 1;
    }
    Span { start, end }
}

/// The span, ending where a character does.
fn whole(text: &str, span: Span) -> Span {
    Span { end: text.ceil_char_boundary(span.end), ..span }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two values that no form would find.
    const PLAIN: &str = "correct horse battery";
    const ODD: &str = "a\"b\\c/d+e é 1234567890";

    fn hiding(values: &[&str]) -> Redactor {
        let redactor = Redactor::default();
        redactor
            .hide(&values.iter().map(|value| SecretString::from((*value).to_owned())).collect::<Vec<_>>());
        redactor
    }

    fn redacted(redactor: &Redactor, text: &str) -> String {
        redactor.redact(text, &|_| "***".into()).into_owned()
    }

    #[test]
    fn a_form_is_taken_out_and_what_is_around_it_stays() {
        let key = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";
        for (text, expected) in [
            (format!("use sk-{key} now"), "use *** now"),
            (format!("sk-ant-api03-{key}"), "***"),
            (format!("(ghp_{key}),"), "(***),"),
            (format!("gho_{key} github_pat_{key} glpat-{key}"), "*** *** ***"),
            ("AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE".into(), "*** and ***"),
            (format!("AIza{key} ya29.{key} xoxb-1234567890-{key} xapp-1-{key}"), "*** *** *** ***"),
            (format!("gsk_{key} pplx-{key} npm_{key}"), "*** *** ***"),
            (
                format!("https://api.telegram.org/bot123456789:{key}/getMe"),
                "https://api.telegram.org/bot***/getMe",
            ),
            (format!("bot token 123456789:{key}"), "bot token ***"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl.".into(), "***."),
            ("a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb".into(), "a ***\nb"),
            (r"-----BEGIN PRIVATE KEY-----\nMIIE".into(), "***"),
            ("curl -H 'Authorization: Bearer abc' x".into(), "curl -H 'Authorization: Bearer ***' x"),
            ("authorization: Basic dTpw\nx".into(), "authorization: Basic ***\nx"),
            ("Authorization: hunter2".into(), "Authorization: ***"),
            ("sent bearer abc12345 there".into(), "sent bearer *** there"),
            (
                "run --token abc --password 'x y' --api-key=z -v".into(),
                "run --token *** --password '***' --api-key=*** -v",
            ),
            (r#"["run","--token","abc","-v"]"#.into(), r#"["run","--token","***","-v"]"#),
            ("mysql -u root -p hunter2 db".into(), "mysql -u root -p *** db"),
            ("mysql -phunter2 db; mkdir -p x".into(), "mysql -p*** db; mkdir -p x"),
            ("sshpass -p 'a b' ssh h".into(), "sshpass -p '***' ssh h"),
            ("docker login -u me -p hunter2 r".into(), "docker login -u me -p *** r"),
            ("curl -u me:hunter2 https://h".into(), "curl -u me:*** https://h"),
            (
                "OPENAI_API_KEY=abc MY_KEY='d e' A_TOKEN=\"f\" run".into(),
                "OPENAI_API_KEY=*** MY_KEY='***' A_TOKEN=\"***\" run",
            ),
            ("DB_PASSWORD=a$b!c;ls".into(), "DB_PASSWORD=***;ls"),
            ("aws_secret_access_key = abc".into(), "aws_secret_access_key = ***"),
            (
                r#"{"apiKey":"a\"b","x":1,"botToken": "c"}"#.into(),
                r#"{"apiKey":"***","x":1,"botToken": "***"}"#,
            ),
            (r#"{"m":"{\"password\":\"a\\\"b\"}"}"#.into(), r#"{"m":"{\"password\":\"***\"}"}"#),
            ("password: hunter2".into(), "password: ***"),
            ("x-api-key: abcdef".into(), "x-api-key: ***"),
            ("Cookie: a=b; c=d\nHost: x".into(), "Cookie: ***\nHost: x"),
            ("postgres://me:hunter2@db/x?y=z".into(), "postgres://me:***@db/x?y=z"),
            ("https://h/?access_token=abc&x=y".into(), "https://h/?access_token=***&x=y"),
            (format!(r#"{{"m":"first\nsk-{key}\n"}}"#), r#"{"m":"first\n***\n"}"#),
            (format!("x%3Dsk-{key}"), "x%3D***"),
        ] {
            assert_eq!(redacted(&Redactor::default(), &text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in [
            "",
            "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 by me",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "mkdir -p a/b && ssh -p 2222 host && cp -p x1y2z3 y",
            "the disk-usage of task-force-members-of-2024 and risk-assessment-reports1",
            "export TOKEN=${MY_TOKEN} PASSWORD=$OTHER KEY_FILE=/x/y.pem",
            "the bearer token is wrong; the bearer of this message",
            "invalid token: expected a string at line 7",
            "max_tokens=100 tokens: 5 primary_key=id monkey=1 sessionKey: agent:main:main1234",
            "code=token_mismatch if token == expected",
            "http://127.0.0.1:11434/v1 and mailto:user@example.com, 12:30:45",
            r#"{"mode":"token","token":null,"password":"${PASSWORD}"}"#,
            "npm_config_cache=/tmp npm_lifecycle_event=x",
            "use std::secret::Token1234;",
            "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            "eyJ is how a header begins. eyJhbGciOiJIUzI1NiJ9 alone is none.",
            "uuid 123e4567-e89b-12d3-a456-426614174000 🦀",
        ] {
            let redactor = hiding(&["short", PLAIN]);
            assert!(
                matches!(redactor.redact(text, &|_| "***".into()), Cow::Borrowed(_)),
                "{}",
                redacted(&redactor, text)
            );
        }
    }

    #[test]
    fn a_known_value_is_found_however_it_is_written_and_told_as_it_was_hidden() {
        let redactor = hiding(&[PLAIN, ODD, "1234567"]);
        let encoded = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        let in_json = serde_json_like(ODD);
        for (text, told) in [
            (format!("x{PLAIN}y"), PLAIN),
            (format!("é{ODD}é"), ODD),
            (format!("\"{in_json}\""), ODD),
            ("a%22b%5Cc%2Fd%2Be%20%C3%A9%201234567890".into(), ODD),
            (format!("Basic {}", encoded(&format!("u:{PLAIN}"))), PLAIN),
            (format!("Basic {}", encoded(&format!("me:{PLAIN}!"))), PLAIN),
            (format!("Basic {}", encoded(&format!("you:{PLAIN}?!"))), PLAIN),
            ("636f727265637420686f7273652062617474657279".into(), PLAIN),
        ] {
            let seen = std::cell::RefCell::new(Vec::new());
            let out = redactor.redact(&text, &|value| {
                seen.borrow_mut().push(value.to_owned());
                "***".into()
            });
            assert!(out.contains("***"), "{text}");
            assert_eq!(seen.into_inner(), [told], "{text} became {out}");
        }
        assert_eq!(redacted(&redactor, "1234567"), "1234567", "too short to look for");
        redactor.clone().hide(&[]);
        assert_eq!(redacted(&redactor, PLAIN), PLAIN, "the list is replaced, for clones too");
    }

    /// The inside of a JSON string, by the rules that the redactor does not share.
    fn serde_json_like(text: &str) -> String {
        text.replace('\\', "\\\\").replace('"', "\\\"")
    }

    #[test]
    fn a_form_that_ends_early_leaves_no_part_of_a_known_value() {
        let redactor = hiding(&["abc&def;ghi jkl", "jkl mno pqr"]);
        assert_eq!(redacted(&redactor, "TOKEN=abc&def;ghi jkl mno pqr end"), "TOKEN=*** end");
        let long = "k".repeat(30) + &"0123456789".repeat(20);
        let cut = long.get(..100).unwrap();
        assert_eq!(redacted(&hiding(&[&long]), &format!("a {cut}")), "a ***", "a value that was cut off");
    }

    #[test]
    fn what_was_taken_out_is_not_taken_out_again() {
        let replaced = format!("TOKEN=hmac:{} --password ***", "0".repeat(64));
        assert_eq!(redacted(&Redactor::default(), &replaced), replaced);
    }

    /// What is quadratic takes minutes here, and the runner ends it. An optimized build takes 12 ms for 1 MiB of
    /// ordinary text and about 45 ms for the worst of these.
    #[test]
    fn k09_redaction_ends_in_hostile_text() {
        let redactor =
            hiding(&[PLAIN, &("a".repeat(2000) + "b"), "sk-ant-api03-AAAAAAAAAAAAAAAA", &"ab".repeat(500)]);
        let seeds = [
            "a",
            "ab",
            "=",
            ":",
            "-",
            "eyJ",
            "-eyJ",
            "eyJaaaaaaaaaa.",
            "sk-",
            "-sk-a",
            "token:",
            "token=",
            "token='",
            "token=\"",
            "token=\\\"",
            "password=$(",
            "token=$A",
            "password: a",
            "://",
            "://a:",
            "a://b@",
            "123456:",
            "1",
            "-----BEGIN ",
            "-----BEGIN PRIVATE KEY-----",
            "--token ",
            "--token \\",
            " -p",
            "curl -u ",
            "mysql -p\"",
            "\\",
            "\"",
            "bearer ",
            "bearer a",
            "xoxb-",
            "Authorization: ",
            "cookie:",
            "\\\"token\\\":\\\"",
            "%3Dsk-",
            "é",
            "sk-ant-api03-AAAAAAAAAAAAAAA",
        ];
        for seed in
            seeds.iter().flat_map(|seed| [(*seed).to_owned(), format!("{seed} "), format!("{seed}\\")])
        {
            let text = seed.repeat((1 << 16) / seed.len());
            redacted(&redactor, &text);
        }
    }

    proptest! {
        #[test]
        fn no_known_value_is_left_whatever_is_around_it(
            around in prop::collection::vec(prop_oneof![
                Just(PLAIN.to_owned()), Just(ODD.to_owned()), Just(serde_json_like(ODD)),
                Just("TOKEN=".to_owned()), Just("\"".to_owned()), Just("://a:".to_owned()), Just("sk-".to_owned()),
                "[ -~]{0,12}", "\\PC{0,3}",
            ], 0..12),
        ) {
            let redactor = hiding(&[PLAIN, ODD]);
            let text = around.concat();
            let out = redacted(&redactor, &text);
            for value in [PLAIN.to_owned(), ODD.to_owned(), serde_json_like(ODD)] {
                prop_assert!(!out.contains(&value), "{text:?} became {out:?}");
            }
        }

        #[test]
        fn any_text_is_taken_and_none_without_a_form_is_changed(text in "[a-z ,.\\n🦀é]{0,200}") {
            prop_assert_eq!(redacted(&hiding(&[PLAIN]), &text), text);
        }
    }
}
