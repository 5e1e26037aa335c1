//! What is looked at in every command, whatever its program: paths, variables, redirections, addresses.

use super::address;
use super::call::Call;
use super::outputs::Outputs;
use super::patterns::{self, Name};
use super::programs;
use super::review::Review;
use super::rules::base_name;
use super::verdict::{Choice, RedirectKind, Severity};
use super::word::{UNKNOWN, Wildcard, Word};
use super::{environment, interpreters, paths};

impl Review<'_> {
    /// Enters a pattern that was found.
    pub(super) fn pattern(&mut self, pattern: Name) {
        let found = patterns::of(pattern);
        if !self.verdict.patterns.contains(&found.name) {
            self.verdict.patterns.push(found.name);
        }
        self.verdict.severity = self.verdict.severity.max(Some(found.severity));
    }

    /// Remembers a word that is the name of a program which leaves the walls.
    pub(super) fn note(&mut self, word: &Word) {
        let words = word.text.as_bytes().split(|byte| matches!(byte, b' ' | b'=' | b','));
        let names = words.map(|word| word.rsplit(|byte| *byte == b'/').next().unwrap_or(word));
        self.mentions |= names.filter_map(|name| std::str::from_utf8(name).ok()).any(programs::leaves_walls);
    }

    /// Enters a call as a part, when it is judged by other means than rules.
    pub(super) fn push(&mut self, call: &Call) {
        self.verdict.parts.push(call.to_part());
    }

    pub(super) fn look_at_path(&mut self, text: &str, written: bool) {
        if text.len() < 6 && !text.contains('/') && self.folder.is_none() {
            return;
        }
        if written && paths::is_obeyed_by_git(text) {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "takeover",
                format!("it may change what git runs: {}", super::call::shortened(text)),
            );
        }
        let Some(found) = paths::sensitive(text, self.folder.as_deref(), written) else { return };
        let Some((choice, severity)) = found.grade(written) else { return };
        if let Some(pattern) = found.pattern {
            let name = patterns::of(pattern).name;
            if !self.verdict.patterns.contains(&name) {
                self.verdict.patterns.push(name);
            }
        }
        let act = if written { "may change" } else { "reaches" };
        self.raise(
            choice,
            severity,
            found.code,
            format!("it {act} {}: {}", found.what, super::call::shortened(text)),
        );
    }

    pub(super) fn look_at_redirects(&mut self, call: &Call) {
        for (kind, word) in &call.redirects {
            match kind {
                RedirectKind::Text => {}
                RedirectKind::Read => self.look_at_path(&word.text, false),
                // `>&file` is a file.
                RedirectKind::Duplicate | RedirectKind::Write => self.look_at_path(&word.text, true),
            }
            if let Some(text) = word.flow.text().filter(|_| *kind != RedirectKind::Text) {
                self.look_at_path(text, *kind != RedirectKind::Read);
            }
        }
    }

    pub(super) fn look_at_environment(&mut self, call: &Call) {
        for (name, value) in &call.environment {
            self.look_at_variable(name, value);
        }
    }

    /// A variable by which a program loads code, or starts another.
    pub(super) fn look_at_variable(&mut self, name: &str, value: &Word) {
        let Some(kind) = environment::kind(name, &value.text) else { return };
        let shown = super::call::shortened(name);
        match kind {
            environment::Kind::Code => {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "loads_code",
                    format!("the variable {shown} makes programs load or run other code"),
                );
            }
            environment::Kind::Runtime => {
                self.pattern(Name::DockerSocket);
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "loads_code",
                    format!("the variable {shown} leads to a container runtime"),
                );
            }
            environment::Kind::Script => {
                self.raise(
                    Choice::Ask,
                    Severity::Medium,
                    "loads_code",
                    format!("the variable {shown} is a command that a program runs"),
                );
                let script = value.text.clone();
                self.script(&script, super::word::Flow::Nothing);
            }
            environment::Kind::Search => {
                self.raise(
                    Choice::Ask,
                    Severity::Medium,
                    "loads_code",
                    format!("the variable {shown} decides where programs find code"),
                );
            }
        }
    }

    /// Where a program lies.
    pub(super) fn look_at_program(&mut self, program: &Word) {
        let text = program.text.as_str();
        if program.disguised {
            let written = super::call::shortened(&program.written);
            self.raise(
                Choice::Refuse,
                Severity::High,
                "hidden_program",
                format!("quotes or escapes hide the name of a program: {written}"),
            );
        }
        let plain = |name: &str| name.trim_start_matches("./").to_owned();
        let own = self.files.iter().find(|(known, _)| text.contains('/') && plain(known) == plain(text));
        if let Some((_, flow)) = own {
            let hidden = matches!(flow, super::word::Flow::Decoded | super::word::Flow::Revealed(_));
            let choice = if hidden { Choice::Refuse } else { Choice::Ask };
            let severity = if hidden { Severity::High } else { Severity::Medium };
            self.raise(choice, severity, "written_script", "it runs a file that it writes itself");
        }
        if text.starts_with("/dev/shm/") || text.starts_with("/proc/") || text.starts_with("/dev/fd/") {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "program_from_memory",
                format!("a program is run from memory: {text}"),
            );
        } else if text.starts_with("/tmp/") || text.starts_with("/var/tmp/") {
            let choice = if self.fetches { Choice::Refuse } else { Choice::Ask };
            self.raise(
                choice,
                Severity::Medium,
                "program_from_tmp",
                format!("a program is run from a folder for anybody's files: {text}"),
            );
        }
    }

    /// The words of a call: paths, addresses, names of programs.
    pub(super) fn look_at_words(&mut self, call: &Call) {
        let name = call.name();
        let in_place = matches!(name, "perl" | "ruby")
            && call
                .arguments()
                .iter()
                .any(|word| word.text.starts_with("-i") || word.text.starts_with("-pi"));
        let written = programs::writes(name) || in_place;
        let takes_text = programs::takes_text(name);
        let takes_code = programs::is_shell(name) || interpreters::interpreter(name).is_some();
        let mut operands = 0_usize;
        let mut before = "";
        let given = programs::pattern_is_given(name, call);
        let target_first = |word: &Word| word.text.starts_with("-t") || word.text.starts_with("--target");
        let copies =
            matches!(name, "cp" | "rsync" | "install" | "ln") && !call.arguments().iter().any(target_first);
        let outputs = Outputs::of(call);
        let last = call.arguments().len().saturating_sub(1);
        for (at, word) in call.arguments().iter().enumerate() {
            let text = word.text.as_str();
            if takes_code && text.contains([' ', '(', '\n']) {
                continue;
            }
            let place = if given { usize::MAX } else { operands };
            let mentions = programs::only_mentions(name, place, before, text)
                || (name == "git" && place == 1 && call.has(&["grep"]));
            let (value, ahead) = (programs::takes_value(name, before), before);
            operands = operands.saturating_add(usize::from(!text.starts_with('-') && !value));
            before = text;
            if mentions {
                continue;
            }
            // What is copied is read; only where it goes is written.
            let source = copies && at != last && last > 0 || (name == "dd" && text.starts_with("if="));
            let written = written && !source || outputs.has(at, ahead);
            self.look_at_path(text, written);
            if let Some(text) = word.flow.text() {
                self.look_at_path(text, written);
            }
            if source && name == "ln" && paths::is_root(text) {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "link_to_root",
                    format!("a link to {text} leads whoever follows it out of the workspace"),
                );
            }
            if word.braces {
                super::scan::unbraced(text).iter().for_each(|spelt| self.look_at_path(spelt, written));
            }
            if !takes_text {
                self.look_at_mention(name, text);
            }
        }
    }

    /// A word that is the name of a program which leaves the walls, for a program that may start it.
    fn look_at_mention(&mut self, name: &str, text: &str) {
        let mention = base_name(text);
        let hardly_by_accident =
            matches!(mention, "nsenter" | "insmod" | "modprobe" | "pivot_root" | "switch_root" | "unshare");
        if hardly_by_accident && name != mention && !text.ends_with(".md") {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "hidden_program",
                format!("`{name}` is given the program `{mention}`"),
            );
            match mention {
                "nsenter" => self.pattern(Name::NamespaceEnter),
                "unshare" => self.pattern(Name::NamespaceUnshare),
                _ => self.pattern(Name::KernelModule),
            }
        }
    }

    /// Acts that destroy more than the workspace.
    pub(super) fn destroys(&mut self, call: &Call) {
        let name = call.name();
        let recursive = || {
            call.arguments().iter().any(|word| {
                matches!(word.text.as_str(), "--recursive")
                    || (word.text.starts_with('-')
                        && !word.text.starts_with("--")
                        && word.text.contains(['r', 'R']))
            })
        };
        let by_find = name == "find"
            && (call.has(&["-delete"])
                || call.arguments().iter().any(|word| word.text.starts_with("-exec"))
                    && call.has(&["rm", "shred", "unlink"]));
        let applies = by_find
            || (matches!(name, "rm" | "chmod" | "chown" | "chgrp" | "setfacl" | "chattr") && recursive())
            || matches!(name, "mv" | "shred");
        if !applies {
            return;
        }
        for word in call.arguments().iter().filter(|word| !word.text.starts_with('-')) {
            let above = word.text.trim_end_matches('/').split('/').all(|part| part == "..");
            // `*` is all of the folder that the script has changed to.
            let all = matches!(word.text.as_str(), "*" | "./*" | ".");
            let here = all
                && self.folder.as_deref().is_some_and(|folder| folder.is_empty() || paths::is_root(folder));
            if ((paths::is_root(&word.text) || above) && word.text != "*") || here {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "destroys",
                    format!("`{name}` is given {}, with all that is in it", word.text),
                );
            } else if word.text.starts_with("\u{1}/")
                && (word.wildcard != Wildcard::None || word.text.len() <= 2)
            {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "destroys",
                    "where the variable is empty, everything goes",
                );
            } else if word.text.chars().eq([UNKNOWN]) && name == "rm" {
                self.raise(
                    Choice::Ask,
                    Severity::Medium,
                    "destroys",
                    "what is removed is only known when it runs",
                );
            }
        }
    }

    /// Addresses that give away more than a page.
    pub(super) fn reaches(&mut self, call: &Call) {
        let name = call.name();
        if programs::takes_text(name) && !matches!(name, "git" | "gh") {
            return;
        }
        let found: Vec<address::Reached> =
            call.arguments().iter().filter_map(|word| address::reached(&word.text, &word.written)).collect();
        for reached in found {
            match reached {
                address::Reached::Kubelet => {
                    self.raise(
                        Choice::Refuse,
                        Severity::High,
                        "cluster",
                        "it talks to the manager of the cluster that this machine may be in",
                    );
                }
                address::Reached::Metadata => {
                    self.pattern(Name::Metadata);
                    self.raise(
                        Choice::Refuse,
                        Severity::High,
                        "metadata",
                        "it asks the cloud for the credentials of this machine",
                    );
                }
                address::Reached::Runtime => {
                    self.pattern(Name::DockerSocket);
                    self.raise(
                        Choice::Refuse,
                        Severity::High,
                        "escape_path",
                        "it talks to a container runtime",
                    );
                }
            }
        }
    }

    /// `cd`: later words may be relative to it.
    pub(super) fn change_folder(&mut self, call: &Call) {
        let Some(target) = call.arguments().iter().find(|word| !word.text.starts_with('-')) else { return };
        let text = target.text.trim_end_matches('/');
        self.folder = if target.text.starts_with(['/', '~']) {
            Some(text.to_owned())
        } else {
            self.folder.as_ref().map(|folder| format!("{folder}/{text}"))
        };
        self.look_at_path(text, false);
    }

    /// Words that the shell reads as names, numbers or assignments.
    pub(super) fn names(&mut self, call: &Call, name: &str) {
        for (index, word) in call.arguments().iter().enumerate() {
            let named = !matches!(name, "printf")
                || call.arguments().get(index.wrapping_sub(1)).is_some_and(|before| before.text == "-v");
            if named {
                self.subscripts(&word.text);
            }
            if let Some((variable, value)) = word
                .text
                .split_once('=')
                .filter(|_| matches!(name, "export" | "declare" | "typeset" | "readonly" | "local"))
            {
                let value = Word {
                    text: value.to_owned(),
                    written: value.to_owned(),
                    expansions: word.expansions,
                    ..Word::default()
                };
                self.look_at_variable(variable, &value);
                self.separators |= variable == "IFS";
                if value.text.contains(UNKNOWN) {
                    self.variables.remove(variable);
                } else {
                    self.variables.insert(variable.to_owned(), value.text);
                }
            }
            let sets =
                named && !matches!(name, "unset" | "let" | "test" | "[" | "wait") && !word.text.contains('=');
            if sets && environment::loads_code(&word.text) {
                self.look_at_variable(&word.text, &Word::plain(&UNKNOWN.to_string()));
            }
            if matches!(name, "read" | "unset" | "printf" | "mapfile") {
                self.variables.remove(&word.text);
            }
        }
    }
}
