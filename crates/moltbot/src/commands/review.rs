//! `moltbot commands …`: what would be done with a command. Nothing is run; no gateway and no state are needed.

use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use moltbot_config::limits;
use moltbot_policy::command::patterns::PATTERNS;
use moltbot_policy::command::{Argument, Choice, Part, RULES_FILE, Reason, Rule, Rules, Verdict, judge};
use moltbot_vault::OwnerFile;
use serde_json::{Value, json};

use crate::arguments::{Commands, ReviewOptions, RulesCommand, RulesFile, RulesTest};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::{home, output};

/// The longest line of `--stdin`: the longest command with every character escaped.
const LINE_BYTES: u64 = 6 * 64 * 1024 + 16;

/// Does what the command says.
pub(crate) fn run(environment: &Environment, command: Commands) -> anyhow::Result<Exit> {
    let own = environment.state_dir.join(RULES_FILE);
    match command {
        Commands::Review(options) => review(&rules(&own)?, &options),
        Commands::Rules(RulesCommand::Check(options)) => check(&own, &options),
        Commands::Rules(RulesCommand::List(options)) => list(&own, &options),
        Commands::Rules(RulesCommand::Test(options)) => test(&rules(&own)?, &options),
    }
}

/// The rules of the program, and those of the owner's file where there is one. Where it cannot be looked for there are
/// none: rules that nobody has read may refuse what these would let through.
fn rules(path: &Path) -> anyhow::Result<Rules> {
    let there = path.try_exists().map_err(|error| {
        Exit::Refused.because(format!("the rules in {} cannot be looked for: {error}", path.display()))
    })?;
    let text = if there { read(path)? } else { String::new() };
    Rules::with_owners(&text, &path.display().to_string()).map_err(|error| Exit::Config.because(error))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let path = std::path::absolute(path)?;
    let bytes =
        OwnerFile::at(&path).read(limits::COMMAND_RULES_BYTES).map_err(|error| home::failed(&error))?;
    let bytes = bytes.ok_or_else(|| Exit::Config.because(format!("there is no file {}", path.display())))?;
    String::from_utf8(bytes)
        .map_err(|_| Exit::Config.because(format!("{} is not text in UTF-8", path.display())))
}

fn review(rules: &Rules, options: &ReviewOptions) -> anyhow::Result<Exit> {
    let strictest = match &options.script {
        None => review_lines(rules, &mut io::stdin().lock())?,
        Some(script) => {
            let verdict = judge(script, rules);
            if options.json {
                output::json(&shown(script, &verdict))?;
            } else {
                output::piece(&described(&verdict))?;
            }
            verdict.choice
        }
    };
    Ok(match strictest {
        Choice::Ask if options.exit_code => Exit::Verdict(3),
        Choice::Refuse if options.exit_code => Exit::Verdict(4),
        Choice::Ask | Choice::Refuse | Choice::Run => Exit::Done,
    })
}

/// Judges a JSON string a line. A line that is none is refused, so that there is an answer for each.
fn review_lines(rules: &Rules, input: &mut impl BufRead) -> anyhow::Result<Choice> {
    let mut strictest = Choice::Run;
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(strictest);
        }
        if line.last() != Some(&b'\n') && u64::try_from(line.len()).unwrap_or(LINE_BYTES) >= LINE_BYTES {
            input.skip_until(b'\n')?;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let answer = match serde_json::from_slice::<String>(text) {
            Ok(script) => {
                let verdict = judge(&script, rules);
                strictest = strictest.max(verdict.choice);
                shown(&script, &verdict)
            }
            Err(error) => {
                strictest = Choice::Refuse;
                let reason = json!({"code": "not_a_string", "text": format!("the line is not a JSON string: {error}")});
                json!({"cmd": null, "verdict": "refuse", "severity": null, "patterns": [], "reasons": [reason], "parts": []})
            }
        };
        output::line(&answer.to_string())?;
    }
}

fn shown(script: &str, verdict: &Verdict) -> Value {
    let Verdict { choice, severity, patterns, reasons, parts, .. } = verdict;
    json!({
        "cmd": script,
        "verdict": choice.name(),
        "severity": severity.map(|severity| severity.name()),
        "patterns": patterns,
        "reasons": reasons.iter().map(|Reason { code, text }| json!({"code": code, "text": text})).collect::<Vec<_>>(),
        "parts": parts.iter().map(shown_part).collect::<Vec<_>>(),
    })
}

