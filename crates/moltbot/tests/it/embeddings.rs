//! `POST /v1/embeddings`: what is asked of each kind of provider, what comes back, and what is refused.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use moltbot_testkit::raw::http;
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

use crate::foreign::tools;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

/// A provider that answers each path with its text; what it is asked comes out of the receiver.
#[expect(clippy::disallowed_methods, reason = "stands in for a vendor's cloud")]
fn provider(answers: Vec<(&'static str, u16, Value)>) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            reader.read_line(&mut head).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let lower = line.to_ascii_lowercase();
                if let Some(text) = lower.strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let found = answers.iter().find(|(known, ..)| *known == path);
            let (status, answer) =
                found.map_or((404, json!({})), |(_, status, answer)| (*status, answer.clone()));
            tell.send((path, serde_json::from_slice(&body).unwrap_or_default())).unwrap();
            let text = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                text.len()
            );
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).unwrap();
        }
    });
    (address, asked)
}

/// A gateway with one provider of each kind at that address.
fn gateway(model: &ScriptedModel, address: &str) -> (Home, Gateway) {
    let home = Home::with_model(model);
    home.change_config(|config| {
        config["gateway"]["http"]["endpoints"] = json!({"embeddings": {"enabled": true}});
        let providers = &mut config["models"]["providers"];
        providers["open"] = json!({"api": "openai-completions", "baseUrl": format!("{address}/v1"), "apiKey": "key-of-a-test"});
        providers["olla"] = json!({"api": "ollama", "baseUrl": address});
        providers["gem"] = json!({"api": "google-generative-ai", "baseUrl": format!("{address}/v1beta"), "apiKey": "key-of-a-test"});
        providers["anth"] = json!({"api": "anthropic-messages", "baseUrl": address, "apiKey": "key-of-a-test"});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    (home, gateway)
}

fn ask(gateway: &Gateway, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {}", gateway.token());
    let answer = http(
        gateway.port(),
        "POST",
        "/v1/embeddings",
        &[("authorization", &bearer)],
        body.to_string().as_bytes(),
    );
    (answer.status, answer.json())
}

fn open_rows() -> Value {
    // The second first: rows say whose they are.
    json!({"data": [{"index": 1, "embedding": [0.5, -1.0]}, {"index": 0, "embedding": [1.5, 2.0]}],
        "usage": {"prompt_tokens": 7}})
}

#[test]
fn each_kind_of_provider_is_asked_in_its_own_words_and_answers_in_the_same() {
    let rows = json!([[1.5, 2.0], [0.5, -1.0]]);
    let (address, asked) = provider(vec![
        ("/v1/embeddings", 200, open_rows()),
        ("/api/embed", 200, json!({"embeddings": rows, "prompt_eval_count": 7})),
        (
            "/v1beta/models/text:batchEmbedContents",
            200,
            json!({"embeddings": [{"values": rows[0]}, {"values": rows[1]}]}),
        ),
    ]);
    let model = ScriptedModel::echo();
    let (_home, gateway) = gateway(&model, &address);
    for (name, tokens) in [("open/small", 7), ("olla/small", 7), ("gem/text", 0)] {
        let (status, told) = ask(&gateway, &json!({"model": name, "input": ["one", "two"], "dimensions": 2}));
        assert_eq!((status, &told["model"]), (200, &json!(name)), "{told}");
        let found: Vec<&Value> =
            told["data"].as_array().unwrap().iter().map(|row| &row["embedding"]).collect();
        assert_eq!(json!(found), rows, "{name}");
        assert_eq!(told["usage"]["total_tokens"], tokens, "{name}");
    }
    let words: Vec<(String, Value)> = asked.try_iter().collect();
    assert_eq!(words[0].1["input"], json!(["one", "two"]));
    assert_eq!((&words[0].1["model"], &words[0].1["dimensions"]), (&json!("small"), &json!(2)));
    assert_eq!(words[1].1["input"], json!(["one", "two"]));
    assert_eq!(words[2].1["requests"][1]["content"]["parts"][0]["text"], "two");
    let one = ask(&gateway, &json!({"model": "open/small", "input": "one"})).1;
    assert_eq!(one["error"]["type"], "api_error", "two rows for one text are no answer: {one}");
}

#[test]
fn what_cannot_be_answered_is_said_and_nobody_is_asked_without_a_credential() {
    let (address, asked) =
        provider(vec![("/v1/embeddings", 401, json!({"error": {"message": "wrong key-of-a-test"}}))]);
    let model = ScriptedModel::echo();
    let (_home, gateway) = gateway(&model, &address);
    for (body, status, said) in [
        (json!({"model": "anth/claude", "input": "a"}), 400, "has no embeddings"),
        (json!({"model": "nobody/x", "input": "a"}), 404, "nobody"),
        (json!({"model": "open/small", "input": []}), 400, "1 to 2048"),
        (json!({"model": "open/small", "input": ["a", ""]}), 400, "none of them empty"),
        (json!({"model": "open/small", "input": [[1, 2]]}), 400, "a list of texts"),
        (json!({"model": "open/small", "input": "a", "dimensions": 0}), 400, "dimensions"),
        (json!({"input": "a"}), 400, "model"),
        (json!({"model": "open/small", "input": "a"}), 502, "did not accept"),
    ] {
        let (found, told) = ask(&gateway, &body);
        let message = told["error"]["message"].as_str().unwrap_or_default();
        assert!(found == status && message.contains(said), "{body}: {found} {told}");
        assert!(!message.contains("key-of-a-test"), "{told}");
    }
    assert_eq!(asked.try_iter().count(), 1, "only the last of them reached the provider");
    assert_eq!(http(gateway.port(), "POST", "/v1/embeddings", &[], b"{}").status, 401);
}

#[test]
fn the_library_of_openai_reads_its_rows() {
    let python = tools().join("python/bin/python");
    if !python.exists() {
        return skip(
            "the_library_of_openai_reads_its_rows",
            "its library is not installed; `make test` installs it",
        );
    }
    let (address, _asked) = provider(vec![("/v1/embeddings", 200, open_rows())]);
    let model = ScriptedModel::echo();
    let (_home, gateway) = gateway(&model, &address);
    // It asks for base64 by itself, and reads four bytes for each number.
    let script = "import os, openai\nc = openai.OpenAI(base_url=os.environ['BASE_URL'], api_key=os.environ['TOKEN'])\n\
        r = c.embeddings.create(model='open/small', input=['one', 'two'])\nprint([list(d.embedding) for d in r.data], r.usage.total_tokens)";
    #[expect(clippy::disallowed_methods, reason = "a foreign client, as a child of the test")]
    let output = Command::new(python)
        .args(["-c", script])
        .env("BASE_URL", format!("http://127.0.0.1:{}/v1", gateway.port()))
        .env("TOKEN", gateway.token())
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "[[1.5, 2.0], [0.5, -1.0]] 7", "{output:?}");
}
