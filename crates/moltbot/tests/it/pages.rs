//! The pages of the documentation: all of them are in the book, each link leads somewhere, each command that they show is one of
//! ours, and the list of settings is what the program says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use serde_json::Value;

use crate::paths::{read, tree, write};
use crate::program::Program;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Pages of a folder, and of the folders in it.
fn pages_in(folder: &Path) -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    tree(folder).into_iter().filter(is_page).collect()
}

/// The pages of the documentation, and those at the top of the repository.
fn pages() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "SPECIFICATION.md", "CONTRIBUTING.md"];
    let top = top.into_iter().map(|name| root().join(name));
    pages_in(&root().join("docs")).into_iter().chain(top).collect()
}

/// Targets of the links of a page.
fn links(text: &str) -> Vec<&str> {
    let ends = text.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

#[test]
fn every_page_is_in_the_book() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let listed: BTreeSet<PathBuf> = links(&summary).into_iter().map(|link| docs.join(link)).collect();
    let all: BTreeSet<PathBuf> =
        pages_in(&docs).into_iter().filter(|page| !page.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed, all, "docs/SUMMARY.md lists the pages of docs");
    assert!(read(&docs.join("book.toml")).contains("src = \".\""));
}

/// What a heading is called in a link, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let lower = heading.trim().to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, wanted) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let has_heading = || {
                let lines = read(&target);
                lines
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == wanted)
            };
            if !target.exists() || !(wanted.is_empty() || has_heading()) {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// The commands in the blocks of a page that are to be typed, one a line.
fn typed(text: &str) -> Vec<String> {
    let blocks = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let lines = blocks.flat_map(|(kind, text)| {
        let begin = match kind {
            "sh" => "",
            // What the program says stands between what is typed.
            "console" => "$ ",
            _ => "\n",
        };
        text.lines().filter_map(move |line| line.trim().strip_prefix(begin))
    });
    lines.filter(|line| line.starts_with("moltbot ")).map(str::to_owned).collect()
}

/// What begins like a command in the description of formats, and is text that is hashed.
const LABELS: [&str; 3] = ["key file check", "key id", "seal"];

/// The words of a command in a sentence that can be no arguments: the command and its parts.
fn spoken(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
    let ours = spans.filter_map(|span| span.strip_prefix("moltbot ").map(str::to_owned));
    let is_part =
        |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    let parts = ours.map(|span| span.split(' ').take_while(is_part).collect::<Vec<_>>().join(" "));
    parts.filter(|words| !words.is_empty() && !LABELS.contains(&words.as_str())).collect()
}

#[test]
fn every_command_that_is_shown_is_one_of_ours() {
    let program = Program::new();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        let typed = typed(&text).into_iter().map(|line| line.split_once(' ').unwrap().1.to_owned());
        for line in typed.chain(spoken(&text)) {
            let line =
                line.split(" #").next().unwrap().split([';', '|', '>', '<']).next().unwrap().to_owned();
            if !seen.insert(line.clone()) {
                continue;
            }
            let mut words = shlex(&line);
            words.push("--help".into());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let ran = program.run(&words);
            if ran.code != 0 {
                wrong.push(format!("{}: {line}: {}", page.display(), ran.err));
            }
        }
    }
    assert!(seen.len() > 100 && wrong.is_empty(), "{} commands, {wrong:#?}", seen.len());
}

/// What is typed in pages and not run here, by its beginning, and where it is.
const ELSEWHERE: [(&str, &str); 5] = [
    ("ledger export", "leads to other machines; sending.rs sends to servers of its own"),
    ("logs --follow", "never ends; cli.rs follows a log"),
    ("security audit --deep", "takes minutes; audit.rs"),
    ("security drill", "takes minutes; drill.rs"),
    ("service install", "asks the machine's own service manager; service.rs has one"),
];

/// The exit codes that a command documents.
fn documented(program: &str, home: &Home, words: &[&str]) -> Vec<i32> {
    let words: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
    let help = run(program, home, &words);
    let help = String::from_utf8(help.stdout).unwrap();
    let codes = help.split("Exit codes:").nth(1).unwrap_or_else(|| panic!("{words:?}: {help}"));
    codes.split(|c: char| !c.is_ascii_digit()).filter_map(|code| code.parse().ok()).collect()
}

