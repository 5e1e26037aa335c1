//! What an installation holds besides its config: conversations are carried, credentials are brought, the rest is told.

use std::collections::BTreeSet;

use moltbot_policy::session::{ImportPermit, ShredPermit};
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::Message;
use moltbot_store::{Imported, Store};
use moltbot_vault::{FileError, StateDir};
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value};

use super::super::fix::Done;
use super::{FILE_BYTES, Line, Source, alone, backup, workspace};
use crate::book::{CommandBook, OWNER};
use crate::commands::sessions::foreign::{self, Transcript};
use crate::home::{self, Home};
use crate::serve::block_on;
use crate::{clock, output};

/// The largest list of conversations, and the largest transcript, in bytes.
const BYTES: u64 = 64 * 1024 * 1024;
/// Names that are told of one list.
const NAMES: usize = 20;
/// The list of devices, which the gateway takes over when it starts.
const DEVICES: &str = "paired.json";
/// The list of commands that were allowed, which the gateway uses as it is.
const APPROVALS: &str = "exec-approvals.json";
/// The end of the name of a list of senders, which the gateway takes over when it starts.
const LET_IN: &str = "-allowFrom.json";
/// Channels whose lists it takes over.
const CHANNELS: [&str; 2] = ["irc", "telegram"];

/// A conversation of the source.
pub(super) struct Conversation {
    pub(super) key: SessionKey,
    /// Its messages, as far as they can be kept.
    pub(super) messages: u64,
    folder: StateDir,
    file: String,
    updated_ms: u64,
}

/// The key of a conversation, which is of the default agent when it names none.
pub(super) fn session_key(text: &str) -> Result<SessionKey, String> {
    SessionKey::parse(text, &AgentId::main()).map_err(|error| error.to_string())
}

/// The folder of that path in it, as it is.
pub(super) fn folder(state: &StateDir, path: &str) -> anyhow::Result<Option<StateDir>> {
    state.find_folder(path).map_err(|error| home::failed(&error))
}

pub(super) fn names(folder: Option<&StateDir>) -> anyhow::Result<Vec<String>> {
    let names = folder.map(StateDir::list).transpose().map_err(|error| home::failed(&error))?;
    Ok(names.unwrap_or_default())
}

fn json(folder: &StateDir, name: &str, most: u64) -> Result<Option<Value>, String> {
    let told = |error: FileError| home::chain(&error);
    let Some(bytes) = folder.read(name, most).map_err(told)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{name} is no JSON: {error}"))
}

/// The names of the agents' folders.
fn agents(state: &StateDir) -> anyhow::Result<Vec<String>> {
    names(folder(state, "agents")?.as_ref())
}

/// What the lists of sessions name.
#[derive(Default)]
pub(super) struct Listed {
    /// What can be carried.
    pub(super) conversations: Vec<Conversation>,
    /// What cannot, and why.
    left: Vec<(String, String)>,
}

/// Reads the lists of sessions of all agents, and each transcript that they name.
pub(super) fn listed(source: &Source) -> anyhow::Result<Listed> {
    let mut found = Listed::default();
    for agent in agents(&source.state)? {
        let Some(folder) = folder(&source.state, &format!("agents/{agent}/sessions"))? else { continue };
        let members = match json(&folder, "sessions.json", BYTES) {
            Ok(Some(Value::Object(members))) => members,
            Ok(_) => Map::new(),
            Err(why) => {
                found.left.push((format!("the conversations of {agent}"), why));
                continue;
            }
        };
        for (key, entry) in &members {
            match conversation(&agent, &folder, key, entry) {
                Ok(one) => found.conversations.push(one),
                Err(why) => found.left.push((format!("the conversation {key}"), why)),
            }
        }
        let named: BTreeSet<String> = members.values().filter_map(file_of).collect();
        let files = names(Some(&folder))?;
        let is_left = |name: &&String| name.ends_with(".jsonl") && !named.contains(*name);
        let count = files.iter().filter(is_left).count();
        if count > 0 {
            let because = "no list names them; bring one with `moltbot sessions import KEY FILE`";
            found.left.push((format!("{count} transcripts of {agent}"), because.to_owned()));
        }
    }
    Ok(found)
}

/// The file that an entry of a list of sessions names.
fn file_of(entry: &Value) -> Option<String> {
    entry.get("sessionId")?.as_str().map(|id| format!("{id}.jsonl"))
}

fn conversation(agent: &str, folder: &StateDir, key: &str, entry: &Value) -> Result<Conversation, String> {
    let agent = AgentId::parse(agent).map_err(|error| error.to_string())?;
    let key = SessionKey::parse(key, &agent).map_err(|error| error.to_string())?;
    let file = file_of(entry).ok_or("it names no transcript")?;
    let messages = transcript(folder, &file)?.messages.len();
    if messages == 0 {
        return Err("nothing was said in it".into());
    }
    let messages = u64::try_from(messages).unwrap_or(u64::MAX);
    let updated_ms = entry.get("updatedAt").and_then(Value::as_u64).unwrap_or_default();
    Ok(Conversation { key, messages, folder: folder.clone(), file, updated_ms })
}

