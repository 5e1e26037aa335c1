//! Whether what Tailscale passes on to the gateway is what the config asks for, and what it may be told to pass on.

use moltbot_config::settings::TailscaleMode;

use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// One way by which Tailscale passes connections on to the gateway's port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Forward {
    /// Whether the internet may use it, and not the tailnet alone.
    pub funnel: bool,
    /// Whether bytes are passed on as they are, without a word of who sent them.
    pub raw: bool,
}

/// The way that the gateway sets up by itself: HTTPS at the machine's own name, passed on to the gateway's port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnForward {
    /// The machine's name on the tailnet.
    pub name: String,
    /// The gateway's port.
    pub port: u16,
    /// Whether the internet may use it, and not the tailnet alone.
    pub funnel: bool,
}

/// Proof that Tailscale may be told to pass requests on to the gateway, or not to any more.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct ForwardPermit {
    forward: OwnForward,
    is_on: bool,
}

impl ForwardPermit {
    /// What is passed on.
    pub const fn forward(&self) -> &OwnForward {
        &self.forward
    }
}

impl Permit for ForwardPermit {
    fn entry(&self) -> Entry {
        let OwnForward { name, port, funnel } = &self.forward;
        let target = format!("https://{name} to 127.0.0.1:{port}");
        let audience = if *funnel { "internet" } else { "tailnet" };
        let action = if self.is_on { "gateway.forward" } else { "gateway.unforward" };
        Entry::new("gateway", action, target, Decision::Allowed).with("audience", audience)
    }
}

/// Permits that what the gateway set up is taken back: that is always allowed.
pub const fn take_back(forward: OwnForward) -> ForwardPermit {
    ForwardPermit { forward, is_on: false }
}

/// Judges what Tailscale passes on to the gateway's port besides what the gateway set up by itself, on a machine of that
/// name. When that is nothing, the gateway sets up what the config asks for.
///
/// # Errors
/// When the internet reaches the gateway where the config says the tailnet, which asks for no password, or the tailnet alone
/// where it says the internet; or when bytes are passed on as they are: everybody on the tailnet would look like a program of
/// this machine.
pub fn judge_forwards(
    mode: TailscaleMode,
    name: &str,
    port: u16,
    forwards: &[Forward],
) -> Result<Option<ForwardPermit>, Refusal> {
    let refuse = |message: String| Err(Refusal::new("forward_refused", message));
    let funnel = match mode {
        TailscaleMode::Off => return Ok(None),
        TailscaleMode::Funnel => true,
        TailscaleMode::Serve => false,
    };
    if forwards.iter().any(|forward| forward.raw) {
        return refuse(format!(
            "Tailscale passes TCP on to port {port} as it is, and everybody on the tailnet looks like this machine; run \
             `tailscale serve reset`, and start the gateway again, which sets up what it needs"
        ));
    }
    if !funnel && forwards.iter().any(|forward| forward.funnel) {
        return refuse(format!(
            "gateway.tailscale.mode is \"serve\", and Tailscale opens port {port} to the internet; run `tailscale funnel \
             reset`, or set the mode to \"funnel\" with a password"
        ));
    }
    if funnel && !forwards.is_empty() && !forwards.iter().any(|forward| forward.funnel) {
        return refuse(format!(
            "gateway.tailscale.mode is \"funnel\", and Tailscale passes on to port {port} what comes from the tailnet alone; \
             run `tailscale serve reset`, and start the gateway again, or set the mode to \"serve\""
        ));
    }
    let forward = OwnForward { name: name.to_owned(), port, funnel };
    Ok(forwards.is_empty().then_some(ForwardPermit { forward, is_on: true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_is_let_in_by_the_config_alone_and_nobody_without_a_word_of_who_it_is() {
        let web = Forward { funnel: false, raw: false };
        let funnel = Forward { funnel: true, raw: false };
        let raw = Forward { funnel: false, raw: true };
        let judged = |mode, forwards: &[Forward]| {
            let judged = judge_forwards(mode, "desk.ts.net", 18789, forwards);
            judged.map(|permit| permit.map(|permit| permit.entry())).map_err(|refusal| refusal.code)
        };
        let sets_up = |audience: &str| {
            let target = "https://desk.ts.net to 127.0.0.1:18789";
            let entry = Entry::new("gateway", "gateway.forward", target, Decision::Allowed);
            Ok(Some(entry.with("audience", audience)))
        };
        assert_eq!(judged(TailscaleMode::Serve, &[web]), Ok(None));
        assert_eq!(judged(TailscaleMode::Funnel, &[web, funnel]), Ok(None));
        assert_eq!(judged(TailscaleMode::Off, &[]), Ok(None));
        assert_eq!(judged(TailscaleMode::Serve, &[]), sets_up("tailnet"));
        assert_eq!(judged(TailscaleMode::Funnel, &[]), sets_up("internet"));
        assert_eq!(judged(TailscaleMode::Funnel, &[web]), Err("forward_refused"));
        assert_eq!(judged(TailscaleMode::Serve, &[web, funnel]), Err("forward_refused"));
        assert_eq!(judged(TailscaleMode::Serve, &[web, raw]), Err("forward_refused"));
        assert_eq!(judged(TailscaleMode::Funnel, &[raw]), Err("forward_refused"));
    }
}
