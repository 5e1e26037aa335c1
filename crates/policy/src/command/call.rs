//! One simple command: what is wrapped around it comes off, and what is left is judged.

use super::programs;
use super::review::Review;
use super::rules::base_name;
use super::verdict::{Argument, Choice, Part, Redirect, RedirectKind, Severity};
use super::word::{Flow, UNKNOWN, Wildcard, Word};
use super::wrappers::{self, Wrapper};

/// A simple command, before it is a [`Part`].
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    /// The program and its words.
    pub(super) words: Vec<Word>,
    pub(super) environment: Vec<(String, Word)>,
    /// Variables of `environment` to whose value is added: `x+=y`.
    pub(super) appended: Vec<String>,
    pub(super) redirects: Vec<(RedirectKind, Word)>,
    pub(super) wrappers: Vec<String>,
    pub(super) input: Flow,
}

impl Call {
    /// The words after the program.
    pub(super) fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The program without its folder.
    pub(super) fn name(&self) -> &str {
        self.words.first().map(|word| base_name(&word.text)).unwrap_or_default()
    }

    /// Whether a word is among the arguments.
    pub(super) fn has(&self, wanted: &[&str]) -> bool {
        self.arguments().iter().any(|word| wanted.contains(&word.text.as_str()))
    }

    /// The same call for the program that `words` start with.
    fn inner(&self, words: Vec<Word>, wrapper: &str) -> Self {
        let mut wrappers = self.wrappers.clone();
        wrappers.push(wrapper.to_owned());
        Self {
            words,
            environment: self.environment.clone(),
            appended: Vec::new(),
            redirects: Vec::new(),
            wrappers,
            input: self.input.clone(),
        }
    }

    pub(super) fn to_part(&self) -> Part {
        let argument = |word: &Word| {
            if word.is_literal() {
                Argument::Literal(word.text.clone())
            } else {
                Argument::Dynamic(if word.written.is_empty() {
                    word.text.clone()
                } else {
                    word.written.clone()
                })
            }
        };
        Part {
            program: self.words.first().filter(|word| word.is_literal()).map(|word| word.text.clone()),
            arguments: self.arguments().iter().map(argument).collect(),
            environment: self
                .environment
                .iter()
                .map(|(name, value)| (name.clone(), argument(value)))
                .collect(),
            redirects: self
                .redirects
                .iter()
                .map(|(kind, word)| Redirect { kind: *kind, target: argument(word) })
                .collect(),
            wrappers: self.wrappers.clone(),
        }
    }
}

/// What comes off a wrapper.
struct Peeled<'a> {
    /// The program that it starts, with its words.
    words: &'a [Word],
    environment: Vec<(String, Word)>,
    script: Option<&'a Word>,
    /// Whether an option is only known when it runs.
    dynamic: bool,
}

