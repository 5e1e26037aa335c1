//! `write`: puts a whole file into the workspace.

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, object};
use crate::model::ToolSpec;

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: "write",
        description: "Write a file of the workspace, replacing what was in it. Folders are created.",
        parameters: object(
            &json!({
                "path": { "type": "string", "description": "The file, relative to the workspace." },
                "content": { "type": "string", "description": "The whole text of the file." },
            }),
            &["path", "content"],
        ),
    }
}

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    let mut arguments = Arguments::of("write", arguments)?;
    let path = arguments.text("path")?;
    let content = arguments.text("content")?;
    arguments.finish()?;
    let size = content.len();
    tools.write_file(&path, content).await?;
    Ok(ToolResult::done(format!("wrote {size} bytes to {path}")))
}
