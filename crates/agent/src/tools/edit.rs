//! `edit`: replaces one exact piece of a file's text.

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, object};
use crate::model::ToolSpec;

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: "edit",
        description: "Replace one piece of a text file. The old text must match exactly and occur once.",
        parameters: object(
            &json!({
                "path": { "type": "string", "description": "The file, relative to the workspace." },
                "oldText": { "type": "string", "description": "The text to replace, exactly as it is." },
                "newText": { "type": "string", "description": "The text to put in its place." },
            }),
            &["path", "oldText", "newText"],
        ),
    }
}

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    let mut arguments = Arguments::of("edit", arguments)?;
    let path = arguments.text("path")?;
    let old = arguments.text("oldText")?;
    let new = arguments.text("newText")?;
    arguments.finish()?;
    let text = tools.read_text(&path).await?;
    let text = replace(&text, &old, &new)?;
    tools.write_file(&path, text).await?;
    Ok(ToolResult::done(format!("edited {path}")))
}

/// The text with `old` replaced by `new`.
fn replace(text: &str, old: &str, new: &str) -> Result<String, String> {
    if old.is_empty() {
        return Err("`oldText` is empty; give the text to replace, or use `write` for a new file".into());
    }
    if old == new {
        return Err("`oldText` and `newText` are the same; nothing would change".into());
    }
    let Some(place) = text.find(old) else {
        return Err("`oldText` does not occur in the file; read it again and copy the text exactly".into());
    };
    // The search goes on one character later, so that places that overlap count as two.
    let step = old.chars().next().map_or(1, char::len_utf8);
    if text.get(place + step..).is_some_and(|rest| rest.contains(old)) {
        return Err("`oldText` occurs more than once; give more of the text around it".into());
    }
    Ok(text.replacen(old, new, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_replaces_exactly_one_place() {
        for (text, old, new, expected) in [
            ("a b c", "b", "x", Ok("a x c")),
            ("äbä", "b", "", Ok("ää")),
            ("a b b", "b", "x", Err("occurs more than once")),
            ("aaa", "aa", "x", Err("occurs more than once")),
            ("äää", "ää", "x", Err("occurs more than once")),
            ("a", "b", "x", Err("does not occur")),
            ("a", "", "x", Err("is empty")),
            ("a", "a", "a", Err("are the same")),
        ] {
            match (replace(text, old, new), expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
            }
        }
    }
}
