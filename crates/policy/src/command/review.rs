//! The walk over a script: from its text to its simple commands, each of which is judged where it stands.
//!
//! What cannot be read is refused: a script that we read differently from the shell is one that nobody has judged.

use brush_parser::ast::{
    AndOr, AndOrList, Assignment, AssignmentName, AssignmentValue, Command,
    CommandPrefixOrSuffixItem as Item, CompoundCommand, CompoundList, ExtendedTestExpr, IoFileRedirectKind,
    IoFileRedirectTarget, IoRedirect, Pipeline, Program, RedirectList, SimpleCommand,
};
use moltbot_config::limits;

use super::call::Call;
use super::parse::{hidden, parse, simple};
use super::rules::Rules;
use super::verdict::{Argument, Choice, Part, RedirectKind, Severity, Verdict};
use super::word::{self, Flow, UNKNOWN, Unreadable, Variables, Word};

/// How deep scripts may stand in scripts.
const DEPTH: u32 = 32;
/// How many bytes are read over all scripts within one, in multiples of the longest command.
const READINGS: usize = 4;

/// One review in progress.
pub(super) struct Review<'r> {
    pub(super) rules: &'r Rules,
    pub(super) verdict: Verdict,
    /// What the script sets to text.
    pub(super) variables: Variables,
    /// Functions that the script defines.
    pub(super) functions: Vec<String>,
    /// Files that the script writes, with what.
    pub(super) files: Vec<(String, Flow)>,
    /// Where the script has changed to.
    pub(super) folder: Option<String>,
    /// Whether the script sets the separators of words.
    pub(super) separators: bool,
    /// Whether a word of the script names a program that leaves the walls.
    pub(super) mentions: bool,
    /// Whether the script fetches something.
    pub(super) fetches: bool,
    /// Whether some program is only known when it runs.
    pub(super) dynamic: bool,
    depth: u32,
    read: usize,
}

/// Judges a whole script.
pub(super) fn review(script: &str, rules: &Rules) -> Verdict {
    let mut review = Review {
        rules,
        verdict: Verdict::default(),
        variables: Variables::new(),
        functions: Vec::new(),
        files: Vec::new(),
        folder: None,
        separators: false,
        mentions: false,
        fetches: false,
        dynamic: false,
        depth: 0,
        read: 0,
    };
    if let Some(problem) = hidden(script) {
        review.verdict.raise(Choice::Refuse, Severity::High, "hidden_characters", problem);
    }
    review.script(script, Flow::Nothing);
    review.over_all();
    review.show_something();
    review.verdict
}

