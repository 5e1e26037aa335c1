//! Layer 6 through the real binary: what is secret is sealed, opens for its owner, and is found nowhere else.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a helper of a test fails its test, and says what it did"
)]

use std::path::Path;

use moltbot_testkit::home::{Home, PROVIDER_KEY};
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, command, run};
use serde_json::{Value, json};

use crate::program::Program;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// Every path of the reference's list that a config can have here, with a canary at each.
const PLACES: [(&str, &str); 22] = [
    ("gateway.auth.token", "canary-01-q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o"),
    ("gateway.remote.token", "canary-02-vT4nQ1"),
    ("gateway.remote.password", "canary-03-vT4nQ1"),
    ("channels.telegram.botToken", "canary-04-vT4nQ1"),
    ("channels.telegram.webhookSecret", "canary-05-vT4nQ1"),
    ("channels.telegram.accounts.work.botToken", "canary-06-vT4nQ1"),
    ("channels.slack.appToken", "canary-07-vT4nQ1"),
    ("channels.slack.signingSecret", "canary-08-vT4nQ1"),
    ("channels.slack.userToken", "canary-09-vT4nQ1"),
    ("channels.googlechat.serviceAccount", "canary-10-vT4nQ1"),
    ("channels.bluebubbles.password", "canary-11-vT4nQ1"),
    ("channels.msteams.appPassword", "canary-12-vT4nQ1"),
    ("hooks.token", "canary-13-vT4nQ1"),
    ("hooks.gmail.pushToken", "canary-14-vT4nQ1"),
    ("talk.apiKey", "canary-15-vT4nQ1"),
    ("messages.tts.openai.apiKey", "canary-16-vT4nQ1"),
    ("tools.web.search.apiKey", "canary-17-vT4nQ1"),
    ("skills.entries.weather.apiKey", "canary-18-vT4nQ1"),
    ("skills.entries.weather.env.WEATHER_KEY", "canary-19-vT4nQ1"),
    ("env.vars.SOME_SERVICE", "canary-20-vT4nQ1"),
    ("models.providers.scripted.headers.x-key", "canary-21-vT4nQ1"),
    ("agents.defaults.sandbox.docker.env.DB", "canary-22-vT4nQ1"),
];

/// Every file beneath a folder, with its bytes.
#[expect(clippy::disallowed_methods, reason = "the test looks past the vault")]
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.symlink_metadata().unwrap().is_file() {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    found
}

/// The files beneath a folder that have `needle` in them.
pub(crate) fn holders(folder: &Path, needle: &str) -> Vec<String> {
    let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    files(folder).into_iter().filter(|(_, bytes)| has(bytes)).map(|(path, _)| path).collect()
}

fn set(program: &Program, place: &str, value: &str) {
    let ran = program.run_with(&["secrets", "set", place], &format!("{value}\n"));
    assert_eq!(ran.code, 0, "{place}: {ran:?}");
    assert!(!format!("{ran:?}").contains(value), "{place}: {ran:?}");
}

fn get(program: &Program, place: &str) -> String {
    let ran = program.run(&["secrets", "get", place, "--raw"]);
    assert_eq!(ran.code, 0, "{place}: {ran:?}");
    ran.out
}

fn book(program: &Program) -> String {
    book_in(program.state().parent().unwrap())
}

