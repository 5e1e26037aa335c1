//! ARCHITECTURE.md as a test: the manifests keep to its table, and the doors are where it says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use moltbot_policy::file::PROTECTED_PATHS;
use moltbot_policy::profile::Profile;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

#[expect(clippy::disallowed_methods, reason = "a test reads the repository that it is part of")]
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The table: crate name to the crates it may import, all without the `moltbot-` in front.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let page = text(&root().join("ARCHITECTURE.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `moltbot")).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = short(cells[0].trim_end_matches('`'));
        let imports = cells[2].split(", ").filter(|name| *name != "none").map(str::to_owned).collect();
        (name, imports)
    });
    rows.collect()
}

/// `moltbot-net` and `-net` are `net`; the program itself is `moltbot`.
fn short(name: &str) -> String {
    let name = name.trim_start_matches("moltbot").trim_start_matches('-');
    if name.is_empty() { "moltbot".into() } else { name.into() }
}

/// The crates of the workspace with the crates of ours in each dependency section.
fn manifests() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let manifests = crates.map(|folder| {
        let folder = folder.unwrap();
        let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut section = String::new();
        for line in text(&folder.path().join("Cargo.toml")).lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            } else if let Some(name) = line.strip_prefix("moltbot") {
                let end = name.find(['.', ' ', '=']).unwrap_or(name.len());
                sections
                    .entry(section.clone())
                    .or_default()
                    .insert(short(line.get(..end + "moltbot".len()).unwrap_or(line)));
            }
        }
        (folder.file_name().into_string().unwrap(), sections)
    });
    manifests.collect()
}

/// Production code of every crate but the testkit: the file and its text before its own tests.
fn production() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for name in manifests().keys().filter(|name| *name != "testkit") {
        walk(&root().join("crates").join(name).join("src"), &mut files);
    }
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    let before_tests = |text: String| {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        code.split("#[cfg(test)]\npub(crate) mod ").next().unwrap_or_default().to_owned()
    };
    files.iter().map(|path| (relative(path), before_tests(text(path)))).collect()
}

/// What a crate imports, and what that imports: a test may make the real parts that its crate is handed.
fn reachable(table: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![name.to_owned()];
    while let Some(name) = ahead.pop() {
        ahead.extend(table[&name].iter().filter(|import| found.insert((*import).clone())).cloned());
    }
    found
}

#[test]
fn every_crate_imports_only_what_its_row_names() {
    let table = table();
    let manifests = manifests();
    let rows: BTreeSet<&String> = table.keys().collect();
    let crates: BTreeSet<&String> = manifests.keys().collect();
    assert_eq!(crates, rows, "crates and the rows of ARCHITECTURE.md");
    for (name, sections) in &manifests {
        for (section, ours) in sections {
            for import in ours {
                let allowed = match section.as_str() {
                    "dependencies" => table[name].contains(import),
                    "dev-dependencies" => reachable(&table, name).contains(import) || import == "testkit",
                    _ => false,
                };
                assert!(allowed, "moltbot-{name} may not import {import} in [{section}]");
            }
        }
    }
}

#[test]
fn the_pure_crates_stay_pure() {
    for name in ["protocol", "config", "policy"] {
        let manifest = text(&root().join("crates").join(name).join("Cargo.toml"));
        for forbidden in ["tokio", "rustix", "reqwest", "getrandom", "rusqlite", "jiff"] {
            let used = manifest.lines().any(|line| line.starts_with(forbidden));
            assert!(!used, "moltbot-{name} uses {forbidden}");
        }
    }
}

#[test]
fn there_is_one_book_and_one_way_to_it_from_another_process() {
    let mut books: Vec<String> = production()
        .into_iter()
        .filter(|(_, code)| code.contains("Book for "))
        .map(|(path, _)| path)
        .collect();
    books.sort();
    assert_eq!(books, ["crates/ledger/src/ledger.rs", "crates/ledger/src/relayed.rs"]);
}

#[test]
fn unsafe_code_is_in_one_short_file() {
    const HOME: &str = "crates/sandbox/src/sys.rs";
    for (path, code) in production() {
        let code: String =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let found = code.contains("unsafe {")
            || code.contains("unsafe fn")
            || code.contains("unsafe impl")
            || code.contains("unsafe extern");
        assert!(!found || path == HOME, "{path} has unsafe code");
        if path == HOME {
            assert!(code.lines().count() < 200, "{HOME} has {} lines", code.lines().count());
        }
    }
}

