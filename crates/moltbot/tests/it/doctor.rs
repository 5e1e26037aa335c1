use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::Value;

use crate::program::Program;

#[expect(clippy::disallowed_methods, reason = "the test plays the careless user")]
fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
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
