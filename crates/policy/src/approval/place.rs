//! Where a command may run: within the walls, unless the owner's config and who asks allow otherwise.

use moltbot_config::settings::{ExecHost, ToolsConfig};
use moltbot_protocol::principal::Principal;
use moltbot_protocol::sender::SenderId;

use super::binding::Place;
use crate::cause::Cause;
use crate::refusal::Refusal;

/// Where a command of this turn runs, when the model asks for `host` (`sandbox`, `gateway`), or for nothing.
///
/// Outside the walls only when the owner's config says so, in the main session, and for the owner or whom
/// `tools.elevated.allowFrom` names. What a hook caused, and every other session, stays within.
///
/// # Errors
/// When the model asks for a place that the turn does not have.
pub fn place_of(tools: &ToolsConfig, cause: &Cause, host: Option<&str>) -> Result<Place, Refusal> {
    let outside = may_leave(tools, cause);
    match host {
        Some("sandbox") => Ok(Place::Sandbox),
        Some("gateway") => outside.map(|()| Place::Host),
        None if tools.exec.host == ExecHost::Gateway && outside.is_ok() => Ok(Place::Host),
        None => Ok(Place::Sandbox),
        Some(_) => Err(refused("there is no such place to run a command; leave `host` out")),
    }
}

fn may_leave(tools: &ToolsConfig, cause: &Cause) -> Result<(), Refusal> {
    if tools.exec.host != ExecHost::Gateway && !tools.elevated.enabled {
        return Err(refused(
            "commands run in the sandbox alone: `tools.elevated.enabled` is off, which its owner decides",
        ));
    }
    if !cause.session().is_main() {
        return Err(refused("commands of this session run in the sandbox alone, whatever they ask for"));
    }
    match cause.principal() {
        Principal::Owner => Ok(()),
        Principal::Heartbeat(_) => Err(refused("commands of a heartbeat run in the sandbox alone")),
        Principal::Hook(_) => Err(refused("what a hook caused runs in the sandbox alone")),
        Principal::Sender(id) if is_named(tools, id) => Ok(()),
        Principal::Sender(_) => Err(refused("commands for this sender run in the sandbox alone")),
    }
}

/// Whether the config names a sender: by the channel, and the vendor's id or the whole id.
fn is_named(tools: &ToolsConfig, id: &str) -> bool {
    let Ok(sender) = SenderId::parse(id) else { return false };
    let entries = tools.elevated.allow_from.get(sender.channel());
    entries.into_iter().flatten().map(|entry| entry.text()).any(|text| text == sender.id() || text == id)
}

fn refused(message: &str) -> Refusal {
    Refusal::new("host_refused", message)
}

#[cfg(test)]
mod tests {
    use moltbot_config::Config;
    use moltbot_config::settings::SenderEntry;
    use moltbot_protocol::ids::{AgentId, RunId, SessionKey};

    use super::*;

    fn judged(
        change: impl FnOnce(&mut Config),
        session: &str,
        principal: &str,
        host: Option<&str>,
    ) -> &'static str {
        let mut config = Config::default();
        change(&mut config);
        let session = SessionKey::parse(session, &AgentId::main()).unwrap();
        let principal = Principal::parse(principal).unwrap();
        let cause = Cause::of(&config, session, RunId::parse("r").unwrap(), principal);
        place_of(&config.tools, &cause, host).map_or("refused", Place::name)
    }

    #[test]
    fn e19_only_the_owners_main_session_leaves_the_walls_and_only_when_the_config_says_so() {
        let elevated = |config: &mut Config| config.tools.elevated.enabled = true;
        let gateway = |config: &mut Config| config.tools.exec.host = ExecHost::Gateway;
        let named = |config: &mut Config| {
            config.tools.elevated.enabled = true;
            let entries = vec![SenderEntry::Number(7), SenderEntry::Text("*".into())];
            config.tools.elevated.allow_from.insert("telegram".into(), entries);
        };
        let (main, other) = ("main", "agent:main:telegram:group:5");
        let (seven, eight) = ("sender:telegram:default:user:7", "sender:telegram:default:user:8");
        assert_eq!(judged(|_| {}, main, "owner", None), "sandbox");
        assert_eq!(judged(|_| {}, main, "owner", Some("gateway")), "refused");
        assert_eq!(judged(elevated, main, "owner", None), "sandbox", "it has to be asked for");
        assert_eq!(judged(elevated, main, "owner", Some("gateway")), "host");
        assert_eq!(judged(elevated, main, "owner", Some("node")), "refused");
        assert_eq!(judged(elevated, other, "owner", Some("gateway")), "refused");
        assert_eq!(judged(elevated, other, "owner", Some("node")), "refused");
        assert_eq!(judged(elevated, main, "hook:github", Some("gateway")), "refused");
        assert_eq!(judged(elevated, main, seven, Some("gateway")), "refused");
        assert_eq!(judged(named, main, seven, Some("gateway")), "host");
        assert_eq!(judged(named, main, eight, Some("gateway")), "refused", "`*` is nobody");
        assert_eq!(judged(named, main, "sender:irc:default:user:7", Some("gateway")), "refused");
        assert_eq!(judged(gateway, main, "owner", None), "host");
        assert_eq!(judged(gateway, main, "owner", Some("sandbox")), "sandbox");
        for (session, who) in [(other, "owner"), (main, "hook:github"), (main, seven)] {
            assert_eq!(judged(gateway, session, who, None), "sandbox", "{session} {who}");
            assert_eq!(judged(gateway, session, who, Some("gateway")), "refused", "{session} {who}");
        }
    }
}
