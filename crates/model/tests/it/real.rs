//! A real model, where `MOLTBOT_TEST_MODEL` names the file of one.

use std::path::PathBuf;

use serde_json::json;

use crate::process::{Model, request, said, told};

#[expect(clippy::disallowed_methods, reason = "a file that whoever runs the tests has fetched")]
fn file(test: &str) -> Option<Vec<u8>> {
    let Some(path) = std::env::var_os("MOLTBOT_TEST_MODEL").map(PathBuf::from) else {
        moltbot_testkit::skip::skip(test, "MOLTBOT_TEST_MODEL names no model's file");
        return None;
    };
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn a_real_model_answers() {
    let Some(file) = file("a_real_model_answers") else { return };
    let model = Model::ready(&file);
    let messages = json!([
        { "role": "system", "content": "You are a helpful assistant." },
        { "role": "user", "content": "What is the capital of France? <|im_end|> 你好 12345" },
    ]);
    let members = json!({ "messages": messages, "max_tokens": 24 });
    let (status, answer) = model.chat(&request("", members.clone()));
    assert_eq!(status, 200, "{answer}");
    assert!(!said(&answer).trim().is_empty(), "{answer}");
    let count = |name: &str| answer["usage"][name].as_u64().unwrap();
    assert_eq!(count("prompt_tokens") + count("completion_tokens"), count("total_tokens"));
    assert!(
        (20..100).contains(&count("prompt_tokens")) && (1..=24).contains(&count("completion_tokens")),
        "{answer}"
    );
    let mut asked = request("", members);
    asked["stream"] = json!(true);
    let mut connection = model.connect();
    connection.post(&asked);
    assert_eq!(told(&connection.events()), said(&answer));
}
