//! Attacks with the keys of devices.

use anyhow::Context as _;
use moltbot_config::settings::{AuthConfig, AuthMode};
use moltbot_policy::drill::DrillPermit;
use moltbot_policy::{Recorded, with_causes};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::{Role, Scope};
use moltbot_vault::{DeviceKey, StateDir};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::Seen;
use super::entrances::{connect, told};
use super::field::{Field, Target};
use crate::client::{Connection, connect_params};
use crate::clock;
use crate::serve::block_on;

/// The folder of the device that is revoked, beside the stand-in's state.
const LOST: &str = "lost";

/// The frame of a sign-in that was accepted is sent once more, on another connection. Afterwards the owner signs in, so that
/// the tries of his device are whole.
pub(super) fn replayed_signature(
    field: &mut Field<'_>,
    permit: &Recorded<DrillPermit>,
) -> anyhow::Result<Seen> {
    let target = field.target(permit)?;
    let (auth, key) = (target.home.credentials()?, device(&target.home.state)?);
    block_on(async {
        let mut recorded = Value::Null;
        let first = connect(target.port, |nonce| {
            recorded = connect_params(&key, &auth, &[Scope::Read], nonce);
            recorded.clone()
        })
        .await?;
        anyhow::ensure!(first.is_ok(), "{} refuses its owner, too: {}", target.called, told(&first));
        let second = connect(target.port, |_| recorded).await?;
        Connection::open(target.home, &[Scope::Read]).await?.close().await;
        let what = format!("{}: the first time it was let in, then it {}", target.called, told(&second));
        Ok(Seen { held: second.is_err(), what })
    })
}

/// A device signs in by its own token, is revoked, and signs in again.
pub(super) fn revoked_device(field: &mut Field<'_>, permit: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let folder = field.gateway(permit)?.stand_in.scratch.folder().folder(LOST);
    let key = device(&folder.map_err(|error| anyhow::anyhow!(with_causes(&error)))?)?;
    let target = field.throwaway(permit)?;
    let shared = target.home.credentials()?;
    block_on(async {
        let paired =
            connect(target.port, |nonce| connect_params(&key, &shared, &[Scope::Read], nonce)).await?;
        let token = paired.as_ref().ok().and_then(|hello| hello.pointer("/auth/deviceToken")?.as_str());
        let token = token.with_context(|| format!("the device is given no token: it {}", told(&paired)))?;
        let own = AuthConfig {
            mode: Some(AuthMode::Token),
            token: Some(SecretString::from(token)),
            ..AuthConfig::default()
        };
        let sign_in = || connect(target.port, |nonce| connect_params(&key, &own, &[Scope::Read], nonce));
        let before = sign_in().await?;
        anyhow::ensure!(before.is_ok(), "its token is of no use before it is revoked: it {}", told(&before));
        revoke(&target, key.id()).await?;
        let after = sign_in().await?;
        let what = format!("{}: let in before, afterwards it {}", target.called, told(&after));
        Ok(Seen { held: after.is_err(), what })
    })
}

async fn revoke(target: &Target<'_>, device: &str) -> anyhow::Result<()> {
    let mut owner = Connection::open(target.home, &[Scope::Admin, Scope::Pairing]).await?;
    let which = json!({"deviceId": device, "role": Role::Operator.name()});
    owner.ask(Method::DeviceTokenRevoke.name(), which).await?;
    owner.close().await;
    Ok(())
}

fn device(folder: &StateDir) -> anyhow::Result<DeviceKey> {
    DeviceKey::load_or_create(folder, clock::now_ms()).map_err(|error| anyhow::anyhow!(with_causes(&error)))
}
