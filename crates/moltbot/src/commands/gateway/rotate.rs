//! `moltbot gateway rotate-token`, and the changed credential of a gateway that runs.

use moltbot_config::SecretState;
use moltbot_config::settings::AuthConfig;
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::Facts;
use crate::book::{CommandBook, OWNER};
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::{self, Home, TOKEN};
use crate::keeper::VaultKeeper;
use crate::{change, output, serve};

/// Draws a token, seals it in the config, and has the gateway that runs take it up. The token is not printed.
pub(crate) fn run(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    require_own(home, &change::text(home)?)?;
    let before = home.running()?.map(|_| home.credentials()).transpose()?;
    let book = CommandBook::open(home)?;
    let permit = book.record(SecretPermit::for_owner(SecretAct::Seal, TOKEN, OWNER))?;
    let token = moltbot_vault::draw_token().map_err(|error| home::failed(&error))?;
    let keeper = VaultKeeper::new(home.vault()?.secrets(&permit), &home.state);
    let old = change::text(home)?;
    let new =
        moltbot_config::set_secret(&old, TOKEN, &token, &keeper).map_err(|error| home::failed(&error))?;
    change::write(home, &book, &old, &new, "gateway rotate-token")?;
    book.close();
    let taken_up = before.map(|before| take_up(home, &before)).transpose()?;
    if facts.json {
        output::json(&json!({"rotated": true, "takenUp": taken_up.is_some()}))?;
        return Ok(Exit::Done);
    }
    output::line(match taken_up {
        None => "the token is another one, sealed in the config; no gateway runs here",
        Some(_) => "the token is another one, sealed in the config; what the old one has opened is ended",
    })?;
    output::note(
        "`moltbot secrets get gateway.auth.token` shows it; devices that are paired stay so: `moltbot devices list`",
    );
    Ok(Exit::Done)
}

/// A token that comes from elsewhere is changed there.
pub(crate) fn require_own(home: &Home, text: &str) -> anyhow::Result<()> {
    if home.environment.token.is_some() || home.environment.password.is_some() {
        return Err(Exit::Failed
            .because("the credential comes from the environment; change it there, and restart the gateway"));
    }
    require_no_reference(text, TOKEN)
}

/// Refuses where a secret of the config stands elsewhere, and the config says only where.
pub(crate) fn require_no_reference(text: &str, place: &str) -> anyhow::Result<()> {
    let found = moltbot_config::secrets(text).map_err(|error| Exit::Config.because(error))?;
    let is_reference = |state: &SecretState| matches!(state, SecretState::Reference(_));
    if found.iter().any(|entry| entry.path == place && is_reference(&entry.state)) {
        return Err(Exit::Failed.because(format!(
            "{place} is a reference; change the secret where it is, then `moltbot gateway call clients.reload`"
        )));
    }
    Ok(())
}

/// Has the gateway that runs take up a credential that was changed, and says what came of it.
pub(crate) fn tell(home: &Home, before: &AuthConfig) -> anyhow::Result<()> {
    let answer = take_up(home, before)?;
    let changed = answer.get("changed") == Some(&json!(true));
    output::note(if changed {
        "the gateway that runs takes nothing else from now on; what the old one has opened is ended"
    } else {
        "the gateway that runs signs in with something else, and goes on"
    });
    Ok(())
}

/// Has the gateway that runs read its credential anew, signing in with the one that it still knows.
fn take_up(home: &Home, before: &AuthConfig) -> anyhow::Result<Value> {
    serve::block_on(async {
        let mut connection = Connection::open_with(home, before, &[Scope::Admin]).await?;
        let answer = connection.ask(Method::ClientsReload.name(), json!({})).await?;
        connection.close().await;
        Ok(answer)
    })
}
