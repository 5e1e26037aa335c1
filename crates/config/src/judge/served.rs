//! Values of settings that work, judged by the schema that is derived from those settings.

use moltbot_protocol::ids::AgentId;
use serde_json::Value;

use super::words::{allowed_texts, default_of, described, mismatch_fix, quoted_list, takes, type_of};
use super::{Judge, Verdict, member_shape, nearest};
use crate::path::Step;
use crate::report::ConfigErrorKind;
use crate::schema::{FORM, SERVED, alternatives};
use crate::settings::{Every, Network, NodeCommand, TimeOfDay};
use crate::shape::Shape;
use crate::substitution::expand;
use crate::tree::{Kind, Member, Node, Number};

impl Judge<'_> {
    /// Judges a value of a setting that works. `shape` is what is known beyond that.
    pub(super) fn value(&mut self, node: &Node, schema: &Value, shape: Option<&'static Shape>) -> Verdict {
        if self.is_at_policy() {
            return Verdict::Served; // judged wherever in `channels` it stands, by more than its values
        }
        let possible = alternatives(schema);
        let fitting: Vec<&Value> = possible.iter().copied().filter(|one| takes(one, node)).collect();
        let Some(first) = fitting.first() else {
            if shape.is_some_and(|shape| self.accepts(node, shape)) {
                return Verdict::Unserved;
            }
            let message = format!("{} is {}", self.show(node), type_of(node));
            self.find(
                ConfigErrorKind::Type,
                node,
                message,
                described(&possible),
                Some(mismatch_fix(node, &possible, default_of(schema))),
            );
            return Verdict::Served;
        };
        let verdict = match &node.kind {
            Kind::Bool(_) | Kind::Null => Verdict::Served,
            Kind::List { items, .. } => self.elements(items, first, shape),
            Kind::Number(number) => self.number(node, *number, first, schema),
            Kind::Object { members, .. } => self.members(node, members, first, shape),
            Kind::Text(text) => self.text(node, text, &fitting, schema, shape),
        };
        if schema.get(SERVED) == Some(&Value::Bool(false)) { Verdict::Unserved } else { verdict }
    }

    fn elements(&mut self, items: &[Node], schema: &Value, shape: Option<&'static Shape>) -> Verdict {
        let element = shape.and_then(Shape::element);
        let Some(schema) = schema.get("items") else { return Verdict::Served };
        for (index, item) in items.iter().enumerate() {
            self.within(Step::Index(index), |judge| judge.value(item, schema, element));
        }
        Verdict::Served
    }

    fn members(
        &mut self,
        node: &Node,
        members: &[Member],
        schema: &Value,
        shape: Option<&'static Shape>,
    ) -> Verdict {
        let mut verdict = Verdict::Served;
        for member in members {
            let named = schema.get("properties").and_then(|all| all.get(&member.key));
            // What is known by its name is not one of the owner's choice.
            let is_known =
                shape.is_some_and(|shape| shape.members().iter().any(|(name, _)| *name == member.key));
            let any = schema.get("additionalProperties").filter(|any| any.is_object() && !is_known);
            let step = Step::Key(member.key.clone());
            match (named.or(any), member_shape(shape, &member.key)) {
                (None, None) => self.unknown_key(member, &known_keys(schema, shape)),
                (None, Some(shape)) => {
                    self.within(step, |judge| judge.known(&member.value, shape));
                    self.leave_out(member, Some(shape));
                }
                (Some(inner), shape) => {
                    match self.within(step, |judge| judge.value(&member.value, inner, shape)) {
                        // An entry of the owner's that would do something else is left out whole.
                        Verdict::Incomplete if named.is_none() => {
                            self.skipped.insert(member.start);
                        }
                        Verdict::Incomplete => verdict = Verdict::Incomplete,
                        Verdict::Served => {}
                        Verdict::Unserved => {
                            self.leave_out(member, shape);
                            verdict = Verdict::Incomplete;
                        }
                    }
                }
            }
        }
        self.required(node, members, schema);
        verdict
    }

    /// Finds members that must be there and are not.
    fn required(&mut self, node: &Node, members: &[Member], schema: &Value) {
        let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in names.filter_map(Value::as_str) {
            if !members.iter().any(|member| member.key == name) {
                let message = format!("`{name}` is missing");
                let expected = format!("an object with `{name}`");
                self.find(ConfigErrorKind::Type, node, message, expected, Some(format!("add `{name}`")));
            }
        }
    }

    fn number(&mut self, node: &Node, number: Number, leaf: &Value, schema: &Value) -> Verdict {
        let (too_small, too_large) = match number {
            // What is not finite was found when it was read.
            Number::Float(float) if !float.is_finite() => return Verdict::Served,
            Number::Float(float) => {
                let bound = |name| leaf.get(name).and_then(Value::as_f64);
                (
                    bound("minimum").is_some_and(|least| float < least),
                    bound("maximum").is_some_and(|most| float > most),
                )
            }
            Number::Whole(whole) => {
                let bound = |name| leaf.get(name).and_then(Value::as_i64).map(i128::from);
                (
                    bound("minimum").is_some_and(|least| whole < least),
                    bound("maximum").is_some_and(|most| whole > most),
                )
            }
        };
        if too_small || too_large {
            let message = format!("{} is too {}", self.show(node), if too_small { "small" } else { "large" });
            let fix = mismatch_fix(node, &[leaf], default_of(schema));
            self.find(ConfigErrorKind::Range, node, message, described(&[leaf]), Some(fix));
        }
        Verdict::Served
    }

    fn text(
        &mut self,
        node: &Node,
        text: &str,
        fitting: &[&Value],
        schema: &Value,
        shape: Option<&'static Shape>,
    ) -> Verdict {
        // A variable that is missing was found by the scan.
        let Ok(expanded) = expand(text, self.environment) else { return Verdict::Served };
        if let Some(allowed) = allowed_texts(fitting) {
            if allowed.iter().any(|one| *one == expanded.expose()) {
                return Verdict::Served;
            }
            if shape.is_some_and(|shape| self.accepts(node, shape)) {
                return Verdict::Unserved;
            }
            if let Some(Shape::Barred(text, why)) = shape
                && *text == expanded.expose()
            {
                let message = format!("\"{text}\" is not accepted: {why}");
                let fix = mismatch_fix(node, &[], default_of(schema));
                let expected = format!("one of {}", quoted_list(&allowed));
                self.find(ConfigErrorKind::Refused, node, message, expected, Some(fix));
                return Verdict::Served;
            }
            self.not_one_of(node, expanded.expose(), &allowed, default_of(schema));
            return Verdict::Served;
        }
        let form = schema.get(FORM).and_then(Value::as_str);
        if let Some((expected, fix)) = form.and_then(|form| misses_form(form, expanded.expose())) {
            let message = format!("{} does not have the right form", self.show(node));
            self.find(ConfigErrorKind::Range, node, message, expected.into(), Some(fix.into()));
        }
        Verdict::Served
    }

    /// Finds a text that is none of those allowed. `expanded` may be secret and is only compared.
    pub(super) fn not_one_of(
        &mut self,
        node: &Node,
        expanded: &str,
        allowed: &[&str],
        default: Option<&Value>,
    ) {
        let message = format!("{} is not a value that there is", self.show(node));
        let fix = match nearest::nearest(expanded, allowed.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => mismatch_fix(node, &[], default),
        };
        self.find(
            ConfigErrorKind::Range,
            node,
            message,
            format!("one of {}", quoted_list(allowed)),
            Some(fix),
        );
    }
}

