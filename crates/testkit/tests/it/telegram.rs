//! The stand-in of the Bot API, used by a library that other people wrote.

use std::path::PathBuf;
use std::process::Command;

use moltbot_testkit::skip::skip;
use moltbot_testkit::telegram::{Fault, Person, TelegramApi};
use serde_json::json;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a foreign client, as a child of the test")]
fn a_library_that_others_wrote_uses_the_stand_in_as_it_would_telegram() {
    let python = repository().join("target/test-tools/python");
    let library = std::fs::read_dir(python.join("lib")).into_iter().flatten().flatten();
    if !library.map(|version| version.path().join("site-packages/telegram")).any(|package| package.exists()) {
        let name = "a_library_that_others_wrote_uses_the_stand_in_as_it_would_telegram";
        return skip(name, "python-telegram-bot is not installed; `make test` installs it");
    }
    let api = TelegramApi::start();
    let (ann, bob) = (Person::new(1001, "Ann", Some("ann")), Person::new(1002, "Bob", None));
    api.write(&bob, "hi");
    let group = api.group("A group");
    api.block(&bob);
    api.write(&ann, "hello");
    let message =
        json!({"message_id": 1, "date": 1, "chat": {"id": ann.id, "type": "private", "first_name": "Ann"}});
    let press =
        json!({"id": "press-1", "from": ann.json(), "chat_instance": "1", "data": "y", "message": message});
    api.update(json!({"callback_query": press}));
    api.fail("setMyCommands", [Fault::Drop]);
    api.fail("getFile", [Fault::Busy(3)]);
    api.add_file("file-1", b"contents".to_vec());
    let output = Command::new(python.join("bin/python"))
        .arg(repository().join("tests/compat/telegram_client.py"))
        .env("ROOT", api.root())
        .env("TOKEN", api.token())
        .env("PERSON", ann.id.to_string())
        .env("GROUP", group["id"].to_string())
        .env("FILE", "contents")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "passed", "{out}{err}");
    assert_eq!(api.sent_to(ann.id)[0].reply_to, Some(1));
    assert!(!api.sent_to(ann.id)[0].previews);
}
