//! Which commands may prepare a container. Judged before any container or image exists, and when the config is read.
//!
//! They run without a shell, each by its own words: nothing is left for one to expand.

use super::rules::base_name;
use super::{interpreters, programs, wrappers};
use crate::refusal::Refusal;

/// The commands that prepare a container, as the config has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetupCommand {
    /// A line of plain words, joined by `&&` only.
    Line(String),
    /// A list of programs with their words.
    List(Vec<Vec<String>>),
}

/// What reaches the network or fetches programs. By the name of the program, never by a part of another word.
const NETWORK: &[&str] = &[
    "curl",
    "wget",
    "git",
    "apt",
    "yum",
    "dnf",
    "pip",
    "npm",
    "gem",
    "cargo",
    "apt-get",
    "apt-cache",
    "apt-key",
    "aptitude",
    "apk",
    "dpkg",
    "rpm",
    "pacman",
    "zypper",
    "emerge",
    "brew",
    "snap",
    "flatpak",
    "nix",
    "nix-env",
    "guix",
    "pip3",
    "pipx",
    "uv",
    "uvx",
    "poetry",
    "pdm",
    "conda",
    "mamba",
    "micromamba",
    "easy_install",
    "npx",
    "pnpm",
    "pnpx",
    "yarn",
    "yarnpkg",
    "bun",
    "bunx",
    "deno",
    "corepack",
    "go",
    "bundle",
    "bundler",
    "composer",
    "cpan",
    "cpanm",
    "luarocks",
    "opam",
    "cabal",
    "stack",
    "mix",
    "mvn",
    "gradle",
    "sbt",
    "nuget",
    "dotnet",
    "rustup",
    "nvm",
    "pyenv",
    "asdf",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "telnet",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "ftp",
    "lftp",
    "tftp",
    "lynx",
    "links",
    "elinks",
    "w3m",
    "aria2c",
    "axel",
    "wget2",
    "httpie",
    "http",
    "https",
    "xh",
    "fetch",
    "dig",
    "drill",
    "host",
    "nslookup",
    "ping",
    "ping6",
    "traceroute",
    "nmap",
    "masscan",
    "openssl",
    "gnutls-cli",
    "websocat",
    "rclone",
    "aws",
    "gcloud",
    "az",
    "gsutil",
    "s3cmd",
    "smbclient",
    "mount.nfs",
    "svn",
    "hg",
    "bzr",
    "cvs",
    "gh",
    "glab",
    "docker",
    "podman",
    "kubectl",
    "helm",
    "skopeo",
    "crane",
    "oras",
    "mail",
    "sendmail",
    "swaks",
    "rsh",
    "rlogin",
    "mosh",
    "iperf",
    "iperf3",
    "tor",
    "torsocks",
    "proxychains",
    "dnf5",
    "microdnf",
    "tdnf",
    "rpm-ostree",
    "swupd",
    "xbps-install",
    "pkg",
    "pkgin",
    "opkg",
    "ipkg",
    "add-apt-repository",
    "dpkg-deb",
    "debootstrap",
    "mmdebstrap",
    "busybox-wget",
    "update-ca-certificates",
];

/// What gives more rights, loads code of the kernel, leaves the container or changes its walls.
const DANGEROUS: &[&str] = &[
    "mount",
    "umount",
    "chroot",
    "nsenter",
    "unshare",
    "pivot_root",
    "insmod",
    "modprobe",
    "mknod",
    "losetup",
    "setcap",
    "capsh",
    "sudo",
    "su",
    "doas",
    "pkexec",
    "runuser",
    "setpriv",
    "sysctl",
    "dd",
    "mkfs",
    "fdisk",
    "debugfs",
    "kexec",
    "reboot",
    "shutdown",
    "halt",
    "poweroff",
    "init",
    "systemctl",
    "service",
    "crontab",
    "at",
    "iptables",
    "nft",
    "ip",
    "visudo",
    "passwd",
    "chpasswd",
    "gdb",
    "strace",
    "ltrace",
    "bpftool",
    "bpftrace",
    "ctr",
    "crictl",
    "runc",
    "kill",
    "killall",
    "pkill",
    "eval",
    "exec",
    "source",
    ".",
    "alias",
    "trap",
    "export",
    "set",
    "unset",
    "cd",
    "command",
    "builtin",
    "enable",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "sed",
    "find",
    "xargs",
    "parallel",
    "make",
    "gmake",
    "cmake",
    "ninja",
    "vi",
    "vim",
    "ed",
    "ex",
    "emacs",
    "man",
    "less",
    "more",
    "tar",
    "zip",
    "split",
    "script",
    "watch",
    "expect",
    "ld.so",
    "shred",
    "swapon",
    "swapoff",
    "hostname",
    "date",
];

