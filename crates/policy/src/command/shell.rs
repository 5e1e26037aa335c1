//! Scripts within a command: for a shell, for `eval`, `source`, `trap`. Each is judged like any other.

use super::call::Call;
use super::programs;
use super::review::Review;
use super::rules::base_name;
use super::verdict::{Choice, Severity};
use super::word::{Flow, UNKNOWN, Word};

impl Review<'_> {
    /// Judges a word as a script.
    pub(super) fn script_word(&mut self, word: &Word, input: &Flow) -> Flow {
        match &word.flow {
            Flow::Text(text) if word.text.chars().eq([UNKNOWN]) => {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "hidden_script",
                    "a script is put together by another command",
                );
                self.script(&text.clone(), input.clone())
            }
            Flow::Revealed(text) => {
                self.hidden("hidden_script", "a script is hidden by an encoding");
                self.script(&text.clone(), input.clone())
            }
            Flow::Decoded => self.hidden("hidden_script", "a script is hidden by an encoding"),
            Flow::Fetched => self.hidden("fetched_script", "a script comes from the network"),
            Flow::Nothing | Flow::Text(_) | Flow::Unknown if word.text.chars().eq([UNKNOWN]) => {
                self.raise(
                    Choice::Ask,
                    Severity::Medium,
                    "dynamic_script",
                    format!("a script is only known when it runs: {}", word.written),
                );
                Flow::Unknown
            }
            Flow::Nothing | Flow::Text(_) | Flow::Unknown => {
                if word.is_expanded() {
                    self.raise(
                        Choice::Ask,
                        Severity::Medium,
                        "dynamic_script",
                        "a part of a script is only known when it runs",
                    );
                }
                self.script(&word.text.clone(), input.clone())
            }
        }
    }

    pub(super) fn hidden(&mut self, code: &str, text: &str) -> Flow {
        self.raise(Choice::Refuse, Severity::High, code, text);
        Flow::Unknown
    }

    /// Judges what a shell or an interpreter reads from its input.
    pub(super) fn read_script(&mut self, call: &Call, language: Option<&str>) {
        match call.input.clone() {
            Flow::Text(text) => match language {
                None => drop(self.script(&text, Flow::Nothing)),
                Some(language) => self.code(&text, language),
            },
            Flow::Revealed(text) => {
                self.hidden("hidden_script", "a script is hidden by an encoding");
                match language {
                    None => drop(self.script(&text, Flow::Nothing)),
                    Some(language) => self.code(&text, language),
                }
            }
            Flow::Decoded => drop(self.hidden("hidden_script", "a script is hidden by an encoding")),
            Flow::Fetched => drop(self.hidden("fetched_script", "a script comes from the network")),
            Flow::Unknown => self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                "a script comes from another command or a file",
            ),
            Flow::Nothing => self.raise(
                Choice::Ask,
                Severity::Low,
                "no_script",
                format!("`{}` waits for commands", call.name()),
            ),
        }
    }

    pub(super) fn shell(&mut self, call: &Call) -> Flow {
        self.look_at_words(call);
        let mut rest = call.arguments();
        while let Some((word, after)) = rest.split_first() {
            let text = word.text.as_str();
            let short =
                (text.starts_with('-') || text.starts_with('+')) && !text.starts_with("--") && text.len() > 1;
            if short && text.contains('c') && text.starts_with('-') {
                let script = after.iter().find(|word| !word.text.starts_with(['-', '+']));
                let Some(script) = script else { break };
                self.positional(after);
                let flow = self.script_word(script, &call.input);
                self.push(call);
                return flow;
            }
            match text {
                "-s" => break,
                "--rcfile" | "--init-file" => {
                    self.raise(
                        Choice::Ask,
                        Severity::Medium,
                        "loads_code",
                        "a shell reads a file of commands before its own",
                    );
                    rest = after.get(1..).unwrap_or_default();
                }
                "-o" | "+o" | "-O" | "+O" => rest = after.get(1..).unwrap_or_default(),
                "--version" | "--help" => {
                    self.push(call);
                    return Flow::Unknown;
                }
                _ if short || text.starts_with("--") => {
                    if text.contains('s') && short {
                        break;
                    }
                    rest = after;
                }
                _ => {
                    self.script_file(word, call);
                    self.push(call);
                    return Flow::Unknown;
                }
            }
        }
        self.read_script(call, None);
        self.push(call);
        Flow::Unknown
    }

    /// Judges a file by what the script writes into it, when it does.
    fn is_own_file(&mut self, name: &str, call: &Call) -> bool {
        let plain = |name: &str| name.trim_start_matches("./").to_owned();
        let Some((_, flow)) = self.files.iter().find(|(known, _)| plain(known) == plain(name)) else {
            return false;
        };
        let written = Call { input: flow.clone(), ..call.clone() };
        self.raise(Choice::Ask, Severity::Medium, "written_script", "it runs a file that it writes itself");
        let language = (!programs::is_shell(call.name())).then(|| call.name().to_owned());
        self.read_script(&written, language.as_deref());
        true
    }

    /// A file of commands or code as an operand.
    pub(super) fn script_file(&mut self, word: &Word, call: &Call) {
        let text = word.text.as_str();
        match &word.flow {
            Flow::Nothing => {}
            Flow::Revealed(text) | Flow::Text(text) => {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "hidden_script",
                    "a script is put together by another command",
                );
                drop(self.script(&text.clone(), Flow::Nothing));
                return;
            }
            Flow::Unknown => self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                "a script is what another command writes",
            ),
            Flow::Decoded => drop(self.hidden("hidden_script", "a script is hidden by an encoding")),
            Flow::Fetched => drop(self.hidden("fetched_script", "a script comes from the network")),
        }
        if self.is_own_file(text, call) {
            return;
        }
        if matches!(text, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
            let language = (!programs::is_shell(call.name())).then(|| call.name().to_owned());
            return self.read_script(call, language.as_deref());
        }
        if !word.is_literal() {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                format!("which file of code runs is only known then: {}", word.written),
            );
        } else if text.starts_with('/') && !text.starts_with("/workspace/") {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "foreign_script",
                format!("it runs a file of code outside of the workspace: {text}"),
            );
        } else if self.fetches {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "fetched_script",
                "it runs a file after something was fetched",
            );
        }
    }

    pub(super) fn eval(&mut self, call: &Call) -> Flow {
        self.raise(Choice::Ask, Severity::Medium, "eval", "`eval` makes a script of words");
        let words = call.arguments();
        if let [only] = words {
            return self.script_word(only, &call.input);
        }
        for word in words {
            match word.flow {
                Flow::Decoded | Flow::Revealed(_) => {
                    drop(self.hidden("hidden_script", "a script is hidden by an encoding"))
                }
                Flow::Fetched => drop(self.hidden("fetched_script", "a script comes from the network")),
                Flow::Nothing | Flow::Text(_) | Flow::Unknown => {}
            }
        }
        let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        self.script(&text.join(" "), call.input.clone())
    }

    pub(super) fn source(&mut self, call: &Call) -> Flow {
        self.raise(Choice::Ask, Severity::Medium, "source", "it runs a file as a part of itself");
        self.look_at_words(call);
        if let Some(file) =
            call.arguments().iter().find(|word| !word.text.starts_with('-') || word.text == "-")
        {
            let shell = Word::plain("sh");
            let inner = Call { words: vec![shell, file.clone()], ..call.clone() };
            self.script_file(file, &inner);
        }
        self.push(call);
        Flow::Unknown
    }

    /// Scripts that the shell keeps for later: of `trap`, and of `alias`.
    pub(super) fn kept(&mut self, call: &Call, name: &str) {
        if name == "trap" {
            // What comes first is the script, when a signal follows.
            let words: Vec<&Word> =
                call.arguments().iter().filter(|word| !word.text.starts_with('-')).collect();
            if let [script, _, ..] = words.as_slice() {
                self.script_word(script, &Flow::Nothing);
            }
            return;
        }
        for script in
            call.arguments().iter().filter_map(|word| word.text.split_once('=').map(|(_, script)| script))
        {
            self.raise(Choice::Ask, Severity::Medium, "alias", "it gives another meaning to a word");
            self.script(script, Flow::Nothing);
        }
    }

    /// `env -S 'program words'`
    pub(super) fn split_string(&mut self, call: &Call) -> Option<Flow> {
        let words = call.arguments();
        let at = words.iter().position(|word| {
            word.text.starts_with("--split-string")
                || (word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('S'))
        })?;
        let word = words.get(at)?;
        let own = word.text.split_once(['=', 'S']).map(|(_, script)| script).unwrap_or_default();
        let more = words.iter().skip(at.saturating_add(1)).map(|word| word.text.as_str());
        let script: Vec<&str> = Some(own)
            .filter(|own| !own.is_empty() && *own != "plit-string")
            .into_iter()
            .chain(more)
            .collect();
        self.push(call);
        Some(self.script(&script.join(" "), call.input.clone()))
    }

    /// What a shell's script gets as `$0`, `$1`: it may be used as a program.
    fn positional(&mut self, words: &[Word]) {
        self.mentions |= words.iter().skip(1).any(|word| programs::leaves_walls(base_name(&word.text)));
    }
}