#[test]
fn every_command_that_is_typed_in_a_page_runs_and_ends_as_it_documents() {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
    let (mut count, mut good, mut wrong) = (0, 0, Vec::new());
    for page in pages() {
        let lines = typed(&read(&page));
        if lines.is_empty() {
            continue;
        }
        // Each page from its beginning, with a gateway that runs.
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        let _gateway = Gateway::start(PROGRAM, &home);
        for line in lines {
            let line = line.split(" #").next().unwrap().trim().to_owned();
            let words = shlex(line.strip_prefix("moltbot ").unwrap());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if ELSEWHERE.iter().any(|(begin, _)| words.join(" ").starts_with(begin)) {
                continue;
            }
            let mut command = moltbot_testkit::process::command(PROGRAM, &home, &words);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // A secret, where one is asked for, and a message, where somebody may talk.
            let said = b"what-somebody-types-0123456789-abcdefghij\n";
            let _gone = child.stdin.take().unwrap().write_all(said);
            let ran = child.wait_with_output().unwrap();
            let code = ran.status.code().unwrap_or(-1);
            count += 1;
            good += usize::from(code == 0);
            if !documented(PROGRAM, &home, &words).contains(&code) {
                wrong.push(format!(
                    "{}: {line}: {code}: {}",
                    page.display(),
                    String::from_utf8_lossy(&ran.stderr)
                ));
            }
        }
    }
    println!("{good} of {count} end well");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 40 && good * 4 > count * 3, "{good} of {count} end well");
}

/// The words of a line that has quotes and nothing else of a shell.
fn shlex(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.trim().chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (' ', None) => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            _ => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// The page of all settings, from what `config schema` prints.
fn settings_page(schema: &Value) -> String {
    let mut page = String::from(
        "# Settings\n\nEvery setting that has an effect, as `moltbot config schema` says it; how the file is written is in\n\
        [Configuration](config.md). Those of earlier generations that are read and have none yet are listed by `moltbot config\n\
        validate`.\n",
    );
    let mut rows = Vec::new();
    gather(schema, "", &mut rows);
    let mut section = "";
    for (path, row) in &rows {
        let head = path.split('.').next().unwrap();
        if head != section {
            section = head;
            write!(
                page,
                "\n## {section}\n\n| setting | values | default | what it does |\n| --- | --- | --- | --- |\n"
            )
            .unwrap();
        }
        page.push_str(row);
    }
    page
}

/// A row for each setting of `schema` that is no object of settings.
fn gather(schema: &Value, path: &str, rows: &mut Vec<(String, String)>) {
    let parts = |name: &str| schema.get(name).and_then(Value::as_object).into_iter().flatten();
    let named = parts("properties").map(|(name, inner)| (name.as_str(), inner));
    let entries =
        schema.get("additionalProperties").filter(|inner| inner.is_object()).map(|inner| ("*", inner));
    let items =
        schema.get("items").filter(|inner| inner.get("properties").is_some()).map(|inner| ("[]", inner));
    for (name, inner) in named.chain(entries).chain(items) {
        if inner.get("x-moltbot-supported") == Some(&Value::Bool(false)) {
            continue;
        }
        let path = match (path, name) {
            ("", name) => name.to_owned(),
            (path, "[]") => format!("{path}[]"),
            (path, name) => format!("{path}.{name}"),
        };
        let before = rows.len();
        gather(inner, &path, rows);
        if rows.len() == before {
            rows.push((path.clone(), row(&path, inner)));
        }
    }
}

/// What a setting may be: the values that are listed, and the kinds of values.
fn gather_values(schema: &Value, listed: &mut Vec<String>, kinds: &mut Vec<String>) {
    let each = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    listed.extend(each("enum").chain(schema.get("const")).map(|value| format!("`{value}`")));
    let kind = schema.get("type");
    for kind in kind.into_iter().chain(each("type")).filter_map(Value::as_str) {
        if kind != "null" && !kinds.iter().any(|known| known == kind) {
            kinds.push(kind.to_owned());
        }
    }
    each("anyOf").chain(each("oneOf")).for_each(|inner| gather_values(inner, listed, kinds));
}

fn row(path: &str, setting: &Value) -> String {
    let cell = |text: &str| text.replace('\n', " ").replace('|', "\\|");
    let text = |name: &str| setting.get(name).and_then(Value::as_str).unwrap_or_default();
    let (mut listed, mut kinds) = (Vec::new(), Vec::new());
    gather_values(setting, &mut listed, &mut kinds);
    let values = if listed.is_empty() { kinds.join(", ") } else { listed.join(", ") };
    let default = setting.get("default").filter(|value| !value.is_null()).map(|value| format!("`{value}`"));
    format!(
        "| `{path}` | {} | {} | {} |\n",
        cell(&values),
        cell(&default.unwrap_or_default()),
        cell(text("description"))
    )
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whether the page is to be written anew")]
fn the_page_of_settings_is_what_the_program_says() {
    let ran = Program::new().run(&["config", "schema"]);
    let page = settings_page(&serde_json::from_str(&ran.out).unwrap());
    let path = root().join("docs/reference/settings.md");
    if std::env::var_os("MOLTBOT_WRITE_PAGES").is_some() {
        write(&path, &page);
    }
    assert!(page.lines().count() > 200, "{page}");
    assert_eq!(
        read(&path),
        page,
        "write it anew: MOLTBOT_WRITE_PAGES=1 cargo nextest run the_page_of_settings"
    );
}
