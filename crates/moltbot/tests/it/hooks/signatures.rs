//! Signatures made by libraries that we did not write: those of GitHub, Slack and Stripe.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use moltbot_testkit::skip::skip;
use serde_json::json;

use super::{GITHUB, House, SLACK, STRIPE, now, run_of, sum};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// What a script prints about a body.
#[expect(clippy::disallowed_methods, reason = "a foreign library, as a child of the test")]
fn script(name: &str, arguments: &[&str], variables: &[(&str, &str)], body: &str) -> String {
    let tools = repository().join("target/test-tools");
    let is_python = std::path::Path::new(name).extension().is_some_and(|end| end == "py");
    let program = if is_python { tools.join("python/bin/python") } else { "node".into() };
    let mut child = Command::new(program)
        .arg(repository().join("tests/compat").join(name))
        .args(arguments)
        .envs(variables.iter().copied())
        .env("MODULES", tools.join("node"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn has(path: &str) -> bool {
    repository().join("target/test-tools").join(path).exists()
}

const BODY: &str = r#"{"text":"signed élsewhere ✓","id":"evt_9"}"#;

#[test]
fn c02_what_githubs_library_signs_is_taken() {
    if !has("node/node_modules/@octokit/webhooks-methods") {
        return skip(
            "c02_what_githubs_library_signs_is_taken",
            "its library is not installed; `make test` installs it",
        );
    }
    let house = House::echo();
    let signature = script("hook_signatures.mjs", &[], &[("SECRET", GITHUB)], BODY);
    assert_eq!(signature, format!("sha256={}", sum(GITHUB, BODY)));
    let headers =
        [("x-hub-signature-256", &*signature), ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")];
    run_of(&house.post("/hooks/push", &headers, BODY));
    let other = script("hook_signatures.mjs", &[], &[("SECRET", "another-key-of-24-characters")], BODY);
    assert_eq!(house.post("/hooks/push", &[("x-hub-signature-256", &other)], BODY).status, 401);
}

#[test]
fn c02_what_the_libraries_of_stripe_and_slack_sign_is_taken() {
    let there = has("python/bin/python")
        && repository().join("target/test-tools/python/lib").read_dir().is_ok_and(|mut folders| {
            folders.any(|folder| {
                let packages = folder.unwrap().path().join("site-packages");
                packages.join("stripe").exists() && packages.join("slack_sdk").exists()
            })
        });
    if !there {
        return skip(
            "c02_what_the_libraries_of_stripe_and_slack_sign_is_taken",
            "their libraries are not installed; `make test` installs them",
        );
    }
    let house = House::echo();
    let sign = |kind: &str, secret: &str, time: u64| {
        script("hook_signatures.py", &[kind], &[("SECRET", secret), ("TIMESTAMP", &time.to_string())], BODY)
    };
    let stripe = |signature: &str| house.post("/hooks/pay", &[("stripe-signature", signature)], BODY);
    run_of(&stripe(&sign("stripe", STRIPE, now())));
    assert_eq!(stripe(&sign("stripe", STRIPE, now() - 400)).status, 401, "too old");
    assert_eq!(stripe(&sign("stripe", SLACK, now())).status, 401, "another key");
    let time = now();
    let slack = |signature: &str, time: u64, body: &str| {
        let time = time.to_string();
        house.post(
            "/hooks/chat",
            &[("x-slack-signature", signature), ("x-slack-request-timestamp", &time)],
            body,
        )
    };
    let signature = sign("slack", SLACK, time);
    run_of(&slack(&signature, time, BODY));
    assert_eq!(slack(&signature, time + 1, BODY).status, 401, "another time");
    assert_eq!(slack(&sign("slack", SLACK, time - 400), time - 400, BODY).status, 401, "too old");
    let challenge = r#"{"type":"url_verification","challenge":"abc"}"#;
    let signature = format!("v0={}", sum(SLACK, &format!("v0:{time}:{challenge}")));
    let answer = slack(&signature, time, challenge);
    assert_eq!((answer.status, answer.json()), (200, json!({"challenge": "abc"})));
}