fn shown_part(part: &Part) -> Value {
    let Part { program, arguments, environment, redirects, wrappers } = part;
    let set = environment.iter().map(|(name, value)| json!({"name": name, "value": shown_word(value)}));
    let redirects = redirects.iter().map(|redirect| {
        json!({"kind": format!("{:?}", redirect.kind).to_lowercase(), "target": shown_word(&redirect.target)})
    });
    json!({
        "program": program,
        "arguments": arguments.iter().map(shown_word).collect::<Vec<_>>(),
        "environment": set.collect::<Vec<_>>(),
        "redirects": redirects.collect::<Vec<_>>(),
        "wrappers": wrappers,
    })
}

fn shown_word(word: &Argument) -> Value {
    json!({"text": word.shown(), "literal": word.literal().is_some()})
}

/// For a person: the answer, why, and what it consists of.
fn described(verdict: &Verdict) -> String {
    let severity = verdict.severity.map(|severity| format!(" ({})", severity.name())).unwrap_or_default();
    let mut text = format!("{}{severity}\n", verdict.choice.name());
    for pattern in &verdict.patterns {
        text.push_str(&format!("  pattern: {pattern}\n"));
    }
    for Reason { code, text: why } in &verdict.reasons {
        text.push_str(&format!("  {code}: {}\n", visible(why)));
    }
    for part in &verdict.parts {
        let by = if part.wrappers.is_empty() {
            String::new()
        } else {
            format!(" (by {})", part.wrappers.join(", "))
        };
        text.push_str(&format!("  part: {}{}\n", visible(&part.to_string()), visible(&by)));
    }
    text
}

/// Without what would change the terminal, or hide a part of a line.
fn visible(text: &str) -> String {
    let hides = |c: char| c.is_control() || ('\u{200b}'..='\u{206f}').contains(&c) || c == '\u{feff}';
    text.chars().fold(String::new(), |mut shown, c| {
        if hides(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

fn check(own: &Path, options: &RulesFile) -> anyhow::Result<Exit> {
    let (path, all) = chosen(own, options)?;
    let built_in = Rules::with_owners("", "").map_err(|error| Exit::Config.because(error))?.iter().count();
    let added = all.iter().count().saturating_sub(built_in);
    if options.json {
        output::json(&json!({"ok": true, "path": path, "builtIn": built_in, "own": added}))?;
    } else {
        output::line(&format!(
            "the rules can be used: {built_in} of the program, {added} of {}",
            path.display()
        ))?;
    }
    Ok(Exit::Done)
}

fn chosen(own: &Path, options: &RulesFile) -> anyhow::Result<(PathBuf, Rules)> {
    match &options.file {
        None => Ok((own.to_owned(), rules(own)?)),
        Some(path) => {
            let text = read(path)?;
            let all = Rules::with_owners(&text, &path.display().to_string());
            Ok((path.clone(), all.map_err(|error| Exit::Config.because(error))?))
        }
    }
}

fn list(own: &Path, options: &RulesFile) -> anyhow::Result<Exit> {
    let (_, all) = chosen(own, options)?;
    if options.json {
        let patterns = PATTERNS.map(|pattern| {
            json!({"name": pattern.name, "severity": pattern.severity.name(), "meaning": pattern.meaning})
        });
        let rules: Vec<Value> = all.iter().map(shown_rule).collect();
        output::json(&json!({"patterns": patterns, "rules": rules}))?;
        return Ok(Exit::Done);
    }
    for pattern in PATTERNS {
        output::line(&format!(
            "pattern  {:6}  {}: {}",
            pattern.severity.name(),
            pattern.name,
            pattern.meaning
        ))?;
    }
    for rule in all.iter() {
        let fits = rule.shown();
        output::line(&format!(
            "{:8} {}: {}\n         {fits}",
            rule.choice().name(),
            rule.name,
            rule.justification
        ))?;
    }
    Ok(Exit::Done)
}

fn shown_rule(rule: &Rule) -> Value {
    json!({
        "name": rule.name,
        "verdict": rule.choice().name(),
        "severity": rule.severity().name(),
        "fits": rule.shown(),
        "justification": rule.justification,
    })
}

fn test(rules: &Rules, options: &RulesTest) -> anyhow::Result<Exit> {
    let verdict = judge(&options.script, rules);
    let mut found: Vec<&Rule> = Vec::new();
    for rule in verdict.parts.iter().flat_map(|part| rules.fitting(part)) {
        if !found.iter().any(|known| known.name == rule.name) {
            found.push(rule);
        }
    }
    if options.json {
        let rules: Vec<Value> = found.iter().map(|rule| shown_rule(rule)).collect();
        output::json(&json!({"verdict": verdict.choice.name(), "rules": rules}))?;
    } else {
        for rule in &found {
            output::line(&format!("{:8} {}: {}", rule.choice().name(), rule.name, rule.justification))?;
        }
    }
    if found.is_empty() {
        output::note("no rule fits; what no rule fits is asked about");
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}
