//! Files that people send: kept for the agent under names of ours, and nothing of strangers, of what is too large, or of what
//! a sender calls them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use moltbot_testkit::telegram::{Fault, Person};
use serde_json::{Value, json};

use super::{CODE, Stage, ann, eve};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n-not-much-of-a-picture";

/// The folder of the conversation with a person.
fn folder(stage: &Stage) -> PathBuf {
    let folders = stage.home.state_path().join("sandboxes").read_dir().unwrap();
    folders
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.display().to_string().contains("dm-1001"))
        .unwrap()
}

/// Files that were received, by name.
fn received(stage: &Stage) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = match folder(stage).join("received").read_dir() {
        Ok(files) => files.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    files
}

/// Every path at which a file could be put, without those at which the gateway keeps its own.
fn places(stage: &Stage) -> BTreeSet<PathBuf> {
    let (state, all) = (stage.home.state_path(), crate::paths::tree(stage.home.path()));
    let own = ["ledger", "logs", "agents"].map(|name| state.join(name));
    let is_own = |path: &PathBuf| {
        own.iter().any(|own| path.starts_with(own)) || path.display().to_string().contains(".db")
    };
    all.into_iter().filter(|path| !is_own(path)).collect()
}

fn document(id: &str, name: &str, size: usize) -> Value {
    json!({"document": {"file_id": id, "file_unique_id": id, "file_name": name, "file_size": size, "mime_type": "image/png"}})
}

fn last_asked(stage: &Stage) -> String {
    stage.asked().pop().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
fn g02_a_file_is_kept_for_the_agent_under_a_name_of_ours_and_known_by_its_bytes() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    stage.api.add_file("picture", PNG.to_vec());
    stage.api.add_file("note", b"buy milk\n".to_vec());
    let mut photo = json!({"photo": [{"file_id": "picture", "file_unique_id": "p", "file_size": PNG.len(), "width": 1, "height": 1}]});
    photo["caption"] = json!("look");
    stage.api.send(&ann(), &photo);
    stage.api.wait_for_sent(ann().id, 1);
    let asked = last_asked(&stage);
    let files = received(&stage);
    let name = format!("received/{}", files[0].file_name().unwrap().to_string_lossy());
    assert!(
        asked.starts_with("look\n\n[Attached: a photo (1 kB). It is the file received/telegram-"),
        "{asked}"
    );
    assert!(asked.contains(&name) && asked.contains("image/png; a model that sees is shown it"), "{asked}");
    assert_eq!(std::fs::read(&files[0]).unwrap(), PNG);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Its sender calls it a path out of the folder, and a picture.
    let before = places(&stage);
    let names = [
        "../../../moltbot.json",
        "..\\..\\moltbot.json",
        "/etc/passwd",
        "C:\\Windows\\x",
        "~/.ssh/authorized_keys",
        ".git/config",
        "trailing. ",
        "%2e%2e%2fx",
        "a\u{202e}gnp.exe\n\0",
    ];
    for name in names {
        stage.api.send(&ann(), &document("note", name, 9));
    }
    stage.api.wait_for_sent(ann().id, 1 + names.len());
    let files = received(&stage);
    assert_eq!(files.len(), 1 + names.len(), "{files:?}");
    let elsewhere: Vec<PathBuf> = places(&stage).difference(&before).cloned().collect();
    assert!(elsewhere.iter().all(|path| files.contains(path)), "{elsewhere:?}");
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            name.starts_with("telegram-") && (name.ends_with("-1.png") || name.ends_with("-1.txt")),
            "{name}"
        );
    }
    assert!(last_asked(&stage).contains("(text/plain).]"), "{}", last_asked(&stage));
    stage.gateway.terminate();
    let token = stage.api.token().to_owned();
    let (_, book) = stage.moltbot(&["ledger", "search", "--action", "file.write", "--json"]);
    assert_eq!(book.matches("received/telegram-").count(), 1 + names.len(), "{book}");
    let log = std::fs::read_to_string(stage.home.state_path().join("logs/gateway.jsonl")).unwrap();
    let secret = token.split(':').nth(1).unwrap();
    assert!(
        !log.contains(secret) && !book.contains(secret) && !log.contains("documents/"),
        "no token, no path"
    );
}

