//! Looks for a model server on this machine.

use std::sync::Arc;

use futures_util::future::join_all;
use moltbot_config::limits;
use moltbot_ledger::Ledger;
use moltbot_policy::network::{Destination, Purpose, Reach};
use serde_json::Value;
use url::Url;

use crate::error::FetchError;
use crate::fetch::{Client, Door, Method, Request};
use crate::recording::SharedBook;

/// A server on this machine that offers a model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoopbackModel {
    /// The program that listens on that port by custom.
    pub server: &'static str,
    /// The address that `/chat/completions` is added to.
    pub base_url: String,
    /// The first model that can chat.
    pub model: String,
}

/// Where the common programs listen, in the order in which they are preferred.
const SERVERS: [(&str, u16); 4] =
    [("Ollama", 11434), ("llama.cpp", 8080), ("LM Studio", 1234), ("vLLM", 8000)];

/// Asks the ports where model servers listen by custom, all at once, and takes the first that offers a model.
/// Other programs use those ports too: only one that answers `GET /v1/models` with a model counts.
pub async fn loopback_answers(ledger: &Ledger) -> Option<LoopbackModel> {
    first_of(&SERVERS, ledger).await
}

async fn first_of(servers: &[(&'static str, u16)], ledger: &Ledger) -> Option<LoopbackModel> {
    let places: Vec<(&'static str, String, Url)> = servers.iter().copied().filter_map(place).collect();
    let doors = match open(&places, ledger).await {
        Ok(doors) => doors,
        Err(error) => {
            tracing::warn!(%error, "no model server was looked for");
            return None;
        }
    };
    let asked = places.into_iter().zip(doors).map(|((server, base_url, url), door)| async move {
        match ask(&door, url).await {
            Ok(model) => model.map(|model| LoopbackModel { server, base_url, model }),
            Err(error) => {
                tracing::debug!(server, base_url, %error, "no model server");
                None
            }
        }
    });
    join_all(asked).await.into_iter().flatten().next()
}

/// The address of a server's API and of its list of models.
fn place((server, port): (&'static str, u16)) -> Option<(&'static str, String, Url)> {
    let base_url = format!("http://127.0.0.1:{port}/v1");
    let url = Url::parse(&format!("{base_url}/models")).ok()?;
    Some((server, base_url, url))
}

/// Judges and records the ways to all of them at once.
async fn open(places: &[(&'static str, String, Url)], ledger: &Ledger) -> Result<Vec<Door>, FetchError> {
    let client = |(_, _, url): &'_ (_, _, Url)| -> Result<Client, FetchError> {
        let destination = Destination::parse(url, Reach::Configured)?;
        Ok(Client::new(Purpose::Discovery, destination, ledger.clone()))
    };
    let clients: Result<Vec<_>, FetchError> =
        places.iter().map(|place| Ok((client(place)?, &place.2))).collect();
    let book: SharedBook = Arc::new(ledger.clone());
    Client::open_all(clients?, &book, "gateway").await
}

/// The first model of a server, if it is one.
async fn ask(door: &Door, url: Url) -> Result<Option<String>, FetchError> {
    if !door.knock(&url, limits::DISCOVERY).await {
        return Ok(None);
    }
    let request =
        Request { method: Method::Get, url, headers: Vec::new(), body: None, idle: limits::DISCOVERY };
    let response = door.send(request).await?;
    if response.status != 200 {
        return Ok(None);
    }
    Ok(chat_model(&response.text(limits::DISCOVERY_BYTES).await?))
}

/// The first model in a list that can chat: models that only embed say so in their name.
fn chat_model(body: &str) -> Option<String> {
    let list: Value = serde_json::from_str(body).ok()?;
    let ids = list.get("data")?.as_array()?.iter().filter_map(|model| model.get("id")?.as_str());
    let usable = |id: &&str| {
        !id.is_empty()
            && id.len() <= 256
            && !id.to_ascii_lowercase().contains("embed")
            && !id.contains(char::is_control)
    };
    ids.into_iter().find(usable).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use moltbot_ledger::LedgerOptions;
    use moltbot_vault::StateDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers every request with this body, or never answers.
    #[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
    async fn serve(body: Option<&'static str>) -> u16 {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = socket.accept().await {
                let Some(body) = body else {
                    silent.push(stream);
                    continue;
                };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if !matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {
                    continue;
                }
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        port
    }

    #[tokio::test]
    async fn the_first_server_in_order_that_offers_a_chat_model_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(&folder.path().join("state")).unwrap();
        let vault = moltbot_testkit::vault(&state);
        let ledger = Ledger::open(&state, &vault, LedgerOptions::default()).unwrap();
        let embedding = serve(Some(r#"{"data":[{"id":"nomic-embed-text"}]}"#)).await;
        let page = serve(Some("<html>a web page</html>")).await;
        let silent = serve(None).await;
        let chat = serve(Some(r#"{"data":[{"id":"bge-Embed"},{"id":"qwen2.5:0.5b"},{"id":"other"}]}"#)).await;
        let later = serve(Some(r#"{"data":[{"id":"later"}]}"#)).await;
        let others = [("nothing", 9), ("embedding", embedding), ("page", page), ("silent", silent)];
        assert_eq!(first_of(&others, &ledger).await, None);
        let all = [others.as_slice(), &[("chat", chat), ("later", later)]].concat();
        let base_url = format!("http://127.0.0.1:{chat}/v1");
        let expected = LoopbackModel { server: "chat", base_url, model: "qwen2.5:0.5b".into() };
        assert_eq!(first_of(&all, &ledger).await, Some(expected));
    }

    #[test]
    fn a_list_without_a_usable_model_offers_none() {
        for body in ["", "[]", "{}", r#"{"data":{}}"#, r#"{"data":[{"id":""},{"id":7},{},{"id":"a\u0007"}]}"#]
        {
            assert_eq!(chat_model(body), None, "list {body}");
        }
    }
}
