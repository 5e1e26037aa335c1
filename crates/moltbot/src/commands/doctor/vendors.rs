//! Whether the providers and the chat networks of the config take us for who we are. A gateway that runs is asked; otherwise they are
//! asked here, each for what costs nothing and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moltbot_agent::model::{Models, Scanned};
use moltbot_net::SharedBook;
use moltbot_posture::{self as posture, Check, VendorTrial};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::book::OWNER;
use crate::client::Connection;
use crate::home::{self, Home};
use crate::output::harmless;
use crate::serve::Opened;
use crate::{channels, serve};

/// How long one of them may take. What takes longer is as good as not there.
const PATIENCE: Duration = Duration::from_secs(15);

/// What they say.
pub(super) async fn ask(home: &Home, is_running: bool) -> Vec<Check> {
    let asked = if is_running { through_the_gateway(home).await } else { from_here(home).await };
    asked.unwrap_or_else(|error| vec![posture::vendors_unasked(&format!("{error:#}"))])
}

async fn through_the_gateway(home: &Home) -> anyhow::Result<Vec<Check>> {
    let mut connection = Connection::open(home, &[Scope::Admin]).await?;
    let scanned = connection.ask(Method::ModelsScan.name(), json!({})).await?;
    let status = connection.ask(Method::ChannelsStatus.name(), json!({})).await?;
    connection.close().await;
    let rows = |name: &str| scanned.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).map(harmless);
    let provider = |row: &Value| text(row, "provider").unwrap_or_default();
    let mut answering: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows("models") {
        let count = answering.entry(provider(&row)).or_default();
        *count = count.saturating_add(1);
    }
    let answering = answering.into_iter().map(|(name, count)| (name, models_of(count)));
    let failed = rows("failed").into_iter();
    let failed =
        failed.map(|row| (provider(&row), VendorTrial::Fails(text(&row, "why").unwrap_or_default())));
    let mut checks: Vec<Check> =
        answering.chain(failed).map(|(name, trial)| posture::provider(&name, trial)).collect();
    let accounts = status.get("channelAccounts").and_then(Value::as_object).into_iter().flatten();
    for account in accounts.flat_map(|(_, list)| list.as_array().into_iter().flatten()) {
        let channel = text(account, "channel").unwrap_or_default();
        if channel == moltbot_channels::webchat::CHANNEL {
            continue;
        }
        let place = format!("{channel}:{}", text(account, "accountId").unwrap_or_default());
        let trial = match (account.get("connected"), text(account, "lastError")) {
            (Some(Value::Bool(true)), _) => VendorTrial::Answers("is connected".into()),
            (_, Some(why)) => VendorTrial::Fails(why),
            (_, None) => VendorTrial::Untried("it is not connected yet".into()),
        };
        checks.push(posture::channel(&place, trial));
    }
    Ok(checks)
}

fn models_of(count: usize) -> VendorTrial {
    VendorTrial::Answers(format!("its list has {count} models"))
}

async fn from_here(home: &Home) -> anyhow::Result<Vec<Check>> {
    let ledger = home.ledger()?.clone();
    let Opened { loaded, keys, bots, .. } = serve::opened(home, &home.text()?, &ledger)?;
    let config = loaded.config;
    let mut checks = Vec::new();
    let models = Models::resolve(&config, keys, None, ledger.clone());
    let models = models.map_err(|error| anyhow::anyhow!("{}", home::chain(&error)))?;
    for Scanned { provider, models } in models.scan(None, OWNER).await? {
        checks.push(posture::provider(
            &provider,
            match models {
                Ok(ids) => models_of(ids.len()),
                Err(error) => VendorTrial::Fails(home::chain(&error)),
            },
        ));
    }
    let book: SharedBook = Arc::new(ledger);
    for part in channels::of(&config.channels, &bots, &book)? {
        let looked = tokio::time::timeout(PATIENCE, part.driver.look()).await;
        let trial = match looked {
            Ok(Ok(Some(who))) => VendorTrial::Answers(format!("takes us for {}", harmless(&who))),
            Ok(Ok(None)) => VendorTrial::Untried("who signs in there is seen by others".into()),
            Ok(Err(broken)) => VendorTrial::Fails(harmless(&broken.what)),
            Err(_) => VendorTrial::Fails(format!("it did not answer in {} s", PATIENCE.as_secs())),
        };
        checks.push(posture::channel(&part.driver.place().to_string(), trial));
    }
    Ok(checks)
}
