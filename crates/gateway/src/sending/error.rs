//! Why the book could not be sent.

use std::path::PathBuf;

use moltbot_ledger::query::QueryError;
use moltbot_net::{FetchError, NotCertificates};
use moltbot_policy::Refusal;
use moltbot_vault::FileError;
use thiserror::Error;

/// Why the book could not be sent to a server.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum SendError {
    /// The file of the setting `caFile` is of no use.
    #[error("{path} of the setting `caFile` cannot be used")]
    Authorities { path: PathBuf, source: NotCertificates },
    /// The file of the setting `caFile` cannot be read.
    #[error("the file of the setting `caFile` cannot be read")]
    AuthoritiesFile { source: FileError },
    /// The server cannot be reached, or the connection broke.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The folder of the book, or the place up to where it was sent, cannot be used.
    #[error("the book's folder cannot be used")]
    File(#[from] FileError),
    /// The program stops.
    #[error("the program is stopping")]
    Stopping,
    /// The book cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The judge said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The collector does not take it.
    #[error("{target} answered with status {status}; check its address, its headers and its log")]
    Status { target: String, status: u16, retry_after: Option<std::time::Duration> },
    /// The address is none.
    #[error("{url:?} is no address; write it as https://collector.example.org:4318/v1/logs")]
    Url { url: String },
}
