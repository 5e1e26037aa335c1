//! Templates: a text in which `{{path}}` stands for what is at that place of a JSON body.
//!
//! A path is names and numbers: `repository.name`, `commits[0].id`. There are no functions, conditions or loops, and what is
//! put in is not read again: a body can put nothing into a template but text.

use serde_json::Value;
use thiserror::Error;

use moltbot_config::limits;

/// The deepest path.
const DEPTH: usize = 16;
/// What upstream's templates know besides the body, and these do not.
const ELSEWHERE: [&str; 2] = ["headers.", "query."];

/// A template that was read.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Place(Vec<Step>),
    Text(String),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    Index(usize),
    Name(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum TemplateError {
    /// Headers and parameters of the address are not signed, and are nobody's words.
    #[error("`{{{{{path}}}}}` is not in the body, and only what is in the body can be put in")]
    Elsewhere { path: String },
    /// Not a path.
    #[error(
        "`{{{{{path}}}}}` is not a path; write it as `{{{{repository.name}}}}` or `{{{{commits[0].id}}}}`"
    )]
    Path { path: String },
    /// Too many of them.
    #[error("it has more than {max} `{{{{…}}}}`; leave some out", max = limits::HOOK_PLACEHOLDERS)]
    TooMany,
    /// No end.
    #[error("a `{{{{` has no `}}}}`; close it")]
    Unclosed,
}

/// What a template makes is longer than it may be.
#[derive(Debug)]
pub(super) struct TooLong;

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut rest, mut places) = (Vec::new(), text, 0_usize);
        while let Some((before, after)) = rest.split_once("{{") {
            let (path, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            places = places.saturating_add(1);
            if places > limits::HOOK_PLACEHOLDERS {
                return Err(TemplateError::TooMany);
            }
            parts.extend([Part::Text(before.to_owned()), Part::Place(steps(path.trim())?)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// What stands before the first place.
    pub(super) fn head(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            Some(Part::Place(_)) | None => "",
        }
    }

    /// The text for a body, in which `write` says what stands for a value.
    pub(super) fn render<E: From<TooLong>>(
        &self,
        body: &Value,
        write: impl Fn(&Value) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Place(steps) => text.push_str(&write(find(body, steps))?),
                Part::Text(own) => text.push_str(own),
            }
            // Characters are at least a quarter of the bytes: this bounds the memory, and the message's own limit is exact.
            if text.len() > limits::HOOK_CHARS.saturating_mul(4) {
                return Err(TooLong.into());
            }
        }
        Ok(text)
    }
}

/// What stands for a value in a text: a text as it is, nothing for null and what is missing, the rest as JSON.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn find<'a>(body: &'a Value, steps: &[Step]) -> &'a Value {
    let found = steps.iter().try_fold(body, |value, step| match step {
        Step::Index(index) => value.get(index),
        Step::Name(name) => value.get(name),
    });
    found.unwrap_or(&Value::Null)
}

/// The steps of a path. `payload.` in front is upstream's word for the body.
fn steps(path: &str) -> Result<Vec<Step>, TemplateError> {
    let wrong = || TemplateError::Path { path: path.chars().take(80).collect() };
    if ELSEWHERE.iter().any(|elsewhere| path.starts_with(elsewhere)) {
        return Err(TemplateError::Elsewhere { path: path.chars().take(80).collect() });
    }
    let inside = path.strip_prefix("payload.").unwrap_or(path);
    let mut steps = Vec::new();
    for part in inside.split('.') {
        let (name, mut indices) = part.find('[').map_or((part, ""), |at| part.split_at(at));
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$'))
        {
            return Err(wrong());
        }
        steps.push(Step::Name(name.to_owned()));
        while let Some(rest) = indices.strip_prefix('[') {
            let (index, after) = rest.split_once(']').ok_or_else(wrong)?;
            let digits = index.bytes().all(|byte| byte.is_ascii_digit());
            steps.push(Step::Index(index.parse().ok().filter(|_| digits).ok_or_else(wrong)?));
            indices = after;
        }
        if !indices.is_empty() || steps.len() > DEPTH {
            return Err(wrong());
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str) -> String {
        let body = json!({
            "a": {"b": [{"c": "x"}, [1, 2]], "n": null, "t": true}, "s": "{{a.t}} }} {{", "ключ": 7,
        });
        let template = Template::parse(template).unwrap();
        template.render::<TooLong>(&body, |value| Ok(shown(value))).unwrap()
    }

    #[test]
    fn a_template_puts_in_what_is_there_and_reads_it_only_once() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{{a.b[0].c}}-{{ payload.a.t }}", "x-true"),
            ("[{{a.n}}{{missing.x[3]}}{{a.b[9]}}]", "[]"),
            ("{{a.b[1]}} {{a.b[1][0]}} {{ключ}}", "[1,2] 1 7"),
            ("{{s}}", "{{a.t}} }} {{"),
            ("} } {x} }}", "} } {x} }}"),
        ] {
            assert_eq!(render(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_when_it_is_read() {
        let wrong = |text: &str| Template::parse(text).unwrap_err();
        for text in [
            "{{}}",
            "{{a..b}}",
            "{{a[b]}}",
            "{{a[0}}",
            "{{a[-1]}}",
            "{{a[0]b}}",
            "{{a b}}",
            "{{a()}}",
            "{{#if a}}",
        ] {
            assert!(matches!(wrong(text), TemplateError::Path { .. }), "{text}");
        }
        assert!(matches!(wrong(&format!("{{{{a{}}}}}", ".a".repeat(16))), TemplateError::Path { .. }));
        assert_eq!(wrong("{{a"), TemplateError::Unclosed);
        assert!(matches!(wrong("{{headers.x-key}}"), TemplateError::Elsewhere { .. }));
        assert_eq!(wrong(&"{{a}}".repeat(65)), TemplateError::TooMany);
        let long = Template::parse(&"{{s}}".repeat(64)).unwrap();
        let body = json!({"s": "x".repeat(100_000)});
        assert!(long.render::<TooLong>(&body, |value| Ok(shown(value))).is_err());
    }
}