#[test]
fn an_album_is_one_message_also_when_it_comes_in_parts() {
    let stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    for number in 0..3 {
        stage.api.add_file(&format!("f{number}"), PNG.to_vec());
    }
    let part = |number: usize| {
        let mut part = document(&format!("f{number}"), "a.png", PNG.len());
        part["media_group_id"] = json!("album");
        if number == 1 {
            part["caption"] = json!("our holidays");
        }
        part
    };
    stage.api.send(&ann(), &part(0));
    std::thread::sleep(std::time::Duration::from_millis(150)); // the first is told by itself
    stage.api.send(&ann(), &part(1));
    stage.api.send(&ann(), &part(2));
    stage.api.write(&ann(), "behind it");
    stage.api.wait_for_sent(ann().id, 2);
    let asked = stage.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[0].starts_with("our holidays\n\n[Attached")
            && asked[0].matches("received/telegram-").count() == 3,
        "{asked:?}"
    );
    assert_eq!(asked[1], "behind it");
    assert_eq!(received(&stage).len(), 3);
}

#[test]
fn nothing_of_a_stranger_or_in_a_group_that_is_not_ours_is_fetched() {
    let stage = Stage::with(|_| json!({"groupAllowFrom": [ann().id]}));
    stage.api.add_file("bomb", vec![0; 1000]);
    stage.api.send(&eve(), &document("bomb", "x", 1000));
    let told = stage.api.wait_for_sent(eve().id, 1);
    assert!(told[0].text.starts_with(CODE), "{told:?}");
    let group = stage.api.group("Elsewhere");
    stage.api.post(&group, &ann(), &document("bomb", "x", 1000));
    stage.api.wait_until_confirmed();
    assert_eq!(stage.api.count("getFile"), 0);
    assert!(stage.asked().is_empty());
}

#[test]
fn what_is_too_large_or_lies_is_not_taken_and_its_sender_hears_why() {
    let stage = Stage::with(|_| json!({"allowFrom": [ann().id], "mediaMaxMb": 1}));
    let ann: Person = ann();
    stage.api.add_file("large", vec![b'x'; 3_000_000]);
    stage.api.lie_about_file("large", "documents/large", 10);
    stage.api.add_file("elsewhere", PNG.to_vec());
    stage.api.lie_about_file("elsewhere", "../../getMe", 10);
    stage.api.fail("getFile", []);
    let mut sent = 0;
    for (what, size, expected) in [
        ("large", 3_000_000, "larger than 1 MB"), // as its sender's client says
        ("large", 10, "larger than 1 MB"),        // a bomb: more comes than was said
        ("elsewhere", 10, "names no place of it"),
        ("nobody has it", 10, "wrong file_id"),
    ] {
        stage.api.send(&ann, &document(what, "file", size));
        sent += 2; // the sentence, and the answer of the agent
        let all = stage.api.wait_for_sent(ann.id, sent);
        let said: Vec<&str> = all[sent - 2..].iter().map(|sent| sent.text.as_str()).collect();
        assert!(
            said.iter().any(|text| text.starts_with("I did not take a document") && text.contains(expected)),
            "{what}: {said:?}"
        );
        let asked = last_asked(&stage);
        assert!(asked.contains("not readable here") && asked.contains(expected), "{what}: {asked}");
        assert!(!asked.contains(stage.api.token()), "{asked}");
    }
    stage.api.fail("getFile", [Fault::Drop]);
    stage.api.send(&ann, &document("large", "file", 10));
    stage.api.wait_for_sent(ann.id, sent + 2);
    assert!(received(&stage).is_empty(), "{:?}", received(&stage));
}
