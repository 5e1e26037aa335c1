//! `exec-approvals.json`: what the owner keeps about commands, in the form of existing installations.
//!
//! Read strictly where it decides something, and kept as it is where it does not: members of other programs stay.

use std::collections::BTreeSet;

use moltbot_config::settings::{ExecAsk, ExecSecurity};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// The name of the file, in the state folder.
pub const FILE: &str = "exec-approvals.json";
/// The longest file that is read, in bytes.
pub const FILE_BYTES: u64 = 1024 * 1024;
/// Entries of all lists together: far more than a person looks through.
const ENTRIES: usize = 2000;
/// Characters of a command that are kept with the entry that let it pass.
const COMMAND_CHARS: usize = 200;

/// Why a text is no such file.
#[derive(Debug, Error)]
#[error(
    "exec-approvals.json cannot be used: {what}; correct it with `moltbot approvals set`, or move it away"
)]
pub struct FileProblem {
    what: String,
}

/// The file, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalsFile {
    value: Map<String, Value>,
}

/// An entry of an agent's list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// The id of the entry. Empty for one that an older program wrote without.
    pub id: String,
    /// The path of a program, or a pattern of paths.
    pub pattern: String,
}

/// What decides something in `defaults` or for an agent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Section {
    security: Option<ExecSecurity>,
    ask: Option<ExecAsk>,
    /// Kept for other programs: no answer is no, whatever it says.
    #[expect(dead_code, reason = "its form is demanded, and it changes nothing")]
    ask_fallback: Option<ExecSecurity>,
    #[serde(default)]
    allowlist: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Option<String>,
    pattern: String,
}

impl Default for ApprovalsFile {
    /// What holds when there is no file: nothing is listed, and the config alone decides.
    fn default() -> Self {
        let value = json!({"version": 1, "agents": {}});
        Self { value: value.as_object().cloned().unwrap_or_default() }
    }
}

impl ApprovalsFile {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When it is not JSON, or what decides something in it has no meaning: nothing is then allowed.
    pub fn parse(text: &[u8]) -> Result<Self, FileProblem> {
        let value = serde_json::from_slice(text).map_err(|error| problem(error.to_string()))?;
        Self::of(value)
    }

