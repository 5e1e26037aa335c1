//! Layer 3, authorization: which tools the owner's policies leave.
//!
//! A policy is one step, and a step only takes tools away: whatever the order, a tool is there when every step leaves it. So
//! an agent cannot give itself what was taken from all, and a model's provider gets no more than its agent. Pure.

use moltbot_config::Config;
use moltbot_config::settings::{ToolPolicy, ToolProfile};
use moltbot_protocol::ids::SessionKey;

use crate::cause::Tool;
use crate::surroundings::{Place, surroundings};

/// The steps that hold in a session, whichever model is asked.
pub(crate) fn of_session(config: &Config, session: &SessionKey) -> Vec<ToolPolicy> {
    let agent = session.agent();
    let own = config.agents.list.iter().find(|entry| entry.id == agent).map(|entry| entry.tools.policy());
    let is_shut_off = matches!(surroundings(&config.agents, session).place, Place::Own(_));
    let shut_off = is_shut_off.then(|| config.tools.sandbox.tools.clone());
    std::iter::once(config.tools.policy()).chain(own).chain(shut_off).collect()
}

/// The steps that hold besides where this model is asked.
pub(crate) fn of_model(
    config: &Config,
    session: &SessionKey,
    provider: &str,
    model: &str,
) -> Vec<ToolPolicy> {
    let agent = session.agent();
    let own = config.agents.list.iter().find(|entry| entry.id == agent).map(|entry| &entry.tools.by_provider);
    let whole = format!("{provider}/{model}");
    let holds = |name: &str| [provider, &whole].iter().any(|known| known.eq_ignore_ascii_case(name.trim()));
    let all = config.tools.by_provider.iter().chain(own.into_iter().flatten());
    all.filter(|(name, _)| holds(name)).map(|(_, policy)| policy.clone()).collect()
}

/// Whether a step leaves a tool.
pub(crate) fn leaves(policy: &ToolPolicy, tool: Tool) -> bool {
    let named_in = |names: &[String]| names.iter().any(|name| names_tool(name, tool));
    let in_profile = match policy.profile {
        None | Some(ToolProfile::Full) => true,
        Some(ToolProfile::Coding) => {
            in_any(&["group:fs", "group:runtime", "group:sessions"], tool) || named_in(&policy.also_allow)
        }
        Some(ToolProfile::Messaging | ToolProfile::Minimal) => {
            in_any(&["session_status"], tool) || named_in(&policy.also_allow)
        }
    };
    // Who may execute may patch: upstream allows both by one name.
    let is_allowed = policy.allow.is_empty()
        || named_in(&policy.allow)
        || (tool == Tool::ApplyPatch && policy.allow.iter().any(|name| names_tool(name, Tool::Exec)));
    in_profile && is_allowed && !named_in(&policy.deny)
}

fn in_any(names: &[&str], tool: Tool) -> bool {
    names.iter().any(|name| names_tool(name, tool))
}

/// Whether a name of a policy means a tool: its own, an older one, a group, or with `*` for any letters.
fn names_tool(name: &str, tool: Tool) -> bool {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "bash" => tool == Tool::Exec,
        "apply-patch" => tool == Tool::ApplyPatch,
        "group:fs" => matches!(tool, Tool::ApplyPatch | Tool::Edit | Tool::Read | Tool::Write),
        "group:runtime" => matches!(tool, Tool::Exec | Tool::Process),
        "group:sessions" | "group:clawdbot" | "group:moltbot" | "group:openclaw" => {
            tool == Tool::SessionStatus
        }
        name => fits(name, tool.name()),
    }
}

/// Whether a text is as a pattern says, in which `*` stands for any letters.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(place, _)| place).chain([rest.len()]);
            ends.filter_map(|place| rest.get(place..)).any(|rest| fits(after, rest))
        }),
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::AgentConfig;
    use moltbot_protocol::ids::AgentId;

    use super::*;

    fn left(policy: &ToolPolicy) -> String {
        let names = Tool::ALL.into_iter().filter(|tool| leaves(policy, *tool)).map(Tool::name);
        names.collect::<Vec<_>>().join(" ")
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const ALL: &str = "apply_patch edit exec process read session_status write";

    #[test]
    fn a_step_leaves_what_it_names_and_takes_the_rest() {
        for (allow, deny, expected) in [
            (&[][..], &[][..], ALL),
            (&["read"], &[], "read"),
            (&[" READ ", "Write"], &[], "read write"),
            (&["exec"], &[], "apply_patch exec"),
            (&["bash"], &[], "apply_patch exec"),
            (&["exec"], &["apply-patch"], "exec"),
            (&["group:fs"], &["write"], "apply_patch edit read"),
            (&["*"], &["group:runtime"], "apply_patch edit read session_status write"),
            (&["*e*t*"], &[], "edit session_status"),
            (&["re*"], &[], "read"),
            (&[], &["*"], ""),
            // What is not here leaves nothing: the owner meant less, not all.
            (&["browser"], &[], ""),
            (&["group:web"], &[], ""),
            (&["read"], &["read"], ""),
        ] {
            let policy = ToolPolicy { allow: names(allow), deny: names(deny), ..ToolPolicy::default() };
            assert_eq!(left(&policy), expected, "{allow:?} {deny:?}");
        }
    }

    #[test]
    fn a_profile_is_a_list_that_can_be_added_to() {
        for (profile, also, expected) in [
            (ToolProfile::Full, &[][..], ALL),
            (ToolProfile::Coding, &[], ALL),
            (ToolProfile::Messaging, &[], "session_status"),
            (ToolProfile::Minimal, &[], "session_status"),
            (ToolProfile::Minimal, &["read"], "read session_status"),
        ] {
            let policy =
                ToolPolicy { profile: Some(profile), also_allow: names(also), ..ToolPolicy::default() };
            assert_eq!(left(&policy), expected, "{profile:?}");
        }
    }

    #[test]
    fn the_steps_of_a_session_are_those_of_all_its_agents_and_its_walls() {
        let mut config = Config::default();
        config.tools.profile = Some(ToolProfile::Coding);
        config.tools.sandbox.tools.deny = names(&["exec"]);
        config.tools.by_provider.insert("Local".into(), ToolPolicy::default());
        config.tools.by_provider.insert("local/small".into(), ToolPolicy::default());
        config.tools.by_provider.insert("other".into(), ToolPolicy::default());
        let mut agent: AgentConfig = serde_json::from_str(r#"{"id": "main"}"#).unwrap();
        agent.tools.allow = names(&["read"]);
        agent.tools.by_provider.insert("local".into(), ToolPolicy::default());
        config.agents.list = vec![agent];
        let session = |key: &str| SessionKey::parse(key, &AgentId::main()).unwrap();
        let (main, other) = (session("agent:main:main"), session("agent:main:telegram:dm:7"));
        assert_eq!((of_session(&config, &main).len(), of_session(&config, &other).len()), (2, 3));
        let stranger = session("agent:stranger:main");
        assert_eq!(of_session(&config, &stranger).len(), 1);
        assert_eq!(of_model(&config, &main, "local", "small").len(), 3);
        assert_eq!(of_model(&config, &main, "local", "large").len(), 2);
        assert_eq!(of_model(&config, &main, "loca", "l/small").len(), 0);
    }
}
