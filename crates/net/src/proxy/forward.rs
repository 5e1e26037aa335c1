//! Requests in clear: read, judged, and written anew.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use moltbot_config::limits;
use moltbot_config::settings::{HostPattern, OutboundCredential};
use moltbot_policy::Recorded;
use moltbot_policy::network::{EgressPermit, Way};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::budget::Counted;
use super::{Answer, Proxy, unclear};
use crate::error::FetchError;
use crate::stream::{dial, secure};

/// Headers between a client and its proxy, or of one connection (RFC 9110 section 7.6.1).
const OF_THE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

impl Proxy {
    /// Sends a request on and its answer back.
    pub(super) async fn forward(&self, request: Request<Incoming>) -> Result<Answer, FetchError> {
        let asked = request.uri().clone();
        let in_clear = asked.scheme() == Some(&Scheme::HTTP);
        let authority = asked.authority().filter(|authority| in_clear && !authority.as_str().contains('@'));
        let Some(authority) = authority else {
            let refusal = unclear("a proxy is asked for http:// and a host, or with CONNECT");
            return Err(self.refused(&asked.to_string(), refusal).await);
        };
        let credential = self.credential(authority);
        let (way, port) = match credential {
            Some(credential) => (Way::RequestWithCredential, credential.host.port),
            None => (Way::Request, authority.port_u16().unwrap_or(80)),
        };
        let permit = self.judge(authority.host(), port, way).await?;
        let target = permit.permit().destination().target();
        let request = anew(request, &asked, permit.permit(), credential)
            .map_err(|what| FetchError::Header { target: target.clone(), what: what.into() })?;
        match way {
            Way::RequestWithCredential => {
                let stream = secure(&permit, self.connector.get(&target).await?).await?;
                self.send(stream, request, &permit).await
            }
            Way::Request | Way::Tunnel => self.send(dial(&permit).await?, request, &permit).await,
        }
    }

    /// The credential for a host: when the port is not said, or is the one it is for.
    fn credential(&self, authority: &Authority) -> Option<&OutboundCredential> {
        let host = authority.host().to_ascii_lowercase();
        self.rules.inject.iter().find(|credential| {
            let is_it = match &credential.host.pattern {
                HostPattern::Address(address) => host.trim_matches(['[', ']']).parse() == Ok(*address),
                HostPattern::Name(name) => *name == host,
                HostPattern::Below(_) => false,
            };
            is_it && authority.port_u16().is_none_or(|port| port == credential.host.port)
        })
    }

    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Incoming>,
        permit: &Recorded<EgressPermit>,
    ) -> Result<Answer, FetchError> {
        let target = permit.permit().destination().target();
        let broken = |source: hyper::Error| FetchError::Interrupted {
            target: target.clone(),
            source: Some(source.into()),
        };
        let stream = TokioIo::new(Counted::new(stream, Arc::clone(&self.budget)));
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        // It ends with the answer's body, which the command reads or drops.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for a command broke off");
            }
        });
        let answered = timeout(limits::PROXY_ANSWER, sender.send_request(request)).await;
        let limit = limits::PROXY_ANSWER;
        let answer =
            answered.map_err(|_| FetchError::Timeout { target: target.clone(), what: "answering", limit })?;
        let (mut head, body) = answer.map_err(broken)?.into_parts();
        without_connection(&mut head.headers);
        Ok(Answer::from_parts(head, body.boxed()))
    }
}

/// The request as its server gets it.
fn anew(
    request: Request<Incoming>,
    asked: &Uri,
    permit: &EgressPermit,
    credential: Option<&OutboundCredential>,
) -> Result<Request<Incoming>, &'static str> {
    let (mut head, body) = request.into_parts();
    without_connection(&mut head.headers);
    let path = asked.path_and_query().map_or("/", PathAndQuery::as_str);
    head.uri = path.parse().map_err(|_| "the path")?;
    let destination = permit.destination();
    let usual = if destination.is_encrypted() { 443 } else { 80 };
    let host = if destination.port() == usual { destination.host().to_owned() } else { destination.target() };
    head.headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|_| "the host")?);
    if let Some(credential) = credential {
        let name =
            HeaderName::from_bytes(credential.header.as_bytes()).map_err(|_| "the name of a credential")?;
        let mut value = HeaderValue::from_str(credential.value.expose_secret())
            .map_err(|_| "the value of a credential")?;
        value.set_sensitive(true);
        head.headers.insert(name, value);
    }
    Ok(Request::from_parts(head, body))
}

/// Takes away what is of one connection, and what its `Connection` names.
fn without_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let others = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    for name in named.iter().chain(&OF_THE_CONNECTION).chain(&others) {
        while headers.remove(name).is_some() {}
    }
}
