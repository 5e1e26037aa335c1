//! Forms of settings of hooks and of what commands may reach.

use moltbot_protocol::ids::HookName;

use crate::settings::OutboundHost;

/// What is expected and what to do, when a text does not have its form.
pub(super) fn misses_form(form: &str, text: &str) -> Option<(&'static str, &'static str)> {
    let (fits, expected, fix) = match form {
        "header-name" => (
            !text.is_empty()
                && text.len() <= 64
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "the name of a header: letters, digits and '-', at most 64",
            "write it as \"X-Signature\"",
        ),
        "hook-name" => (
            HookName::parse(text).is_ok(),
            "1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit",
            "choose a name such as \"github\"",
        ),
        "hook-path" => (
            is_path_below(text),
            "one or more names of a-z, 0-9, '-' and '_' with '/' between them",
            "write it as \"github\"",
        ),
        "hook-session" => (
            text.strip_prefix("hook:").is_some_and(|rest| !rest.is_empty() && text.len() <= 200),
            "`hook:` and a name",
            "write it as \"hook:github\": a hook has no other sessions than those",
        ),
        "hooks-path" => (
            text.strip_prefix('/').is_some_and(is_path_below),
            "'/' and a name of a-z, 0-9, '-' and '_'; not '/' alone, which would take every path",
            "write it as \"/hooks\"",
        ),
        "outbound-host" => (
            OutboundHost::parse(text).is_some(),
            "a host in lower case, with its domain, `*.` before it for all below, or an address; and a port where it is not 443",
            "write it as \"api.example.com\" or \"10.0.0.7:8080\"",
        ),
        _ => return super::containers::misses_form(form, text),
    };
    (!fits).then_some((expected, fix))
}

/// Whether a text is a path of plain names, which has one spelling.
fn is_path_below(text: &str) -> bool {
    text.len() <= 128 && text.split('/').all(|name| HookName::parse(name).is_ok())
}
