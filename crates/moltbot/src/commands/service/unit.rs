//! The unit: what systemd is told of the gateway, and what it keeps from it.
//!
//! It leaves what the embedded sandbox needs, which makes namespaces and mounts of its own: `RestrictNamespaces=` is not there,
//! nor `ProtectHostname=` (each sandbox has a host name), and system calls for mounts, Landlock and filters are allowed.
//! `RestrictSUIDSGID=` cannot be there for any gateway: it takes `openat2` away, by which every file is opened
//! (systemd.exec(5)). `MemoryDenyWriteExecute=` would end programs that compile while they run, such as node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a unit is written for.
pub(super) struct Unit {
    /// The program.
    pub(super) program: PathBuf,
    /// The folder of state.
    pub(super) state: PathBuf,
    /// Whether that is not where the program would look.
    pub(super) names_state: bool,
    /// The profile, when it is not the first.
    pub(super) profile: Option<String>,
    /// Who it runs as, for the system's manager; nobody else than the owner, for his own.
    pub(super) user: Option<String>,
    /// Folders that it writes, besides its state.
    pub(super) writable: Vec<PathBuf>,
    /// Whether commands run, in the sandbox.
    pub(super) runs_commands: bool,
}

/// Folders that `ProtectHome=` hides, but for what is bound there again.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// What the first line says, by which it is known again.
pub(super) const MARK: &str = "# Written by `moltbot service install";

/// Where an owner's own manager hears that the gateway serves: in a folder that is hidden with the homes.
const OWNERS_MANAGER: &str = "BindReadOnlyPaths=%t/systemd/notify\n";

const FOR_ALL: &str = "\
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
KeyringMode=private
RemoveIPC=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectHome=tmpfs
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
";

/// With commands: their sandbox is built within, and its memory is held by groups of its own.
const WITH_COMMANDS: &str = "\
Delegate=memory pids
SystemCallFilter=@system-service @mount @sandbox
SystemCallFilter=landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp sethostname
";

/// Without: nothing of that is needed.
const WITHOUT_COMMANDS: &str = "\
MemoryDenyWriteExecute=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictNamespaces=yes
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
";

impl Unit {
    /// The target that has it started.
    pub(super) const fn wanted_by(&self) -> &'static str {
        if self.user.is_some() { "multi-user.target" } else { "default.target" }
    }

    /// Its text. Fails with the path that systemd could not be told of.
    pub(super) fn text(&self) -> Result<String, String> {
        let mut text =
            format!("{MARK}`; it is written anew by the next one.\n[Unit]\nDescription=Moltbot gateway\n");
        if self.user.is_some() {
            text.push_str("Wants=network-online.target\nAfter=network-online.target\n");
        }
        text.push_str(
            "\n[Service]\nType=notify\nNotifyAccess=main\nWatchdogSec=60\nRestart=on-failure\nRestartSec=5\n",
        );
        // An invalid config does not become valid by itself.
        text.push_str("RestartPreventExitStatus=78\nTimeoutStopSec=60\n");
        let mut line =
            |name: &str, value: String| writeln!(text, "{name}={value}").map_err(|error| error.to_string());
        let profile =
            self.profile.iter().map(|name| format!(" --profile {}", word(name))).collect::<String>();
        // A `$` would begin a variable there, and there alone.
        let program = quoted(&self.program)?.replace('$', "$$");
        line("ExecStart", format!("{program}{profile} gateway run"))?;
        if self.names_state {
            let state = self.state.display().to_string();
            line("Environment", format!("\"MOLTBOT_STATE_DIR={}\"", escaped(&state)?))?;
        }
        if let Some(user) = &self.user {
            line("User", word(user))?;
        }
        for folder in [&self.state].into_iter().chain(&self.writable) {
            // What is hidden is shown again; elsewhere it is enough that it may be written.
            line(if is_hidden(folder) { "BindPaths" } else { "ReadWritePaths" }, bindable(folder)?)?;
        }
        if is_hidden(&self.program) {
            line("BindReadOnlyPaths", bindable(&self.program)?)?;
        }
        if self.user.is_none() {
            text.push_str(OWNERS_MANAGER);
        }
        text.push_str(FOR_ALL);
        text.push_str(if self.runs_commands { WITH_COMMANDS } else { WITHOUT_COMMANDS });
        write!(text, "\n[Install]\nWantedBy={}\n", self.wanted_by()).map_err(|error| error.to_string())?;
        Ok(text)
    }
}

