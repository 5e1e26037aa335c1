//! Layer 3, nodes: devices that offer commands, and which of them may be asked for by whom.
//!
//! A node is approved by a person, also on this machine, for exactly the commands that the person saw. A command is asked
//! of it when it is usual on its platform or the owner's config names it, the config does not deny it, it was approved for
//! this node, and the node offers it now. Nothing of that is the caller's to say: whoever claims in the parameters that a
//! person approved something is refused.

use std::collections::BTreeSet;

use moltbot_config::limits;
use moltbot_config::settings::{NodeCommand, NodesConfig};
use moltbot_protocol::scope::Scope;
use serde_json::Value;

use crate::authorization::Grant;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// Commands of a node, by name.
pub type CommandSet = BTreeSet<String>;

const INVOKE: &str = "node.invoke";
/// Commands that need a person's yes to the very act. There is none that a client could refer to.
const NEEDS_APPROVAL: [&str; 3] = ["system.execApprovals.set", "system.run", "system.run.prepare"];
/// Members of parameters by which a caller would answer in place of a person, in lower case and without `_` and `-`.
const ANSWERS: [&str; 6] =
    ["approval", "approvaldecision", "approvalid", "approvals", "approved", "approvedby"];
/// How deep parameters are looked into. Deeper ones are refused.
const DEPTH: usize = 32;

const CANVAS: [&str; 8] = [
    "canvas.a2ui.push",
    "canvas.a2ui.pushJSONL",
    "canvas.a2ui.reset",
    "canvas.eval",
    "canvas.hide",
    "canvas.navigate",
    "canvas.present",
    "canvas.snapshot",
];
const PHONE: [&str; 2] = ["camera.list", "location.get"];
const SYSTEM: [&str; 6] = [
    "browser.proxy",
    "system.execApprovals.get",
    "system.execApprovals.set",
    "system.notify",
    "system.run",
    "system.which",
];

/// The commands among what a node says it offers; what is no name of one is none.
///
/// # Errors
/// When there are more than [`limits::NODE_COMMANDS`].
pub fn commands_of<S: AsRef<str>>(names: &[S]) -> Result<CommandSet, Refusal> {
    let named = names.iter().map(AsRef::as_ref).filter(|name| NodeCommand::is_one(name));
    let commands: CommandSet = named.map(str::to_owned).collect();
    if commands.len() <= limits::NODE_COMMANDS {
        return Ok(commands);
    }
    let message = format!("a node may offer {} commands", limits::NODE_COMMANDS);
    Err(Refusal::new("too_many_commands", message))
}

/// The scope that a command needs besides that of `node.invoke`, and who approves it needs as well. Few commands are known
/// to be harmless; what any other does with the rights of the node's user is for who may change the installation.
pub fn scope_of(command: &str) -> Scope {
    let is_harmless = CANVAS.contains(&command)
        || PHONE.contains(&command)
        || ["system.notify", "system.which"].contains(&command);
    if is_harmless { Scope::Write } else { Scope::Admin }
}

/// Which commands are asked of nodes at all.
#[derive(Clone, Debug, Default)]
pub struct NodeRules {
    allow: CommandSet,
    deny: CommandSet,
}

impl NodeRules {
    /// The rules of a config.
    pub fn of(config: &NodesConfig) -> Self {
        let names = |commands: &[NodeCommand]| commands.iter().map(|command| command.0.clone()).collect();
        Self { allow: names(&config.allow_commands), deny: names(&config.deny_commands) }
    }

    /// Whether a command is asked of nodes of that platform. What takes pictures, records or writes to others is in no list
    /// of a platform: the owner names it. A platform that is not known has none.
    fn allows(&self, platform: &str, command: &str) -> bool {
        if self.deny.contains(command) {
            return false;
        }
        let usual = |lists: &[&[&str]]| lists.iter().any(|list| list.contains(&command));
        let platform = platform.trim().to_ascii_lowercase();
        let is_usual = match platform.as_str() {
            it if it.starts_with("ios") || it.starts_with("android") => usual(&[&CANVAS, &PHONE]),
            it if it.starts_with("mac") || it.starts_with("darwin") => usual(&[&CANVAS, &PHONE, &SYSTEM]),
            it if it.starts_with("linux") || it.starts_with("win") => usual(&[&SYSTEM]),
            _ => false,
        };
        is_usual || self.allow.contains(command)
    }
}

/// A command that somebody asks a node for.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The node's device id.
    pub node: &'a str,
    /// The command.
    pub command: &'a str,
    /// Its parameters.
    pub params: &'a Value,
    /// The platform that the node had when it was approved.
    pub platform: &'a str,
    /// What was approved for it.
    pub approved: &'a CommandSet,
    /// What it offers now.
    pub offered: &'a CommandSet,
}

/// Proof that a node may be asked for one command.
#[derive(Debug)]
#[must_use = "a permit that is dropped asks nothing"]
pub struct InvokePermit {
    node: String,
    command: String,
    actor: String,
    client: String,
}