impl Review<'_> {
    pub(super) fn raise(&mut self, choice: Choice, severity: Severity, code: &str, text: impl Into<String>) {
        self.verdict.raise(choice, severity, code, text);
    }

    /// What a wrapper or `eval` starts may be nothing, or unreadable: then the command itself is all that there is to show.
    fn show_something(&mut self) {
        if !self.verdict.parts.is_empty() {
            return;
        }
        if let Some((program, words)) = self.verdict.simple.as_deref().and_then(<[String]>::split_first) {
            let arguments = words.iter().cloned().map(Argument::Literal).collect();
            self.verdict.parts.push(Part { program: Some(program.clone()), arguments, ..Part::default() });
        }
    }

    fn unreadable(&mut self, why: &str) -> Flow {
        self.raise(
            Choice::Refuse,
            Severity::Medium,
            "unreadable",
            format!("it cannot be read as a shell would read it: {why}; write it more simply"),
        );
        Flow::Unknown
    }

    /// Judges `text` as a script, and says what it writes.
    pub(super) fn script(&mut self, text: &str, input: Flow) -> Flow {
        self.read = self.read.saturating_add(text.len());
        if self.depth >= DEPTH
            || text.len() > limits::COMMAND_BYTES
            || self.read > limits::COMMAND_BYTES.saturating_mul(READINGS)
        {
            return self.unreadable("it is too long, or scripts stand too deep in scripts");
        }
        self.depth = self.depth.saturating_add(1);
        let flow = match parse(text) {
            Ok(program) => {
                if self.depth == 1 {
                    self.verdict.simple = simple(&program);
                }
                self.program(&program, input)
            }
            Err(why) => self.unreadable(&why),
        };
        self.depth = self.depth.saturating_sub(1);
        flow
    }

    fn program(&mut self, program: &Program, input: Flow) -> Flow {
        let mut flow = Flow::Nothing;
        for list in &program.complete_commands {
            flow = self.list(list, input.clone());
        }
        flow
    }

    fn list(&mut self, list: &CompoundList, input: Flow) -> Flow {
        let mut flow = Flow::Nothing;
        for item in &list.0 {
            flow = self.and_or(&item.0, input.clone());
        }
        flow
    }

    fn and_or(&mut self, list: &AndOrList, input: Flow) -> Flow {
        let mut flow = self.pipeline(&list.first, input.clone());
        for next in &list.additional {
            let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
            flow = self.pipeline(pipeline, input.clone());
        }
        flow
    }

    fn pipeline(&mut self, pipeline: &Pipeline, input: Flow) -> Flow {
        pipeline.seq.iter().fold(input, |input, command| self.any(command, input))
    }

    fn any(&mut self, command: &Command, input: Flow) -> Flow {
        match command {
            Command::Simple(simple) => self.simple(simple, input),
            Command::Compound(compound, redirects) => {
                let input = self.redirects_of(redirects.as_ref(), input);
                self.compound(compound, input)
            }
            Command::Function(function) => {
                let name = function.fname.value.clone();
                if self.rules.knows(&name) {
                    let text =
                        format!("it gives the name `{name}` of a known program to a function of its own");
                    self.raise(Choice::Ask, Severity::Medium, "shadowed_program", text);
                }
                let body: String = function.body.to_string().split_whitespace().collect();
                if body.contains(&format!("{name}|{name}")) {
                    self.raise(
                        Choice::Refuse,
                        Severity::High,
                        "destroys",
                        "a function that starts itself twice fills the machine",
                    );
                }
                self.functions.push(name);
                let input = self.redirects_of(function.body.1.as_ref(), Flow::Unknown);
                self.compound(&function.body.0, input)
            }
            Command::ExtendedTest(test, redirects) => {
                let input = self.redirects_of(redirects.as_ref(), input);
                self.test(&test.expr);
                input
            }
        }
    }

    fn compound(&mut self, command: &CompoundCommand, input: Flow) -> Flow {
        match command {
            CompoundCommand::Arithmetic(arithmetic) => self.arithmetic(&arithmetic.expr.value),
            CompoundCommand::ArithmeticForClause(clause) => {
                for expression in
                    [&clause.initializer, &clause.condition, &clause.updater].into_iter().flatten()
                {
                    self.arithmetic(&expression.value);
                }
                return self.list(&clause.body.list, input);
            }
            CompoundCommand::BraceGroup(group) => return self.list(&group.list, input),
            CompoundCommand::Subshell(group) => return self.list(&group.list, input),
            CompoundCommand::Coprocess(process) => return self.any(&process.body, input),
            CompoundCommand::ForClause(clause) => {
                for value in clause.values.iter().flatten() {
                    let word = self.word(&value.value);
                    self.note(&word);
                    self.look_at_path(&word.text, false);
                }
                self.variables.remove(&clause.variable_name);
                // What the variable stands for, for whoever looks at paths within: one of the values will do.
                let nothing = Variables::new();
                let first = clause
                    .values
                    .iter()
                    .flatten()
                    .filter_map(|value| word::read(&value.value, &nothing).ok());
                if let Some(value) = first
                    .max_by_key(|word| word.text.starts_with(['/', '~']))
                    .filter(|word| !word.text.contains(UNKNOWN))
                {
                    self.variables.insert(clause.variable_name.clone(), value.text);
                }
                return self.list(&clause.body.list, input);
            }
            CompoundCommand::CaseClause(clause) => {
                self.word(&clause.value.value);
                for case in &clause.cases {
                    for pattern in &case.patterns {
                        self.word(&pattern.value);
                    }
                    case.cmd.iter().for_each(|list| drop(self.list(list, input.clone())));
                }
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition, input.clone());
                self.list(&clause.then, input.clone());
                for other in clause.elses.iter().flatten() {
                    other.condition.iter().for_each(|list| drop(self.list(list, input.clone())));
                    self.list(&other.body, input.clone());
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0, input.clone());
                self.list(&clause.1.list, input);
            }
        }
        Flow::Unknown
    }

    fn test(&mut self, expression: &ExtendedTestExpr) {
        match expression {
            ExtendedTestExpr::And(left, right) | ExtendedTestExpr::Or(left, right) => {
                self.test(left);
                self.test(right);
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.test(inner),
            ExtendedTestExpr::UnaryTest(_, operand) => self.tested(&operand.value),
            ExtendedTestExpr::BinaryTest(_, left, right) => {
                self.tested(&left.value);
                self.tested(&right.value);
            }
        }
    }

    fn tested(&mut self, written: &str) {
        // Patterns and expressions are no words: where one cannot be read as a word, its substitutions still can.
        match word::read(written, &self.variables) {
            Ok(mut word) => {
                self.substitutions(&mut word);
                self.subscripts(&word.text);
            }
            Err(_) => self.arithmetic(written),
        }
    }

    /// Judges the substitutions in an arithmetic expression, or in text that is read as one.
    fn arithmetic(&mut self, expression: &str) {
        match word::substitutions_in(expression) {
            Ok(found) => found.iter().for_each(|found| drop(self.script(found, Flow::Nothing))),
            Err(Unreadable(why)) => drop(self.unreadable(why)),
        }
    }

    /// A substitution within a subscript runs wherever the shell reads text as a number or a name.
    pub(super) fn subscripts(&mut self, text: &str) {
        if text.contains("[$(") || text.contains("[`") || text.contains("[${") {
            self.raise(Choice::Refuse, Severity::High, "hidden_script", "a subscript in text has a substitution, which runs when the text is read as a number or a name");
            self.arithmetic(text);
        }
    }

    /// Reads a word and judges the scripts in it.
    pub(super) fn word(&mut self, written: &str) -> Word {
        match word::read(written, &self.variables) {
            Ok(mut word) => {
                if !word.scripts.is_empty() {
                    self.substitutions(&mut word);
                }
                word
            }
            Err(Unreadable(why)) => {
                self.unreadable(why);
                Word {
                    text: UNKNOWN.to_string(),
                    written: written.to_owned(),
                    expansions: 1,
                    ..Word::default()
                }
            }
        }
    }

    fn substitutions(&mut self, word: &mut Word) {
        let alone = word.scripts.len() == 1 && word.text.chars().eq([UNKNOWN]);
        let scripts = std::mem::take(&mut word.scripts);
        // What they write can be put where they stand when nothing else is unknown.
        let in_place = !alone && word.text.matches(UNKNOWN).count() == scripts.len();
        for found in scripts {
            // `$(<file)` reads a file.
            let flow = self.script(&found, Flow::Nothing);
            let hidden = matches!(flow, Flow::Decoded | Flow::Fetched | Flow::Revealed(_));
            if let Some(text) = flow.text().filter(|_| in_place) {
                word.text = word.text.replacen(UNKNOWN, text.trim_end_matches('\n'), 1);
            }
            if alone || hidden {
                word.flow = flow;
            }
        }
    }

    fn simple(&mut self, command: &SimpleCommand, input: Flow) -> Flow {
        let mut call = Call { input, ..Call::default() };
        for item in command.prefix.iter().flat_map(|prefix| &prefix.0) {
            match item {
                Item::AssignmentWord(assignment, _) => {
                    let (name, value) = self.assigned(assignment);
                    if assignment.append {
                        call.appended.push(name.clone());
                    }
                    call.environment.push((name, value));
                }
                other => self.item(other, &mut call),
            }
        }
        let Some(program) = &command.word_or_name else {
            self.assign(&call);
            return Flow::Nothing;
        };
        call.words.reserve(1 + command.suffix.as_ref().map_or(0, |suffix| suffix.0.len()));
        call.words.push(self.word(&program.value));
        for item in command.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut call);
        }
        self.call(call)
    }

    fn item(&mut self, item: &Item, call: &mut Call) {
        match item {
            Item::Word(word) => call.words.push(self.word(&word.value)),
            Item::IoRedirect(redirect) => self.redirect(redirect, call),
            Item::AssignmentWord(assignment, written) => match &assignment.value {
                AssignmentValue::Scalar(_) => call.words.push(self.word(&written.value)),
                AssignmentValue::Array(_) => {
                    let (name, value) = self.assigned(assignment);
                    let text = format!("{name}={}", value.text);
                    call.words.push(Word {
                        text,
                        written: written.value.clone(),
                        expansions: 1,
                        ..Word::default()
                    });
                }
            },
            Item::ProcessSubstitution(_, group) => {
                let flow = self.list(&group.list, Flow::Unknown);
                let written = "<(…)".to_owned();
                call.words.push(Word {
                    text: UNKNOWN.to_string(),
                    written,
                    expansions: 1,
                    flow,
                    ..Word::default()
                });
            }
        }
    }

    fn assigned(&mut self, assignment: &Assignment) -> (String, Word) {
        let name = match &assignment.name {
            AssignmentName::VariableName(name) => name.clone(),
            AssignmentName::ArrayElementName(name, index) => {
                self.arithmetic(index);
                name.clone()
            }
        };
        let value = match &assignment.value {
            AssignmentValue::Scalar(word) => self.word(&word.value),
            AssignmentValue::Array(elements) => {
                let mut all = Word { expansions: 1, ..Word::default() };
                for (index, element) in elements {
                    index.iter().for_each(|index| self.arithmetic(&index.value));
                    let word = self.word(&element.value);
                    self.note(&word);
                    all.text.push_str(&word.text);
                    all.text.push(' ');
                }
                all
            }
        };
        self.note(&value);
        self.subscripts(&value.text);
        (name, value)
    }

    /// Assignments that stay for the rest of the script.
    fn assign(&mut self, call: &Call) {
        for (name, value) in &call.environment {
            self.separators |= name == "IFS";
            self.look_at_variable(name, value);
            if value.text.contains(UNKNOWN) {
                self.variables.remove(name);
            } else if call.appended.contains(name) {
                self.variables.entry(name.clone()).or_default().push_str(&value.text);
            } else {
                self.variables.insert(name.clone(), value.text.clone());
            }
        }
        self.look_at_redirects(call);
    }

    fn redirects_of(&mut self, redirects: Option<&RedirectList>, input: Flow) -> Flow {
        let Some(redirects) = redirects else { return input };
        let mut call = Call { input, ..Call::default() };
        for redirect in &redirects.0 {
            self.redirect(redirect, &mut call);
        }
        self.look_at_redirects(&call);
        call.input
    }

    fn redirect(&mut self, redirect: &IoRedirect, call: &mut Call) {
        match redirect {
            IoRedirect::File(_, kind, IoFileRedirectTarget::Filename(target)) => {
                let kind = match kind {
                    IoFileRedirectKind::Read => RedirectKind::Read,
                    IoFileRedirectKind::DuplicateInput | IoFileRedirectKind::DuplicateOutput => {
                        RedirectKind::Duplicate
                    }
                    IoFileRedirectKind::Append
                    | IoFileRedirectKind::Clobber
                    | IoFileRedirectKind::ReadAndWrite
                    | IoFileRedirectKind::Write => RedirectKind::Write,
                };
                if kind == RedirectKind::Read {
                    call.input = Flow::Unknown;
                }
                let word = self.word(&target.value);
                call.redirects.push((kind, word));
            }
            IoRedirect::File(_, _, IoFileRedirectTarget::Fd(_)) => {}
            IoRedirect::File(_, _, IoFileRedirectTarget::Duplicate(target)) => {
                let word = self.word(&target.value);
                call.redirects.push((RedirectKind::Duplicate, word));
            }
            IoRedirect::File(_, _, IoFileRedirectTarget::ProcessSubstitution(_, group)) => {
                call.input = self.list(&group.list, Flow::Unknown);
            }
            IoRedirect::HereDocument(_, document) => {
                let read = if document.requires_expansion {
                    word::read_document(&document.doc.value, &self.variables)
                } else {
                    Ok(Word::plain(&document.doc.value))
                };
                self.text(read, call);
            }
            IoRedirect::HereString(_, word) => {
                let read = word::read(&word.value, &self.variables);
                self.text(read, call);
            }
            IoRedirect::OutputAndError(target, _) => {
                let word = self.word(&target.value);
                call.redirects.push((RedirectKind::Write, word));
            }
        }
    }

    /// Text that stands in the script for a command to read.
    fn text(&mut self, read: Result<Word, Unreadable>, call: &mut Call) {
        match read {
            Ok(mut word) => {
                self.substitutions(&mut word);
                call.input = match word.flow.clone() {
                    Flow::Nothing => Flow::Text(word.text.clone()),
                    flow => flow,
                };
                call.redirects.push((RedirectKind::Text, word));
            }
            Err(Unreadable(why)) => drop(self.unreadable(why)),
        }
    }
}
