//! `moltbot service …` through the real binary, and what it writes under a real systemd.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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

#[test]
fn a_socket_is_installed_and_taken_away_with_the_unit() {
    let program = Program::new();
    program.write_config("{gateway: {port: 23456}}");
    let socket = unit_of(&program).with_file_name("moltbot.socket");
    let link = unit_of(&program).with_file_name("sockets.target.wants").join("moltbot.socket");
    let has_socket = || {
        let told = program.run(&["service", "status", "--json"]).out;
        serde_json::from_str::<Value>(&told).unwrap()["socket"] == true
    };
    let ran = program.run(&["service", "install", "--socket", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["socket"], socket.display().to_string());
    assert!(has_socket() && read(&socket).contains("\nListenStream=127.0.0.1:23456\n"), "{}", read(&socket));
    assert_eq!(link.canonicalize().unwrap(), socket.canonicalize().unwrap());
    assert_eq!(program.run(&["service", "print", "--socket"]).out, read(&socket));
    assert_eq!(program.run(&["service", "install"]).code, 0);
    assert!(
        !has_socket() && !socket.exists() && link.symlink_metadata().is_err(),
        "nobody asked for it again"
    );
    assert_eq!(program.run(&["service", "install", "--socket"]).code, 0);
    write(&socket, "[Socket]\nListenStream=1\n");
    for arguments in [&["service", "install"][..], &["service", "uninstall"]] {
        let ran = program.run(arguments);
        assert!(ran.code == 1 && ran.err.contains("moltbot.socket is not of moltbot"), "{ran:?}");
    }
    assert_eq!(program.run(&["service", "install", "--socket", "--force"]).code, 0);
    assert_eq!(program.run(&["service", "uninstall"]).code, 0);
    assert!(!socket.exists() && !unit_of(&program).exists() && link.symlink_metadata().is_err());
    program.write_config("{gateway: {port: 'x'}}");
    let ran = program.run(&["service", "print", "--socket"]);
    assert!(ran.code == 78 && ran.err.contains("gateway.port is no port"), "{ran:?}");
}

/// A gateway that gets `socket` as a service manager would hand it over.
#[expect(clippy::disallowed_methods, reason = "the test plays the service manager")]
fn with_socket(program: &Program, socket: OwnedFd, port: u16) -> Child {
    const SCRIPT: &str = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    let port = port.to_string();
    let gateway = program.command(&["gateway", "run", "--port", &port]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "sh"]).arg(gateway.get_program()).args(gateway.get_args()).env_clear();
    command.envs(gateway.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(socket).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What who has connected hears in the end.
fn heard(mut stream: TcpStream, port: u16) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test plays the service manager and a client")]
fn who_connects_while_the_gateway_starts_anew_is_not_turned_away() {
    let program = Program::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    for _ in 0..2 {
        let early = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut gateway = with_socket(&program, socket.try_clone().unwrap().into(), port);
        let answer = heard(early, port);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let own = TcpStream::connect(("::1", port)).map(|stream| heard(stream, port));
        assert!(own.is_err() || own.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")));
        assert_eq!(program.run(&["gateway", "stop"]).code, 0);
        assert!(gateway.wait().unwrap().success());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test plays the service manager and a client")]
fn a_socket_elsewhere_and_what_is_no_socket_are_refused() {
    let program = Program::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let early = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let said = |gateway: Child| {
        let ended = gateway.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    let (code, text) = said(with_socket(&program, socket.try_clone().unwrap().into(), other));
    assert!(code == Some(78) && text.contains(&format!("a socket at 127.0.0.1:{port}, where")), "{text}");
    let file = std::fs::File::open("/dev/null").unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for wrong in [OwnedFd::from(file), datagrams.into(), early.into()] {
        let (code, text) = said(with_socket(&program, wrong, other));
        assert!(code == Some(1) && text.contains("is no listening TCP socket"), "{code:?} {text}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "Python reads such files as macOS does")]
fn what_macos_is_told_is_read_as_it_was_meant() {
    let told = |program: &Program, arguments: &[&str]| {
        let ran = program.run(&[arguments, &["service", "print", "--launchd"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        let read = "import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))";
        let mut python = Command::new("python3");
        let mut python =
            python.args(["-c", read]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        python.stdin.take().unwrap().write_all(ran.out.as_bytes()).unwrap();
        serde_json::from_slice::<Value>(&python.wait_with_output().unwrap().stdout).unwrap()
    };
    let binary = env!("CARGO_BIN_EXE_moltbot");
    let of_profile = told(&Program::new(), &["--profile", "work"]);
    assert_eq!(of_profile["ProgramArguments"], json!([binary, "--profile", "work", "gateway", "run"]));
    assert_eq!(
        (&of_profile["RunAtLoad"], &of_profile["KeepAlive"], &of_profile["Umask"]),
        (&json!(true), &json!({"SuccessfulExit": false}), &json!(0o077))
    );
    let elsewhere = told(&Program::new().with("MOLTBOT_STATE_DIR", "/srv/a & <b>"), &[]);
    assert_eq!(elsewhere["ProgramArguments"], json!([binary, "gateway", "run"]));
    assert_eq!(elsewhere["EnvironmentVariables"], json!({"MOLTBOT_STATE_DIR": "/srv/a & <b>"}));
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
cp -r "$ROOM"/units/. /etc/systemd/system/
export container=other
exec /usr/lib/systemd/systemd --system --unit=room.target --log-target=null
"#;

/// Asks a gateway that is not there.
const ASK: &str = r#"exec 5<>/dev/tcp/127.0.0.1/$MOLTBOT_GATEWAY_PORT
printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&5
head -n 1 <&5 > "$HOME/../out/answer"
"#;

const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";

/// A folder with the program, that a user without rights can look into, and his home.
#[expect(clippy::disallowed_methods, reason = "the test plays the machine's owner")]
fn room(folder: &str) -> tempfile::TempDir {
    let room = tempfile::Builder::new().prefix("moltbot-test-").tempdir_in(folder).unwrap();
    chmod(room.path(), 0o755);
    std::fs::copy(env!("CARGO_BIN_EXE_moltbot"), room.path().join("moltbot")).unwrap();
    std::fs::create_dir(room.path().join("units")).unwrap();
    for folder in ["home", "out"] {
        std::fs::create_dir(room.path().join(folder)).unwrap();
        std::os::unix::fs::chown(room.path().join(folder), Some(1), Some(1)).unwrap();
    }
    room
}

/// A unit of the systemd of this room.
#[expect(clippy::disallowed_methods, reason = "the test plays the machine's owner")]
fn unit_in(room: &Path, name: &str, text: &str) {
    let path = room.join("units").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(&path, text);
}

/// Lets a systemd run that has what is in the room, until it says that all is done.
#[expect(clippy::disallowed_methods, reason = "starts a systemd of its own, in namespaces of its own")]
fn boot(room: &Path) {
    write(&room.join("boot"), BOOT);
    let mut systemd = Command::new("unshare")
        .args(["--pid", "--fork", "--mount", "--kill-child", "/bin/sh"])
        .arg(room.join("boot"))
        .env("ROOM", room)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !room.join("out/done").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    systemd.kill().unwrap();
    systemd.wait().unwrap();
}

/// Looks once the unit says that it serves: runs a command of the agent's kind, and stops everything.
const LOOK: &str = "\
[Unit]
DefaultDependencies=no
Wants=moltbot.service
After=moltbot.service
[Service]
Type=oneshot
User=daemon
ExecStart=+/bin/sh -c 'systemctl show moltbot -p ActiveState -p SubState -p WatchdogUSec -p NRestarts > $ROOM/out/state'
Environment=HOME=$ROOM/home MOLTBOT_GATEWAY_TOKEN=$TOKEN MOLTBOT_GATEWAY_PORT=$PORT
ExecStart=/bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9; do $ROOM/moltbot status --json > $ROOM/out/status; grep -q probing $ROOM/out/status || break; sleep 1; done'
ExecStart=+/bin/sh -c 'systemctl stop moltbot; systemctl show moltbot moltbot.socket -p ActiveState > $ROOM/out/stopped'
ExecStart=/bin/bash $ROOM/ask
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
    let room = room("/srv");
    let path = |name: &str| room.path().join(name);
    let unit = |name: &str, text: &str| unit_in(room.path(), name, text);
    let mut printed = Command::new(path("moltbot"));
    let printed = printed.args(["service", "print", "--user", "daemon"]).output().unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.status.success() && text.contains("User=daemon"), "{text}");
    unit("moltbot.service", &text);
    // The home of this test's user is elsewhere than the system's list says.
    let home = path("home").display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let socket = Program::new();
    socket.write_config(&json!({"gateway": {"port": port}}).to_string());
    unit("moltbot.socket", &socket.run(&["service", "print", "--socket"]).out);
    unit("moltbot.socket.d/room.conf", "[Unit]\nDefaultDependencies=no\n");
    unit("room.target", "[Unit]\nWants=moltbot.socket look.service\n");
    unit(
        "moltbot.service.d/room.conf",
        &format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nBindPaths=\nReadWritePaths=\nReadWritePaths={home}\nEnvironment=HOME={home}\n\
            Environment=MOLTBOT_GATEWAY_TOKEN={TOKEN} MOLTBOT_GATEWAY_PORT={port}\n"
        ),
    );
    let look = LOOK.replace("$ROOM", &room.path().display().to_string());
    unit("look.service", &look.replace("$TOKEN", TOKEN).replace("$PORT", &port.to_string()));
    write(&path("ask"), ASK);
    boot(room.path());
    let state = read(&path("out/state"));
    assert!(state.contains("ActiveState=active\n") && state.contains("NRestarts=0\n"), "{state}");
    assert!(state.contains("WatchdogUSec=1min\n"), "{state}");
    let status: Value = serde_json::from_str(&read(&path("out/status"))).unwrap();
    let sandbox = &status["heard"]["status"]["sandbox"];
    assert_eq!(sandbox["state"], "ready", "the gateway has run a command under its unit: {status:#}");
    assert_eq!(read(&path("out/stopped")), "ActiveState=inactive\n\nActiveState=active\n");
    let answer = read(&path("out/answer"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "who connects has it started again: {answer:?}");
}

/// The owner's own manager, as it is started when he signs in. `unit-root` is there as soon as the machine's has started something.
const OWNER: &str = "\
[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=daemon
Delegate=yes
Environment=HOME=$ROOM/home XDG_RUNTIME_DIR=/run/user/1
ExecStartPre=+/bin/sh -c 'mkdir -p /run/systemd/unit-root /run/user && mkdir -m 700 /run/user/1 && chown 1:1 /run/user/1'
ExecStart=/usr/lib/systemd/systemd --user --log-target=null
";

/// What the owner types then.
const TYPED: &str = "\
[Unit]
DefaultDependencies=no
Wants=owner.service
After=owner.service
[Service]
Type=oneshot
User=daemon
Environment=HOME=$ROOM/home XDG_RUNTIME_DIR=/run/user/1
ExecStart=/bin/sh -c '$ROOM/moltbot config set gateway.port $PORT && $ROOM/moltbot service install --socket > $ROOM/out/said'
ExecStart=/bin/sh -c 'systemctl --user daemon-reload && systemctl --user restart moltbot.socket moltbot.service 2> $ROOM/out/why || true'
ExecStart=/bin/sh -c 'systemctl --user show moltbot -p ActiveState -p NRestarts > $ROOM/out/state'
ExecStart=/bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9; do $ROOM/moltbot status --json > $ROOM/out/status; grep -q probing $ROOM/out/status || break; sleep 1; done'
ExecStart=/bin/sh -c 'systemctl --user stop moltbot.socket moltbot && $ROOM/moltbot service uninstall && systemctl --user daemon-reload'
ExecStart=/bin/sh -c 'systemctl --user show moltbot -p LoadState > $ROOM/out/gone; echo done > $ROOM/out/done'
";

#[test]
#[expect(clippy::disallowed_methods, reason = "the test plays the service manager and a client")]
fn an_owner_has_the_gateway_started_by_a_real_systemd_of_his_own() {
    const NAME: &str = "an_owner_has_the_gateway_started_by_a_real_systemd_of_his_own";
    if !Path::new(SYSTEMD).exists() || !rustix::process::geteuid().is_root() {
        return skip(NAME, "it needs root and systemd, which is then started in namespaces of its own");
    }
    // Where homes are, which the unit hides but for what is the gateway's.
    let room = room("/home");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let place = room.path().display().to_string();
    let filled = |text: &str| text.replace("$ROOM", &place).replace("$PORT", &port);
    unit_in(room.path(), "room.target", "[Unit]\nWants=look.service\n");
    unit_in(room.path(), "owner.service", &filled(OWNER));
    unit_in(room.path(), "look.service", &filled(TYPED));
    boot(room.path());
    let out = |name: &str| read(&room.path().join("out").join(name));
    assert!(
        out("said").contains("systemctl --user restart moltbot.socket moltbot.service"),
        "{}",
        out("said")
    );
    assert_eq!((out("why").as_str(), out("state").as_str()), ("", "NRestarts=0\nActiveState=active\n"));
    let status: Value = serde_json::from_str(&out("status")).unwrap();
    let sandbox = &status["heard"]["status"]["sandbox"];
    assert_eq!(sandbox["state"], "ready", "the gateway has run a command under its unit: {status:#}");
    assert_eq!(out("gone"), "LoadState=not-found\n");
}
