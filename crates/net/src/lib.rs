//! The door to the network: the only listener, the only HTTP and WebSocket client.
//!
//! [`listen`] takes a recorded permit to bind, and who the gateway is over TLS; programs of its owner come in through a
//! socket in the file system besides. A [`Client`] is bound to one purpose and one destination: it
//! judges and records each time it is opened, and the [`Door`] that it then hands out sends requests to that
//! destination alone, to addresses that were judged after the name was resolved. A [`StreamClient`] does the same for a
//! stream of bytes, with one decision for each connection. No redirect is followed and no cookie is kept; through a proxy of
//! the environment goes only what was told of it, and the book says so. What the bytes mean is for others to know.
#![forbid(unsafe_code)]

mod announce;
mod authorities;
mod discovery;
pub mod drill;
mod environment_proxy;
mod error;
mod fetch;
pub mod gateway_client;
mod handed;
mod http_client;
mod identity;
mod listener;
mod local_socket;
mod own_socket;
mod owner;
mod pin;
mod process;
mod proxy;
mod recording;
mod service_manager;
mod stream;
mod wire;

pub use announce::{AnnounceError, Announcer};
pub use authorities::{Authorities, NotCertificates};
pub use discovery::{LoopbackModel, loopback_answers};
pub use environment_proxy::EnvironmentProxy;
pub use error::FetchError;
pub use fetch::{Body, Client, Door, Method, Request, Response};
pub use handed::HandedSockets;
pub use identity::{
    ClientIdentity, Fingerprint, IdentityError, MadeCertificate, ServerIdentity, certificate_end,
    make_certificate,
};
pub use listener::{ListenError, Listener, listen, own_addresses};
pub use local_socket::{LocalAnswer, LocalSocket, LocalSocketError};
pub use own_socket::OwnSocketError;
pub use process::{Connecting, Connector};
pub use proxy::{Proxy, Traffic};
pub use recording::SharedBook;
pub use service_manager::{ServiceManager, ServiceWord};
pub use stream::{Stream, StreamClient, StreamReader, StreamWriter};
pub use url::Url;
pub use wire::{Accepted, Wire};
