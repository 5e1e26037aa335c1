//! What the owner set about commands: the config and `exec-approvals.json`, of which the stricter holds.

use moltbot_config::settings::{ExecAsk, ExecConfig, ExecSecurity};

use super::file::{ApprovalsFile, Listed};
use super::overview::{Finding, Overview};

/// What holds for the commands of one agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    pub(super) security: ExecSecurity,
    pub(super) ask: ExecAsk,
    pub(super) list: Vec<Listed>,
}

impl Rules {
    /// The rules for `agent`: of two that differ the stricter, whichever place it stands in. A file that says nothing
    /// about one of them leaves it to the config.
    pub fn of(config: &ExecConfig, file: &ApprovalsFile, agent: &str) -> Self {
        Self {
            security: config.security.max(file.security(agent).unwrap_or_default()),
            ask: config.ask.max(file.ask(agent).unwrap_or(ExecAsk::Off)),
            list: file.list(agent),
        }
    }

    /// Which commands may run at all.
    pub const fn security(&self) -> ExecSecurity {
        self.security
    }

    /// When the owner is asked.
    pub const fn ask(&self) -> ExecAsk {
        self.ask
    }

    /// Whether a judgement with these rules depends on what files a command leads to. Where it does not they are not looked
    /// at, which costs as long as reading them takes.
    pub fn looks_at_files(&self, overview: &Overview) -> bool {
        match (self.security, self.ask) {
            (ExecSecurity::Deny, _) => false,
            (ExecSecurity::Allowlist, _) | (_, ExecAsk::Always) => true,
            (ExecSecurity::Full, ExecAsk::OnMiss) => overview.finding == Finding::Ask,
            (ExecSecurity::Full, ExecAsk::Off) => false,
        }
    }

    /// The entries of the list that these programs are on, one for each; nothing when one of them is on none.
    pub(super) fn entries<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
        let mut ids = Vec::new();
        let mut some = false;
        for path in paths {
            some = true;
            let entry = self.list.iter().find(|entry| matches_path(&entry.pattern, path))?;
            ids.push(entry.id.clone());
        }
        some.then_some(ids)
    }
}

/// Whether a pattern of the list names the program at `path`, which is absolute and without links. `?` stands for one
/// character of a name, `*` for some of one name, `**` for whole folders. A name alone names nothing: a program of that
/// name may be anywhere.
pub(super) fn matches_path(pattern: &str, path: &str) -> bool {
    if !pattern.starts_with('/') || path.split('/').any(|part| part == "..") {
        return false;
    }
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    matches_parts(&pattern, &path)
}

fn matches_parts(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            matches_parts(rest, path)
                || path.split_first().is_some_and(|(_, further)| matches_parts(pattern, further))
        }
        (Some((part, pattern)), Some((name, path))) => {
            matches_name(part, name) && matches_parts(pattern, path)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// One name, by the usual walk that goes back to the last `*`: linear in the product of both lengths at most.
fn matches_name(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read, mut star) = (0_usize, 0_usize, None);
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at = at.saturating_add(1);
            }
            Some(c) if *c == '?' || Some(c) == name.get(read) => {
                (at, read) = (at.saturating_add(1), read.saturating_add(1));
            }
            _ => {
                let Some((before, from)) = star else { return false };
                let from = from.saturating_add(1);
                star = Some((before, from));
                (at, read) = (before.saturating_add(1), from);
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_config_and_file_holds() {
        for (config, file, expected) in [
            ((ExecSecurity::Full, ExecAsk::OnMiss), "{}", (ExecSecurity::Full, ExecAsk::OnMiss)),
            (
                (ExecSecurity::Full, ExecAsk::Off),
                r#"{"version":1,"defaults":{"security":"allowlist","ask":"always"}}"#,
                (ExecSecurity::Allowlist, ExecAsk::Always),
            ),
            (
                (ExecSecurity::Deny, ExecAsk::Always),
                r#"{"defaults":{"security":"full","ask":"off"}}"#,
                (ExecSecurity::Deny, ExecAsk::Always),
            ),
            (
                (ExecSecurity::Full, ExecAsk::Off),
                r#"{"defaults":{"security":"full"},"agents":{"*":{"ask":"on-miss"},"main":{"security":"deny"}}}"#,
                (ExecSecurity::Deny, ExecAsk::OnMiss),
            ),
            (
                (ExecSecurity::Full, ExecAsk::Off),
                r#"{"agents":{"default":{"security":"deny"},"other":{"ask":"always"}}}"#,
                (ExecSecurity::Deny, ExecAsk::Off),
            ),
        ] {
            let config = ExecConfig { security: config.0, ask: config.1, ..ExecConfig::default() };
            let rules = Rules::of(&config, &ApprovalsFile::parse(file.as_bytes()).unwrap(), "main");
            assert_eq!((rules.security, rules.ask), expected, "{file}");
        }
    }

    #[test]
    fn e11_a_pattern_names_exactly_what_it_says() {
        for (pattern, path, expected) in [
            ("/usr/bin/git", "/usr/bin/git", true),
            ("/usr/bin/git", "/usr/bin/gitk", false),
            ("/usr/bin/git", "/USR/bin/git", false),
            ("git", "/usr/bin/git", false),
            ("*git", "/usr/bin/git", false),
            ("/usr/bin/*", "/usr/bin/git", true),
            ("/usr/bin/*", "/usr/bin/x/git", false),
            ("/usr/bin/*", "/usr/bin/../../tmp/x", false),
            ("/usr/bin/g?t", "/usr/bin/git", true),
            ("/usr/bin/g?t", "/usr/bin/g/t", false),
            ("/opt/**/run", "/opt/a/b/run", true),
            ("/opt/**", "/opt/a/b/run", true),
            ("/opt/**", "/option", false),
            ("/a*b*c", "/aXXbYYc", true),
            ("/a*b*c", "/aXXcYYb", false),
            ("", "/usr/bin/git", false),
        ] {
            assert_eq!(matches_path(pattern, path), expected, "{pattern} {path}");
        }
    }
}
