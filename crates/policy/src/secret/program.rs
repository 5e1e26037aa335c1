//! Which programs are run for secrets: those that the owner's config names, and no others.
//!
//! Pure. [`judge`] is given the `secrets` of the config itself, so that neither a model nor a message nor a client can name
//! a program. Unlike a command of the agent, such a program runs outside the sandbox's walls, because a password manager
//! works nowhere else; what it is, and who may change it, the sandbox looks at when it opens it.

use std::collections::BTreeSet;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_config::settings::{SecretSource, SecretsConfig};

use crate::command::Ended;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// Names of variables that no program gets: they would have it load other code, or are this program's own.
const WITHHELD: [&str; 6] = ["LD_", "DYLD_", "GCONV_PATH", "MOLTBOT_", "OPENCLAW_", "CLAWDBOT_"];
/// Variables that every program gets, with values of ours.
const OURS: [&str; 2] = ["HOME", "PATH"];

/// Proof that the owner's config names this program for these secrets. The sandbox takes nothing else.
///
/// ```compile_fail
/// let forged = moltbot_policy::secret::program::SecretProgramPermit { program: "/bin/sh".into() };
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped runs nothing"]
pub struct SecretProgramPermit {
    provider: String,
    program: String,
    arguments: Vec<String>,
    ids: Vec<String>,
    variables: Vec<String>,
    trusted_folders: Vec<String>,
    follows_links: bool,
    is_json_only: bool,
    output_bytes: usize,
    timeout: Duration,
}

impl SecretProgramPermit {
    /// The entry of `secrets.providers` that names it.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The program, by its absolute path.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Its arguments.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// What it is asked for.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The variables of the environment that it gets besides `HOME` and `PATH`.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Folders in one of which it must be; any when empty.
    pub fn trusted_folders(&self) -> &[String] {
        &self.trusted_folders
    }

    /// Whether symbolic links on the way to it are followed.
    pub const fn follows_links(&self) -> bool {
        self.follows_links
    }

    /// Whether what it prints is JSON alone.
    pub const fn is_json_only(&self) -> bool {
        self.is_json_only
    }

    /// How much it may print, in bytes.
    pub const fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// How long it may take.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What the book is told when it has ended. `start` is the number of the entry for its start.
    pub fn end_entry(&self, start: u64, ended: &Ended) -> Entry {
        let entry = Entry::new("gateway", "secret.asked", self.program.clone(), Decision::Done);
        ended.complete(entry, start)
    }
}

impl Permit for SecretProgramPermit {
    /// Its arguments are counted and not told: a secret may be among them, though none belongs there.
    fn entry(&self) -> Entry {
        Entry::new("gateway", "secret.ask", self.program.clone(), Decision::Allowed)
            .with("provider", self.provider.clone())
            .with("ids", self.ids.join(" "))
            .with("arguments", self.arguments.len().to_string())
            .with("variables", self.variables.join(" "))
    }
}

/// Judges whether the program of `provider` may be asked for `ids`. `config` is the `secrets` of the owner's config.
///
/// # Errors
/// When the config names no such program, or names it in a way that could mean another one.
pub fn judge(
    config: &SecretsConfig,
    provider: &str,
    ids: &BTreeSet<String>,
) -> Result<SecretProgramPermit, Refusal> {
    let place = format!("secrets.providers.{provider}");
    let refuse = |what: String| Refusal::new("secret_program", what);
    let entry = config.providers.get(provider).filter(|entry| entry.source == SecretSource::Exec);
    let entry = entry.ok_or_else(|| refuse(format!("{place} is no provider whose `source` is \"exec\"")))?;
    let program = entry.command.clone().unwrap_or_default();
    let is_plain = program.starts_with('/') && !program.ends_with('/') && !program.contains('\0');
    if !is_plain || program.split('/').any(|part| matches!(part, "." | "..")) {
        let form = "the absolute path of a program, without `.` and `..`";
        return Err(refuse(format!("{place}.command is not {form}; give the whole path")));
    }
    let bytes = entry.args.iter().map(String::len).fold(0, usize::saturating_add);
    if bytes > limits::SECRET_PROGRAM_ARGUMENTS_BYTES || entry.args.iter().any(|one| one.contains('\0')) {
        let most = limits::SECRET_PROGRAM_ARGUMENTS_BYTES;
        return Err(refuse(format!("{place}.args has a NUL, or more than {most} bytes; shorten it")));
    }
    if let Some(name) = entry.pass_env.iter().find(|name| !may_pass(name)) {
        let why = "it is no name of a variable, would change what is run, or is moltbot's own";
        return Err(refuse(format!("{place}.passEnv has {name:?}, which no program gets: {why}; remove it")));
    }
    if let Some(folder) = entry.trusted_dirs.iter().find(|folder| !folder.starts_with('/')) {
        return Err(refuse(format!("{place}.trustedDirs has {folder:?}, which is not absolute")));
    }
    if ids.is_empty() || ids.len() > limits::SECRET_PROGRAM_IDS {
        let (count, most) = (ids.len(), limits::SECRET_PROGRAM_IDS);
        return Err(refuse(format!(
            "{count} secrets are wanted of {place}; one program is asked for 1 to {most}"
        )));
    }
    Ok(SecretProgramPermit {
        provider: provider.to_owned(),
        program,
        arguments: entry.args.clone(),
        ids: ids.iter().cloned().collect(),
        variables: entry.pass_env.iter().filter(|name| !OURS.contains(&name.as_str())).cloned().collect(),
        trusted_folders: entry.trusted_dirs.clone(),
        follows_links: entry.allow_symlink_command,
        is_json_only: entry.json_only,
        output_bytes: entry.max_output_bytes.clamp(1, limits::SECRET_PROGRAM_BYTES),
        timeout: Duration::from_millis(entry.timeout_ms),
    })
}

