//! Which models a gateway has when it starts.

use moltbot_agent::model::{LocalModels, Models, ProviderKeys};
use moltbot_config::Config;
use moltbot_ledger::Ledger;
use moltbot_posture::model::{self, Choice};

use crate::exit::Exit;
use crate::home;

/// The models of the config, else of the keys, else of a server on this machine, else one that moltbot runs, else none.
pub(crate) async fn models(
    config: &Config,
    keys: ProviderKeys,
    local: &LocalModels,
    ledger: &Ledger,
) -> anyhow::Result<Models> {
    let discovered = match model::choice(config, keys.deciding()) {
        Choice::Config(_) | Choice::Key(_) => None,
        Choice::Nobody => moltbot_net::loopback_answers(ledger).await,
    };
    Models::resolve_with(config, keys, discovered, Some(local), ledger.clone())
        .map_err(|error| Exit::Config.because(home::chain(&error)))
}