impl InvokePermit {
    /// The node's device id.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The command.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What the book is told of its end.
    pub fn end(&self, outcome: &'static str) -> Entry {
        Entry::new(
            format!("device:{}", self.node),
            "node.result",
            format!("node:{}", self.node),
            Decision::Done,
        )
        .with("command", self.command.clone())
        .with("outcome", outcome)
        .buffered()
    }
}

impl Permit for InvokePermit {
    fn entry(&self) -> Entry {
        entry(&self.actor, &self.node, &self.command, Decision::Allowed).with("client", self.client.clone())
    }
}

fn entry(actor: &str, node: &str, command: &str, decision: Decision) -> Entry {
    Entry::new(actor, INVOKE, format!("node:{node}"), decision).with("command", command)
}

/// What the book is told of a command that a node is not asked for.
pub fn refused_invoke(grant: &Grant, node: &str, command: &str, refusal: &Refusal) -> Entry {
    let cut = |text: &str| -> String { text.chars().take(limits::DEVICE_TEXT_CHARS).collect() };
    entry(grant.actor(), &cut(node), &cut(command), Decision::Refused)
        .with("client", grant.client().to_string())
        .with("code", refusal.code)
}

/// Judges whether somebody may have a node do a command.
///
/// # Errors
/// Says which of the lists does not have it, or what is missing.
pub fn invoke(grant: &Grant, asked: Invocation<'_>, rules: &NodeRules) -> Result<InvokePermit, Refusal> {
    let Invocation { node, command, params, platform, approved, offered } = asked;
    grant.require(Scope::Write)?;
    grant.require(scope_of(command))?;
    if answers_for_a_person(params, DEPTH) {
        return Err(Refusal::new(
            "approval_claimed",
            "the parameters say that a person approved something: only the gateway knows that, so leave it out",
        ));
    }
    let refuse =
        |why: &str| Err(Refusal::new("node_command_refused", format!("node command not allowed: {why}")));
    if !rules.allows(platform, command) {
        return refuse(
            "command not allowlisted; it is not usual on the node's platform, and not in gateway.nodes.allowCommands, or it is in gateway.nodes.denyCommands",
        );
    }
    if !approved.contains(command) {
        return refuse("it was not approved for this node; see `moltbot nodes describe`");
    }
    if !offered.contains(command) {
        return refuse("command not declared by node");
    }
    if NEEDS_APPROVAL.contains(&command) {
        return Err(Refusal::new(
            "approval_required",
            format!(
                "{command} needs a person's approval of the very command, and approvals for nodes do not exist yet"
            ),
        ));
    }
    let (node, command, client) = (node.to_owned(), command.to_owned(), grant.client().to_string());
    Ok(InvokePermit { node, command, actor: grant.actor().to_owned(), client })
}

