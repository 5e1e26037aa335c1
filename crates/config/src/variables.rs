//! Variables that a config or a file beside it sets: which names are taken, and how such a file is read.
//!
//! They are there for `${NAME}` in the config, and for the keys of providers and channels. No program that moltbot starts
//! sees them. What would load code, move programs or files, or change moltbot's own walls is refused all the same: it
//! does nothing here, and whoever wrote it meant that it does.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use crate::path::Step;
use crate::substitution::{Environment, expand};
use crate::tree::{Kind, Node};

/// The section of a config that sets variables.
pub(crate) const ENV: &str = "env";
/// What is in it that holds others.
pub(crate) const VARS: &str = "vars";
/// What is in it and is no variable.
pub(crate) const SHELL: &str = "shellEnv";
/// How often values may refer to each other.
const ROUNDS: usize = 8;
/// The longest name, in bytes.
const NAME: usize = 128;

/// Why names are refused, by what they begin with (`*` at the end) or are. In capitals.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "it would load other code into programs",
        &[
            "BASH*",
            "BROWSER",
            "CARGO*",
            "CLASSPATH",
            "COMPLUS_*",
            "DOTNET_*",
            "DYLD_*",
            "EDITOR",
            "ELECTRON_*",
            "ENV",
            "GCONV_PATH",
            "GIT_*",
            "GLIBC_TUNABLES",
            "IFS",
            "JAVA_TOOL_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "LD_*",
            "LESSOPEN",
            "LUA_*",
            "MALLOC_*",
            "NIX_*",
            "NODE_*",
            "NPM_*",
            "OPENSSL_*",
            "PAGER",
            "PERL*",
            "PHP*",
            "PROMPT_COMMAND",
            "PS4",
            "PYTHON*",
            "RUBY*",
            "RUST*",
            "SHELLOPTS",
            "VISUAL",
            "ZDOTDIR",
            "_JAVA_OPTIONS",
        ],
    ),
    (
        "it says where programs and files are",
        &["HOME", "LOGNAME", "PATH", "PWD", "SHELL", "TEMP", "TMP", "TMPDIR", "USER", "XDG_*"],
    ),
    (
        "it would change where connections go and who is trusted",
        &[
            "ALL_PROXY",
            "CURL_CA_BUNDLE",
            "DBUS_*",
            "DOCKER_*",
            "FTP_PROXY",
            "HOSTALIASES",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "KRB5*",
            "LOCALDOMAIN",
            "NO_PROXY",
            "REQUESTS_CA_BUNDLE",
            "RES_OPTIONS",
            "SSH_*",
            "SSL*",
        ],
    ),
    (
        "it would change moltbot's own security",
        &[
            "CLAWDBOT_*",
            "CONFIGURATION_DIRECTORY",
            "CREDENTIALS_DIRECTORY",
            "LISTEN_*",
            "MOLDBOT_*",
            "MOLTBOT_*",
            "NOTIFY_SOCKET",
            "OPENCLAW_*",
            "STATE_DIRECTORY",
        ],
    ),
];

/// Why a variable of this name is not taken from a config or a file beside it; nothing when it is.
pub fn refused_variable(name: &str) -> Option<&'static str> {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !begins || name.len() > NAME || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Some("a name has letters, digits and '_', and begins with a letter");
    }
    let name = name.to_ascii_uppercase();
    let is_meant = |refused: &&str| match refused.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == **refused,
    };
    REFUSED.iter().find(|(_, names)| names.iter().any(&is_meant)).map(|(why, _)| *why)
}

/// The variables that a config sets, once its secrets are opened. One may refer to another, and to those that are there.
pub(crate) fn of(root: &Node, environment: &Environment<'_>) -> BTreeMap<String, SecretString> {
    let mut texts: BTreeMap<&str, &str> = BTreeMap::new();
    let Some(env) = root.child(&Step::Key(ENV.into())) else { return BTreeMap::new() };
    let vars = env.child(&Step::Key(VARS.into()));
    for node in vars.into_iter().chain([env]) {
        let Kind::Object { members, .. } = &node.kind else { continue };
        for member in members {
            if let Kind::Text(text) = &member.value.kind
                && refused_variable(&member.key).is_none()
            {
                texts.insert(&member.key, text);
            }
        }
    }
    let mut known: BTreeMap<String, SecretString> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let before = known.len();
        for (name, text) in &texts {
            if known.contains_key(*name) {
                continue;
            }
            let look = |name: &str| environment(name).or_else(|| known.get(name).cloned());
            let Ok(value) = expand(text, &look) else { continue };
            if !value.expose().is_empty() {
                let value = SecretString::from(value.expose());
                known.insert((*name).to_owned(), value);
            }
        }
        if known.len() == before {
            break;
        }
    }
    known
}