/// The commands to run, in order and each without a shell; none for an empty line.
///
/// # Errors
/// `setup_rejected` when the line is not plain words joined by `&&`, or a command may do more than prepare files;
/// `setup_network` when a command is a network tool, a package manager, or an interpreter with code of its own.
pub fn judge(command: &SetupCommand) -> Result<Vec<Vec<String>>, Refusal> {
    let commands = match command {
        SetupCommand::Line(line) => plain_words(line)?,
        SetupCommand::List(list) => list.clone(),
    };
    for words in &commands {
        judge_one(words)?;
    }
    Ok(commands)
}

fn judge_one(words: &[String]) -> Result<(), Refusal> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(rejected("a command has no program"));
    };
    if words.iter().any(|word| word.chars().any(char::is_control)) {
        return Err(rejected("a word has a control character"));
    }
    let name = base_name(program);
    if name.is_empty() || program.starts_with('-') || name.contains('=') || !name.is_ascii() {
        return Err(rejected(&format!(
            "{program:?} is no program; variables belong into the container's environment"
        )));
    }
    if program.contains('/')
        && !["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/"]
            .iter()
            .any(|folder| program.strip_prefix(folder) == Some(name))
    {
        return Err(rejected(&format!("{program:?} is no program of the system")));
    }
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let lower = name.to_ascii_lowercase();
    if NETWORK.contains(&lower.as_str()) || NETWORK.contains(&stem) {
        return Err(network(name));
    }
    if programs::is_shell(name) || interpreters::interpreter(name).is_some() {
        return judge_interpreter(name, arguments);
    }
    if DANGEROUS.contains(&name) || name.starts_with("mkfs") || name.starts_with("ld-") {
        return Err(rejected(&format!("`{name}` may do more than prepare files")));
    }
    if let Some(inner) = wrapped(name, arguments) {
        return judge_one(inner);
    }
    if wrappers::wrapper_of(name).is_some() {
        return Err(rejected(&format!("`{name}` starts another program; name that one")));
    }
    judge_paths(name, arguments)
}

/// An interpreter may run a file that is there; code of its own in a word may do anything.
fn judge_interpreter(name: &str, arguments: &[String]) -> Result<(), Refusal> {
    match arguments.first().map(String::as_str) {
        Some("--version" | "-V") => Ok(()),
        Some(file) if !file.starts_with('-') && !file.starts_with("/dev/") && !file.starts_with("/proc/") => {
            Ok(())
        }
        Some(_) | None => Err(network(name)),
    }
}

/// The words that a plain wrapper starts.
fn wrapped<'a>(name: &str, arguments: &'a [String]) -> Option<&'a [String]> {
    matches!(name, "nice" | "nohup" | "setsid" | "time" | "env" | "busybox" | "toybox")
        .then(|| {
            arguments
                .iter()
                .position(|word| !word.starts_with('-') && !word.contains('='))
                .and_then(|at| arguments.get(at..))
        })
        .flatten()
        // An option in front could be one that takes the next word, or that is a script.
        .filter(|inner| inner.len() == arguments.len())
}

fn judge_paths(name: &str, arguments: &[String]) -> Result<(), Refusal> {
    let recursive = arguments
        .iter()
        .any(|word| word.starts_with('-') && (word.contains(['r', 'R']) || word == "--no-preserve-root"));
    for word in arguments {
        if (recursive || matches!(name, "rm" | "mv"))
            && (super::paths::is_root(word) || word.trim_end_matches('/').split('/').all(|part| part == ".."))
        {
            return Err(rejected(&format!("`{name}` is given {word}, with all that is in it")));
        }
        if super::paths::sensitive(word, None, false).and_then(|found| found.grade(false)).is_some() {
            return Err(rejected(&format!("{word} is not the container's")));
        }
        let set_uid = matches!(name, "chmod" | "install")
            && (word.contains("+s")
                || (word.len() == 4
                    && word.starts_with(['2', '4', '6', '7'])
                    && word.chars().all(|c| c.is_ascii_digit())));
        if set_uid {
            return Err(rejected("a program must not run as its owner"));
        }
    }
    Ok(())
}

