//! Every command that the documents show is there, with every option that they show.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use super::Arguments;

/// The documents of the repository.
fn documents() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut found: Vec<PathBuf> =
        ["README.md", "SECURITY.md", "CONTRIBUTING.md", "ARCHITECTURE.md"].map(|name| top.join(name)).into();
    let mut folders = vec![top.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap().flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "md") {
                found.push(entry);
            }
        }
    }
    found
}

/// What keys are derived for is told in the same form, and is no command.
const LABELS: [&str; 7] =
    ["key file check", "key generation v1", "key id", "keys v1", "seal", "seal v1 commitment", "seal v1 key"];

/// The commands of a document: what stands behind `moltbot` between backticks, and in lines of blocks.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block = None;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, block) {
            (Some(kind), None) => block = Some(kind),
            (Some(_), Some(_)) => block = None,
            (None, Some(kind @ ("console" | "sh"))) => {
                // What is typed stands behind a sign there, before what it prints.
                let Some(line) = line.strip_prefix(if kind == "sh" { "" } else { "$ " }) else { continue };
                let parts = line.split(" | ").flat_map(|part| part.split(" && "));
                let parts = parts.map(|part| part.split(" #").next().unwrap_or_default());
                found
                    .extend(parts.filter_map(|part| part.trim().strip_prefix("moltbot ")).map(str::to_owned));
            }
            (None, Some(_)) => {}
            (None, None) => {
                let spans = line.split('`').skip(1).step_by(2);
                let spans = spans.filter_map(|span| span.strip_prefix("moltbot "));
                found
                    .extend(spans.filter(|span| !LABELS.contains(span)).map(|span| span.replace("\\|", "|")));
            }
        }
    }
    found
}

/// What is wrong with a command, as far as it is written out.
fn fault(root: &clap::Command, line: &str) -> Option<String> {
    let mut command = root;
    let mut is_named = false;
    let mut words = line.split_whitespace().map(|word| word.trim_matches(['[', ']', ',', '.', ';']));
    while let Some(word) = words.next() {
        if let Some(option) = word.strip_prefix("--") {
            let (name, value) =
                option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let is_it = |known: &&clap::Arg| {
                known.get_long() == Some(name) || known.get_all_aliases().unwrap_or_default().contains(&name)
            };
            let known = command.get_arguments().chain(root.get_arguments()).find(is_it);
            if known.is_none() && !["", "help", "version"].contains(&name) {
                return Some(format!("{} has no --{name}", command.get_name()));
            }
            if known.is_some_and(|known| known.get_action().takes_values() && value.is_none()) {
                words.next();
            }
            continue;
        }
        if is_named || !command.has_subcommands() || word.starts_with('-') {
            is_named |= !word.starts_with('-');
            continue;
        }
        // `list|show` are two; a placeholder is none.
        if word.contains('…') || !word.starts_with(|first: char| first.is_ascii_lowercase()) {
            return None;
        }
        let known: Vec<_> = word.split('|').map(|name| (name, command.find_subcommand(name))).collect();
        match known.as_slice() {
            [(_, Some(one))] => command = one,
            several => {
                let unknown = several.iter().find(|(_, known)| known.is_none());
                return unknown.map(|(name, _)| format!("there is no {} {name}", command.get_name()));
            }
        }
    }
    None
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the documents of this repository")]
fn every_command_that_the_documents_show_is_there() {
    let mut built = Arguments::command();
    built.build();
    let (mut shown, mut faults) = (0, Vec::new());
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for line in commands(&text) {
            shown += 1;
            let wrong =
                fault(&built, &line).map(|wrong| format!("{}: `{line}`: {wrong}", document.display()));
            faults.extend(wrong);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(shown > 100, "{shown} commands were found");
}

#[test]
fn what_is_not_there_is_found() {
    let mut built = Arguments::command();
    built.build();
    for (line, expected) in [
        ("secrity audit", Some("there is no moltbot secrity")),
        ("security audit --deeep", Some("audit has no --deeep")),
        ("devices list|aprove ID", Some("there is no devices aprove")),
        ("devices list|approve ID", None),
        ("security audit --deep --json", None),
        ("config set gateway.port 1", None),
        ("--profile work status", None),
        ("secrets …", None),
    ] {
        assert_eq!(fault(&built, line).as_deref(), expected, "{line}");
    }
}
