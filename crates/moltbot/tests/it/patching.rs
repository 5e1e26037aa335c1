//! The tool `apply_patch`, through the real program: several files at once, or none of them.

use std::path::PathBuf;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use serde_json::json;

use crate::hooks::PROGRAM;
use crate::paths::{read, told, tree, write};
use crate::secrets::book_in;

struct Desk {
    home: Home,
    model: ScriptedModel,
    _gateway: Gateway,
}

impl Desk {
    fn new() -> Self {
        let model = ScriptedModel::queue([]);
        let home = Home::with_model(&model);
        home.change_config(|config| config["tools"]["exec"]["applyPatch"] = json!({"enabled": true}));
        let gateway = Gateway::start(PROGRAM, &home);
        Self { home, model, _gateway: gateway }
    }

    fn patch(&self, changes: &str) -> (bool, String) {
        self.patches(&[changes.to_owned()]).remove(0)
    }

    /// Several of them in one turn.
    fn patches(&self, patches: &[String]) -> Vec<(bool, String)> {
        let call = |changes: &String| {
            let input = format!("*** Begin Patch\n{changes}\n*** End Patch");
            ("apply_patch", json!({"input": input}))
        };
        told(&self.home, &self.model, &patches.iter().map(call).collect::<Vec<_>>())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.state_path().join("workspace").join(name)
    }
}

#[test]
fn a_patch_changes_several_files_and_each_is_in_the_book() {
    let desk = Desk::new();
    write(&desk.file("src/a.txt"), "one\ntwo\nthree\n");
    write(&desk.file("old.bin"), "\0\u{1}");
    let (is_error, result) = desk.patch(
        "*** Update File: src/a.txt\n*** Move to: src/b.txt\n@@\n one\n-two\n+2\n*** Delete File: old.bin\n\
         *** Add File: new/n.txt\n+hello",
    );
    assert!(!is_error, "{result}");
    assert_eq!(result, "added new/n.txt\nremoved old.bin\nremoved src/a.txt\nadded src/b.txt");
    assert_eq!(
        (read(&desk.file("src/b.txt")).as_str(), read(&desk.file("new/n.txt")).as_str()),
        ("one\n2\nthree\n", "hello\n")
    );
    assert!(!desk.file("src/a.txt").exists() && !desk.file("old.bin").exists());
    let book = book_in(desk.home.path());
    for entry in [
        "\"action\":\"file.write\",\"target\":\"src/b.txt\"",
        "\"action\":\"file.remove\",\"target\":\"src/a.txt\"",
        "\"action\":\"file.remove\",\"target\":\"old.bin\"",
    ] {
        assert!(book.contains(entry), "{entry}");
    }
}

#[test]
fn a_patch_that_fits_no_file_or_cannot_be_written_to_its_end_leaves_everything_as_it_was() {
    let desk = Desk::new();
    write(&desk.file("A.txt"), "one\n");
    write(&desk.file("z.txt"), "last\n");
    let workspace = desk.file("");
    let before = tree(&workspace);
    for (patch, expected) in [
        ("*** Add File: n.txt\n+x\n*** Update File: A.txt\n@@\n-two\n+2", "A.txt: change 1 fits no place"),
        ("*** Add File: n.txt\n+x\n*** Delete File: gone.txt", "there is no gone.txt"),
        ("*** Add File: A.txt\n+x", "A.txt is there already"),
        // Only writing shows that a file cannot be in a file.
        (
            "*** Update File: A.txt\n@@\n-one\n+1\n*** Delete File: z.txt\n*** Add File: n\n+x\n*** Add File: n/below\n+y",
            "nothing of the patch was done",
        ),
    ] {
        let (is_error, result) = desk.patch(patch);
        assert!(is_error && result.contains(expected), "{patch}: {result}");
        assert_eq!(tree(&workspace), before, "{patch}");
        assert_eq!(
            (read(&desk.file("A.txt")).as_str(), read(&desk.file("z.txt")).as_str()),
            ("one\n", "last\n"),
            "{patch}"
        );
    }
}

/// CVE-2026-32060, CVE-2026-32007: one path of a patch that leads out, and the others that do not.
#[test]
fn g03_a_patch_with_one_path_that_leads_out_does_nothing_at_all() {
    let desk = Desk::new();
    let outside = desk.home.path().join("outside");
    write(&outside.join("secret.txt"), "secret\n");
    write(&desk.file("a.txt"), "one\n");
    std::os::unix::fs::symlink(&outside, desk.file("link")).unwrap();
    let absolute = outside.join("secret.txt").display().to_string();
    let before = (tree(&outside), tree(&desk.file("")));
    for path in [
        "../../.ssh/authorized_keys",
        "../../outside/secret.txt",
        "a/../../../outside/secret.txt",
        absolute.as_str(),
        "/workspace/../../outside/secret.txt",
        "link/secret.txt",
        "link/new.txt",
        ".git/hooks/pre-commit",
        "sub/.envrc",
    ] {
        let bad = [
            format!("*** Add File: {path}\n+taken over"),
            format!("*** Delete File: {path}"),
            format!("*** Update File: {path}\n@@\n-secret\n+taken over"),
            format!("*** Update File: a.txt\n*** Move to: {path}\n@@\n-one\n+taken over"),
        ];
        let fine = "*** Add File: fine.txt\n+x";
        let patches: Vec<String> =
            bad.iter().flat_map(|bad| [format!("{fine}\n{bad}"), format!("{bad}\n{fine}")]).collect();
        for (patch, (is_error, result)) in patches.iter().zip(desk.patches(&patches)) {
            assert!(is_error && !result.contains("taken over"), "{patch}: {result}");
        }
    }
    assert_eq!((tree(&outside), tree(&desk.file(""))), before);
    assert_eq!(
        (read(&outside.join("secret.txt")).as_str(), read(&desk.file("a.txt")).as_str()),
        ("secret\n", "one\n")
    );
    assert!(!desk.home.path().join(".ssh").exists());
    let book = book_in(desk.home.path());
    assert!(book.contains("\"target\":\"../../.ssh/authorized_keys\",\"decision\":\"refused\""), "{book}");
}

#[test]
fn a_model_has_the_tool_only_where_the_config_switches_it_on() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let input = "*** Begin Patch\n*** Add File: a\n+x\n*** End Patch";
    let (is_error, result) = told(&home, &model, &[("apply_patch", json!({"input": input}))]).remove(0);
    assert!(is_error && result.contains("there is no tool `apply_patch`"), "{result}");
    assert!(!home.state_path().join("workspace/a").exists());
    assert!(!model.requests()[0].tools().contains(&"apply_patch".to_owned()));
}
