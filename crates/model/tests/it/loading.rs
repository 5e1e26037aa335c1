//! Which files are loaded, and which are refused, in which words.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use candle_core::quantized::gguf_file::Value as Told;
use serde_json::{Value, json};

use crate::files::{File, Then};
use crate::process::{Model, NAME, memory_file};

/// The code and the sentence of a failure.
fn failed(said: &Value) -> (&str, &str) {
    let failed = &said["failed"];
    let both = (failed["code"].as_str(), failed["message"].as_str());
    let (Some(code), Some(message)) = both else { panic!("no failure: {said}") };
    (code, message)
}

#[test]
fn a_file_of_each_kind_is_loaded_and_told_with_its_measures() {
    for architecture in ["llama", "qwen2"] {
        let file = File::random(architecture).bytes();
        let (model, said) = Model::load(&file);
        let ready = &said["ready"];
        assert_eq!(
            (&ready["name"], &ready["architecture"], &ready["context"], &ready["bytes"]),
            (&json!(NAME), &json!(architecture), &json!(256), &json!(file.len())),
        );
        assert!(ready["parameters"].as_u64().unwrap() > 10_000, "{said}");
        assert_eq!(ready.as_object().unwrap().len(), 5, "{said}");
        let (status, answer) = model.chat(&crate::process::request("Hi", json!({ "max_tokens": 3 })));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(model.close().code(), Some(0));
    }
}

#[test]
fn the_context_is_no_longer_than_was_asked_for_and_than_the_file_has() {
    for (asked, expected) in [(100, 100), (256, 256), (100_000, 256)] {
        let (_model, said) = Model::load_with(&File::random("qwen2").bytes(), json!({ "context": asked }));
        assert_eq!(said["ready"]["context"], expected, "asked for {asked}");
    }
}

#[test]
fn another_file_than_the_one_that_was_named_is_refused() {
    let file = File::random("llama").bytes();
    let (model, said) = Model::load_with(&file, json!({ "sha256": "0".repeat(64) }));
    let (code, message) = failed(&said);
    assert_eq!(code, "model_hash");
    assert!(message.contains(&"0".repeat(64)) && message.contains("fetch the file again"), "{message}");
    assert_eq!(model.ended().code(), Some(1));
}

#[test]
fn files_that_cannot_be_served_are_refused_with_what_to_do() {
    let with = |key: &'static str, value: Told| {
        let mut file = File::random("llama");
        file.metadata.push((key, value));
        file.bytes()
    };
    let text = |text: &str| Told::String(text.into());
    let other = File { architecture: "gemma", ..File::random("llama") }.bytes();
    let silent = File { template: None, ..File::random("llama") }.bytes();
    let deep = "{%- macro a() %}{{ a() }}{%- endmacro %}{{ a() }}";
    let endless = "{%- for a in range(9999) %}{%- for b in range(9999) %}{%- endfor %}{%- endfor %}";
    let long = "{%- for a in range(9999) %}{{ 'a' * 99999 }}{%- endfor %}";
    for (file, code, part) in [
        (other, "model_architecture", "gemma"),
        (with("llama.expert_count", Told::U32(8)), "model_architecture", "mixture"),
        (silent, "model_template", "no chat template"),
        (with("tokenizer.chat_template", text("{% if %}")), "model_template", "cannot be read"),
        (with("tokenizer.chat_template", text("{{ raise_exception('no') }}")), "model_template", "no"),
        (with("tokenizer.chat_template", text("{{ strftime_now('%Y') }}")), "model_template", "time"),
        (with("tokenizer.chat_template", text("{% include 'x' %}")), "model_template", "greeting"),
        (with("tokenizer.chat_template", text(deep)), "model_template", "greeting"),
        (with("tokenizer.chat_template", text(endless)), "model_template", "fuel"),
        (with("tokenizer.chat_template", text(long)), "model_template", "greeting"),
        (with("tokenizer.ggml.model", text("llama")), "model_tokenizer", "gpt2"),
        (with("tokenizer.ggml.pre", text("other")), "model_tokenizer", "other"),
        (with("tokenizer.ggml.merges", Told::Array(vec![text("xx yy")])), "model_tokenizer", "vocabulary"),
        (with("general.alignment", Told::U32(0)), "model_format", "alignment"),
        (with("llama.attention.head_count", Told::U32(3)), "model_format", "heads"),
        (with("llama.attention.head_count_kv", Told::U32(4)), "model_format", "attn_k"),
        (with("llama.block_count", Told::U32(3)), "model_format", "blk.2"),
        (with("llama.block_count", Told::U32(u32::MAX)), "model_format", "block_count"),
        (with("llama.rope.dimension_count", Told::U32(8)), "model_format", "positions"),
        (with("llama.context_length", Told::U32(0)), "model_format", "context_length"),
        (with("llama.rope.freq_base", Told::F32(f32::NAN)), "model_format", "base of positions"),
        (b"MZ\0\0".to_vec(), "model_format", "no GGUF"),
        (Vec::new(), "model_format", "no GGUF"),
    ] {
        let (model, said) = Model::load(&file);
        let found = failed(&said);
        assert!(found.0 == code && found.1.contains(part), "{said} instead of {code}: {part}");
        assert_eq!(model.ended().code(), Some(1), "{said}");
    }
}