#[test]
fn no_file_is_longer_than_five_hundred_lines_before_its_tests() {
    let long: Vec<String> = production()
        .into_iter()
        .filter(|(path, _)| !path.contains("unsupported"))
        .map(|(path, code)| format!("{path}: {}", code.lines().count()))
        .filter(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap() > 500)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_doors_are_the_ones_we_know() {
    let doors: BTreeSet<String> = production()
        .into_iter()
        .filter(|(_, code)| code.contains("expect(clippy::disallowed"))
        .map(|(path, _)| path.split('/').nth(1).unwrap().to_owned())
        .collect();
    let known = ["ledger", "model", "moltbot", "net", "sandbox", "store", "vault"].map(str::to_owned);
    let strangers: Vec<&String> = doors.iter().filter(|door| !known.contains(door)).collect();
    assert!(strangers.is_empty(), "crates that go around a door: {strangers:?}");
}

#[test]
fn the_page_of_the_sandbox_says_what_the_code_says() {
    let page = text(&root().join("docs/reference/sandbox.md"));
    let walls = Profile::for_exec(&moltbot_config::Config::default(), None);
    let grouped = |number: usize| format!("{},{:03}", number / 1000, number % 1000);
    let figures = [
        format!("{} processes,", walls.processes),
        format!("{} GiB of address space", walls.address_space >> 30),
        format!("{} s of processor time", walls.cpu_seconds),
        format!("{} GiB of memory together", walls.memory >> 30),
        format!("{} open files", grouped(usize::try_from(walls.open_files).unwrap())),
        format!("files of {} MiB", walls.file_size >> 20),
        format!("{} MiB in `/tmp`", walls.temporary_bytes >> 20),
        format!("{} GiB of the workspace's disk", walls.disk >> 30),
        format!("{} bytes of output", grouped(walls.output_bytes)),
        format!("{} minutes or what", walls.timeout.as_secs() / 60),
        format!("every {} ms", moltbot_config::limits::MEMORY_WATCH.as_millis()),
    ];
    let held = PROTECTED_PATHS.map(|path| format!("`{path}`"));
    for said in figures.iter().chain(&held) {
        assert!(page.contains(said), "docs/reference/sandbox.md does not say {said}");
    }
}

#[test]
fn every_library_forbids_unsafe_but_the_sandbox() {
    for name in manifests().keys().filter(|name| *name != "sandbox") {
        let file = if name == "moltbot" { "main.rs" } else { "lib.rs" };
        let head = text(&root().join("crates").join(name).join("src").join(file));
        assert!(head.contains("#![forbid(unsafe_code)]"), "moltbot-{name} does not forbid unsafe code");
    }
}

/// Where what may be secret is compared: each in constant time, over digests or codes of one length.
const COMPARISONS: [&str; 6] = [
    "crates/policy/src/authentication.rs",
    "crates/policy/src/authentication/password.rs",
    "crates/policy/src/hook/signature.rs",
    "crates/policy/src/pairing.rs",
    "crates/policy/src/senders/pairing.rs",
    "crates/vault/src/envelope.rs",
];

/// A comparison that stops at the first difference tells a guesser how far it matched.
#[test]
fn a09_secrets_are_compared_in_constant_time_and_nowhere_else() {
    let mut places = BTreeSet::new();
    for (path, code) in production() {
        for line in code.lines() {
            assert!(!compares_a_secret(line), "{path}: {line}");
            if line.contains(".ct_eq(") || line.contains(".verify_slice(") {
                places.insert(path.clone());
            }
        }
    }
    assert_eq!(places, COMPARISONS.map(str::to_owned).into());
    for line in [
        "if token.expose_secret() == other {",
        "if *presented != secret.expose_secret().trim() {",
        "a.expose_secret().as_bytes() != b",
        "own == &key.expose_secret()",
    ] {
        assert!(compares_a_secret(line), "{line}");
    }
}

/// Whether a secret stands beside a sign of equality.
fn compares_a_secret(line: &str) -> bool {
    let parts: Vec<&str> = line.split("expose_secret()").collect();
    parts.windows(2).any(|pair| {
        let [before, after] = pair else { return false };
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '&' | '*');
        let before = before.trim_end_matches(is_name).trim_end();
        let mut after = *after;
        while let Some(call) = after.strip_prefix('.').and_then(|call| call.split_once("()")) {
            if !call.0.chars().all(|c| c.is_alphanumeric() || c == '_') {
                break;
            }
            after = call.1;
        }
        let after = after.trim_start();
        before.ends_with("==") || before.ends_with("!=") || after.starts_with("==") || after.starts_with("!=")
    })
}
