//! The three frames: request, response, event. One JSON object a WebSocket text message.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::error::WireError;

/// The longest request id that is echoed, in bytes. Upstream clients send UUIDs.
pub const REQUEST_ID_MAX: usize = 128;

/// What a client sends: `{type:"req",id,method,params?}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFrame<'a> {
    #[serde(rename = "type")]
    kind: RequestKind,
    /// Chosen by the client, echoed in the response.
    pub id: String,
    /// The method's name.
    pub method: String,
    /// The method's parameters, parsed by the method.
    #[serde(default, borrow)]
    pub params: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
enum RequestKind {
    #[serde(rename = "req")]
    Request,
}

/// Why a text message is not a request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not JSON, or not the members of a request.
    #[error("invalid request frame: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The id is empty or longer than [`REQUEST_ID_MAX`].
    #[error("invalid request frame: id must have 1 to {REQUEST_ID_MAX} bytes")]
    Id,
}

impl<'a> RequestFrame<'a> {
    /// Reads one text message.
    ///
    /// # Errors
    /// When it is not a request frame with a usable id.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        let frame: Self = serde_json::from_str(text)?;
        if frame.id.is_empty() || frame.id.len() > REQUEST_ID_MAX {
            return Err(FrameError::Id);
        }
        let RequestKind::Request = frame.kind;
        Ok(frame)
    }

    /// The parameters as `T`; absent parameters read as an empty object.
    ///
    /// # Errors
    /// When they do not have the shape of `T`; the message names the member.
    pub fn params<T: serde::de::DeserializeOwned>(&self, method: &str) -> Result<T, WireError> {
        let text = self.params.map_or("{}", RawValue::get);
        serde_json::from_str(text)
            .map_err(|error| WireError::invalid(format!("invalid {method} params: {error}")))
    }
}

/// What the gateway answers: `{type:"res",id,ok,payload?|error?}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ResponseFrame {
    /// Always `res`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The request's id.
    pub id: String,
    /// Whether the method succeeded.
    pub ok: bool,
    /// The result of a method that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

impl ResponseFrame {
    /// A success.
    pub fn success(id: impl Into<String>, payload: Value) -> Self {
        Self { kind: "res".into(), id: id.into(), ok: true, payload: Some(payload), error: None }
    }

    /// A failure.
    pub fn failure(id: impl Into<String>, error: WireError) -> Self {
        Self { kind: "res".into(), id: id.into(), ok: false, payload: None, error: Some(error) }
    }
}

/// What the gateway tells unasked: `{type:"event",event,payload?,seq?,stateVersion?}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventFrame {
    /// Always `event`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event's name, see [`crate::event`].
    pub event: String,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The number of this broadcast: one counter for the process, from 1, without gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

impl EventFrame {
    /// An event for one client, outside the numbering of broadcasts.
    pub fn single(event: &str, payload: Value) -> Self {
        Self { kind: "event".into(), event: event.into(), payload: Some(payload), seq: None }
    }

    /// A broadcast with its number.
    pub fn broadcast(event: &str, payload: Value, seq: u64) -> Self {
        Self { seq: Some(seq), ..Self::single(event, payload) }
    }
}
