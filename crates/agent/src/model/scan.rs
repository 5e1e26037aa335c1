//! Which models a provider has, by its own word.

use moltbot_config::limits;
use moltbot_net::{Method, Request};
use serde_json::Value;

use super::exchange::{headers, refusal};
use super::provider::{Model, Provider};
use super::{ModelError, wire};

/// What one provider said.
#[derive(Debug)]
pub struct Scanned {
    /// The provider's name.
    pub provider: String,
    /// The names of its models, in its order.
    pub models: Result<Vec<String>, ModelError>,
}

/// Asks a provider, by any model of it, with its first key.
pub(super) async fn scan(model: &Model, actor: &str) -> Scanned {
    Scanned { provider: model.provider().into(), models: names(model, actor).await }
}

async fn names(model: &Model, actor: &str) -> Result<Vec<String>, ModelError> {
    let (wire, with): (_, &Provider) = (wire::of(model.api()), &model.with);
    let key = with.keys.first();
    let named = model.named(key);
    let door = with.client.open(&with.base, actor).await.map_err(|error| named.fetch(error))?;
    let request = Request {
        method: Method::Get,
        url: wire.list(&with.base),
        headers: headers(wire, model, key),
        body: None,
        idle: limits::MODEL_LIST_WAIT,
    };
    let response = door.send(request).await.map_err(|error| named.fetch(error))?;
    if response.status != 200 {
        return Err(refusal(response, named).await);
    }
    let text = response.text(limits::MODEL_LIST_BYTES).await.map_err(|error| named.fetch(error))?;
    let list: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let list = list.get("data").or(list.get("models")).and_then(Value::as_array);
    let list = list.ok_or_else(|| named.garbage("no list of models"))?;
    let name = |entry: &Value| {
        let name = entry.get("id").or(entry.get("name"))?.as_str()?;
        let name = name.strip_prefix("models/").unwrap_or(name);
        // A name goes to terminals and into configs.
        let usable = !name.is_empty() && name.len() <= 256 && !name.contains(char::is_control);
        usable.then(|| name.to_owned())
    };
    Ok(list.iter().filter_map(name).collect())
}
