//! What a sign-in changes about its device: it is paired, it gets a token, or a person is asked.

use moltbot_config::limits;
use moltbot_policy::pairing::{Pairing, Rights};
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use moltbot_protocol::scope::Role;
use moltbot_store::DeviceClaims;
use serde_json::json;

use super::{Connect, Failure};
use crate::connection::{Challenged, Connection};
use crate::devices::{Connecting, DeviceError, Issued};
use crate::methods::devices::failed;
use crate::sign_in::{SignInError, SignedIn};
use crate::socket::Goodbye;

impl Connection<Challenged> {
    /// Keeps what was decided about the device before anything follows from it.
    pub(super) async fn settle(
        &self,
        connect: &Connect,
        granted: Result<SignedIn, SignInError>,
        pairing: Pairing,
    ) -> Result<(SignedIn, Option<Issued>), Failure> {
        let device = connect.device(self);
        let (mut asked, mut issued) = (None, None);
        match (&pairing, &device) {
            (Pairing::Ask(scopes), Some(device)) => {
                asked = self.ask(device, &Rights::operator(scopes.clone())).await;
            }
            (Pairing::AskNode(commands), Some(device)) => {
                asked = self.ask(device, &Rights::node(commands.clone())).await;
            }
            (Pairing::Silent(scopes), Some(device)) if granted.is_ok() => {
                let kept = self.shared.devices.pair_silently(device, scopes).await;
                let kept = unless_refused(kept).map_err(|error| connect.refused(failed(&error)))?;
                issued = kept.flatten();
            }
            (Pairing::Ask(_) | Pairing::AskNode(_) | Pairing::Nothing | Pairing::Silent(_), _) => {}
        }
        let signed_in = granted.map_err(|error| told(connect.failure(&error), asked))?;
        let device = signed_in.grant.device().filter(|_| issued.is_none());
        let Some(id) = device else { return Ok((signed_in, issued)) };
        let welcomed = self.shared.devices.welcome(id, signed_in.grant.role(), self.peer.client).await;
        let issued = unless_refused(welcomed).map_err(|error| connect.refused(failed(&error)))?;
        Ok((signed_in, issued.flatten()))
    }

    /// Lets the device wait for a person, and tells those who may approve. Answers the request's id.
    async fn ask(&self, device: &Connecting, rights: &Rights) -> Option<String> {
        match self.shared.devices.ask(device, rights).await {
            Ok((request, is_new)) => {
                if is_new {
                    self.shared.hub.broadcast_to_approvers(event::DEVICE_PAIR_REQUESTED, &request);
                }
                if let Some(node) = self.shared.devices.node_waiting(&request.device_id).filter(|_| is_new)
                    && rights.role() == Role::Node
                {
                    self.shared.hub.broadcast_to_approvers(event::NODE_PAIR_REQUESTED, &node);
                }
                Some(request.request_id)
            }
            Err(DeviceError::Refused(refusal)) => {
                tracing::warn!(code = refusal.code, "a device cannot wait for approval");
                None
            }
            Err(error) => {
                tracing::error!(%error, "a device cannot wait for approval");
                None
            }
        }
    }
}

/// On a full disk nothing can be kept of a device. Its sign-in is in the book, and the owner must be able to sign in then:
/// the device goes on unpaired, as if it were new each time.
fn unless_refused<T>(kept: Result<T, DeviceError>) -> Result<Option<T>, DeviceError> {
    match kept {
        Ok(done) => Ok(Some(done)),
        Err(refused @ DeviceError::Refused(_)) => Err(refused),
        Err(error) => {
            tracing::error!(%error, "what changed about a device is not kept");
            Ok(None)
        }
    }
}

/// The failure with the id under which the device waits.
fn told(mut failure: Failure, request: Option<String>) -> Failure {
    if let (Failure::Request { error, .. }, Some(request)) = (&mut failure, request) {
        error.details = Some(json!({"requestId": request}));
    }
    failure
}

impl Connect {
    /// The device that connects, with what it says of itself cut to what is kept.
    fn device(&self, connection: &Connection<Challenged>) -> Option<Connecting> {
        let proof = self.params.device.as_ref()?;
        let cut = |text: &str| -> String { text.chars().take(limits::DEVICE_TEXT_CHARS).collect() };
        let client = &self.params.client;
        Some(Connecting {
            id: proof.id.clone(),
            public_key: proof.public_key.clone(),
            claims: DeviceClaims {
                display_name: client.display_name.as_deref().map(cut),
                platform: Some(cut(&client.platform)),
                client_id: Some(cut(&client.id)),
                client_mode: Some(cut(&client.mode)),
            },
            client: connection.peer.client,
        })
    }

    fn refused(&self, error: WireError) -> Failure {
        Failure::Request { id: self.id.clone(), error, code: Goodbye::POLICY }
    }
}
