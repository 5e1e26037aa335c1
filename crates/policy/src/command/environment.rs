//! Variables by which programs load code or start other programs.

use super::word::UNKNOWN;

/// What a variable does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Programs load or run what it names.
    Code,
    /// It leads to a container runtime.
    Runtime,
    /// Its value is a command line.
    Script,
    /// It decides where programs look for code.
    Search,
}

/// Programs load or run what these name, whatever it is.
const CODE: &[&str] = &[
    "LD_PRELOAD",
    "LD_AUDIT",
    "BASH_ENV",
    "ENV",
    "PROMPT_COMMAND",
    "PS0",
    "PS4",
    "SHELLOPTS",
    "BASHOPTS",
    "GIT_EXTERNAL_DIFF",
    "GIT_PROXY_COMMAND",
    "GIT_SSH_COMMAND",
    "GIT_SSH",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "LESSOPEN",
    "LESSCLOSE",
    "PERL5OPT",
    "PERL5DB",
    "PERL5SHELL",
    "RUBYOPT",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONBREAKPOINT",
    "PYTHONHOME",
    "GCONV_PATH",
    "TAR_OPTIONS",
    "RSYNC_RSH",
    "LUA_INIT",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "OPENSSL_ENGINES",
    "OPENSSL_CONF",
    "GTK_MODULES",
    "QT_PLUGIN_PATH",
    "ZIPOPT",
    "UNZIP",
    "RIPGREP_CONFIG_PATH",
    "GLIBC_TUNABLES",
    "FCEDIT",
    "VIMINIT",
    "EXINIT",
    "RUSTC_WRAPPER",
    "RUSTC",
    "CARGO_HOME",
];

/// These lead to a container runtime.
const RUNTIME: &[&str] =
    &["DOCKER_HOST", "CONTAINER_HOST", "CONTAINERD_ADDRESS", "CONTAINER_RUNTIME_ENDPOINT"];

/// The value of these is a command line.
const SCRIPTS: &[&str] = &[
    "PAGER",
    "MANPAGER",
    "GIT_PAGER",
    "EDITOR",
    "VISUAL",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "BROWSER",
    "SYSTEMD_PAGER",
    "AWS_PAGER",
    "MANROFFOPT",
    "SUDO_EDITOR",
    "PSQL_PAGER",
    "DELTA_PAGER",
    "BAT_PAGER",
];

/// These decide where programs look for code, settings or other programs.
const SEARCH: &[&str] = &[
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PERL5LIB",
    "PERLLIB",
    "RUBYLIB",
    "NODE_PATH",
    "CLASSPATH",
    "LUA_PATH",
    "LUA_CPATH",
    "GEM_PATH",
    "GEM_HOME",
    "MAKEFLAGS",
    "SHELL",
    "CDPATH",
    "MANPATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "CC",
    "CXX",
    "LD",
    "AR",
    "KUBECONFIG",
    "PKG_CONFIG",
    "AWKPATH",
    "AWKLIBPATH",
    "TERMINFO",
    "LOCPATH",
    "NLSPATH",
    "CARGO",
    "CURL_HOME",
    "DOCKER_CONFIG",
    "HOSTALIASES",
    "HISTFILE",
    "JAVA_HOME",
    "PERL_MM_OPT",
    "PERL_MB_OPT",
    "SSLKEYLOGFILE",
    "ANSIBLE_CONFIG",
    "RESOLV_HOST_CONF",
];

/// Endings of names of variables whose value a program runs or loads.
const CODE_ENDINGS: &[&str] = &["_WRAPPER", "_PRELOAD", "_STARTUP_HOOKS", "_INIT", "_AUDIT"];

/// Endings of names of variables that change what programs load, run or read as their settings.
const SEARCH_ENDINGS: &[&str] = &[
    "_RUNNER",
    "_LINKER",
    "_LAUNCHER",
    "_PLUGINS",
    "_ADDOPTS",
    "_CONFIG_FILE",
    "_SCAN_DIR",
    "MAKEFILES",
    "MAKEFLAGS",
    "_PATH",
    "RC",
    "_RC_FILENAME",
];

/// Names of variables with options of compilers, whose value decides.
const FLAGS_ENDING: &str = "FLAGS";

/// What makes options of compilers load or run something.
const LOADING: &[&str] =
    &["plugin", "linker", "wrapper", "toolexec", "runtool", "-specs", "-B", "-load", "@", "--eval"];

/// Named like code, and none.
const HARMLESS: &[&str] = &[
    "GIT_TERMINAL_PROMPT",
    "RC",
    "SRC",
    "GOPATH",
    "GIT_OPTIONAL_LOCKS",
    "GIT_MERGE_AUTOEDIT",
    "GIT_SSL_CAINFO",
    "GIT_TRACE",
];

/// What the variable `name` does with this value; nothing for an ordinary one.
pub(super) fn kind(name: &str, value: &str) -> Option<Kind> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if HARMLESS.contains(&name) || begins(&["GIT_AUTHOR_", "GIT_COMMITTER_"]) {
        return None;
    }
    if RUNTIME.contains(&name) {
        return Some(Kind::Runtime);
    }
    if SCRIPTS.contains(&name) {
        return (!is_plain_viewer(value)).then_some(Kind::Script);
    }
    if name == "NODE_OPTIONS" {
        let loads = value.contains("-r") || value.contains("import") || value.contains(UNKNOWN);
        return (loads || !value.contains("max-old-space")).then_some(Kind::Code);
    }
    let tool = matches!(name, "CC" | "CXX" | "LD" | "AR" | "SHELL" | "HOME") && is_name(value);
    if SEARCH.contains(&name) {
        return (!tool).then_some(Kind::Search);
    }
    if CODE.contains(&name) || begins(&["LD_", "DYLD_", "BASH_FUNC", "GIT_CONFIG"]) {
        return Some(Kind::Code);
    }
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if name.ends_with(FLAGS_ENDING) && name != "MAKEFLAGS" && name != "GNUMAKEFLAGS" {
        let loads = LOADING.iter().any(|word| value.contains(word)) || value.contains(UNKNOWN);
        return loads.then_some(Kind::Search);
    }
    if ends(CODE_ENDINGS) && !value.is_empty() {
        return Some(Kind::Code);
    }
    let search = begins(&["npm_config_", "GIT_"]) || name.ends_with("_OPTIONS") || name.ends_with("PAGER");
    (search || ends(SEARCH_ENDINGS)).then_some(Kind::Search)
}

/// Whether programs load or run what the variable `name` says, whatever it is.
pub(super) fn loads_code(name: &str) -> bool {
    matches!(kind(name, "x"), Some(Kind::Code | Kind::Runtime))
}

/// A program that shows or does nothing, without words of its own.
fn is_plain_viewer(value: &str) -> bool {
    matches!(
        value.trim(),
        "" | "cat"
            | "less"
            | "more"
            | "true"
            | ":"
            | "vi"
            | "vim"
            | "nano"
            | "less -R"
            | "less -FRX"
            | "delta"
            | "/bin/true"
            | "/bin/cat"
    )
}

fn is_name(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "+-_".contains(c))
}