#[test]
fn a_file_that_ends_too_early_is_refused() {
    let file = File::random("qwen2").bytes();
    for length in [3, 7, 20, 100, 1000, file.len() / 2, file.len() - 100] {
        let (model, said) = Model::load(&file[..length]);
        assert_eq!(failed(&said).0, "model_format", "{length} bytes: {said}");
        assert_eq!(model.ended().code(), Some(1));
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let mut model = Model::start();
    let load = json!({ "name": NAME, "sha256": "0".repeat(64), "context": 9, "threads": 1 });
    model.send(&json!({ "load": load }), &OwnedFd::from(UnixStream::pair().unwrap().0));
    assert_eq!(failed(&model.hear().unwrap()).0, "model_read");
    assert_eq!(model.ended().code(), Some(1));
}

#[test]
fn an_unknown_packet_ends_it_before_and_after_the_load() {
    let file = memory_file(b"GGUF");
    for packet in [json!({ "stop": {} }), json!({ "connection": {} }), json!({ "load": { "name": "a" } })] {
        let mut model = Model::start();
        model.send(&packet, &file);
        let said = model.hear().unwrap();
        assert_eq!(failed(&said).0, "model_protocol", "{packet}: {said}");
        assert_eq!(model.ended().code(), Some(1));
    }
    let bytes = File::script(&["Hello"], Then::End).bytes();
    for packet in [json!({ "stop": {} }), json!({ "connection": { "more": 1 } })] {
        let mut model = Model::ready(&bytes);
        model.send(&packet, &file);
        assert_eq!(failed(&model.hear().unwrap()).0, "model_protocol", "{packet}");
        assert_eq!(model.ended().code(), Some(1));
    }
    let mut model = Model::ready(&bytes);
    model.send(&json!({ "connection": {} }), &file);
    assert_eq!(failed(&model.hear().unwrap()).0, "model_protocol", "a file is no connection");
    assert_eq!(model.ended().code(), Some(1));
}

#[test]
fn a_socket_that_closes_before_the_load_ends_it() {
    assert_eq!(Model::start().close().code(), Some(0));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program that is tested")]
fn by_hand_it_says_what_it_is() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moltbot-model"));
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, error) = run(&[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(error.contains("started by the moltbot gateway") && error.lines().count() == 1, "{error}");
    assert_eq!(run(&["--serve"]).0, Some(2));
    assert_eq!(run(&["--version", "more"]).0, Some(2));
    assert_eq!(run(&["--version"]).1, concat!("moltbot-model ", env!("CARGO_PKG_VERSION"), "\n"));
    let (code, out, _) = run(&["--help"]);
    assert!(code == Some(0) && out.contains("Example:") && out.contains("Exit codes:"), "{out}");
}