    /// Takes a value as the file.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of(value: Value) -> Result<Self, FileProblem> {
        let Value::Object(value) = value else { return Err(problem("it is not an object".into())) };
        if value.get("version").is_some_and(|version| *version != json!(1)) {
            return Err(problem("its version is not 1".into()));
        }
        let file = Self { value };
        let mut entries = 0_usize;
        for (name, section) in file.sections() {
            let section: Section = serde_json::from_value(section.clone())
                .map_err(|error| problem(format!("{name}: {error}")))?;
            entries = entries.saturating_add(section.allowlist.len());
        }
        if file.value.get("agents").is_some_and(|agents| !agents.is_object()) {
            return Err(problem("agents is not an object".into()));
        }
        if entries > ENTRIES {
            return Err(problem(format!("its lists have {entries} entries; at most {ENTRIES} are read")));
        }
        Ok(file)
    }

    /// The text to be kept.
    pub fn text(&self) -> String {
        // A map of texts and values that were read as JSON.
        let mut text = serde_json::to_string_pretty(&self.value).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The file without what is secret in it: the token of the socket of other programs.
    pub fn shown(&self) -> Value {
        let mut value = self.value.clone();
        if let Some(Value::Object(socket)) = value.get_mut("socket") {
            socket.remove("token");
        }
        Value::Object(value)
    }

    /// Takes over the secret of `before`, which whoever changes the file was not shown.
    #[must_use]
    pub fn with_secret_of(mut self, before: &Self) -> Self {
        let token = before.value.get("socket").and_then(|socket| socket.get("token"));
        if let (Some(token), Some(Value::Object(socket))) = (token, self.value.get_mut("socket")) {
            socket.insert("token".into(), token.clone());
        }
        self
    }

    fn sections(&self) -> impl Iterator<Item = (String, &Value)> {
        let defaults = self.value.get("defaults").map(|section| ("defaults".to_owned(), section));
        let agents = self.value.get("agents").and_then(Value::as_object).into_iter().flatten();
        defaults.into_iter().chain(agents.map(|(name, section)| (format!("agents.{name}"), section)))
    }

    /// The sections that hold for an agent.
    fn of_agent(&self, agent: &str) -> Vec<Section> {
        let wanted = |name: &str| {
            let name = name.strip_prefix("agents.");
            // Older programs called the main agent "default".
            name.is_none_or(|name| name == "*" || name == agent || (name == "default" && agent == "main"))
        };
        let sections = self.sections().filter(|(name, _)| wanted(name));
        sections.filter_map(|(_, section)| serde_json::from_value(section.clone()).ok()).collect()
    }

    pub(super) fn security(&self, agent: &str) -> Option<ExecSecurity> {
        self.of_agent(agent).into_iter().filter_map(|section| section.security).max()
    }

    pub(super) fn ask(&self, agent: &str) -> Option<ExecAsk> {
        self.of_agent(agent).into_iter().filter_map(|section| section.ask).max()
    }

    /// The entries that hold for an agent.
    pub fn list(&self, agent: &str) -> Vec<Listed> {
        let entries = self.of_agent(agent).into_iter().flat_map(|section| section.allowlist);
        entries.map(|Entry { id, pattern }| Listed { id: id.unwrap_or_default(), pattern }).collect()
    }

    /// Adds entries to an agent's list: pattern and id. Patterns that are there already are left.
    ///
    /// # Errors
    /// When a pattern is no absolute path, or there is no room.
    pub fn add(&mut self, agent: &str, entries: &[(String, String)]) -> Result<(), FileProblem> {
        let known: BTreeSet<String> = self.list(agent).into_iter().map(|entry| entry.pattern).collect();
        let list = self.own_list(agent)?;
        for (pattern, id) in entries.iter().filter(|(pattern, _)| !known.contains(pattern)) {
            let is_path = pattern.starts_with('/') && !pattern.chars().any(char::is_control);
            if !is_path || pattern.split('/').any(|part| part == "..") {
                return Err(problem(format!("{pattern:?} is no absolute path")));
            }
            list.push(json!({"id": id, "pattern": pattern}));
        }
        Self::of(Value::Object(self.value.clone())).map(|_| ())
    }

    /// Takes entries out of an agent's list, by pattern or id; how many there were.
    pub fn remove(&mut self, agent: &str, what: &str) -> usize {
        let Ok(list) = self.own_list(agent) else { return 0 };
        let before = list.len();
        list.retain(|entry| ["pattern", "id"].iter().all(|name| entry.get(name) != Some(&json!(what))));
        before.saturating_sub(list.len())
    }

    /// Notes that entries let a command pass.
    pub fn used(&mut self, ids: &[String], command: &str, path: &str, now_ms: u64) {
        let command: String = command.chars().take(COMMAND_CHARS).collect();
        let agents = self.value.get_mut("agents").and_then(Value::as_object_mut);
        for section in agents.into_iter().flat_map(Map::values_mut) {
            let list = section.get_mut("allowlist").and_then(Value::as_array_mut);
            for entry in list.into_iter().flatten().filter_map(Value::as_object_mut) {
                let is_used =
                    entry.get("id").and_then(Value::as_str).is_some_and(|id| ids.iter().any(|one| one == id));
                if is_used {
                    entry.insert("lastUsedAt".into(), json!(now_ms));
                    entry.insert("lastUsedCommand".into(), json!(command));
                    entry.insert("lastResolvedPath".into(), json!(path));
                }
            }
        }
    }

    fn own_list(&mut self, agent: &str) -> Result<&mut Vec<Value>, FileProblem> {
        let not = |what: &str| problem(format!("{what} has another form"));
        let agents = self.value.entry("agents").or_insert_with(|| json!({}));
        let agents = agents.as_object_mut().ok_or_else(|| not("agents"))?;
        let section = agents.entry(agent).or_insert_with(|| json!({}));
        let section = section.as_object_mut().ok_or_else(|| not("the agent's section"))?;
        let list = section.entry("allowlist").or_insert_with(|| json!([]));
        list.as_array_mut().ok_or_else(|| not("the agent's list"))
    }
}