/// Reads a file of lines `NAME=value`. A value may be in single quotes, where nothing has a meaning, or in double quotes,
/// where `\n`, `\"`, `\\` and `\$` have; outside quotes ` #` begins a comment. Nothing is replaced in it. Of two lines
/// with one name the last counts. A name that [`refused_variable`] refuses is an error, unless `taken` knows it.
///
/// # Errors
/// The line, what is wrong with it and what to do; never a value.
pub fn read_variables(
    text: &str,
    taken: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, SecretString>, String> {
    let mut found = BTreeMap::new();
    for (place, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let number = place.saturating_add(1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {number} has no '='; write it as NAME=value"));
        };
        let name = name.trim();
        if let Some(why) = refused_variable(name).filter(|_| !taken(name)) {
            let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(NAME).collect();
            return Err(format!(
                "line {number} sets {name}, which is not taken from a file: {why}; remove the line"
            ));
        }
        let value = value_of(value.trim()).map_err(|why| format!("line {number} ({name}): {why}"))?;
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

fn value_of(text: &str) -> Result<SecretString, &'static str> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
        return Ok(text.get(..end).unwrap_or(text).trim_end().into());
    };
    // Large enough from the start: a growing buffer would leave copies of secrets behind.
    let mut value = String::with_capacity(text.len());
    let mut rest = text.chars();
    rest.next();
    loop {
        match rest.next() {
            None => return Err("the quote is not closed on its line; close it"),
            Some(c) if c == quote => break,
            Some('\\') if quote == '"' => match rest.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\' | '$')) => value.push(c),
                _ => return Err("after '\\' stands n, '\"', '\\' or '$'; use single quotes for other texts"),
            },
            Some(c) => value.push(c),
        }
    }
    let after = rest.as_str().trim_start();
    if !after.is_empty() && !after.starts_with('#') {
        return Err("something follows the closing quote; put all of it in quotes");
    }
    Ok(value.into())
}

/// Whether a variable counts as absent.
pub(crate) fn is_empty(value: &SecretString) -> bool {
    value.expose_secret().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_code_or_changes_our_walls_is_refused_in_any_case() {
        for name in [
            "LD_PRELOAD",
            "ld_preload",
            "Path",
            "NODE_OPTIONS",
            "MOLTBOT_STATE_DIR",
            "openclaw_gateway_token",
            "HTTPS_PROXY",
            "http_proxy",
            "SSL_CERT_FILE",
            "SSLKEYLOGFILE",
            "BASH_ENV",
            "BASH_FUNC_x%%",
            "PYTHONPATH",
            "GIT_SSH_COMMAND",
            "HOME",
            "XDG_CONFIG_HOME",
            "CREDENTIALS_DIRECTORY",
            "1A",
            "A-B",
            "",
            "é",
        ] {
            assert!(refused_variable(name).is_some(), "{name}");
        }
        for name in
            ["OPENAI_API_KEY", "TELEGRAM_BOT_TOKEN", "GREETING", "lower", "PATHOLOGY", "HOMEPAGE", "_X"]
        {
            assert_eq!(refused_variable(name), None, "{name}");
        }
    }

    #[test]
    fn lines_of_a_file_are_read_and_nothing_in_them_is_replaced() {
        let text = "\u{feff}# head\nA=1\nexport B = two words  # note\nC='$A \\n \"x\"'\nD=\"l1\\nl2 \\\"q\\\" \\$A\" # n\nE=\nA=2\nF=a#b\r\n";
        let found = read_variables(text, &|_| false).unwrap();
        let plain: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(
            plain,
            [
                ("A", "2"),
                ("B", "two words"),
                ("C", "$A \\n \"x\""),
                ("D", "l1\nl2 \"q\" $A"),
                ("E", ""),
                ("F", "a#b"),
            ]
        );
    }

    #[test]
    fn a_line_that_is_wrong_is_named_without_its_value() {
        for (text, expected) in [
            ("A=1\ncanary", "line 2 has no '='"),
            ("LD_PRELOAD=canary", "line 1 sets LD_PRELOAD, which is not taken from a file: it would load"),
            ("A=\"canary", "line 1 (A): the quote is not closed"),
            ("A='canary' canary", "line 1 (A): something follows"),
            ("A=\"\\canary\"", "line 1 (A): after '\\' stands"),
        ] {
            let said = read_variables(text, &|_| false).unwrap_err();
            assert!(said.starts_with(expected) && !said.contains("canary"), "{said}");
        }
        assert!(read_variables("MOLTBOT_GATEWAY_TOKEN=x", &|name| name == "MOLTBOT_GATEWAY_TOKEN").is_ok());
    }
}