impl Review<'_> {
    /// Judges a simple command, and says what it writes.
    pub(super) fn call(&mut self, call: Call) -> Flow {
        let Some(program) = call.words.first() else { return Flow::Unknown };
        call.words.iter().for_each(|word| self.note(word));
        if let Some(text) = call.input.text() {
            self.mentions |= text.split_whitespace().any(|word| programs::leaves_walls(base_name(word)));
        }
        self.look_at_redirects(&call);
        self.look_at_environment(&call);
        if !program.is_literal() && !program.text.starts_with("~/") {
            return self.unknown_program(call);
        }
        self.look_at_program(program);
        self.known_program(&call)
    }

    fn known_program(&mut self, call: &Call) -> Flow {
        let name = call.name();
        if name == "find" {
            self.find(call);
        }
        if let Some(flow) = self.interpreted(call, name) {
            return flow;
        }
        if let Some(wrapper) = wrappers::wrapper_of(name)
            && let Some(flow) = self.unwrap(call, name, wrapper)
        {
            return flow;
        }
        self.judge_part(call);
        let flow = self.output(call);
        for (_, target) in call.redirects.iter().filter(|(kind, _)| *kind == RedirectKind::Write) {
            self.files.push((target.text.clone(), flow.clone()));
        }
        flow
    }

    /// Judges what a wrapper starts; nothing when it starts nothing.
    fn unwrap(&mut self, call: &Call, name: &str, wrapper: &Wrapper) -> Option<Flow> {
        if name == "command" && call.has(&["-v", "-V"]) {
            return None;
        }
        let peeled = peel(call.arguments(), wrapper);
        self.judge_loading(call, name);
        if peeled.dynamic {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_wrapper",
                format!("an option of `{name}` is only known when it runs"),
            );
        }
        if wrappers::is_judged_itself(name) && (peeled.script.is_some() || !peeled.words.is_empty()) {
            let outer = Call { words: own_words(call, peeled.words.len()), ..call.clone() };
            self.judge_part(&outer);
        }
        let mut flow = None;
        if let Some(script) = peeled.script {
            flow = Some(self.script_word(script, &call.input));
        }
        let shell = name == "parallel" || (name == "watch" && !call.has(&["-x", "--exec"]));
        if shell && peeled.words.len() > 1 {
            let own = peeled.words.iter().take_while(|word| !word.text.starts_with(":::"));
            let joined: Vec<&str> = own.map(|word| word.text.as_str()).collect();
            flow = Some(self.script(&joined.join(" "), Flow::Nothing));
            // Where nothing stands in front of `:::`, what follows are commands.
            if joined.is_empty() {
                for word in peeled.words.iter().filter(|word| !word.text.starts_with(":::")) {
                    flow = Some(self.script_word(word, &Flow::Nothing));
                }
            }
        } else if let [only] = peeled.words
            && matches!(name, "watch" | "parallel")
        {
            flow = Some(self.script_word(only, &Flow::Nothing));
        } else if let Some(program) = peeled.words.first()
            && !(matches!(name, "script" | "su") && wrapper.words == usize::MAX)
        {
            let mut words = peeled.words.to_vec();
            if wrapper.feeds && !program.text.is_empty() {
                self.feed(&mut words, &call.input, name);
            }
            let mut inner = call.inner(words, name);
            inner.environment.extend(peeled.environment);
            flow = Some(self.call(inner));
        }
        if flow.is_some() && !wrappers::is_judged_itself(name) && !call.redirects.is_empty() {
            // Redirections were looked at; they belong to the command as a whole.
            self.note_redirects(call);
        }
        flow
    }

    /// The dynamic linker, and programs like it, take code from a file that they are told.
    fn judge_loading(&mut self, call: &Call, name: &str) {
        let loads = |word: &Word| word.text.starts_with("--preload") || word.text.starts_with("--audit");
        if call.arguments().iter().any(loads) {
            let said = format!("`{name}` loads code from a file that the command names");
            self.raise(Choice::Refuse, Severity::High, "loads_code", said);
        }
    }

    fn note_redirects(&mut self, call: &Call) {
        if let Some(part) = self.verdict.parts.last_mut() {
            part.redirects.extend(call.to_part().redirects);
        }
    }

    /// Adds the words that a program gets from its input.
    fn feed(&mut self, words: &mut Vec<Word>, input: &Flow, name: &str) {
        // After `:::` stand words of `parallel`, not of the program.
        if let Some(end) = words.iter().position(|word| word.text.starts_with(":::")) {
            words.truncate(end);
        }
        if let Some(text) = input.text() {
            words.extend(text.split(['\n', ' ', '\0']).filter(|word| !word.is_empty()).map(Word::plain));
        }
        match input {
            Flow::Decoded | Flow::Revealed(_) => self.raise(
                Choice::Ask,
                Severity::Medium,
                "decoded_words",
                format!("`{name}` gets words that were hidden by an encoding"),
            ),
            Flow::Fetched if words.first().is_some_and(|word| programs::is_shell(base_name(&word.text))) => {
                drop(self.hidden("fetched_script", "a script comes from the network"));
            }
            Flow::Fetched => self.raise(
                Choice::Ask,
                Severity::Medium,
                "fetched_words",
                format!("`{name}` gets words from the network"),
            ),
            Flow::Nothing | Flow::Text(_) | Flow::Unknown => {}
        }
        if input.text().is_none() {
            words.push(Word {
                text: UNKNOWN.to_string(),
                written: "(from its input)".into(),
                expansions: 1,
                ..Word::default()
            });
        }
    }

    /// `find … -exec program … ;`
    fn find(&mut self, call: &Call) {
        let mut rest = call.arguments();
        while let Some(at) =
            rest.iter().position(|word| matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir"))
        {
            let (_, after) = rest.split_at_checked(at.saturating_add(1)).unwrap_or_default();
            let end =
                after.iter().position(|word| matches!(word.text.as_str(), ";" | "+")).unwrap_or(after.len());
            let (inner, left) = after.split_at_checked(end).unwrap_or_default();
            let mut inner = call.inner(inner.to_vec(), "find");
            if let Some(program) = inner.words.first_mut().filter(|word| word.text.contains("{}")) {
                program.expansions = 1;
                program.text = UNKNOWN.to_string();
            }
            self.call(inner);
            rest = left;
        }
    }

    /// A program that is only known when it runs.
    fn unknown_program(&mut self, call: Call) -> Flow {
        let Some(program) = call.words.first().cloned() else { return Flow::Unknown };
        self.dynamic = true;
        let assembled = program.computed
            || program.braces
            || program.wildcard == Wildcard::Spelling
            || program.disguised
            || (program.expansions > 1 && !program.text.contains('/'))
            || has_hole(&program.written)
            || !matches!(program.flow, Flow::Nothing | Flow::Unknown);
        if assembled {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "hidden_program",
                format!("the name of a program is put together when it runs: {}", program.written),
            );
        } else {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_program",
                format!("which program this is, is only known when it runs: {}", program.written),
            );
        }
        self.verdict.parts.push(call.to_part());
        self.look_at_words(&call);
        let known = match &program.flow {
            Flow::Revealed(text) | Flow::Text(text) => text.clone(),
            _ if program.braces => unbraced(&program.text),
            _ => program.text.clone(),
        };
        if known.is_empty() || known.contains(UNKNOWN) || program.text.starts_with('~') {
            return Flow::Unknown;
        }
        // The words that it comes to are judged as well: never to permit, only to see what it is.
        let separator =
            self.variables.get("IFS").and_then(|separators| separators.chars().next()).unwrap_or(' ');
        let words = known.split([' ', '\n', separator]).filter(|word| !word.is_empty());
        let mut words: Vec<Word> = words.map(|word| Word::plain(&spelt(word))).collect();
        words.extend(call.arguments().iter().cloned());
        self.known_program(&Call { words, redirects: Vec::new(), environment: Vec::new(), ..call })
    }

    /// Judges a call whose program is known and wraps nothing.
    pub(super) fn judge_part(&mut self, call: &Call) {
        let part = call.to_part();
        self.look_at_words(call);
        self.destroys(call);
        self.reaches(call);
        let name = call.name();
        let program = call.words.first().map(|word| word.text.as_str()).unwrap_or_default();
        if self.functions.iter().any(|function| function == program) {
            self.verdict.parts.push(part);
            return;
        }
        let rules = self.rules;
        let mut known = false;
        for rule in rules.fitting(&part) {
            known = true;
            if let Some(pattern) = rule.pattern() {
                self.pattern(pattern);
            }
            if rule.choice() != Choice::Run {
                self.raise(
                    rule.choice(),
                    rule.severity(),
                    &rule.name,
                    format!("`{name}`: {}", rule.justification),
                );
            }
        }
        if !known {
            self.raise(
                Choice::Ask,
                Severity::Low,
                "unknown_program",
                format!("there is no rule for `{}` with these words", shortened(program)),
            );
        }
        self.verdict.parts.push(part);
    }

    fn output(&mut self, call: &Call) -> Flow {
        let flow = super::flow::written(call);
        self.fetches |= flow == Flow::Fetched;
        flow
    }

    /// What holds for the script as a whole.
    pub(super) fn over_all(&mut self) {
        if self.dynamic && self.mentions {
            self.raise(Choice::Refuse, Severity::High, "hidden_program", "a program is only known when it runs, and the script has the name of one that leaves the walls");
        }
        if self.dynamic && self.separators {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "hidden_program",
                "a program is only known when it runs, and the script changes how words are told apart",
            );
        }
    }
}

