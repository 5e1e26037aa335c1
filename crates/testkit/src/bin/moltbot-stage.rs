//! A gateway on loopback for clients that other people wrote: the real binary in a fresh home, with a scripted model
//! that says the last text back, devices that wait for approval, and one that is paired and not in use.
//!
//! Prints one line of JSON once the gateway answers: where it is, its token, those devices, and every method with its
//! scope. Ends, with all of it, when its standard input ends.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the tests that says where it listens"
)]

use std::error::Error;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use moltbot_protocol::method::Method;
use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use moltbot_testkit::process::Gateway;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(binary) = std::env::args_os().nth(1) else {
        eprintln!("usage: moltbot-stage BINARY");
        return ExitCode::FAILURE;
    };
    // As slow as a fast real model: in no time at all, an answer would be there before the client knows what it asked.
    let delay = Duration::from_millis(80);
    let model = ScriptedModel::answering(move |request| Reply::Slow {
        chunks: vec![echo_of(&request.last_user_text())],
        delay,
    });
    let home = Home::with_model(&model);
    home.change_config(in_older_forms);
    let gateway = Gateway::start(binary, &home);
    match stay(&gateway, &home).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the stage fell: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The config as older generations insist on it, too: their programs read the same file.
fn in_older_forms(config: &mut Value) {
    if let Some(model) = config.pointer_mut("/agents/defaults/model") {
        *model = json!({"primary": model.take()});
    }
    if let Some(model) =
        config.pointer_mut("/models/providers/scripted/models/0").and_then(Value::as_object_mut)
    {
        model.insert("name".into(), json!("Scripted"));
    }
}

async fn stay(gateway: &Gateway, home: &Home) -> Result<(), Box<dyn Error + Send + Sync>> {
    let spare = Device::from_seed(1);
    let paired = connect(gateway, &spare)
        .scopes(&["operator.pairing"])
        .open()
        .await
        .map_err(|refused| format!("{refused:?}"))?;
    let waiting = [wait(gateway, 2).await?, wait(gateway, 3).await?];
    let methods: Vec<Value> = Method::ALL
        .iter()
        .map(|method| json!({"name": method.name(), "scope": method.scope().name()}))
        .collect();
    let told = json!({
        "port": gateway.port(), "token": gateway.token(), "pid": gateway.pid(), "home": home.path(),
        "state": home.state_path(), "config": home.config_path(),
        "spare": spare.id(), "waiting": waiting, "methods": methods,
    });
    drop(paired);
    println!("{told}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn connect(gateway: &Gateway, device: &Device) -> Connect {
    gateway.connect().device(device, SignatureVersion::V3)
}

/// A device from elsewhere that asks to be approved. The number of its request.
async fn wait(gateway: &Gateway, seed: u8) -> Result<String, Box<dyn Error + Send + Sync>> {
    let device = Device::from_seed(seed);
    let refused = connect(gateway, &device).header("x-forwarded-for", "203.0.113.7").open().await.err();
    let details = refused.and_then(|refused| refused.error).and_then(|error| error.details);
    let request = details.as_ref().and_then(|details| details.get("requestId")).and_then(Value::as_str);
    Ok(request.ok_or("a device from elsewhere does not wait for approval")?.to_owned())
}
