//! Clients that other people wrote: the official OpenAI libraries for Python and Node.

use std::path::PathBuf;
use std::process::Command;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use moltbot_testkit::skip::skip;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Where `make test` put the libraries.
fn tools() -> PathBuf {
    repository().join("target/test-tools")
}

#[expect(clippy::disallowed_methods, reason = "a foreign client, as a child of the test")]
fn talk(program: PathBuf, script: &str, name: &str, there: bool) {
    if !there {
        return skip(name, "its library is not installed; `make test` installs it");
    }
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    let output = Command::new(program)
        .arg(repository().join("tests/compat").join(script))
        .env("BASE_URL", format!("http://127.0.0.1:{}/v1", gateway.port()))
        .env("TOKEN", gateway.token())
        .env("MODULES", tools().join("node"))
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "passed", "{out}{err}");
}

#[test]
fn the_openai_library_for_python_talks_to_us() {
    let python = tools().join("python/bin/python");
    let there = python.exists();
    talk(python, "openai_client.py", "the_openai_library_for_python_talks_to_us", there);
}

#[test]
fn the_openai_library_for_node_talks_to_us() {
    let there = tools().join("node/node_modules/openai").exists();
    talk("node".into(), "openai_client.mjs", "the_openai_library_for_node_talks_to_us", there);
}
