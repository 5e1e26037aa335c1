//! Has Tailscale pass requests on to the gateway, and takes that back when the config wants it.
//!
//! Only what the gateway put there is ever changed: it keeps that in its state folder, because an owner's own
//! `tailscale serve` looks the same. Each change names the version that it was made from, so that nothing of somebody who
//! changes something at the same time is lost.

use moltbot_config::settings::GatewayConfig;
use moltbot_ledger::Ledger;
use moltbot_policy::network::{ForwardPermit, OwnForward, judge_forwards, take_back};
use moltbot_policy::{Recorded, Refusal, record_soon};
use moltbot_vault::{FileError, StateDir};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::serving::{ServeConfig, with, without};
use super::{HOST, SERVE_CONFIG, Status, TailnetError, Tailscale, told};

/// Tries to change what somebody else changes at the same time.
const TRIES: u32 = 3;

/// What is to be set up, and what is.
#[derive(Debug)]
pub(super) struct Setup {
    /// Nothing when it is set up already.
    wanted: Option<ForwardPermit>,
    resets: bool,
}

/// What the gateway set up, as its state folder keeps it.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Kept(Vec<KeptForward>);

#[derive(Debug, Deserialize, Serialize)]
struct KeptForward {
    name: String,
    port: u16,
    funnel: bool,
}

impl Kept {
    const FILE: &str = "tailscale.json";
    const BYTES: u64 = 4096;

    /// A file that cannot be read is none: what it told of then counts as somebody else's.
    fn read(state: &StateDir) -> Result<Vec<OwnForward>, FileError> {
        let text = state.read(Self::FILE, Self::BYTES)?.unwrap_or_default();
        let kept: Self = serde_json::from_slice(&text).unwrap_or_default();
        let forward = |KeptForward { name, port, funnel }| OwnForward { name, port, funnel };
        Ok(kept.0.into_iter().map(forward).collect())
    }

    fn write(state: &StateDir, forwards: &[OwnForward]) -> Result<(), FileError> {
        let kept = |OwnForward { name, port, funnel }: &OwnForward| KeptForward {
            name: name.clone(),
            port: *port,
            funnel: *funnel,
        };
        let kept = Self(forwards.iter().map(kept).collect());
        state.write(Self::FILE, &serde_json::to_vec(&kept).unwrap_or_default())
    }
}

impl Setup {
    /// Looks at what Tailscale passes on, and judges what it would have to.
    ///
    /// # Errors
    /// When that is not what the config asks for, and cannot become it without changing what is not the gateway's.
    pub(super) fn plan(
        gateway: &GatewayConfig,
        status: &Status,
        name: &str,
        told: &Value,
        state: &StateDir,
    ) -> Result<Self, TailnetError> {
        let others = without_all(told, &Kept::read(state)?);
        let unclear = |_| TailnetError::Answer("does not tell what it passes on");
        let forwards: Option<ServeConfig> = serde_json::from_value(others.clone()).map_err(unclear)?;
        let forwards = forwards.unwrap_or_default().to_port(gateway.port);
        let wanted = judge_forwards(gateway.tailscale.mode, name, gateway.port, &forwards);
        let mut wanted = wanted.map_err(TailnetError::Forwards)?;
        if let Some(permit) = &wanted {
            let forward = permit.forward();
            if with(&others, forward).ok_or_else(|| taken(forward))? == *told {
                wanted = None;
            } else {
                require_served(status, forward)?;
            }
        }
        Ok(Self { wanted, resets: gateway.tailscale.reset_on_exit })
    }
}