/// The book of the home at `path`.
pub(crate) fn book_in(path: &Path) -> String {
    let book = files(&path.join(".moltbot/ledger"));
    book.into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

#[test]
fn a_fresh_installation_has_its_token_sealed_from_the_first_byte_on() {
    let program = Program::new();
    assert_eq!(program.run(&["config", "validate"]).code, 0);
    let config = program.config();
    assert!(config.contains("token: \"sealed:v1:aes-256-gcm:hkdf-sha256:"), "{config}");
    let token = get(&program, "gateway.auth.token");
    assert_eq!(token.len(), 43, "{token:?}");
    assert_eq!(holders(&program.state(), &token), Vec::<String>::new());
    assert!(book(&program).contains("secret.read"), "the book tells that it was read");
    // The gateway takes it, and so does the command line.
    program.start();
    assert_eq!(program.run(&["health"]).code, 0);
    let status = program.run(&["secrets", "status", "--json"]);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!((&status["sealed"], &status["wrapping"]), (&json!(true), &json!("none")), "{status}");
}

#[test]
fn j02_a_canary_in_every_secret_place_is_found_nowhere_and_comes_back() {
    let program = Program::new();
    program.start();
    // The gateway's own token comes last: from then on it takes the next start to sign in.
    for (place, canary) in PLACES.into_iter().rev() {
        set(&program, place, canary);
    }
    let restarted = program.run(&["gateway", "restart"]);
    assert_eq!(restarted.code, 0, "{restarted:?}");
    for (place, canary) in PLACES {
        assert_eq!(get(&program, place), canary, "{place}");
    }
    for arguments in [
        &["config", "get"][..],
        &["gateway", "call", "config.get"],
        &["gateway", "call", "channels.status"],
        &["gateway", "call", "logs.tail"],
        &["gateway", "call", "models.list"],
        &["gateway", "call", "system-presence"],
        &["status", "--all", "--json"],
        &["doctor", "--json"],
        &["secrets", "list", "--json"],
        &["secrets", "status", "--json"],
        &["config", "validate", "--json"],
        &["logs"],
    ] {
        let ran = program.run(arguments);
        for (place, canary) in PLACES {
            assert!(!format!("{ran:?}").contains(canary), "{arguments:?} shows {place}: {ran:?}");
        }
        assert!(!ran.out.contains("sealed:v1:"), "{arguments:?} shows what is sealed: {ran:?}");
    }
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
    for arguments in
        [&["config", "set", "gateway.port", "18999"][..], &["secrets", "rotate"], &["config", "undo"]]
    {
        let ran = program.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    }
    for (place, canary) in PLACES {
        assert_eq!(holders(program.state().parent().unwrap(), canary), Vec::<String>::new(), "{place}");
        assert_eq!(get(&program, place), canary, "{place} after a rotation");
    }
}

/// What the gateway's process has, and what it sends: the key goes to its provider, in its header, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j05_a_key_reaches_its_provider_in_its_header_and_no_child_log_or_prompt() {
    let model = ScriptedModel::queue([
        Reply::tool("exec", &json!({"command": "env; ls /proc"})),
        Reply::text("done"),
        // Refused, and the session is in quarantine.
        Reply::tool(
            "exec",
            &json!({"command": "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"}),
        ),
    ]);
    let home = Home::with_model(&model);
    let sealed = run(PROGRAM, &home, &["config", "set", "logging.level", "\"debug\""]);
    assert!(sealed.status.success(), "{sealed:?}");
    assert_eq!(holders(home.path(), PROVIDER_KEY), Vec::<String>::new(), "sealed by the first write");
    let token = read(&home, "gateway.auth.token");
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = moltbot_testkit::client::Connect::to(gateway.port())
        .token(&token)
        .scopes(&["operator.write", "operator.read"])
        .open()
        .await
        .unwrap();
    assert_eq!(client.chat("main", "what is in your environment?").await.text, "done");
    assert_eq!(client.chat("main", "and in that of others?").await.text, "");
    for request in model.requests() {
        let told = format!("{:?}", request.body);
        assert!(!told.contains(PROVIDER_KEY) && !told.contains(&token), "{told}");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {PROVIDER_KEY}").as_str()));
    }
    for secret in [PROVIDER_KEY, token.as_str()] {
        let process = format!("/proc/{}", gateway.pid());
        for file in ["cmdline", "environ"] {
            assert!(!holds(&Path::new(&process).join(file), secret), "{file} of the gateway");
        }
        assert_eq!(holders(home.path(), secret), Vec::<String>::new());
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel's view of a process")]
fn holds(path: &Path, needle: &str) -> bool {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).contains(needle)
}

pub(crate) fn read(home: &Home, place: &str) -> String {
    let output = run(PROGRAM, home, &["secrets", "get", place, "--raw"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn d_40_what_was_sealed_by_a_write_is_what_the_next_start_reads() {
    let program = Program::new();
    program.write_config(&format!("{{ gateway: {{ auth: {{ token: '{TOKEN}' }} }}, /* kept */ }}"));
    for port in ["18801", "18802", "18803"] {
        assert_eq!(program.run(&["config", "set", "gateway.port", port]).code, 0);
        assert!(
            !program.config().contains(TOKEN) && program.config().contains("/* kept */"),
            "{}",
            program.config()
        );
        assert_eq!(get(&program, "gateway.auth.token"), TOKEN);
    }
    program.start();
    assert_eq!(program.run(&["health"]).code, 0);
}

const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";

#[test]
fn plaintext_is_taken_once_reported_and_refused_after_the_installation_is_sealed() {
    let program = Program::new();
    let config = |token: &str| format!("{{ gateway: {{ auth: {{ token: {token:?} }} }} }}");
    program.write_config(&config(TOKEN));
    let validate = program.run(&["config", "validate"]);
    assert_eq!(validate.code, 0, "{validate:?}");
    let told = format!("{}{}", validate.out, validate.err);
    assert!(told.contains("gateway.auth.token") && told.contains("plaintext"), "{told}");
    assert_eq!(program.run(&["secrets", "doctor"]).code, 1);
    assert_eq!(program.run(&["config", "set", "gateway.port", "18801"]).code, 0);
    assert_eq!(program.run(&["secrets", "doctor"]).code, 0);
    program.write_config(&config(TOKEN));
    for arguments in [&["config", "validate"][..], &["gateway", "run"], &["up", "--detach"], &["status"]] {
        let ran = program.run(arguments);
        assert_eq!(ran.code, 78, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("gateway.auth.token") && ran.err.contains("moltbot secrets set"), "{ran:?}");
        assert!(!ran.err.contains(TOKEN), "{ran:?}");
    }
    set(&program, "gateway.auth.token", TOKEN);
    assert_eq!(program.run(&["config", "validate"]).code, 0);
}

#[test]
fn d_44_an_envelope_moved_to_another_path_stops_the_start() {
    let program = Program::new();
    set(&program, "models.providers.x.apiKey", "sk-of-x-4fT9");
    let config = program.config();
    let sealed: Vec<&str> = config.split('"').filter(|text| text.starts_with("sealed:v1:")).collect();
    assert_eq!(sealed.len(), 2, "{config}");
    let swapped = config.replace(sealed[0], "-").replace(sealed[1], sealed[0]).replace('-', sealed[1]);
    let swapped = if swapped.contains("sealed:v1:aes") {
        swapped
    } else {
        config.replacen(sealed[0], "@@", 1).replacen(sealed[1], sealed[0], 1).replacen("@@", sealed[1], 1)
    };
    program.write_config(&swapped);
    let ran = program.run(&["gateway", "run"]);
    assert_eq!(ran.code, 78, "{ran:?}");
    assert!(ran.err.contains("gateway.auth.token"), "{ran:?}");
}

#[test]
fn d_50_a_reference_stays_a_reference_and_its_value_never_reaches_the_disk() {
    let program = Program::new().with("CANARY_KEY", "sk-canary-7Qw2Xv9TzR");
    program.write_config(&format!(
        "{{ gateway: {{ auth: {{ token: '{TOKEN}' }} }}, models: {{ providers: {{ openai: {{ apiKey: '${{CANARY_KEY}}' }} }} }} }}"
    ));
    assert_eq!(program.run(&["config", "set", "gateway.port", "18801"]).code, 0);
    assert!(program.config().contains("'${CANARY_KEY}'"), "{}", program.config());
    program.start();
    assert_eq!(program.run(&["models", "list"]).code, 0);
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
    assert_eq!(program.run(&["secrets", "rotate"]).code, 0);
    assert!(program.config().contains("'${CANARY_KEY}'"), "{}", program.config());
    assert_eq!(holders(&program.state(), "sk-canary-7Qw2Xv9TzR"), Vec::<String>::new());
    let ran = program.run(&["secrets", "get", "models.providers.openai.apiKey", "--raw"]);
    assert!(ran.code == 1 && ran.err.contains("CANARY_KEY") && ran.out.is_empty(), "{ran:?}");
}

#[test]
fn j04_a_value_from_the_store_is_used_and_written_nowhere() {
    let program = Program::new();
    let ran = program.run_with(&["secrets", "set", "--store", "house/key"], "sk-store-canary-8Yt3\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    let reference = r#"{ source: "store", id: "house/key" }"#;
    let ran = program.run(&["config", "set", "models.providers.openai.apiKey", reference]);
    assert_eq!(ran.code, 0, "{ran:?}");
    program.start();
    assert_eq!(program.run(&["models", "list"]).code, 0);
    assert_eq!(holders(&program.state(), "sk-store-canary-8Yt3"), Vec::<String>::new());
    let ran = program.run(&["secrets", "get", "--store", "house/key", "--raw"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "sk-store-canary-8Yt3"), "{ran:?}");
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
    assert_eq!(program.run(&["secrets", "unset", "--store", "house/key"]).code, 0);
    let ran = program.run(&["gateway", "run"]);
    assert!(ran.code == 78 && ran.err.contains("house/key"), "{ran:?}");
}

/// What stands on a command line is public while the command runs, and in the shell's history afterwards.
#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let program = Program::new();
    assert_eq!(program.run(&["config", "validate"]).code, 0);
    let before = program.config();
    for (place, value) in [
        ("gateway.auth.token", format!("\"{TOKEN}\"")),
        ("talk.apiKey", format!("'{TOKEN}'")),
        ("models.providers.x", format!("{{ baseUrl: 'http://127.0.0.1:1', apiKey: '{TOKEN}' }}")),
        ("models.providers.x.headers", format!("{{ 'x-key': '{TOKEN}' }}")),
        ("env.vars.KEY", format!("\"{TOKEN}\"")),
    ] {
        let ran = program.run(&["config", "set", place, &value]);
        assert_eq!(ran.code, 2, "{place}: {ran:?}");
        assert!(ran.err.contains("moltbot secrets set") && !ran.err.contains(TOKEN), "{place}: {ran:?}");
        assert_eq!(program.config(), before, "{place}");
    }
    assert!(!book(&program).contains("config.change"));
    // What says where a secret is says nothing of it.
    let reference = r#"{ source: "env", id: "TALK_KEY" }"#;
    let ran = program.run(&["config", "set", "talk.apiKey", reference]);
    assert!(ran.code == 0 || !ran.err.contains("moltbot secrets set"), "{ran:?}");
}

#[test]
fn d_54_json_on_standard_output_is_json_alone() {
    let program = Program::new();
    for arguments in [
        &["secrets", "status", "--json"][..],
        &["secrets", "list", "--json"],
        &["secrets", "doctor", "--json"],
    ] {
        let ran = program.run(arguments);
        assert!(serde_json::from_str::<Value>(&ran.out).is_ok(), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_secret_is_printed_to_a_terminal_or_on_demand_and_never_without_a_line_in_the_book() {
    let program = Program::new();
    set(&program, "talk.apiKey", "sk-talk-5Rf8");
    let ran = program.run(&["secrets", "get", "talk.apiKey"]);
    assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("--raw"), "{ran:?}");
    for arguments in
        [&["secrets", "get", "talk.other", "--raw"][..], &["secrets", "get", "gateway.port", "--raw"]]
    {
        assert_eq!(program.run(arguments).code, 1, "{arguments:?}");
    }
    let before = book(&program).matches("secret.read").count();
    assert_eq!(get(&program, "talk.apiKey"), "sk-talk-5Rf8");
    assert!(book(&program).matches("secret.read").count() > before);
    // A book that cannot be written: nothing is shown.
    let ledger = program.state().join("ledger");
    let lock =
        moltbot_vault::StateDir::open_or_create(&ledger).unwrap().lock("writer.lock", b"test").unwrap();
    let ran = program.run(&["secrets", "get", "talk.apiKey", "--raw"]);
    assert!(ran.code != 0 && ran.out.is_empty(), "{ran:?}");
    drop(lock);
}

#[test]
fn d_53_secrets_move_to_another_installation_under_a_passphrase_and_back_to_plaintext_on_demand() {
    let (from, to) = (Program::new(), Program::new());
    set(&from, "talk.apiKey", "sk-talk-5Rf8");
    assert_eq!(from.run_with(&["secrets", "set", "--store", "n"], "sk-named-1\n").code, 0);
    let file = from.state().join("../exported");
    let path = file.to_str().unwrap();
    let ran = from.run_with(&["secrets", "export", path], "correct horse battery staple\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(holders(from.state().parent().unwrap(), "sk-talk-5Rf8"), Vec::<String>::new());
    assert_ne!(to.run_with(&["secrets", "import", path], "wrong horse battery staple\n").code, 0);
    let ran = to.run_with(&["secrets", "import", path], "correct horse battery staple\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(get(&to, "talk.apiKey"), "sk-talk-5Rf8");
    assert_eq!(to.run(&["secrets", "get", "--store", "n", "--raw"]).out, "sk-named-1");
    let plain = from.state().join("../plain.json");
    let ran = from.run(&["security", "decrypt", "--export", plain.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(holders(from.state().parent().unwrap(), "sk-talk-5Rf8").len(), 1);
    assert!(book(&from).contains("secret.export"));
    assert_ne!(
        from.run(&["security", "decrypt", "--export", plain.to_str().unwrap()]).code,
        0,
        "never over a file"
    );
}

#[test]
fn j10_d_52_a_passphrase_protects_a_copied_state_folder() {
    let program = Program::new();
    set(&program, "talk.apiKey", "sk-talk-5Rf8");
    let passphrase = "correct horse battery staple";
    let ran = program.run_with(&["secrets", "rekey", "--wrap", "passphrase"], &format!("{passphrase}\n"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = program.run_with(&["secrets", "get", "talk.apiKey", "--raw"], &format!("{passphrase}\n"));
    assert_eq!((ran.code, ran.out.as_str()), (0, "sk-talk-5Rf8"), "{ran:?}");
    for wrong in ["", "wrong horse battery staple\n"] {
        let ran = program.run_with(&["secrets", "get", "talk.apiKey", "--raw"], wrong);
        assert!(ran.code == 78 && ran.out.is_empty(), "{ran:?}");
    }
    // The gateway in the background gets it by its standard input.
    let ran = program.run_with(&["up", "--detach", "--port", "0"], &format!("{passphrase}\n"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let status = program.run(&["gateway", "stop"]);
    assert_eq!(status.code, 0, "{status:?}");
}

#[test]
fn d_41_a_lost_key_is_told_and_nothing_is_drawn_in_its_place() {
    let program = Program::new();
    assert_eq!(program.run(&["config", "validate"]).code, 0);
    let key = program.state().join("keys/secrets.key");
    let (kept, config) = (key.with_extension("kept"), program.config());
    #[expect(clippy::disallowed_methods, reason = "the test plays the careless user")]
    std::fs::rename(&key, &kept).unwrap();
    for arguments in [&["gateway", "run"][..], &["secrets", "status"], &["up", "--detach"]] {
        let ran = program.run(arguments);
        assert_eq!(ran.code, 78, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("restore") && !key.exists(), "{arguments:?}: {ran:?}");
    }
    assert_eq!(program.config(), config);
    #[expect(clippy::disallowed_methods, reason = "the test plays the careful user")]
    std::fs::rename(&kept, &key).unwrap();
    assert_eq!(program.run(&["gateway", "call", "health"]).code, 69);
}

/// Killed at random points, a rotation goes on where it stopped, and at no time is anything lost.
#[test]
fn a_rotation_that_is_killed_at_any_point_loses_nothing() {
    rotate_and_kill(40);
}

#[test]
#[ignore = "takes a minute; `make siege` runs it"]
fn siege_a_rotation_that_is_killed_five_hundred_times_loses_nothing() {
    rotate_and_kill(500);
}

fn rotate_and_kill(rounds: usize) {
    let home = Home::empty().unwrap();
    let set = |place: &str, value: &str| {
        let mut child = command(PROGRAM, &home, &["secrets", "set", place]);
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    set("talk.apiKey", "sk-talk-5Rf8");
    set("hooks.token", "hook-canary-2Lk6");
    let token = read(&home, "gateway.auth.token");
    let began = std::time::Instant::now();
    assert!(run(PROGRAM, &home, &["secrets", "rotate"]).status.success());
    // A little longer than a whole one takes here, so that every step of it is met.
    let longest = u64::try_from(began.elapsed().as_micros()).unwrap() * 6 / 5;
    let (mut finished, mut halfway) = (0, 0);
    for round in 0..rounds {
        let mut child = command(PROGRAM, &home, &["secrets", "rotate"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let drawn = u64::from_be_bytes(moltbot_vault::random().unwrap()) % longest;
        std::thread::sleep(std::time::Duration::from_micros(drawn));
        child.kill().unwrap();
        finished += usize::from(child.wait().unwrap().success());
        let status = run(PROGRAM, &home, &["secrets", "status"]);
        halfway += usize::from(String::from_utf8_lossy(&status.stdout).contains("not finished"));
        if round % 8 == 0 {
            assert_eq!(read(&home, "talk.apiKey"), "sk-talk-5Rf8", "round {round}");
        }
        assert_eq!(read(&home, "gateway.auth.token"), token, "round {round}");
    }
    let output = run(PROGRAM, &home, &["secrets", "rotate"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(read(&home, "hooks.token"), "hook-canary-2Lk6");
    let doctor = run(PROGRAM, &home, &["secrets", "doctor"]);
    assert!(doctor.status.success(), "{doctor:?}");
    println!("of {rounds} rotations, {finished} had ended and {halfway} had begun when they were killed");
    assert!(halfway > 0 || rounds < 500, "no kill met a rotation halfway");
}