fn transcript(folder: &StateDir, file: &str) -> Result<Transcript, String> {
    // A name of another folder is no name of a file here.
    if file.contains('/') {
        return Err(format!("{file:?} is no name of a file"));
    }
    let bytes = folder.read(file, BYTES).map_err(|error| home::chain(&error))?.ok_or("it is not there")?;
    foreign::read(&String::from_utf8(bytes).map_err(|error| error.to_string())?)
}

/// What a migration would do with the data.
pub(super) fn planned(source: &Source) -> anyhow::Result<Vec<Line>> {
    let Listed { conversations, left } = listed(source)?;
    let mut lines: Vec<Line> = conversations
        .iter()
        .map(|one| {
            Line::of_data(format!("bring {} with {} messages", one.key.as_str(), one.messages), Done::Planned)
        })
        .collect();
    lines.extend(besides(source, left, &Done::Planned)?);
    Ok(lines)
}

/// Carries the conversations over, has the plaintext of those destroyed that are here now when that is wanted, and tells what is left.
pub(super) fn import(
    home: &Home,
    source: &Source,
    listed: Listed,
    is_shredding: bool,
) -> anyhow::Result<Vec<Line>> {
    let Listed { conversations, left } = listed;
    let book = CommandBook::open(home)?;
    let _lock = alone(&home.state)?;
    let store = Store::open(&home.state, home.vault()?).map_err(|error| home::failed(&error))?;
    let mut lines = Vec::new();
    let (count, mut here) = (conversations.len(), Vec::new());
    for (number, one) in conversations.into_iter().enumerate() {
        output::progress(&format!("{} of {count} conversations", number.saturating_add(1)));
        let carried = carry(&store, &book, &one);
        let (outcome, is_whole) = carried.unwrap_or_else(|because| (Done::Failed { because }, false));
        let act = format!("{} with {} messages", one.key.as_str(), one.messages);
        if is_whole {
            here.push(one);
        }
        lines.push(Line::of_data(act, outcome));
    }
    store.close();
    let carried = lines.iter().filter(|line| matches!(line.outcome, Done::Ok)).count();
    if is_shredding {
        lines.extend(shred(home, &book, &here)?);
    }
    book.close();
    if carried > 0 && !is_shredding {
        let because = "they are in the state db now, sealed; when you have seen that all is there, `moltbot security migrate --shred` destroys the files";
        let act =
            format!("{carried} transcripts in {}/agents stay in plaintext", source.state.path().display());
        lines.push(Line::of_data(act, Done::Skipped { because: because.into() }));
    }
    lines.extend(besides(source, left, &Done::Ok)?);
    Ok(lines)
}

/// Destroys the transcripts of conversations that this migration has brought: from then on they are not taken away by bringing it back.
fn shred(home: &Home, book: &CommandBook, here: &[Conversation]) -> anyhow::Result<Vec<Line>> {
    let brought = backup::forget(home, book, here)?;
    let mut lines = Vec::new();
    for one in here {
        let path = one.folder.path().join(&one.file).display().to_string();
        let permit = ShredPermit::for_owner(one.key.clone(), path.clone(), OWNER);
        let outcome = if brought.contains(one.key.as_str()) {
            let permit = book.record(permit)?;
            match one.folder.shred(&permit, &one.file) {
                Ok(()) => Done::Ok,
                Err(error) => Done::Failed { because: home::chain(&error) },
            }
        } else {
            let because = "its conversation was here before; compare them, and remove the file yourself";
            Done::Skipped { because: because.into() }
        };
        lines.push(Line::of_data(format!("destroy {path}"), outcome));
    }
    Ok(lines)
}

/// Brings one conversation, in one commit, and reads it back. Says as well whether as much is here then as the transcript has.
fn carry(store: &Store, book: &CommandBook, one: &Conversation) -> Result<(Done, bool), String> {
    let transcript = transcript(&one.folder, &one.file)?;
    let turns: Vec<Vec<Message>> = transcript.turns().map(<[Message]>::to_vec).collect();
    let permit = ImportPermit::for_owner(one.key.clone(), transcript.messages.len(), OWNER);
    let permit = book.record(permit).map_err(|error| format!("{error:#}"))?;
    let key = permit.permit().session();
    let at_ms = if one.updated_ms == 0 { clock::now_ms() } else { one.updated_ms.min(clock::now_ms()) };
    let imported = block_on(async {
        let imported = store.import(key, 0, turns, at_ms).await.map_err(|error| home::failed(&error))?;
        let row = store.session(key).await.map_err(|error| home::failed(&error))?;
        Ok((imported, row.map_or(0, |row| row.message_count)))
    });
    match imported.map_err(|error| format!("{error:#}"))? {
        (Imported::Elsewhere(has), _) => {
            let because = format!("it is there already, with {has} messages");
            Ok((Done::Skipped { because }, has >= one.messages))
        }
        (Imported::Kept { messages, .. }, read) if read == messages => Ok((Done::Ok, true)),
        (Imported::Kept { messages, .. }, read) => {
            Err(format!("{messages} messages were written and {read} are there"))
        }
    }
}