fn may_pass(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let is_name = begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name && !WITHHELD.iter().any(|withheld| name.starts_with(withheld))
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::SecretProvider;

    use super::*;

    fn provider() -> SecretProvider {
        SecretProvider {
            source: SecretSource::Exec,
            allow_symlink_command: false,
            allowlist: None,
            args: vec!["read".into()],
            command: Some("/usr/bin/vault".into()),
            json_only: true,
            max_output_bytes: 1024,
            mode: Default::default(),
            pass_env: vec!["PATH".into(), "VAULT_ADDR".into()],
            path: None,
            timeout_ms: 5000,
            trusted_dirs: Vec::new(),
        }
    }

    fn judged(change: impl FnOnce(&mut SecretProvider), ids: &[&str]) -> Result<SecretProgramPermit, String> {
        let mut entry = provider();
        change(&mut entry);
        let mut config = SecretsConfig::default();
        config.providers.insert("vault".into(), entry);
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        judge(&config, "vault", &ids).map_err(|refusal| refusal.message)
    }

    #[test]
    fn only_what_the_config_names_gets_a_permit_and_the_book_is_told_before_and_after() {
        let permit = judged(|_| {}, &["b", "a"]).unwrap();
        assert_eq!(
            (permit.program(), permit.ids()),
            ("/usr/bin/vault", ["a".to_owned(), "b".into()].as_slice())
        );
        assert_eq!(permit.variables(), ["VAULT_ADDR"], "PATH is ours");
        let entry = permit.entry();
        assert_eq!((entry.action, entry.target.as_str()), ("secret.ask", "/usr/bin/vault"));
        assert_eq!(entry.details["ids"], "a b");
        assert!(!format!("{entry:?}").contains("read"), "{entry:?}");
        let ended = Ended { outcome: "exit 0".into(), exit: Some(0), duration: Duration::from_millis(7) };
        let end = permit.end_entry(5, &ended);
        assert_eq!((end.action, end.details["start"].as_str()), ("secret.asked", "5"));
        assert!(judge(&SecretsConfig::default(), "vault", &["a".to_owned()].into()).is_err());
    }

    #[test]
    fn a_program_that_could_be_another_one_gets_no_permit() {
        let many: Vec<String> = (0..=limits::SECRET_PROGRAM_IDS).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(judged(|_| {}, &many).unwrap_err().contains("513 secrets are wanted"));
        assert!(judged(|_| {}, &[]).is_err());
        for command in [
            None,
            Some(""),
            Some("vault"),
            Some("./vault"),
            Some("/a/../b"),
            Some("/a/./b"),
            Some("/a/"),
            Some("/a\0b"),
        ] {
            let told = judged(|entry| entry.command = command.map(str::to_owned), &["a"]).unwrap_err();
            assert!(
                told.contains("secrets.providers.vault.command is not the absolute path"),
                "{command:?}: {told}"
            );
        }
        for name in
            ["LD_PRELOAD", "LD_LIBRARY_PATH", "GCONV_PATH", "MOLTBOT_GATEWAY_TOKEN", "A=B", "", "1A", "A B"]
        {
            let told = judged(|entry| entry.pass_env = vec![name.into()], &["a"]).unwrap_err();
            assert!(told.contains("passEnv has"), "{name}: {told}");
        }
        for source in [SecretSource::Env, SecretSource::File] {
            assert!(judged(|entry| entry.source = source, &["a"]).is_err());
        }
        assert!(
            judged(|entry| entry.args = vec!["a\0".into()], &["a"]).unwrap_err().contains("args has a NUL")
        );
        assert!(
            judged(|entry| entry.trusted_dirs = vec!["opt".into()], &["a"])
                .unwrap_err()
                .contains("trustedDirs")
        );
    }
}
