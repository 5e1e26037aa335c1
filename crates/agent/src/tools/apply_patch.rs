//! `apply_patch`: adds, removes, changes and moves files of the workspace, all of them or none.

use std::collections::BTreeMap;

use moltbot_config::limits;
use moltbot_policy::file::{self, FileAct};
use moltbot_policy::record_all_soon;
use moltbot_vault::FileError;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::arguments::Arguments;
use super::{ToolResult, Toolbox, object, sentence, stopped};
use crate::model::ToolSpec;
use crate::patch::Patch;

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: "apply_patch",
        description: "Change several files of the workspace at once, all of them or none. `input` is a patch: `*** Begin Patch`, \
            then for each file `*** Add File: path` with lines that begin with `+`, `*** Delete File: path`, or \
            `*** Update File: path` (and `*** Move to: path` to move it) with changes: `@@` or `@@ a line above`, then the lines \
            around it with a blank before them, lines that go with `-`, and lines that come with `+`; at last `*** End Patch`.",
        parameters: object(
            &json!({ "input": { "type": "string", "description": "The patch." } }),
            &["input"],
        ),
    }
}

/// Files by their paths: the bytes of each, or that it is absent.
type Files = BTreeMap<String, Option<Vec<u8>>>;

pub(super) async fn run(tools: &Toolbox, arguments: Value) -> Result<ToolResult, String> {
    let mut arguments = Arguments::of("apply_patch", arguments)?;
    let input = arguments.text("input")?;
    arguments.finish()?;
    // Every path is judged before any file is looked at: one that is refused leaves nothing of the patch done.
    let patch = Patch::read(&input)?;
    let named = patch.with_paths(|path| {
        let judged = file::judge(FileAct::Write, path, &tools.cause);
        judged.map(|permit| permit.path().to_owned()).map_err(|refusal| (path.to_owned(), refusal))
    });
    let patch = match named {
        Ok(patch) => patch,
        Err((path, refusal)) => return Err(tools.refuse(FileAct::Write.action(), &path, &refusal).await),
    };
    let before = read(tools, &patch).await?;
    let changes = changes(&patch, &before)?;
    let told = told(&before, &changes);
    change(tools, &before, changes).await?;
    Ok(ToolResult::done(told))
}

/// The files that a patch names, as they are.
async fn read(tools: &Toolbox, patch: &Patch) -> Result<Files, String> {
    let paths: Vec<String> = patch.paths().into_keys().map(str::to_owned).collect();
    let permits = paths.iter().map(|path| file::judge(FileAct::Read, path, &tools.cause));
    let permits = permits.collect::<Result<Vec<_>, _>>().map_err(|refusal| refusal.message)?;
    let permits =
        record_all_soon(permits, &tools.ledger).await.map_err(|unrecorded| sentence(&unrecorded))?;
    let workspace = tools.workspace.clone();
    let read = spawn_blocking(move || {
        let mut files = Files::new();
        for (path, permit) in paths.into_iter().zip(permits) {
            let bytes = match workspace.read(permit, limits::TOOL_FILE_BYTES) {
                Ok(bytes) => Some(bytes),
                Err(FileError::Missing { .. }) => None,
                Err(error) => return Err(sentence(&error)),
            };
            files.insert(path, bytes);
        }
        Ok(files)
    });
    read.await.map_err(|_| stopped())?
}

/// The files that are different afterwards.
fn changes(patch: &Patch, before: &Files) -> Result<Files, String> {
    let mut texts = BTreeMap::new();
    for (path, is_changed) in patch.paths() {
        let text = match before.get(path).and_then(Option::as_ref) {
            None => None,
            Some(bytes) if is_changed => Some(text_of(path, bytes)?),
            // Whatever it is: it is there.
            Some(_) => Some(String::new()),
        };
        texts.insert(path.to_owned(), text);
    }
    patch.apply(&mut texts)?;
    let after = texts.into_iter().map(|(path, text)| (path, text.map(String::into_bytes)));
    let changes: Files = after.filter(|(path, bytes)| before.get(path) != Some(bytes)).collect();
    let long = changes.iter().find(|(_, bytes)| bytes.as_ref().is_some_and(|bytes| is_long(bytes)));
    match long {
        None => Ok(changes),
        Some((path, _)) => {
            Err(format!("{path} would have more than {} bytes; split it", limits::TOOL_FILE_BYTES))
        }
    }
}

fn is_long(bytes: &[u8]) -> bool {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limits::TOOL_FILE_BYTES
}

fn text_of(path: &str, bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| format!("{path} is not a text file; change it with a command"))
}

/// What is done, a line for each file.
fn told(before: &Files, changes: &Files) -> String {
    let line =
        |(path, bytes): (&String, &Option<Vec<u8>>)| match (before.get(path).and_then(Option::as_ref), bytes)
        {
            (_, None) => format!("removed {path}"),
            (None, Some(_)) => format!("added {path}"),
            (Some(_), Some(_)) => format!("changed {path}"),
        };
    let lines: Vec<String> = changes.iter().map(line).collect();
    if lines.is_empty() { "nothing is different".into() } else { lines.join("\n") }
}

/// Writes and removes; what cannot be done to the end is undone.
async fn change(tools: &Toolbox, before: &Files, changes: Files) -> Result<(), String> {
    // What is written first can be taken back; a file that is removed before would have to be made again.
    let (removed, written): (Files, Files) = changes.into_iter().partition(|(_, bytes)| bytes.is_none());
    let mut undone = Files::new();
    for (path, bytes) in written.into_iter().chain(removed) {
        let Err(why) = set(tools, &path, bytes).await else {
            undone.insert(path.clone(), before.get(&path).cloned().flatten());
            continue;
        };
        let mut lost = Vec::new();
        for (path, bytes) in undone {
            if let Err(why) = set(tools, &path, bytes).await {
                lost.push(format!("{path} ({why})"));
            }
        }
        return Err(match lost.as_slice() {
            [] => format!("{why}; nothing of the patch was done"),
            lost => format!("{why}; what was done to these could not be undone: {}", lost.join(", ")),
        });
    }
    Ok(())
}

/// Makes a file what it shall be: judged, recorded, replaced at once or removed.
async fn set(tools: &Toolbox, path: &str, bytes: Option<Vec<u8>>) -> Result<(), String> {
    let act = if bytes.is_some() { FileAct::Write } else { FileAct::Remove };
    let permit = tools.permit_file(act, path).await?;
    let workspace = tools.workspace.clone();
    let set = spawn_blocking(move || match bytes {
        Some(bytes) => workspace.write(permit, &bytes),
        None => workspace.remove(permit),
    });
    set.await.map_err(|_| stopped())?.map_err(|error| sentence(&error))
}
