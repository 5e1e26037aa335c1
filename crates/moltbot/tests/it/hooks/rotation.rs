//! Secrets of hooks that are changed while the gateway runs: the old one is refused from that moment on, by every form of
//! signature.

use moltbot_testkit::process::command;

use super::{GENERIC, GITHUB, House, PROGRAM, SLACK, STRIPE, TOKEN, now, run_of, sum};

const NEW_TOKEN: &str = "Kp7Xw2Yc9Lb4Rn6Tv8Zs1Qd3Hf5Jg0MaEoUiBrCxWyN";

/// Sets a secret of the config as its owner does.
fn set(house: &House, place: &str, value: &str) {
    let mut child = command(PROGRAM, &house.home, &["secrets", "set", place]);
    let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{place}");
}

/// Calls the hook `name` as somebody who has `key`; answers the status.
fn call(house: &House, name: &str, key: &str, number: usize) -> u16 {
    let body = format!("{{\"text\":\"{number}\",\"id\":\"evt_{number}\"}}");
    let (time, id) = (now().to_string(), format!("delivery-{number}"));
    let headers: Vec<(&str, String)> = match name {
        "agent" => vec![("authorization", format!("Bearer {key}"))],
        "call" => {
            vec![("x-sum", format!("hmac {}", sum(key, &format!("{time}.{body}")))), ("x-time", time.clone())]
        }
        "chat" => vec![
            ("x-slack-signature", format!("v0={}", sum(key, &format!("v0:{time}:{body}")))),
            ("x-slack-request-timestamp", time.clone()),
        ],
        "pay" => vec![("stripe-signature", format!("t={time},v1={}", sum(key, &format!("{time}.{body}"))))],
        _ => vec![
            ("x-hub-signature-256", format!("sha256={}", sum(key, &body))),
            ("x-github-delivery", id.clone()),
        ],
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = if name == "agent" { format!("{{\"message\":\"{number}\"}}") } else { body };
    house.post(&format!("/hooks/{name}"), &headers, &body).status
}

#[test]
fn o03_an_old_secret_is_refused_at_once_by_every_hook_and_needs_no_restart() {
    let house = House::echo();
    let pid = house.gateway.pid();
    for (number, (name, place, old, new)) in [
        ("agent", "hooks.token", TOKEN, NEW_TOKEN),
        ("push", "hooks.mappings[0].signature.secret", GITHUB, "new-secret-of-github-1a2b3c4d"),
        ("pay", "hooks.mappings[1].signature.secret", STRIPE, "new-secret-of-stripe-1a2b3c4d"),
        ("chat", "hooks.mappings[2].signature.secret", SLACK, "new-secret-of-slack-1a2b3c4d5e"),
        ("call", "hooks.mappings[3].signature.secret", GENERIC, "new-secret-of-others-1a2b3c4d"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(call(&house, name, old, number * 10), 202, "{name}");
        set(&house, place, new);
        assert_eq!(call(&house, name, old, number * 10 + 1), 401, "{name}: the old one");
        assert_eq!(call(&house, name, new, number * 10 + 2), 202, "{name}: the new one");
    }
    assert_eq!(house.gateway.pid(), pid);
    assert!(moltbot_testkit::process::run(PROGRAM, &house.home, &["health"]).status.success());
}

#[test]
fn o03_d_124_a_config_that_would_not_start_is_not_taken_up_and_what_was_before_counts() {
    let mut house = House::echo();
    let good = house.home.config_text().unwrap();
    for (broken, told) in [
        ("{hooks: {enabled: true, token: 'weak'}}", "hooks.token"),
        ("{channels: {telegram: {dmPolicy: 'open'}}}", "dmPolicy"),
        ("{hooks: {enabled: true, unknown: 1}}", "unknown"),
        ("{hooks: ", "line"),
    ] {
        house.home.write_config_text(broken);
        for arguments in [&["hooks", "reload"][..], &["gateway", "call", "clients.reload"]] {
            let ran = moltbot_testkit::process::run(PROGRAM, &house.home, arguments);
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(!ran.status.success(), "{broken} {arguments:?}: {said}");
        }
        house.home.write_config_text(&good);
        let ran = moltbot_testkit::process::run(PROGRAM, &house.home, &["health"]);
        assert!(ran.status.success(), "{broken}: {told}");
    }
    run_of(&house.call("/hooks/agent", &serde_json::json!({"message": "still"})));
    // Off is off, at once.
    house.home.change_config(|config| config["hooks"]["enabled"] = false.into());
    let ran = moltbot_testkit::process::run(PROGRAM, &house.home, &["hooks", "reload"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(house.call("/hooks/agent", &serde_json::json!({"message": "off"})).status, 401);
    assert!(house.gateway.terminate().success());
    assert!(house.book().contains("\"hooks.reload\""));
}
