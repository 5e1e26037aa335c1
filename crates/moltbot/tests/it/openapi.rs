//! The HTTP paths by their own description: schemathesis, which other people wrote, makes requests of it and compares what is
//! answered.

use std::process::{Command, Output};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use moltbot_testkit::raw::http;
use moltbot_testkit::skip::skip;
use serde_json::json;

use crate::foreign::tools;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// What is asked of every answer: no fault of the server, and nothing that is not described.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance";

fn described(model: &ScriptedModel) -> Home {
    let home = Home::with_model(model);
    home.change_config(|config| {
        let on = json!({"enabled": true});
        config["gateway"]["http"]["endpoints"] =
            json!({"metrics": on, "models": on, "openapi": on, "readyz": on, "responses": on, "toolsInvoke": on, "embeddings": on});
    });
    home
}

#[expect(clippy::disallowed_methods, reason = "a program that other people wrote")]
fn schemathesis(gateway: &Gateway, arguments: &[&str]) -> Output {
    let address = format!("http://127.0.0.1:{}", gateway.port());
    let folder = tempfile::tempdir().unwrap();
    Command::new(tools().join("schemathesis/bin/schemathesis"))
        .args(["run", &format!("{address}/openapi.json"), "--url", &address, "--checks", CHECKS])
        .args(["--header", &format!("Authorization: Bearer {}", gateway.token())])
        .args([
            "--suppress-health-check",
            "all",
            "--generation-with-security-parameters",
            "false",
            "--generation-database",
            "none",
            "--no-color",
            "--warnings",
            "off",
        ])
        .args(arguments)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .output()
        .unwrap()
}

#[test]
fn nothing_is_answered_over_http_that_is_not_described() {
    const NAME: &str = "nothing_is_answered_over_http_that_is_not_described";
    if !tools().join("schemathesis/bin/schemathesis").exists() {
        return skip(NAME, "schemathesis is not installed; tests/setup.sh does that");
    }
    let model = ScriptedModel::echo();
    let home = described(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let ran = schemathesis(
        &gateway,
        &["--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "7"],
    );
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    assert!(ran.status.success(), "{said}");
    // All but the description itself, which it has read.
    let bearer = format!("Bearer {}", gateway.token());
    let described = http(gateway.port(), "GET", "/openapi.json", &[("authorization", &bearer)], b"").json();
    let paths = described["paths"].as_object().unwrap().len() - 1;
    assert!(paths >= 6 && said.contains(&format!("{paths} selected / {paths} total")), "{paths}: {said}");
    assert_eq!(
        http(gateway.port(), "GET", "/openapi.json", &[], b"").status,
        401,
        "a stranger learns nothing"
    );
}

#[test]
fn a_tool_that_tells_is_called_over_http_and_none_that_acts() {
    let model = ScriptedModel::echo();
    let home = described(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let bearer = format!("Bearer {}", gateway.token());
    let call = |body: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let answer = http(gateway.port(), "POST", "/tools/invoke", &headers, body.as_bytes());
        (answer.status, answer.json())
    };
    let (status, told) = call(r#"{"tool":"session_status","args":{}}"#);
    let text = told["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert!(status == 200 && told["ok"] == true && text.contains("session: agent:main:main"), "{told}");
    assert_eq!(call(r#"{"tool":"session_status","dryRun":true}"#).1["result"]["dryRun"], true);
    for tool in ["exec", "read", "write", "edit", "apply_patch", "process", "gateway", ""] {
        let (status, told) = call(&json!({"tool": tool, "args": {"command": "id"}}).to_string());
        assert!(status == 404 && told["error"]["message"] == format!("Tool not available: {tool}"), "{told}");
    }
    for (body, code) in [
        (r#"{"tool":"session_status","args":{"x":1}}"#, "tool_error"),
        (r#"{"tool":"session_status","sessionKey":"agent:nobody:main"}"#, "invalid_request_error"),
        (r#"{"tool":"session_status","more":1}"#, "invalid_request_error"),
        ("{}", "invalid_request_error"),
    ] {
        let (status, told) = call(body);
        assert!(status == 400 && told["ok"] == false && told["error"]["type"] == code, "{body}: {told}");
    }
    assert_eq!(http(gateway.port(), "POST", "/tools/invoke", &[], b"{}").status, 401);
    let recorded = crate::program::book(&home, "session.status");
    assert_eq!(recorded.len(), 1, "a look that only asks whether is none: {recorded:?}");
    drop(gateway);
    home.change_config(|config| config["tools"] = json!({"deny": ["session_status"]}));
    let gateway = Gateway::start(PROGRAM, &home);
    let headers = [("authorization", bearer.as_str())];
    let denied = http(gateway.port(), "POST", "/tools/invoke", &headers, br#"{"tool":"session_status"}"#);
    assert_eq!(denied.status, 404, "what the config takes from the agent nobody has");
}
