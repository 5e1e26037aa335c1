use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::Value;

use crate::program::Program;

#[expect(clippy::disallowed_methods, reason = "the test plays the careless user")]
fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn doctor_puts_right_what_stands_in_the_way_and_changes_no_setting() {
    let program = Program::new();
    program.write_config(
        r#"{"gateway":{"auth":{"mode":"token","token":"too-short"}},"agents":{"defaults":{"sandbox":{"mode":"off"}}},
        "models":{"providers":{"own":{"baseUrl":"http://127.0.0.1:9/v1","apiKey":"sk-plain-and-old-000000","models":[]}}}}"#,
    );
    let before = program.run(&["doctor", "--json"]);
    assert_eq!(before.code, 1, "{before:?}");
    chmod(&program.state(), 0o755);
    chmod(&program.state().join("moltbot.json"), 0o644);
    let fixed = program.run(&["doctor", "--fix", "--json"]);
    let told: Value = serde_json::from_str(&fixed.out).unwrap();
    let outcomes: Vec<&str> = told["fix"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["outcome"].as_str().unwrap())
        .collect();
    assert!(fixed.code == 0 && told["ok"] == true, "{fixed:?}");
    assert!(outcomes.len() >= 4 && outcomes.iter().all(|one| *one == "ok"), "{told:#}");
    let mode = |name: &str| program.state().join(name).metadata().unwrap().mode() & 0o777;
    assert_eq!((mode(""), mode("moltbot.json")), (0o700, 0o600));
    let config = crate::paths::read(&program.state().join("moltbot.json"));
    assert!(!config.contains("too-short") && !config.contains("sk-plain-and-old"), "{config}");
    assert!(config.contains(r#""mode":"off""#), "what its owner chose stays: {config}");
    assert!(!fixed.out.contains("too-short") && !fixed.out.contains("sk-plain"), "{fixed:?}");
    let again: Value = serde_json::from_str(&program.run(&["doctor", "--fix", "--json"]).out).unwrap();
    assert_eq!(again["fix"]["items"], serde_json::json!([]), "the second time there is nothing to do");
}

#[test]
fn doctor_tells_who_can_get_at_what_and_changes_nothing() {
    let program = Program::new();
    program.write_config("{}");
    let (folder, file) = (program.state().join("credentials"), program.state().join("moltbot.json"));
    #[expect(clippy::disallowed_methods, reason = "the test plays the careless user")]
    std::fs::create_dir(&folder).unwrap();
    chmod(&folder, 0o755);
    chmod(&file, 0o600);
    let doctor = program.run(&["doctor", "--json"]);
    let told: Value = serde_json::from_str(&doctor.out).unwrap();
    let of = |id: &str| {
        let checks = told["checks"].as_array().unwrap();
        checks.iter().filter(|check| check["id"] == id).cloned().collect::<Vec<_>>()
    };
    let permissions = of("state.permissions");
    let what = permissions[0]["what"].as_str().unwrap();
    assert_eq!((permissions.len(), permissions[0]["level"].as_str()), (1, Some("warn")), "{doctor:?}");
    assert!(what.ends_with("/credentials has mode 0755; 0700 is enough for its owner"), "{what}");
    assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o755);
    for id in ["memory.lock", "memory.swap", "state.synced"] {
        assert_eq!(of(id).len(), 1, "{id}: {doctor:?}");
    }
}