impl Tailscale {
    /// Has Tailscale pass on what the config asks for, when it does not yet.
    ///
    /// # Errors
    /// When that cannot be recorded or kept, or Tailscale does not take it.
    pub(crate) async fn set_up(&mut self, ledger: &Ledger, state: &StateDir) -> Result<(), TailnetError> {
        let Some(permit) = self.setup.wanted.take() else { return Ok(()) };
        let kept = Kept::read(state)?;
        let permit = record_soon(permit, ledger).await?;
        let forward = permit.permit().forward().clone();
        // Kept before the act: what is killed in between is still known to be ours.
        let all: Vec<OwnForward> = kept.iter().chain([&forward]).cloned().collect();
        Kept::write(state, &all)?;
        self.change(&permit, |told| {
            with(&without_all(told, &kept), &forward).map(Some).ok_or_else(|| taken(&forward))
        })
        .await?;
        tracing::info!(name = %forward.name, "Tailscale passes requests on to the gateway");
        Ok(Kept::write(state, &[forward])?)
    }

    /// Takes back what the gateway set up, when the config wants that. What cannot be taken back is in the log.
    pub(crate) async fn end(&self, ledger: &Ledger, state: &StateDir) {
        if self.setup.resets
            && let Err(error) = self.take_back(ledger, state).await
        {
            tracing::warn!(%error, "Tailscale still passes requests on; `tailscale serve reset` ends all that it passes on");
        }
    }

    async fn take_back(&self, ledger: &Ledger, state: &StateDir) -> Result<(), TailnetError> {
        for forward in Kept::read(state)? {
            let permit = record_soon(take_back(forward), ledger).await?;
            self.change(&permit, |told| Ok(without(told, permit.permit().forward()))).await?;
        }
        Ok(Kept::write(state, &[])?)
    }

    /// Changes what Tailscale passes on by `edit`, which gives nothing when there is nothing to change.
    async fn change(
        &self,
        permit: &Recorded<ForwardPermit>,
        edit: impl Fn(&Value) -> Result<Option<Value>, TailnetError>,
    ) -> Result<(), TailnetError> {
        for _ in 0..TRIES {
            let (told, version) = told(&self.socket).await?;
            let Some(changed) = edit(&told)? else { return Ok(()) };
            let body = serde_json::to_vec(&changed).unwrap_or_default();
            match self.socket.change_forwards(permit, HOST, SERVE_CONFIG, &version, body).await?.status {
                200 => return Ok(()),
                401 | 403 => return Err(TailnetError::Denied),
                412 => {}
                status => {
                    tracing::warn!(status, "Tailscale refuses a change of what it passes on");
                    return Err(TailnetError::Answer("does not take a change of what it passes on"));
                }
            }
        }
        Err(TailnetError::Answer("is changed by somebody else all the time"))
    }
}

/// What is passed on besides what the gateway set up.
fn without_all(told: &Value, kept: &[OwnForward]) -> Value {
    kept.iter().fold(told.clone(), |told, forward| without(&told, forward).unwrap_or(told))
}

fn taken(forward: &OwnForward) -> TailnetError {
    let OwnForward { name, port, funnel } = forward;
    let command = if *funnel { "funnel" } else { "serve" };
    TailnetError::Forwards(Refusal::new(
        "forward_taken",
        format!(
            "gateway.tailscale.mode is {command:?}, and Tailscale already passes on something else from port 443 of {name}; free \
             it (`tailscale serve status` shows what it is), or name another port for the gateway: \
             `tailscale {command} --bg --https=8443 {port}`"
        ),
    ))
}

/// Demands that Tailscale can serve the name at all: what it takes and does not serve, nobody would notice.
fn require_served(status: &Status, forward: &OwnForward) -> Result<(), TailnetError> {
    let has_certificate = status.cert_domains.iter().flatten().any(|domain| *domain == forward.name);
    if !has_certificate {
        return Err(TailnetError::Answer(
            "has no certificates for this tailnet (switch on HTTPS in its DNS settings)",
        ));
    }
    if forward.funnel && !status.own.as_ref().is_some_and(|own| own.may("funnel")) {
        return Err(TailnetError::Answer(
            "does not let this machine open anything to the internet (the node attribute `funnel` of its policy)",
        ));
    }
    Ok(())
}