/// The files that a gateway uses, or takes over and removes, besides the config: as far as they are there.
pub(super) fn files(state: &StateDir) -> anyhow::Result<Vec<String>> {
    let mut files: Vec<String> =
        agents(state)?.into_iter().map(|agent| format!("agents/{agent}/agent/auth-profiles.json")).collect();
    let lists = names(folder(state, "credentials")?.as_ref())?.into_iter();
    let is_known =
        |name: &String| name == "oauth.json" || name.ends_with(LET_IN) || name.ends_with("-pairing.json");
    files.extend(lists.filter(is_known).map(|name| format!("credentials/{name}")));
    files.extend([DEVICES, "pending.json"].map(|name| format!("devices/{name}")));
    files.push(APPROVALS.to_owned());
    Ok(files)
}

/// A file of a state folder, by its path in it, as it is.
pub(super) fn file(state: &StateDir, name: &str) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
    let (path, file) = name.rsplit_once('/').unwrap_or(("", name));
    let found = if path.is_empty() { Some(state.clone()) } else { folder(state, path)? };
    let bytes = found.map(|folder| folder.read(file, FILE_BYTES)).transpose();
    Ok(bytes.map_err(|error| home::failed(&error))?.flatten().map(Zeroizing::new))
}

/// What the gateway takes over when it starts, what it uses as it is, and what cannot be carried. `done` is what came of what can.
fn besides(source: &Source, left: Vec<(String, String)>, done: &Done) -> anyhow::Result<Vec<Line>> {
    let state = &source.state;
    let mut lines = Vec::new();
    for (channel, senders) in let_in(state)? {
        let shown = senders.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
        let more = senders.len().saturating_sub(NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let act = format!("{} senders who were let in on {channel}: {shown}{more}", senders.len());
        let because = "there is no such channel here; who writes elsewhere is asked for a code";
        let skipped = Done::Skipped { because: because.into() };
        lines.push(Line::of_data(act, if CHANNELS.contains(&&*channel) { done.clone() } else { skipped }));
    }
    let jobs = Done::Skipped { because: "nothing runs jobs at set times yet".into() };
    for (path, file, what, outcome) in [
        ("devices", DEVICES, "paired devices", done),
        ("", APPROVALS, "agents with commands that were allowed", done),
        ("cron", "jobs.json", "jobs", &jobs),
    ] {
        let folder = if path.is_empty() { Some(state.clone()) } else { folder(state, path)? };
        let Some(folder) = folder else { continue };
        match json(&folder, file, BYTES) {
            Ok(Some(value)) if entries(&value) > 0 => {
                lines.push(Line::of_data(format!("{} {what} of {file}", entries(&value)), outcome.clone()));
            }
            Ok(_) => {}
            Err(because) => lines.push(Line::of_data(format!("{what} of {file}"), Done::Failed { because })),
        }
    }
    let folders =
        [("skills", "the agent has none of that kind"), ("extensions", "programs of others are not loaded")];
    for (path, because) in folders {
        let count = names(folder(state, path)?.as_ref())?.len();
        if count > 0 {
            let skipped = Done::Skipped { because: because.into() };
            lines.push(Line::of_data(format!("{count} entries of {path}/"), skipped));
        }
    }
    lines.extend(workspace::brought(source, done)?);
    lines.extend(left.into_iter().map(|(act, because)| Line::of_data(act, Done::Skipped { because })));
    Ok(lines)
}

/// Who was let in, by channel.
fn let_in(state: &StateDir) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let Some(folder) = folder(state, "credentials")? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in names(Some(&folder))? {
        let Some(channel) = name.strip_suffix(LET_IN) else { continue };
        let listed = json(&folder, &name, FILE_BYTES).ok().flatten();
        let senders = listed.as_ref().and_then(|listed| listed.get("allowFrom")).and_then(Value::as_array);
        let senders: Vec<String> =
            senders.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if !senders.is_empty() {
            found.push((channel.to_owned(), senders));
        }
    }
    Ok(found)
}

/// How much a file of a list has: the entries of its one list, or its members.
fn entries(value: &Value) -> usize {
    let of_member = |members: &Map<String, Value>| {
        let lists = ["jobs", "agents", "devices"].iter().find_map(|name| members.get(*name));
        lists.map_or_else(|| members.len(), entries)
    };
    match value {
        Value::Array(list) => list.len(),
        Value::Object(members) => of_member(members),
        _ => 0,
    }
}
