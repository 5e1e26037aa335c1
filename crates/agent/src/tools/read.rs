//! `read`: the text of a file of the workspace, a page of lines at a time.

use moltbot_config::limits;
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, object, output};
use crate::model::ToolSpec;

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: "read",
        description: "Read a text file of the workspace, whole or by lines.",
        parameters: object(
            &json!({
                "path": { "type": "string", "description": "The file, relative to the workspace." },
                "offset": { "type": "integer", "minimum": 1, "description": "The first line to read, from 1." },
                "limit": { "type": "integer", "minimum": 1, "description": "How many lines to read." },
            }),
            &["path"],
        ),
    }
}

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    let mut arguments = Arguments::of("read", arguments)?;
    let path = arguments.text("path")?;
    let offset = arguments.optional_number("offset", 1)?;
    let limit = arguments.optional_number("limit", 1)?;
    arguments.finish()?;
    let text = tools.read_text(&path).await?;
    page(&text, offset, limit).map(ToolResult::done)
}

/// The lines asked for, as many as fit [`limits::TOOL_READ_BYTES`], and where to read on.
fn page(text: &str, offset: Option<u64>, limit: Option<u64>) -> Result<String, String> {
    if text.is_empty() {
        return Ok("(the file is empty)".into());
    }
    let lines = text.lines().count();
    let first = offset.map_or(1, |offset| usize::try_from(offset).unwrap_or(usize::MAX));
    if first > lines {
        return Err(format!("`offset` is {first} and the file has {lines} lines; give a smaller one"));
    }
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut shown = String::new();
    let mut last = first - 1;
    for line in text.split_inclusive('\n').skip(first - 1).take(most) {
        let line = output::visible(line);
        if shown.len() + line.len() > limits::TOOL_READ_BYTES {
            if last + 1 == first {
                shown.push_str(output::beginning(&line, limits::TOOL_READ_BYTES));
                shown.push_str("\n(this line is longer than fits and is cut here)\n");
                last += 1;
            }
            break;
        }
        shown.push_str(&line);
        last += 1;
    }
    if last < lines {
        let end = if shown.ends_with('\n') { "" } else { "\n" };
        let next = last + 1;
        shown.push_str(&format!("{end}(lines {first} to {last} of {lines}; read on with `offset` {next})"));
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_to_read_on() {
        let text = "a\nb\nc\n";
        for (offset, limit, expected) in [
            (None, None, "a\nb\nc\n"),
            (Some(2), None, "b\nc\n"),
            (Some(2), Some(1), "b\n(lines 2 to 2 of 3; read on with `offset` 3)"),
            (Some(3), Some(9), "c\n"),
        ] {
            assert_eq!(page(text, offset, limit).unwrap(), expected, "offset {offset:?}, limit {limit:?}");
        }
        assert!(page(text, Some(4), None).unwrap_err().contains("has 3 lines"));
        assert_eq!(page("", None, None).unwrap(), "(the file is empty)");
        assert_eq!(page("no end", None, None).unwrap(), "no end");
    }

    #[test]
    fn a_page_is_bounded() {
        let line = "x".repeat(999);
        let text = format!("{line}\n").repeat(300);
        let shown = page(&text, None, None).unwrap();
        assert!(shown.ends_with("(lines 1 to 100 of 300; read on with `offset` 101)"), "{}", shown.len());
        let one = "y".repeat(limits::TOOL_READ_BYTES * 2);
        let shown = page(&one, None, None).unwrap();
        assert!(shown.len() < limits::TOOL_READ_BYTES + 100 && shown.contains("is cut here"));
    }
}
