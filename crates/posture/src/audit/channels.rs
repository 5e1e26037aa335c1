//! Checks of who may speak, in every channel and every account of it, whether the config is valid or not.

use serde_json::Value;

use super::facts::Facts;
use super::gateway::{elevated_lists, is_elevated};
use super::raw::{fold, items, members, text, walk};
use super::{Check, Evidence, Outcome};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("channels.<provider>.dm.open", |facts| policies(facts, is_direct, "open")),
    ("channels.<provider>.dm.open_invalid", open_invalid),
    ("channels.<provider>.dm.disabled", |facts| policies(facts, is_direct, "disabled")),
    ("channels.<provider>.dm.scope_main_multiuser", shared_main),
    ("channels.<provider>.allowlist.wildcard", wildcards),
    ("channels.<provider>.groups.open", |facts| policies(facts, is_group, "open")),
    ("channels.<provider>.allowFrom.names", names),
    ("security.exposure.open_groups_with_elevated", open_with_elevated),
    ("security.exposure.open_groups_with_runtime_or_fs", open_with_tools),
    ("tools.elevated.allowFrom.<provider>.wildcard", elevated_wildcard),
    ("tools.elevated.allowFrom.<provider>.large", elevated_large),
];

/// More entries than anybody keeps in his head.
const LARGE: usize = 25;

/// Channels that the config has, by name; `defaults` is none.
pub(super) fn served(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let is_on = |channel: &Value| channel.get("enabled").and_then(Value::as_bool) != Some(false);
    members(value, "channels").filter(move |(name, channel)| *name != "defaults" && is_on(channel))
}

fn is_direct(parent: &str, name: &str) -> bool {
    name == "dmpolicy" || (parent == "dm" && name == "policy")
}

fn is_group(_parent: &str, name: &str) -> bool {
    name == "grouppolicy"
}

/// Every policy of the kind `is_meant` with the value `wanted`, in defaults, channels, accounts, groups and overrides.
fn found_policies(value: &Value, is_meant: fn(&str, &str) -> bool, wanted: &str) -> Vec<Evidence> {
    let mut found = Vec::new();
    for (provider, channel) in members(value, "channels") {
        let root = format!("channels.{provider}");
        walk(channel, &root, &fold(provider), &mut |path, name, value| {
            let parent = path.rsplit('.').nth(1).map(fold).unwrap_or_default();
            if is_meant(&parent, name) && value.as_str().is_some_and(|text| fold(text) == wanted) {
                found.push(Evidence::of(provider, path, format!("\"{wanted}\"")));
            }
        });
    }
    found
}

fn policies(facts: &Facts<'_>, is_meant: fn(&str, &str) -> bool, wanted: &str) -> Outcome {
    facts.of_config(|value| Outcome::from(found_policies(value, is_meant, wanted)))
}

/// The lists of senders below a channel: each with its path.
fn lists<'a>(provider: &str, channel: &'a Value) -> Vec<(String, &'a [Value])> {
    let mut found = Vec::new();
    walk(channel, &format!("channels.{provider}"), &fold(provider), &mut |path, name, value| {
        if name.ends_with("allowfrom")
            && let Value::Array(entries) = value
        {
            found.push((path.to_owned(), entries.as_slice()));
        }
    });
    found
}

fn is_wildcard(entry: &Value) -> bool {
    entry.as_str().is_some_and(|text| text.contains('*'))
}

fn wildcards(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let mut found = Vec::new();
        for (provider, channel) in members(value, "channels") {
            for (path, entries) in lists(provider, channel) {
                if entries.iter().any(is_wildcard) {
                    found.push(Evidence::of(provider, path, "an entry has a wildcard"));
                }
            }
        }
        Outcome::from(found)
    })
}

fn open_invalid(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let open = found_policies(value, is_direct, "open");
        let without = open.into_iter().filter(|one| {
            let channel = one.provider.as_deref().and_then(|name| value.get("channels")?.get(name));
            let Some(channel) = channel else { return true };
            !lists("", channel).iter().any(|(_, entries)| entries.iter().any(is_wildcard))
        });
        Outcome::from(without.collect())
    })
}

/// Only Telegram's and IRC's lists hold ids by which names can be told from them.
fn names(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let mut found = Vec::new();
        for (provider, channel) in members(value, "channels").filter(|(name, _)| *name == "telegram") {
            for (path, entries) in lists(provider, channel) {
                let texts = entries.iter().filter_map(Value::as_str).filter(|text| !text.contains('*'));
                let named =
                    texts.filter(|text| !text.chars().any(|c| c.is_ascii_digit()) || text.starts_with('@'));
                found.extend(named.map(|name| Evidence::of(provider, path.clone(), format!("\"{name}\""))));
            }
        }
        Outcome::from(found)
    })
}

fn shared_main(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        if text(value, "session.dmScope").unwrap_or("main") != "main" {
            return Outcome::Passed;
        }
        let found = served(value).filter_map(|(provider, channel)| {
            let mut senders: Vec<String> = Vec::new();
            for (path, entries) in lists(provider, channel) {
                if fold(path.rsplit('.').next().unwrap_or_default()) == "allowfrom" {
                    senders.extend(entries.iter().map(ToString::to_string));
                }
            }
            senders.sort_unstable();
            senders.dedup();
            let place = format!("channels.{provider}.allowFrom");
            (senders.len() > 1).then(|| Evidence::of(provider, place, format!("{} senders", senders.len())))
        });
        Outcome::from(found.collect())
    })
}

fn open_anything(value: &Value) -> Vec<Evidence> {
    let mut open = found_policies(value, is_group, "open");
    open.extend(found_policies(value, is_direct, "open"));
    open
}

fn open_with_elevated(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        if !is_elevated(value) {
            return Outcome::Passed;
        }
        Outcome::from(found_policies(value, is_group, "open"))
    })
}

fn open_with_tools(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let denied: Vec<String> =
            items(value, "tools.deny").iter().filter_map(Value::as_str).map(fold).collect();
        let is_denied =
            |names: [&str; 2]| names.iter().any(|name| denied.iter().any(|denied| denied == name));
        if is_denied(["exec", "groupruntime"]) && is_denied(["read", "groupfs"]) {
            return Outcome::Passed;
        }
        Outcome::from(open_anything(value))
    })
}

fn elevated_wildcard(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let found = elevated_lists(value).filter(|(_, list)| list.iter().any(is_wildcard));
        let told = |(name, _): (&str, _)| {
            Evidence::of(name, format!("tools.elevated.allowFrom.{name}"), "an entry has a wildcard")
        };
        Outcome::from(found.map(told).collect())
    })
}

fn elevated_large(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let found = elevated_lists(value).filter(|(_, list)| list.len() > LARGE);
        let told = |(name, list): (&str, &[Value])| {
            Evidence::of(name, format!("tools.elevated.allowFrom.{name}"), format!("{} entries", list.len()))
        };
        Outcome::from(found.map(told).collect())
    })
}
