//! Tool calls that a small model writes into its text, because it was never taught another way.
//!
//! `{"name": "read", "arguments": {"path": "a.txt"}}` counts as a call when the tool was offered and the text
//! is nothing but calls: alone, several in a row, in a fence of three backticks, or between `<tool_call>` tags
//! (words may stand before those). JSON that merely appears in a text is left alone.

use serde_json::Value;

/// A call that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BareCall {
    pub(super) name: String,
    pub(super) arguments: Value,
}

/// The calls of a text, and the words before them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) before: String,
    pub(super) calls: Vec<BareCall>,
}

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
const FENCE: &str = "```";

/// Whether a text that is still being written may become a call, so that it is not shown yet.
pub(super) fn may_begin(text: &str) -> bool {
    let text = text.trim_start();
    if text.starts_with('{') || OPEN.starts_with(text) || text.starts_with(OPEN) || FENCE.starts_with(text) {
        return true;
    }
    let Some(fenced) = text.strip_prefix(FENCE) else { return false };
    let inside = fenced.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim_start();
    let language = fenced.get(..fenced.len() - inside.len()).unwrap_or_default().trim();
    ("json".starts_with(language) || "tool_call".starts_with(language))
        && (inside.is_empty() || inside.starts_with('{'))
}

/// The calls in a whole text, if calls are all there is to it.
pub(super) fn find(text: &str, offered: &[&str]) -> Option<Found> {
    if offered.is_empty() {
        return None;
    }
    let (before, marked) = match text.split_once(OPEN) {
        Some((before, marked)) => (before.trim(), marked),
        None => ("", text),
    };
    let mut rest = skip_marks(marked);
    let mut calls = Vec::new();
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let value = values.next()?.ok()?;
        calls.push(into_call(value, offered)?);
        rest = skip_marks(rest.get(values.byte_offset()..)?);
    }
    if calls.is_empty() { None } else { Some(Found { before: before.into(), calls }) }
}

/// Skips white space, tags and fences.
fn skip_marks(text: &str) -> &str {
    let mut rest = text.trim_start();
    loop {
        let fence = rest.strip_prefix(FENCE);
        let next = rest.strip_prefix(OPEN).or_else(|| rest.strip_prefix(CLOSE)).or_else(|| {
            let fenced = fence?;
            Some(fenced.strip_prefix("json").or_else(|| fenced.strip_prefix("tool_call")).unwrap_or(fenced))
        });
        match next {
            Some(next) => rest = next.trim_start(),
            None => return rest,
        }
    }
}

fn into_call(value: Value, offered: &[&str]) -> Option<BareCall> {
    let Value::Object(mut members) = value else { return None };
    let name = members.get("name")?.as_str()?.to_owned();
    let arguments = members.remove("arguments").or_else(|| members.remove("parameters"))?;
    // Other members mean that it is not a call but data that has a name.
    let only = members.keys().all(|key| matches!(key.as_str(), "id" | "name" | "type"));
    let arguments = match arguments {
        Value::String(text) => serde_json::from_str(&text).ok()?,
        other => other,
    };
    (only && arguments.is_object() && offered.contains(&name.as_str()))
        .then_some(BareCall { name, arguments })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OFFERED: &[&str] = &["exec", "read"];

    fn names(text: &str) -> Option<(String, Vec<String>)> {
        let found = find(text, OFFERED)?;
        Some((found.before, found.calls.into_iter().map(|call| call.name).collect()))
    }

    #[test]
    fn a_text_that_is_nothing_but_calls_is_calls() {
        let call = r#"{"name": "read", "arguments": {"path": "a.txt"}}"#;
        for text in [
            call.to_owned(),
            format!("\n {call} \n"),
            format!("```json\n{call}\n```"),
            format!("```\n{call}\n```\n"),
            format!("<tool_call>\n{call}\n</tool_call>"),
            call.replace("arguments", "parameters"),
            r#"{"name":"read","arguments":"{\"path\":\"a.txt\"}"}"#.to_owned(),
            r#"{"type":"function","name":"read","arguments":{"path":"a.txt"}}"#.to_owned(),
        ] {
            let expected = BareCall { name: "read".into(), arguments: json!({"path": "a.txt"}) };
            let found = find(&text, OFFERED);
            assert_eq!(found, Some(Found { before: String::new(), calls: vec![expected] }), "text {text}");
            assert!(may_begin(&text), "text {text} was shown before it was known to be a call");
        }
    }

    #[test]
    fn several_calls_and_words_before_tags_are_kept_in_order() {
        let (read, exec) = (r#"{"name":"read","arguments":{}}"#, r#"{"name":"exec","arguments":{}}"#);
        let both = vec!["read".to_owned(), "exec".to_owned()];
        assert_eq!(names(&format!("{read}\n{exec}")), Some((String::new(), both.clone())));
        let tagged = format!("I look.\n<tool_call>{read}</tool_call><tool_call>{exec}</tool_call>");
        assert_eq!(names(&tagged), Some(("I look.".to_owned(), both)));
    }

    #[test]
    fn json_that_is_not_a_call_is_left_alone() {
        for text in [
            "",
            "read",
            "{",
            r#"{"name":"read"}"#,
            r#"{"name":"read","arguments":[1]}"#,
            r#"{"name":"format_disk","arguments":{}}"#,
            r#"{"name":"read","arguments":{},"email":"a@example.com"}"#,
            r#"To read a file, write {"name":"read","arguments":{}}"#,
            r#"{"name":"read","arguments":{}} reads a file."#,
            r#"{"name":"read","arguments":{"#,
            r#"[{"name":"read","arguments":{}}]"#,
        ] {
            assert_eq!(names(text), None, "text {text}");
        }
        assert_eq!(find(r#"{"name":"read","arguments":{}}"#, &[]), None, "no tool was offered");
    }

    #[test]
    fn words_are_shown_as_soon_as_they_cannot_be_a_call() {
        for (text, held) in [
            ("", true),
            ("<tool", true),
            ("``", true),
            ("```js", true),
            ("```json\n{\"na", true),
            ("  {", true),
            ("<b>", false),
            ("Hello", false),
            ("```rust\nfn", false),
            ("```json\n[1]", false),
        ] {
            assert_eq!(may_begin(text), held, "text {text:?}");
        }
    }
}