fn problem(what: String) -> FileProblem {
    FileProblem { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPSTREAM: &str = r#"{"version":1,"socket":{"path":"/run/x.sock","token":"S3CR3T"},
        "defaults":{"security":"allowlist","ask":"on-miss","askFallback":"deny","autoAllowSkills":false},
        "agents":{"*":{"allowlist":[{"id":"1","pattern":"/usr/bin/jq"}]},
                  "main":{"allowlist":[{"id":"2","pattern":"/usr/bin/rg","lastUsedAt":5}],"other":true}},"more":1}"#;

    #[test]
    fn a_file_of_an_existing_installation_is_read_and_kept() {
        let mut file = ApprovalsFile::parse(UPSTREAM.as_bytes()).unwrap();
        let patterns = |file: &ApprovalsFile, agent| {
            file.list(agent).into_iter().map(|entry| entry.pattern).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(patterns(&file, "main"), "/usr/bin/jq /usr/bin/rg");
        assert_eq!(patterns(&file, "other"), "/usr/bin/jq");
        file.add("main", &[("/usr/bin/ls".into(), "3".into()), ("/usr/bin/jq".into(), "4".into())]).unwrap();
        assert_eq!(patterns(&file, "main"), "/usr/bin/jq /usr/bin/rg /usr/bin/ls", "no entry twice");
        file.used(&["2".into()], "rg x", "/usr/bin/rg", 7);
        let kept: Value = serde_json::from_str(&file.text()).unwrap();
        assert_eq!(kept["agents"]["main"]["allowlist"][0]["lastUsedAt"], 7);
        assert_eq!(kept["agents"]["main"]["allowlist"][0]["lastResolvedPath"], "/usr/bin/rg");
        assert_eq!((&kept["more"], &kept["agents"]["main"]["other"]), (&json!(1), &json!(true)));
        assert_eq!(kept["socket"]["token"], "S3CR3T", "other programs need it");
        assert_eq!(file.remove("main", "/usr/bin/ls"), 1);
        assert_eq!(file.remove("main", "2"), 1);
        assert_eq!(patterns(&file, "main"), "/usr/bin/jq");
        assert!(file.add("main", &[("ls".into(), "5".into())]).is_err());
        assert!(file.add("main", &[("/usr/../ls".into(), "5".into())]).is_err());
    }

    #[test]
    fn the_secret_of_the_file_is_never_shown_and_not_lost() {
        let file = ApprovalsFile::parse(UPSTREAM.as_bytes()).unwrap();
        let shown = file.shown();
        assert!(!shown.to_string().contains("S3CR3T"), "{shown}");
        let back = ApprovalsFile::of(shown).unwrap().with_secret_of(&file);
        assert_eq!(back, file);
    }

    #[test]
    fn what_has_no_meaning_allows_nothing() {
        for text in [
            "",
            "[]",
            "{\"version\":2}",
            "{\"defaults\":{\"security\":\"none\"}}",
            "{\"defaults\":{\"ask\":true}}",
            "{\"agents\":[]}",
            "{\"agents\":{\"main\":{\"allowlist\":[{\"id\":\"1\"}]}}}",
            "{\"agents\":{\"main\":{\"allowlist\":[\"/usr/bin/ls\"]}}}",
        ] {
            let told = ApprovalsFile::parse(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
            assert!(told.contains("exec-approvals.json cannot be used"), "{text}: {told}");
        }
        ApprovalsFile::parse(b"{}").unwrap();
    }
}
