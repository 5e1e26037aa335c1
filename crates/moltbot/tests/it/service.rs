//! `moltbot service …` through the real binary, and what it writes under a real systemd.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

use crate::paths::{read, write};
use crate::posture::chmod;
use crate::program::Program;

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

fn unit_of(program: &Program) -> PathBuf {
    program.state().with_file_name(".config/systemd/user/moltbot.service")
}

#[test]
fn a_unit_is_written_looked_at_and_taken_away() {
    let program = Program::new();
    let status = |code: i32| {
        let ran = program.run(&["service", "status", "--json"]);
        assert_eq!(ran.code, code, "{ran:?}");
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    assert_eq!(status(1)["installed"], false);
    assert!(!program.state().exists(), "a look makes nothing");
    let ran = program.run(&["service", "install"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("systemctl --user restart moltbot"), "{ran:?}");
    let found = status(0);
    assert_eq!(
        (&found["startsByItself"], &found["current"], &found["missing"]),
        (&json!(true), &json!(true), &json!([])),
        "{found}"
    );
    let link = unit_of(&program).with_file_name("default.target.wants").join("moltbot.service");
    assert_eq!(link.canonicalize().unwrap(), unit_of(&program).canonicalize().unwrap());
    let again = program.run(&["service", "install", "--without-commands", "--json"]);
    assert_eq!(again.code, 0, "what is ours is written anew: {again:?}");
    assert!(read(&unit_of(&program)).contains("RestrictNamespaces=yes\n"));
    assert_eq!(program.run(&["service", "uninstall"]).code, 0);
    assert!(!unit_of(&program).exists() && link.symlink_metadata().is_err());
    assert_eq!(program.run(&["service", "uninstall"]).code, 1);
    let records = program.run(&["ledger", "search", "--json"]).out;
    let acts: Vec<&str> = ["service.install", "service.uninstall"]
        .into_iter()
        .filter(|act| records.lines().any(|line| line.contains(act)))
        .collect();
    assert_eq!(acts.len(), 2, "{records}");
}

#[test]
fn a_unit_of_somebody_else_is_not_replaced_and_a_path_becomes_no_setting() {
    let program = Program::new();
    program.run(&["config", "set", "logging.level", "\"info\""]);
    let folder = unit_of(&program).parent().unwrap().to_owned();
    #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
    std::fs::create_dir_all(&folder).unwrap();
    write(&unit_of(&program), "[Service]\nExecStart=/usr/bin/other\n");
    for arguments in [["service", "install"], ["service", "uninstall"]] {
        let ran = program.run(&arguments);
        assert!(ran.code == 1 && ran.err.contains("is not of moltbot"), "{ran:?}");
    }
    assert!(read(&unit_of(&program)).contains("/usr/bin/other"));
    assert_eq!(program.run(&["service", "install", "--force"]).code, 0);
    assert!(read(&unit_of(&program)).contains("gateway run"));
    let workspace = "/srv/a\nExecStartPre=/bin/sh";
    program.write_config(&json!({"agents": {"defaults": {"workspace": workspace}}}).to_string());
    let ran = program.run(&["service", "print"]);
    assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("a unit cannot name"), "{ran:?}");
    let ran = program.run(&["service", "print", "--user", "nobody-of-this-name"]);
    assert!(ran.code == 2 && ran.err.contains("there is no user"), "{ran:?}");
}

/// What systemd itself says of a unit, 0 (nothing is open) to 10.
#[expect(clippy::disallowed_methods, reason = "systemd's own judgement")]
fn exposure(unit: &Path) -> f64 {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{said}"));
    line.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn systemd_finds_little_that_a_unit_leaves_open() {
    const NAME: &str = "systemd_finds_little_that_a_unit_leaves_open";
    if !Path::new(SYSTEMD).exists() {
        return skip(NAME, "there is no systemd on this machine");
    }
    let program = Program::new();
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("moltbot.service");
    for (arguments, most) in
        [(&["service", "print"][..], 3.0), (&["service", "print", "--without-commands"], 1.5)]
    {
        let ran = program.run(&[arguments, &["--user", "daemon"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        write(&unit, &ran.out);
        let found = exposure(&unit);
        println!("{arguments:?}: {found}");
        assert!(found <= most, "{arguments:?}: {found}\n{}", ran.out);
    }
}

/// What the first process of namespaces of its own does: a systemd that knows our unit alone.
const BOOT: &str = r#"set -e
mount --make-rprivate /
# Not over the other one: as on a machine, there is one /proc, and what a unit hides of it is hidden.
umount -R /proc
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/systemd/system
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /etc/systemd/system/moltbot.service.d
cp "$ROOM/moltbot.service" /etc/systemd/system/
cp "$ROOM/room.conf" /etc/systemd/system/moltbot.service.d/
cp "$ROOM/look.service" /etc/systemd/system/
printf '[Unit]\nWants=look.service\n' > /etc/systemd/system/room.target
export container=other
exec /usr/lib/systemd/systemd --system --unit=room.target --log-target=null
"#;

const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";

/// Looks once the unit says that it serves: runs a command of the agent's kind, and stops everything.
const LOOK: &str = "\
[Unit]
DefaultDependencies=no
Requires=moltbot.service
After=moltbot.service
[Service]
Type=oneshot
User=daemon
ExecStart=+/bin/sh -c 'systemctl show moltbot -p ActiveState -p SubState -p WatchdogUSec -p NRestarts > $ROOM/out/state'
Environment=HOME=$ROOM/home MOLTBOT_GATEWAY_TOKEN=$TOKEN MOLTBOT_GATEWAY_PORT=$PORT
ExecStart=/bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9; do $ROOM/moltbot status --json > $ROOM/out/status; grep -q probing $ROOM/out/status || break; sleep 1; done'
ExecStart=/bin/sh -c 'echo done > $ROOM/out/done'
";

#[test]
#[expect(clippy::disallowed_methods, reason = "starts a systemd of its own, in namespaces of its own")]
fn a_gateway_serves_and_runs_commands_under_its_unit_in_a_real_systemd() {
    const NAME: &str = "a_gateway_serves_and_runs_commands_under_its_unit_in_a_real_systemd";
    if !Path::new(SYSTEMD).exists() || !rustix::process::geteuid().is_root() {
        return skip(NAME, "it needs root and systemd, which is then started in namespaces of its own");
    }
    // Not in `/tmp`, which the unit hides.
    let room = tempfile::Builder::new().prefix("moltbot-test-").tempdir_in("/srv").unwrap();
    let path = |name: &str| room.path().join(name);
    chmod(room.path(), 0o755);
    std::fs::copy(env!("CARGO_BIN_EXE_moltbot"), path("moltbot")).unwrap();
    for folder in ["home", "out"] {
        std::fs::create_dir(path(folder)).unwrap();
        std::os::unix::fs::chown(path(folder), Some(1), Some(1)).unwrap();
    }
    let mut printed = Command::new(path("moltbot"));
    let printed = printed.args(["service", "print", "--user", "daemon"]).output().unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.status.success() && text.contains("User=daemon"), "{text}");
    write(&path("moltbot.service"), &text);
    // The home of this test's user is elsewhere than the system's list says.
    let home = path("home").display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    write(
        &path("room.conf"),
        &format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nBindPaths=\nReadWritePaths=\nReadWritePaths={home}\nEnvironment=HOME={home}\n\
            Environment=MOLTBOT_GATEWAY_TOKEN={TOKEN} MOLTBOT_GATEWAY_PORT={port}\n"
        ),
    );
    let look = LOOK.replace("$ROOM", &room.path().display().to_string());
    write(&path("look.service"), &look.replace("$TOKEN", TOKEN).replace("$PORT", &port.to_string()));
    write(&path("boot"), BOOT);
    let mut systemd = Command::new("unshare")
        .args(["--pid", "--fork", "--mount", "--kill-child", "/bin/sh"])
        .arg(path("boot"))
        .env("ROOM", room.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !path("out/done").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    systemd.kill().unwrap();
    systemd.wait().unwrap();
    let state = read(&path("out/state"));
    assert!(state.contains("ActiveState=active\n") && state.contains("NRestarts=0\n"), "{state}");
    assert!(state.contains("WatchdogUSec=1min\n"), "{state}");
    let status: Value = serde_json::from_str(&read(&path("out/status"))).unwrap();
    let sandbox = &status["heard"]["status"]["sandbox"];
    assert_eq!(sandbox["state"], "ready", "the gateway has run a command under its unit: {status:#}");
}
