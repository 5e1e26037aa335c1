//! `CONNECT`: TLS between a command and a host. What is in it stays theirs.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use moltbot_config::limits;
use moltbot_policy::network::{EgressPermit, Way};
use moltbot_policy::{Recorded, with_causes};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::budget::Counted;
use super::{Answer, Proxy, hello, plain_answer, unclear};
use crate::error::FetchError;
use crate::stream::dial;

/// A tunnel that was allowed, and has no end yet.
#[derive(Debug)]
pub(super) struct Opened {
    upgrade: OnUpgrade,
    permit: Recorded<EgressPermit>,
}

/// A fatal alert of TLS, `access_denied` (RFC 8446 section 6.2): a command sees that it was refused, not that a line is bad.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// The same, `internal_error`: the host cannot be reached.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

impl Proxy {
    /// Judges a tunnel. It is joined to its host once its first message was seen.
    pub(super) async fn open_tunnel(
        &self,
        mut request: Request<Incoming>,
        ready: &mpsc::Sender<Opened>,
    ) -> Result<Answer, FetchError> {
        let target = request.uri().to_string();
        let authority = request.uri().authority().filter(|authority| !authority.as_str().contains('@'));
        let asked =
            authority.and_then(|authority| Some((authority.host().to_owned(), authority.port_u16()?)));
        let Some((host, port)) = asked else {
            return Err(self
                .refused(&target, unclear("CONNECT needs a host and a port, and nothing else"))
                .await);
        };
        let permit = self.judge(&host, port, Way::Tunnel).await?;
        let upgrade = hyper::upgrade::on(&mut request);
        if ready.try_send(Opened { upgrade, permit }).is_err() {
            return Err(self.refused(&target, unclear("one connection carries one tunnel")).await);
        }
        Ok(plain_answer(StatusCode::OK, String::new()))
    }

    /// Joins a tunnel to its host.
    pub(super) async fn tunnel(self: Arc<Self>, opened: Opened) {
        let target = opened.permit.permit().destination().target();
        let Ok(client) = opened.upgrade.await else { return };
        let mut client = TokioIo::new(client);
        if let Err(error) = self.join(&mut client, &opened.permit).await {
            let alert = if matches!(error, FetchError::Refused(_)) { ACCESS_DENIED } else { INTERNAL_ERROR };
            tracing::info!(%target, error = %with_causes(&error), "a tunnel of a command was not joined");
            let said = async {
                client.write_all(&alert).await?;
                client.shutdown().await
            };
            if let Ok(Err(error)) = timeout(limits::PROXY_HEAD, said).await {
                tracing::debug!(%error, "the command did not wait for an answer");
            }
        }
    }

    async fn join(
        &self,
        client: &mut TokioIo<Upgraded>,
        permit: &Recorded<EgressPermit>,
    ) -> Result<(), FetchError> {
        let destination = permit.permit().destination();
        let target = destination.target();
        let silent =
            |_| FetchError::Timeout { target: target.clone(), what: "beginning", limit: limits::PROXY_HEAD };
        let first = timeout(limits::PROXY_HEAD, hello::read(client)).await.map_err(silent)?;
        let checked = first.and_then(|first| {
            hello::require(&first, destination.host(), destination.address().is_some()).map(|()| first)
        });
        let first = match checked {
            Ok(first) => first,
            Err(refusal) => return Err(self.refused(&target, refusal).await),
        };
        let mut server = Counted::new(dial(permit).await?, Arc::clone(&self.budget));
        let joined = async {
            server.write_all(&first.bytes).await?;
            copy_bidirectional(client, &mut server).await
        };
        if let Err(error) = joined.await {
            tracing::info!(%target, %error, "a tunnel of a command broke off");
        }
        Ok(())
    }
}
