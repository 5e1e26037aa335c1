//! Whether what Tailscale passes on to the gateway is what the config asks for.

use moltbot_config::settings::TailscaleMode;

use crate::refusal::Refusal;

/// One way by which Tailscale passes connections on to the gateway's port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Forward {
    /// Whether the internet may use it, and not the tailnet alone.
    pub funnel: bool,
    /// Whether bytes are passed on as they are, without a word of who sent them.
    pub raw: bool,
}

/// Judges what Tailscale passes on to `port`, and gives what the owner has to run when that is nothing.
///
/// # Errors
/// When the internet reaches the gateway where the config says the tailnet, which asks for no password; or when bytes are
/// passed on as they are: everybody on the tailnet would look like a program of this machine.
pub fn judge_forwards(
    mode: TailscaleMode,
    port: u16,
    forwards: &[Forward],
) -> Result<Option<String>, Refusal> {
    let refuse = |message: String| Err(Refusal::new("forward_refused", message));
    let command = match mode {
        TailscaleMode::Off => return Ok(None),
        TailscaleMode::Funnel => format!("tailscale funnel --bg {port}"),
        TailscaleMode::Serve => format!("tailscale serve --bg {port}"),
    };
    if forwards.iter().any(|forward| forward.raw) {
        return refuse(format!(
            "Tailscale passes TCP on to port {port} as it is, and everybody on the tailnet looks like this machine; run \
             `tailscale serve reset` and `{command}`"
        ));
    }
    if mode == TailscaleMode::Serve && forwards.iter().any(|forward| forward.funnel) {
        return refuse(format!(
            "gateway.tailscale.mode is \"serve\", and Tailscale opens port {port} to the internet; run `tailscale funnel \
             reset`, or set the mode to \"funnel\" with a password"
        ));
    }
    Ok(forwards.is_empty().then_some(command))
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
            judge_forwards(mode, 18789, forwards).map_err(|refusal| refusal.code)
        };
        assert_eq!(judged(TailscaleMode::Serve, &[web]), Ok(None));
        assert_eq!(judged(TailscaleMode::Funnel, &[web, funnel]), Ok(None));
        assert_eq!(judged(TailscaleMode::Serve, &[]), Ok(Some("tailscale serve --bg 18789".into())));
        assert_eq!(judged(TailscaleMode::Funnel, &[]), Ok(Some("tailscale funnel --bg 18789".into())));
        assert_eq!(judged(TailscaleMode::Serve, &[web, funnel]), Err("forward_refused"));
        assert_eq!(judged(TailscaleMode::Serve, &[web, raw]), Err("forward_refused"));
        assert_eq!(judged(TailscaleMode::Funnel, &[raw]), Err("forward_refused"));
    }
}