/// The text of the socket that the manager opens for the gateway. At the other addresses the gateway listens by itself.
pub(super) fn socket(port: u16) -> String {
    format!(
        "{MARK} --socket`; it is written anew by the next one.\n[Unit]\nDescription=Moltbot gateway, its socket\n\n\
        [Socket]\nListenStream=127.0.0.1:{port}\n\n[Install]\nWantedBy=sockets.target\n"
    )
}

fn is_hidden(path: &Path) -> bool {
    HOMES.iter().any(|home| path.starts_with(home))
}

/// A word of a unit that is no path: what could mean something else is taken out.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect()
}

fn quoted(path: &Path) -> Result<String, String> {
    Ok(format!("\"{}\"", escaped(&path.display().to_string())?))
}

/// A path between whose source and target a colon stands.
fn bindable(path: &Path) -> Result<String, String> {
    if path.display().to_string().contains(':') {
        return Err(format!("{} has a colon, which a unit cannot name", path.display()));
    }
    quoted(path)
}

/// Between quotes (systemd.syntax(7)); `%` would begin a specifier.
fn escaped(text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Err(format!("{text:?} has signs that a unit cannot name"));
    }
    Ok(text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use moltbot_posture::audit::missing_in_unit;

    use super::*;

    fn unit() -> Unit {
        Unit {
            program: "/home/a b/bin/moltbot".into(),
            state: "/home/a b/.moltbot".into(),
            names_state: false,
            profile: None,
            user: None,
            writable: vec!["/srv/notes".into()],
            runs_commands: true,
        }
    }

    #[test]
    fn a_unit_shows_what_the_gateway_needs_and_no_more() {
        let text = unit().text().unwrap();
        for line in [
            "ExecStart=\"/home/a b/bin/moltbot\" gateway run",
            "BindPaths=\"/home/a b/.moltbot\"",
            "BindReadOnlyPaths=\"/home/a b/bin/moltbot\"",
            "BindReadOnlyPaths=%t/systemd/notify",
            "ReadWritePaths=\"/srv/notes\"",
            "WantedBy=default.target",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in {text}");
        }
        assert!(!text.contains("User=") && !text.contains("MOLTBOT_STATE_DIR"), "{text}");
        for runs_commands in [true, false] {
            let user = Some("max".to_owned());
            let text = Unit { runs_commands, user, ..unit() }.text().unwrap();
            assert_eq!(missing_in_unit(&text), Vec::<&str>::new(), "the audit has nothing to say");
            assert!(text.contains("User=max\n") && text.contains("WantedBy=multi-user.target"), "{text}");
        }
    }

    #[test]
    fn no_name_becomes_a_setting() {
        let text = Unit { names_state: true, state: "/srv/100% \"sure\" $HOME\\".into(), ..unit() }.text();
        let line = "Environment=\"MOLTBOT_STATE_DIR=/srv/100%% \\\"sure\\\" $HOME\\\\\"";
        assert!(text.unwrap().lines().any(|one| one == line));
        let text = Unit { program: "/srv/$a/moltbot".into(), ..unit() }.text().unwrap();
        assert!(text.contains("ExecStart=\"/srv/$$a/moltbot\" gateway run\n"), "{text}");
        for bad in ["/srv/a\nExecStartPre=/bin/sh", "/srv/a:b", "/srv/\u{7}"] {
            assert!(Unit { state: bad.into(), ..unit() }.text().is_err(), "{bad:?}");
        }
        let named =
            Unit { user: Some("root\nX=1".into()), profile: Some("a b;c".into()), ..unit() }.text().unwrap();
        assert!(named.contains("User=rootX1\n") && named.contains("--profile abc gateway run"), "{named}");
    }
}