/// Whether somewhere in the parameters a member claims a person's answer.
fn answers_for_a_person(params: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    let claims = |name: &str| {
        let plain: String = name.chars().filter(|c| !matches!(c, '_' | '-')).collect();
        ANSWERS.contains(&plain.to_ascii_lowercase().as_str())
    };
    match params {
        Value::Object(members) => {
            members.iter().any(|(name, value)| claims(name) || answers_for_a_person(value, depth))
        }
        Value::Array(items) => items.iter().any(|item| answers_for_a_person(item, depth)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;
    use crate::authentication::{Identity, Locality};
    use crate::authorization::{grant, grant_node};
    use crate::pairing::{Pairing, Standing};

    fn identity(fresh: bool) -> Identity {
        let client = Ipv4Addr::LOCALHOST.into();
        Identity { method: "token", device: Some("d".into()), locality: Locality::Local, client, fresh }
    }

    fn operator(scopes: &[&str]) -> Grant {
        let asked: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        grant(identity(true), &asked, Standing::Unknown).0.unwrap()
    }

    fn set(commands: &[&str]) -> CommandSet {
        commands.iter().map(|command| (*command).to_owned()).collect()
    }

    fn rules(allow: &[&str], deny: &[&str]) -> NodeRules {
        NodeRules { allow: set(allow), deny: set(deny) }
    }

    #[test]
    fn a_command_is_asked_for_when_platform_config_approval_and_node_all_have_it() {
        let admin = operator(&["operator.admin"]);
        let none = rules(&[], &[]);
        for (platform, command, approved, offered, rules, expected) in [
            ("linux", "system.which", &["system.which"][..], &["system.which"][..], none.clone(), None),
            ("Linux 6", "system.which", &["system.which"], &["system.which"], none.clone(), None),
            ("ios", "system.which", &["system.which"], &["system.which"], none.clone(), Some("allowlisted")),
            ("", "system.which", &["system.which"], &["system.which"], none.clone(), Some("allowlisted")),
            (
                "linux",
                "system.which",
                &[],
                &["system.which"],
                none.clone(),
                Some("not approved for this node"),
            ),
            ("linux", "system.which", &["system.which"], &[], none.clone(), Some("not declared")),
            ("ios", "camera.snap", &["camera.snap"], &["camera.snap"], none.clone(), Some("allowlisted")),
            ("ios", "camera.snap", &["camera.snap"], &["camera.snap"], rules(&["camera.snap"], &[]), None),
            (
                "linux",
                "system.which",
                &["system.which"],
                &["system.which"],
                rules(&["system.which"], &["system.which"]),
                Some("allowlisted"),
            ),
            (
                "linux",
                "system.run",
                &["system.run"],
                &["system.run"],
                none.clone(),
                Some("needs a person's approval"),
            ),
        ] {
            let (approved, offered) = (set(approved), set(offered));
            let asked = Invocation {
                node: "n",
                command,
                params: &json!({}),
                platform,
                approved: &approved,
                offered: &offered,
            };
            let told = invoke(&admin, asked, &rules).err().map(|refusal| refusal.message);
            match expected {
                None => assert_eq!(told, None, "{command} on {platform}"),
                Some(word) => {
                    assert!(told.as_deref().is_some_and(|told| told.contains(word)), "{command}: {told:?}")
                }
            }
        }
    }

    #[test]
    fn e01_nobody_says_in_parameters_that_a_person_approved() {
        let admin = operator(&["operator.admin"]);
        let (has, rules) = (set(&["system.notify"]), rules(&[], &[]));
        let deep = (0..40).fold(json!({}), |inner, _| json!({"x": inner}));
        for (params, refused) in [
            (json!({"title": "approved"}), false),
            (json!(null), false),
            (json!({"approved": true}), true),
            (json!({"approved": false}), true),
            (json!({"approval_id": "x"}), true),
            (json!({"Approval-Decision": "allow-once"}), true),
            (json!({"options": [{"approvedBy": "ann"}]}), true),
            (deep, true),
        ] {
            let asked = Invocation {
                node: "n",
                command: "system.notify",
                params: &params,
                platform: "linux",
                approved: &has,
                offered: &has,
            };
            assert_eq!(invoke(&admin, asked, &rules).is_err(), refused, "{params}");
        }
    }

    #[test]
    fn what_acts_on_a_nodes_system_is_for_admins() {
        let has = set(&["browser.proxy", "file.write", "system.execApprovals.get", "system.notify"]);
        let writer = operator(&["operator.write"]);
        for (command, expected) in [
            ("browser.proxy", Some("missing_scope")),
            ("file.write", Some("missing_scope")),
            ("system.execApprovals.get", Some("missing_scope")),
            ("system.notify", None),
        ] {
            let (platform, params) = ("linux", &Value::Null);
            let asked = Invocation { node: "n", command, params, platform, approved: &has, offered: &has };
            assert_eq!(
                invoke(&writer, asked, &NodeRules::default()).err().map(|it| it.code),
                expected,
                "{command}"
            );
        }
        let asked = Invocation {
            node: "n",
            command: "system.notify",
            params: &Value::Null,
            platform: "linux",
            approved: &has,
            offered: &has,
        };
        assert!(invoke(&operator(&["operator.read"]), asked, &NodeRules::default()).is_err());
    }

    #[test]
    fn b07_a_node_waits_for_a_person_and_has_no_scope_and_no_command_that_was_not_approved() {
        let (which, both) = (set(&["system.which"]), set(&["system.run", "system.which"]));
        for (fresh, offered, approved, expected) in [
            (true, &which, None, (false, Pairing::AskNode(which.clone()))),
            (true, &which, Some(&both), (true, Pairing::Nothing)),
            (true, &both, Some(&which), (true, Pairing::AskNode(both.clone()))),
            (true, &set(&[]), Some(&set(&[])), (true, Pairing::Nothing)),
            (false, &which, Some(&which), (false, Pairing::Nothing)),
            (false, &which, None, (false, Pairing::Nothing)),
        ] {
            let (granted, pairing) = grant_node(identity(fresh), offered, approved);
            assert_eq!((granted.is_ok(), pairing), expected, "{fresh} {offered:?} {approved:?}");
            if let Ok(node) = granted {
                let scopes = Scope::ALL.into_iter().filter(|scope| node.require(*scope).is_ok());
                assert_eq!((scopes.count(), node.require(Scope::Node).is_ok()), (0, true));
            }
        }
        let bare = Identity { device: None, ..identity(false) };
        let (refused, pairing) = grant_node(bare, &which, Some(&which));
        assert_eq!((refused.unwrap_err().code, pairing), ("not_paired", Pairing::Nothing));
        assert!(operator(&["operator.admin"]).require(Scope::Node).is_err(), "admin is no node");
    }

    #[test]
    fn the_names_of_commands_are_plain_and_few() {
        assert_eq!(commands_of(&["a.b", "", "*", "a b", "ä", "a.b"]).unwrap(), set(&["a.b"]));
        let many: Vec<String> = (0..=limits::NODE_COMMANDS).map(|n| format!("c{n}")).collect();
        assert_eq!(commands_of(&many).unwrap_err().code, "too_many_commands");
    }
}
