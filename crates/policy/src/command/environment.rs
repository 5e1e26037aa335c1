//! Variables by which programs load code or start other programs.

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

/// What the variable `name` does with this value; nothing for an ordinary one.
pub(super) fn kind(name: &str, value: &str) -> Option<Kind> {
    match name {
        "LD_PRELOAD"
        | "LD_AUDIT"
        | "LD_DEBUG_OUTPUT"
        | "LD_PROFILE"
        | "BASH_ENV"
        | "ENV"
        | "PROMPT_COMMAND"
        | "PS0"
        | "PS4"
        | "SHELLOPTS"
        | "BASHOPTS"
        | "GIT_EXTERNAL_DIFF"
        | "GIT_PROXY_COMMAND"
        | "GIT_SSH_COMMAND"
        | "GIT_SSH"
        | "GIT_ASKPASS"
        | "SSH_ASKPASS"
        | "GIT_EXEC_PATH"
        | "GIT_TEMPLATE_DIR"
        | "LESSOPEN"
        | "LESSCLOSE"
        | "PERL5OPT"
        | "PERL5DB"
        | "RUBYOPT"
        | "PYTHONSTARTUP"
        | "PYTHONINSPECT"
        | "PYTHONBREAKPOINT"
        | "PYTHONHOME"
        | "GCONV_PATH"
        | "TAR_OPTIONS"
        | "RSYNC_RSH"
        | "LUA_INIT"
        | "JAVA_TOOL_OPTIONS"
        | "_JAVA_OPTIONS"
        | "JDK_JAVA_OPTIONS"
        | "DYLD_INSERT_LIBRARIES"
        | "OPENSSL_ENGINES"
        | "OPENSSL_CONF"
        | "GTK_MODULES"
        | "QT_PLUGIN_PATH"
        | "ZIPOPT"
        | "UNZIP"
        | "RIPGREP_CONFIG_PATH"
        | "GLIBC_TUNABLES"
        | "BASH_FUNC"
        | "FCEDIT"
        | "RUSTC_WRAPPER"
        | "RUSTC"
        | "CARGO_HOME"
        | "PERL5SHELL" => Some(Kind::Code),
        "DOCKER_HOST" | "CONTAINER_HOST" | "CONTAINERD_ADDRESS" | "CONTAINER_RUNTIME_ENDPOINT" => {
            Some(Kind::Runtime)
        }
        "PAGER"
        | "MANPAGER"
        | "GIT_PAGER"
        | "EDITOR"
        | "VISUAL"
        | "GIT_EDITOR"
        | "GIT_SEQUENCE_EDITOR"
        | "BROWSER"
        | "SYSTEMD_PAGER"
        | "AWS_PAGER"
        | "MANROFFOPT"
        | "SUDO_EDITOR"
        | "PSQL_PAGER"
        | "DELTA_PAGER"
        | "BAT_PAGER" => (!is_plain_viewer(value)).then_some(Kind::Script),
        "NODE_OPTIONS" => {
            Some(if value.contains("max-old-space") && !value.contains("-r") && !value.contains("import") {
                return None;
            } else {
                Kind::Code
            })
        }
        "PATH" | "LD_LIBRARY_PATH" | "PYTHONPATH" | "PERL5LIB" | "PERLLIB" | "RUBYLIB" | "NODE_PATH"
        | "CLASSPATH" | "LUA_PATH" | "LUA_CPATH" | "GEM_PATH" | "GEM_HOME" | "MAKEFLAGS" | "SHELL"
        | "CDPATH" | "MANPATH" | "HOME" | "XDG_CONFIG_HOME" | "GOFLAGS" | "CC" | "CXX" | "LD" | "AR"
        | "RUSTFLAGS" | "KUBECONFIG" | "PKG_CONFIG" | "AWKPATH" | "AWKLIBPATH" | "TERMINFO" | "LOCPATH"
        | "NLSPATH" | "HOSTALIASES" | "RESOLV_HOST_CONF" => {
            (!(matches!(name, "CC" | "CXX" | "LD" | "AR" | "SHELL" | "HOME") && is_name(value)))
                .then_some(Kind::Search)
        }
        // Who wrote a commit, and when, is no code.
        _ if name.starts_with("GIT_AUTHOR_") || name.starts_with("GIT_COMMITTER_") => None,
        "GIT_TERMINAL_PROMPT"
        | "GIT_OPTIONAL_LOCKS"
        | "GIT_MERGE_AUTOEDIT"
        | "GIT_SSL_CAINFO"
        | "GIT_TRACE" => None,
        _ if name.starts_with("LD_")
            || name.starts_with("DYLD_")
            || name.starts_with("BASH_FUNC")
            || name.starts_with("GIT_CONFIG") =>
        {
            Some(Kind::Code)
        }
        _ if name.starts_with("npm_config_")
            || name.starts_with("GIT_")
            || name.ends_with("_OPTIONS")
            || name.ends_with("PAGER") =>
        {
            Some(Kind::Search)
        }
        _ => None,
    }
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