/// The keys that an object may have.
fn known_keys<'a>(schema: &'a Value, shape: Option<&'static Shape>) -> Vec<&'a str> {
    let served = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let known =
        shape.into_iter().flat_map(|shape| shape.members()).map(|(name, _)| name.trim_end_matches('*'));
    let mut keys: Vec<&str> = served.map(|(key, _)| key.as_str()).chain(known).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What is expected and what to do, when a text does not have its form.
fn misses_form(form: &str, text: &str) -> Option<(&'static str, &'static str)> {
    let (fits, expected, fix) = match form {
        "agent-id" => (
            AgentId::parse(text).is_ok(),
            "1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit",
            "choose a name such as \"main\"",
        ),
        "http-address" => (
            is_http_address(text),
            "an address that begins with http:// or https://",
            "write it as \"http://127.0.0.1:11434/v1\"",
        ),
        "address" => (
            text.parse::<std::net::IpAddr>().is_ok(),
            "an address without a port",
            "write it as \"192.168.1.7\"",
        ),
        "fingerprint" => (
            is_fingerprint(text),
            "64 hexadecimal digits, with or without colons",
            "copy it from `moltbot gateway fingerprint` on the gateway's machine",
        ),
        "gateway-address" => (
            text.strip_prefix("wss://")
                .or_else(|| text.strip_prefix("ws://"))
                .is_some_and(|rest| !rest.is_empty()),
            "an address that begins with wss://, or with ws:// and names this machine",
            "write it as \"wss://moltbot.example.com:18789\"",
        ),
        "node-command" => (
            NodeCommand::is_one(text),
            "the name of one command: up to 64 letters, digits, '.', '-' and '_', and no '*'",
            "write it as \"camera.snap\"",
        ),
        "network" => (
            Network::parse(text).is_some(),
            "an address, or a network of fewer than all addresses",
            "write it as \"10.0.0.7\" or \"10.0.0.0/8\"",
        ),
        "origin" => (
            is_origin(text),
            "an origin without a path, in which nothing stands for anything",
            "write it as \"https://moltbot.example.com\"",
        ),
        "host" => (
            is_host(text),
            "the name or address of a server, without a scheme or port",
            "write it as \"logs.example.org\"",
        ),
        "https-or-loopback" => (
            is_https_or_loopback(text),
            "an address that begins with https://, or with http:// and names this machine",
            "write it as \"https://collector.example.org:4318/v1/logs\"",
        ),
        _ => return misses_time(form, text).or_else(|| super::hooks::misses_form(form, text)),
    };
    (!fits).then_some((expected, fix))
}

/// The same of times and digests.
fn misses_time(form: &str, text: &str) -> Option<(&'static str, &'static str)> {
    match form {
        "sha256" if !is_fingerprint(text) || text.contains(':') => {
            Some(("64 hexadecimal digits", "copy what `sha256sum` says of the file"))
        }
        "interval" if Every::parse(text).is_none() => Some((
            "a number and a unit, `s`, `m` or `h`, from a second to a day, or \"0m\" for never",
            "write it as \"30m\"",
        )),
        "time-of-day" if TimeOfDay::parse(text).is_none() => {
            Some(("a time of day with two digits each, \"00:00\" to \"24:00\"", "write it as \"08:00\""))
        }
        _ => None,
    }
}

/// Whether a text is a SHA-256 fingerprint.
fn is_fingerprint(text: &str) -> bool {
    let digits = text.chars().filter(|c| *c != ':');
    digits.clone().count() == 64 && digits.into_iter().all(|c| c.is_ascii_hexdigit())
}

/// Whether a text can be the origin of a page.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    is_http_address(text) && !rest.unwrap_or("/").contains(['/', '*', '@', '?', '#'])
}

/// Whether a text can be an address of a server. The judge of the network reads it strictly.
fn is_http_address(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = |rest: &str| rest.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '[');
    rest.is_some_and(|rest| host(rest) && !rest.contains(char::is_whitespace))
}

/// Whether a text can be the name or address of a server. The judge of the network reads it strictly.
fn is_host(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let colons = text.matches(':').count();
    !text.is_empty() && text.len() <= 255 && text.chars().all(is_part) && colons != 1
}

/// Whether a text is an address to which nothing is sent in clear but within this machine.
fn is_https_or_loopback(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://") else {
        return text.starts_with("https://") && is_http_address(text);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    is_http_address(text) && matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}