/// Whether letters of a name stand on both sides of what is only known when it runs, which is then most likely nothing:
/// `ns$()enter`. A name that begins or ends with a variable, such as `python$VERSION`, is ordinary.
fn has_hole(written: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric();
    let Some((before, after)) = written.split_once(['$', '`']).filter(|_| !written.contains('/')) else {
        return false;
    };
    let after = match after.chars().next() {
        Some('{') => after.split_once('}').map_or("", |(_, after)| after),
        Some('(') => after.rsplit_once(')').map_or("", |(_, after)| after),
        Some('@' | '*') => after.get(1..).unwrap_or_default(),
        _ => after.rsplit_once('`').map_or("", |(_, after)| after),
    };
    before.ends_with(letter) && after.starts_with(letter)
}

/// What wildcards and braces most likely spell, to look at.
fn spelt(word: &str) -> String {
    let name = base_name(word);
    let known = [
        "nsenter", "unshare", "mount", "chroot", "insmod", "modprobe", "cat", "curl", "wget", "bash", "sh",
        "nc",
    ];
    match known.iter().find(|known| word.contains(['?', '[', '*']) && super::glob::fits(name, known)) {
        Some(known) => (*known).to_owned(),
        None => word.to_owned(),
    }
}

fn unbraced(text: &str) -> String {
    text.trim_start_matches('{').trim_end_matches('}').replace(',', " ")
}

pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c == UNKNOWN { '…' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The words of the wrapper itself: those of the program that it starts are left out.
fn own_words(call: &Call, inner: usize) -> Vec<Word> {
    let end = call.words.len().saturating_sub(inner);
    call.words.get(..end).unwrap_or_default().to_vec()
}

fn peel<'a>(arguments: &'a [Word], wrapper: &Wrapper) -> Peeled<'a> {
    let mut peeled = Peeled { words: &[], environment: Vec::new(), script: None, dynamic: false };
    let mut rest = arguments;
    let mut words = wrapper.words;
    let mut options = true;
    while let Some((word, after)) = rest.split_first() {
        let text = word.text.as_str();
        if options && text == "--" {
            options = false;
        } else if options && text.starts_with('-') && text.len() > 1 {
            let value = takes_value(text, wrapper);
            let script = wrapper.script.is_some_and(|letter| is_cluster(text, letter));
            if script || value {
                if script {
                    peeled.script = after.first();
                }
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            if let Some(script) = inline_script(text, wrapper) {
                peeled.script = script.then_some(word);
            }
        } else if wrapper.assigns && is_assignment(word) {
            if let Some((name, value)) = text.split_once('=') {
                let value = Word { text: value.to_owned(), ..word.clone() };
                peeled.environment.push((name.to_owned(), value));
            }
        } else if words > 0 {
            peeled.dynamic |= word.text.starts_with(UNKNOWN);
            words = words.saturating_sub(1);
            // `flock file -c script`: options may follow.
            options |= wrapper.script.is_some();
        } else {
            peeled.words = rest;
            return peeled;
        }
        rest = after;
    }
    peeled
}

/// `--command=script`, for wrappers with a script.
fn inline_script(text: &str, wrapper: &Wrapper) -> Option<bool> {
    wrapper.script?;
    text.starts_with("--command").then_some(true)
}

fn is_cluster(text: &str, letter: char) -> bool {
    text == "--command" || text == "--session-command" || (!text.starts_with("--") && text.ends_with(letter))
}

fn takes_value(text: &str, wrapper: &Wrapper) -> bool {
    if text.starts_with("--") {
        return wrapper.long.contains(&text);
    }
    let mut letters = text.chars().skip(1);
    // The first letter that takes a value takes the rest of the word, when there is a rest.
    letters.find(|letter| wrapper.letters.contains(*letter)).is_some() && letters.next().is_none()
}

fn is_assignment(word: &Word) -> bool {
    // Any name will do for `env`: functions are handed on as `BASH_FUNC_x%%`.
    word.text.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains('/'))
}