fn network(tool: &str) -> Refusal {
    Refusal::new("setup_network", format!("Docker setup command cannot include network tools: {tool}"))
}

fn rejected(why: &str) -> Refusal {
    Refusal::new("setup_rejected", format!("Dangerous Docker setup command rejected: {why}"))
}

/// The commands of a line. Quotes are taken off; what a shell would expand, join or redirect is refused.
fn plain_words(line: &str) -> Result<Vec<Vec<String>>, Refusal> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut rest = line.trim();
    if rest.len() > moltbot_config::limits::COMMAND_BYTES {
        return Err(rejected("it is too long"));
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("&&") {
            if words.is_empty() {
                return Err(rejected("a command is missing beside `&&`"));
            }
            commands.push(std::mem::take(&mut words));
            rest = after.trim_start_matches([' ', '\t']);
            if rest.is_empty() {
                return Err(rejected("a command is missing beside `&&`"));
            }
            continue;
        }
        let (word, after) = plain_word(rest)?;
        words.push(word);
        rest = after.trim_start_matches([' ', '\t']);
    }
    if !words.is_empty() {
        commands.push(words);
    }
    Ok(commands)
}

/// The first word of `text`, and what follows it.
fn plain_word(text: &str) -> Result<(String, &str), Refusal> {
    let mut word = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            ' ' | '\t' => break,
            '&' if after.starts_with('&') => break,
            '\'' | '"' => {
                let (inner, behind) = after.split_once(c).ok_or_else(|| rejected("a quote does not end"))?;
                if c == '"' && inner.contains(['$', '`', '\\', '!']) {
                    return Err(rejected("a shell would change what is between double quotes"));
                }
                word.push_str(inner);
                rest = behind;
                continue;
            }
            '|' | ';' | '&' | '<' | '>' | '(' | ')' | '{' | '}' | '[' | ']' | '*' | '?' | '$' | '`'
            | '\\' | '\n' | '\r' | '#' | '!' | '~' => {
                return Err(rejected(&format!(
                    "{c:?} is for a shell, and none runs it; give a list of commands"
                )));
            }
            _ if c.is_control() => return Err(rejected("it has a control character")),
            _ => word.push(c),
        }
        rest = after;
    }
    Ok((word, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Vec<Vec<String>>, String> {
        judge(&SetupCommand::Line(text.into())).map_err(|refusal| refusal.message)
    }

    fn list(words: &[&str]) -> Result<Vec<Vec<String>>, String> {
        judge(&SetupCommand::List(vec![words.iter().map(|word| (*word).to_owned()).collect()]))
            .map_err(|refusal| refusal.message)
    }

    #[test]
    fn d_91_d_95_what_only_prepares_files_passes() {
        for text in [
            "mkdir -p /tmp/data",
            "chmod 755 /app",
            "mkdir /opt/gem",
            "mkdir -p /opt/apt-like && touch /opt/apt-like/git",
            "mkdir -p /app && chown app /app",
            "touch '/app/a b'",
            "cp /opt/curl.txt /app",
            "",
            "  ",
            "ln -s /opt/a /usr/local/bin/a",
            "python3 /app/setup.py",
            "echo gem",
            "useradd --create-home agent",
            "mkdir \"/a b\"",
            "rm -rf /tmp/x",
        ] {
            assert!(line(text).is_ok(), "{text}: {:?}", line(text));
        }
        assert_eq!(
            line("mkdir -p /a && touch '/a/b c'").unwrap(),
            [vec!["mkdir", "-p", "/a"], vec!["touch", "/a/b c"]]
        );
    }

    #[test]
    fn d_92_network_tools_are_refused_by_the_program_that_they_are() {
        for (text, tool) in [
            ("curl http://a", "curl"),
            ("wget a", "wget"),
            ("git clone a", "git"),
            ("apt install x", "apt"),
            ("apt-get install x", "apt-get"),
            ("yum install x", "yum"),
            ("dnf install x", "dnf"),
            ("pip install x", "pip"),
            ("pip3 install x", "pip3"),
            ("npm i", "npm"),
            ("gem install x", "gem"),
            ("cargo install x", "cargo"),
            ("python3 -c 'import os'", "python3"),
            ("apk add x", "apk"),
            ("npx x", "npx"),
            ("pnpm i", "pnpm"),
            ("yarn", "yarn"),
            ("nc a 1", "nc"),
            ("ncat a 1", "ncat"),
            ("ssh a", "ssh"),
            ("scp a b:", "scp"),
            ("rsync a b:", "rsync"),
            ("go get x", "go"),
            ("perl -e x", "perl"),
            ("pacman -S x", "pacman"),
            ("zypper in x", "zypper"),
            ("aria2c a", "aria2c"),
            ("socat - x", "socat"),
            ("ftp a", "ftp"),
            ("tftp a", "tftp"),
            ("lynx a", "lynx"),
            ("openssl s_client", "openssl"),
            ("bash -c 'exec 3<>/dev/tcp/a/1'", "bash"),
            ("cu\"\"rl a", "curl"),
            ("/usr/bin/curl a", "curl"),
            ("CURL a", "CURL"),
            ("mkdir /a && curl b", "curl"),
            ("busybox wget a", "wget"),
            ("env curl a", "curl"),
            ("nice nohup curl a", "curl"),
            ("python3.11 -c x", "python3.11"),
            ("sh -c x", "sh"),
            ("node -e x", "node"),
            ("bash", "bash"),
            ("pip3.11 install x", "pip3.11"),
        ] {
            assert_eq!(
                line(text),
                Err(format!("Docker setup command cannot include network tools: {tool}")),
                "{text}"
            );
        }
        assert!(list(&["curl", "a"]).unwrap_err().ends_with(": curl"));
        assert!(list(&["python3", "-c", "x"]).unwrap_err().ends_with(": python3"));
    }

    #[test]
    fn d_93_d_94_what_is_for_a_shell_is_refused() {
        for text in [
            "echo \"$(id)\"",
            "echo \"`id`\"",
            "$(x)",
            "`x`",
            "echo $(x)",
            "echo ${x}",
            "echo $IFS",
            "echo {a,b}",
            "echo *",
            "echo a?",
            "echo [a]",
            "eval \"bad\"",
            "source x",
            ". x",
            "A=b mkdir c",
            "a; b",
            "a | b",
            "a || b",
            "a & b",
            "a && ",
            "&& a",
            "a && && b",
            "a > b",
            "a < b",
            "a >> b",
            "a <<< b",
            "c\\url a",
            "a\nb",
            "a \\\n b",
            "(a)",
            "{ a; }",
            "'a",
            "\"a",
            "a #b",
            "echo ~",
            "! a",
            "rm -rf /",
            "a && rm -rf /",
            "rm -rf /*",
            "chmod -R 777 /",
            "rm -rf ../..",
            "mount a b",
            "nsenter -t 1",
            "sudo a",
            "cat /proc/1/environ",
            "cat /etc/shadow",
            "ls /var/run/docker.sock",
            "chmod 4755 x",
            "chmod u+s x",
            "./x",
            "/tmp/x",
            "-a",
            "exec a",
            "xargs a",
            "find / -exec a",
            "awk x",
            "sed x",
            "make x",
            "tar x",
            "timeout 5 a",
            "env -S a",
            "env A=b curl",
        ] {
            let refused = line(text).unwrap_err();
            assert!(
                refused.starts_with("Dangerous Docker setup command rejected: ")
                    || refused.contains("network tools"),
                "{text}: {refused}"
            );
        }
        assert!(list(&[]).is_err() && list(&["a\nb"]).is_err() && list(&["rm", "-rf", "/"]).is_err());
        // In a list nothing is for a shell: a word is a word.
        assert!(list(&["touch", "/a/$(id);*"]).is_ok());
    }
}
