//! The two kinds of servers that take the book, behind one face.

use std::path::Path;
use std::sync::Arc;

use moltbot_config::limits;
use moltbot_config::settings::{OtlpConfig, SyslogConfig};
use moltbot_ledger::Head;
use moltbot_ledger::export::{self, Origin};
use moltbot_ledger::query::Item;
use moltbot_net::{Authorities, Client, Door, Method, Request, SharedBook, Stream, StreamClient, Url};
use moltbot_policy::network::{Destination, Purpose};
use moltbot_vault::read_public;
use secrecy::SecretString;
use serde_json::Value;

use super::SendError;

/// A server that the book is sent to.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    destination: Destination,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Otlp { client: Client, url: Url, headers: Vec<(String, SecretString)> },
    Syslog(StreamClient),
}

impl Server {
    /// A syslog server that takes messages over TLS.
    ///
    /// # Errors
    /// When its name or port cannot be, or its authorities cannot be read.
    pub fn syslog(settings: &SyslogConfig, book: &SharedBook) -> Result<Self, SendError> {
        let destination = Destination::tls(&settings.host, settings.port)?;
        let authorities = authorities(settings.ca_file.as_deref())?;
        let client = StreamClient::new(authorities, Purpose::Syslog, destination.clone(), Arc::clone(book));
        Ok(Self { name: "syslog", destination, kind: Kind::Syslog(client) })
    }

    /// A collector of OpenTelemetry.
    ///
    /// # Errors
    /// When its address cannot be, or its authorities cannot be read.
    pub fn otlp(settings: &OtlpConfig, book: &SharedBook) -> Result<Self, SendError> {
        let url = Url::parse(settings.url.trim());
        let url = url.map_err(|_| SendError::Url { url: "the address of the collector".into() })?;
        let destination = Destination::collector(&url)?;
        let authorities = authorities(settings.ca_file.as_deref())?;
        let client = Client::trusting(authorities, Purpose::Collector, destination.clone(), Arc::clone(book));
        let headers = settings.headers.clone().into_iter().collect();
        Ok(Self { name: "otlp", destination, kind: Kind::Otlp { client, url, headers } })
    }

    /// What kind it is: `otlp` or `syslog`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its host and port.
    pub fn target(&self) -> String {
        self.destination.target()
    }

    /// Whether it remembers heads.
    pub(super) const fn takes_heads(&self) -> bool {
        matches!(self.kind, Kind::Syslog(_))
    }

    /// Judges, records and opens the way to it.
    ///
    /// # Errors
    /// When that is refused, cannot be recorded, or the server cannot be reached.
    pub async fn connect(&self, actor: &str) -> Result<Connection<'_>, SendError> {
        let way = match &self.kind {
            Kind::Otlp { client, url, headers } => {
                Way::Otlp { door: client.open(url, actor).await?, url, headers }
            }
            Kind::Syslog(client) => Way::Syslog(Box::new(client.connect(actor).await?)),
        };
        Ok(Connection { way, target: self.target() })
    }
}

fn authorities(file: Option<&str>) -> Result<Authorities, SendError> {
    let Some(path) = file.map(Path::new) else { return Ok(Authorities::System) };
    let pem = read_public(path, limits::AUTHORITIES_BYTES);
    let pem = pem.map_err(|source| SendError::AuthoritiesFile { source })?;
    Authorities::only(&pem).map_err(|source| SendError::Authorities { path: path.to_owned(), source })
}

/// A way to a server, for one recorded decision.
#[derive(Debug)]
pub struct Connection<'a> {
    way: Way<'a>,
    target: String,
}

#[derive(Debug)]
enum Way<'a> {
    Otlp { door: Door, url: &'a Url, headers: &'a [(String, SecretString)] },
    Syslog(Box<Stream>),
}

impl Connection<'_> {
    /// Sends items of the book, in order. `at_ms` is the time of what is no record, in milliseconds since the epoch.
    ///
    /// # Errors
    /// When the server does not take them.
    pub async fn send(&mut self, items: &[Item], origin: &Origin, at_ms: u64) -> Result<(), SendError> {
        let at = export::timestamp(at_ms);
        match &mut self.way {
            Way::Otlp { door, url, headers } => {
                post(door, url, headers, export::otlp(items, origin, at), &self.target).await
            }
            Way::Syslog(stream) => Ok(stream.send(&export::syslog(items, origin, at)).await?),
        }
    }

    /// Sends the head of the book to a server that remembers heads; others are not sent any.
    ///
    /// # Errors
    /// When the server does not take it.
    pub(super) async fn send_head(
        &mut self,
        head: &Head,
        origin: &Origin,
        at_ms: u64,
    ) -> Result<(), SendError> {
        match &mut self.way {
            Way::Otlp { .. } => Ok(()),
            Way::Syslog(stream) => {
                Ok(stream.send(&export::syslog_head(head, origin, export::timestamp(at_ms))).await?)
            }
        }
    }

    /// Whether the server says of each sending that it has it. Of others only [`Self::finish`] tells.
    pub(super) const fn answers(&self) -> bool {
        matches!(self.way, Way::Otlp { .. })
    }

    /// Waits until the server ends the connection; for ever where there is none between two sendings.
    pub(super) async fn ended(&mut self) -> SendError {
        match &mut self.way {
            Way::Otlp { .. } => std::future::pending().await,
            Way::Syslog(stream) => stream.ended().await.into(),
        }
    }

    /// Ends the way. The server then has everything that was sent.
    ///
    /// # Errors
    /// When it does not show that it has.
    pub async fn finish(self) -> Result<(), SendError> {
        match self.way {
            Way::Otlp { .. } => Ok(()),
            Way::Syslog(stream) => Ok(stream.finish().await?),
        }
    }
}

async fn post(
    door: &Door,
    url: &Url,
    headers: &[(String, SecretString)],
    body: Vec<u8>,
    target: &str,
) -> Result<(), SendError> {
    let kind = [("content-type".to_owned(), SecretString::from("application/json"))];
    let headers = kind.into_iter().chain(headers.iter().cloned()).collect();
    let (method, idle) = (Method::Post, limits::LEDGER_SENT_IDLE);
    let request = Request { method, url: url.clone(), headers, body: Some(body.into()), idle };
    let response = door.send(request).await?;
    let (status, retry_after) = (response.status, response.retry_after);
    if !(200..300).contains(&status) {
        return Err(SendError::Status { target: target.to_owned(), status, retry_after });
    }
    let answer = response.text(limits::LEDGER_SENT_ANSWER_BYTES).await?;
    if let Some(rejected) = rejected(&answer) {
        // It says that the same would be rejected again, and the rest was taken.
        tracing::error!(target, rejected, "the collector threw records of the book away; its log says why");
    }
    Ok(())
}

/// How many records a collector says that it threw away; nothing when it took all.
fn rejected(answer: &str) -> Option<u64> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let rejected = answer.pointer("/partialSuccess/rejectedLogRecords")?;
    let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok())?;
    (rejected > 0).then_some(rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_rejects_is_found_in_both_forms_of_its_number() {
        for (answer, expected) in [
            ("", None),
            ("{}", None),
            (r#"{"partialSuccess":{}}"#, None),
            (r#"{"partialSuccess":{"rejectedLogRecords":"0"}}"#, None),
            (r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"x"}}"#, Some(3)),
            (r#"{"partialSuccess":{"rejectedLogRecords":4}}"#, Some(4)),
        ] {
            assert_eq!(rejected(answer), expected, "{answer}");
        }
    }
}
