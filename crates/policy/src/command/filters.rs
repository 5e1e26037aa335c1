//! The programs of `awk` and the scripts of `sed`: they filter text, and can start programs and open files.

use super::call::Call;
use super::patterns;
use super::review::Review;
use super::verdict::{Choice, Severity};
use super::word::{Flow, UNKNOWN, Word};

impl Review<'_> {
    /// The program of `awk`: it can start others, open files and connections.
    pub(super) fn awk(&mut self, call: &Call) -> Flow {
        self.push(call);
        if let Some(program) = self.awk_program(call) {
            self.awk_code(program);
        }
        super::flow::written(call)
    }

    /// The word with the program; its files are looked at.
    fn awk_program<'a>(&mut self, call: &'a Call) -> Option<&'a Word> {
        let mut program = None;
        let mut rest = call.arguments();
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            match word.text.as_str() {
                "-f" | "--file" | "-i" | "--include" | "-l" | "--load" | "-E" | "--exec" => {
                    self.raise(
                        Choice::Ask,
                        Severity::Low,
                        "script_file",
                        "the program of `awk` is in a file",
                    );
                    after.iter().take(1).for_each(|file| self.script_file(file, call));
                    rest = after.get(1..).unwrap_or_default();
                }
                "-v" | "-F" | "--assign" | "--field-separator" => rest = after.get(1..).unwrap_or_default(),
                "-e" | "--source" => {
                    program = after.first();
                    rest = after.get(1..).unwrap_or_default();
                }
                text if text.starts_with('-') && text.len() > 1 => {}
                _ if program.is_none() => program = Some(word),
                text => self.look_at_path(text, false),
            }
        }
        program
    }

    fn awk_code(&mut self, program: &Word) {
        let text = patterns::joined(&program.text);
        let spoken: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if spoken.contains("/inet") {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "network_by_shell",
                "the program of `awk` opens a connection",
            );
        }
        let pipes = ["|getline", "|&", "|\"", "print|"].iter().any(|sign| spoken.contains(sign));
        let indirect = spoken.contains("@load")
            || spoken.contains("@include")
            || spoken.contains("=@")
            || spoken.contains(";@")
            || spoken.contains("{@");
        if spoken.contains("system(") || pipes || indirect || spoken.replace("||", "").contains(")|") {
            self.code(&program.text.replace('|', " system | "), "awk");
        }
        if ["getline<", ">\"", "environ"].iter().any(|sign| spoken.contains(sign)) {
            self.raise(
                Choice::Ask,
                Severity::Low,
                "inline_code",
                "the program of `awk` opens files or reads the environment",
            );
            self.look_at_path(&text, true);
        }
        if program.is_expanded() {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                "the program of `awk` is only known when it runs",
            );
        }
    }

    /// The script of `sed`: GNU's can start programs, read and write files.
    pub(super) fn sed(&mut self, call: &Call) -> Flow {
        self.push(call);
        let mut scripts: Vec<&Word> = Vec::new();
        let mut files: Vec<&Word> = Vec::new();
        let (mut given, mut in_place) = (false, false);
        let mut rest = call.arguments();
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            match word.text.as_str() {
                "-e" | "--expression" | "-ne" | "-Ee" | "-nEe" | "-re" => {
                    scripts.extend(after.first());
                    given = true;
                    rest = after.get(1..).unwrap_or_default();
                }
                "-f" | "--file" => {
                    self.raise(Choice::Ask, Severity::Low, "script_file", "the script of `sed` is in a file");
                    given = true;
                    rest = after.get(1..).unwrap_or_default();
                }
                "-l" | "--line-length" => rest = after.get(1..).unwrap_or_default(),
                text if text.starts_with("--expression=") || (text.starts_with("-e") && text.len() > 2) => {
                    scripts.push(word);
                    given = true;
                }
                text if text.starts_with('-') && text.len() > 1 => {
                    in_place |= text.starts_with("-i") || text.starts_with("--in") || text.contains('i')
                }
                _ if !given && scripts.is_empty() => scripts.push(word),
                _ => files.push(word),
            }
        }
        files.iter().for_each(|word| self.look_at_path(&word.text, in_place));
        for script in scripts {
            if script.is_expanded() && script.text.starts_with(UNKNOWN) {
                self.raise(
                    Choice::Ask,
                    Severity::Medium,
                    "dynamic_script",
                    "the script of `sed` is only known when it runs",
                );
            }
            if let Some(command) = super::sed::starts(&script.text) {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "sed_runs",
                    "the script of `sed` starts a program",
                );
                drop(self.script(&command, Flow::Nothing));
            } else if super::sed::opens_files(&script.text) {
                self.raise(Choice::Ask, Severity::Low, "inline_code", "the script of `sed` opens files");
                self.look_at_path(&script.text, true);
            }
        }
        super::flow::written(call)
    }
}
