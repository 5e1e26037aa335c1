//! Settings that other generations of this program know and this one does not serve yet.
//!
//! One table, [`TREE`]: what is in it is accepted, checked against its shape, and listed by
//! `config validate` as not supported yet. Members of [`settings`](crate::settings) are not repeated here,
//! unless values beyond those served are known too. A setting that begins to work moves from here to
//! there. A [`Shape::Noted`] is a wish for more safety that is not granted: its owner is told what holds.

mod agents;
mod gateway;
mod messages;
mod services;
mod telegram;
mod tools;

use crate::shape::{COUNT, OBJECT, Shape, TEXTS};
use Shape::{Any, Flag, List, Map, Noted, Object, OneOf, Open, Text};

/// Everything that is known beside the settings that work.
pub(crate) static TREE: Shape = Object(&[
    ("agents", agents::AGENTS),
    ("approvals", messages::APPROVALS),
    ("audio", OBJECT),
    ("auth", services::AUTH),
    ("broadcast", OBJECT),
    ("browser", services::BROWSER),
    ("canvasHost", services::CANVAS_HOST),
    ("channels", messages::CHANNELS),
    ("commands", messages::COMMANDS),
    ("cron", services::CRON),
    ("diagnostics", OBJECT),
    ("discovery", services::DISCOVERY),
    ("env", Object(&[("shellEnv", Noted("variables that your shell sets are not read", &OBJECT))])),
    ("gateway", gateway::GATEWAY),
    ("hooks", services::HOOKS),
    ("logging", LOGGING),
    ("media", OBJECT),
    ("messages", messages::MESSAGES),
    ("models", services::MODELS),
    ("nodeHost", OBJECT),
    ("plugins", services::PLUGINS),
    ("secrets", services::SECRETS),
    ("session", messages::SESSION),
    ("skills", services::SKILLS),
    ("talk", services::TALK),
    ("tools", tools::TOOLS),
    ("ui", OBJECT),
    ("update", OBJECT),
    ("web", OBJECT),
    ("wizard", OBJECT),
]);

/// The names of channels that are known, served or not.
pub(crate) fn channels() -> impl Iterator<Item = &'static str> {
    messages::CHANNELS.members().iter().map(|(name, _)| *name)
}

/// `logging`.
const LOGGING: Shape = Object(&[
    ("consoleStyle", OneOf(&["compact", "json", "pretty"])),
    ("file", Text),
    ("redactPatterns", Noted("the built-in patterns are used", &TEXTS)),
    ("redactSensitive", Noted("secrets are always kept out of the logs", &OneOf(&["off", "tools"]))),
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(shape: &Shape, path: &str, seen: &mut Vec<String>) {
        for (name, member) in shape.members() {
            let path = format!("{path}.{name}");
            seen.push(path.clone());
            visit(member, &path, seen);
        }
        if let Shape::List(inner) | Shape::Map(inner) = shape.plain() {
            visit(inner, &format!("{path}[]"), seen);
        }
    }

    #[test]
    fn members_are_in_order_and_none_is_there_twice() {
        fn ordered(shape: &Shape, path: &str) {
            let names: Vec<&str> = shape.members().iter().map(|(name, _)| *name).collect();
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(names, sorted, "{path}");
            for (name, member) in shape.members() {
                ordered(member, &format!("{path}.{name}"));
            }
            if let Shape::List(inner) | Shape::Map(inner) = shape.plain() {
                ordered(inner, &format!("{path}[]"));
            }
        }
        ordered(&TREE, "");
        let mut seen = Vec::new();
        visit(&TREE, "", &mut seen);
        assert!(seen.len() > 250, "{}", seen.len());
    }
}
