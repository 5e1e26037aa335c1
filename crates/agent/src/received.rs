//! Files that came with a message: kept where the turn that answers it can read them.

use moltbot_policy::cause::Cause;
use moltbot_policy::surroundings::{Surroundings, surroundings};
use moltbot_policy::{file, record};
use moltbot_protocol::message::InboundMessage;
use tokio::task::spawn_blocking;

use crate::agent::{Agent, Inside};
use crate::tools::sentence;
use crate::workspace;

impl Agent {
    /// Keeps a file for the turn of a message, under a name of ours, owner-only. Answers its path in the workspace of the
    /// message's session.
    ///
    /// # Errors
    /// A sentence: when the turn could not read it, it cannot be recorded, or the disk does not take it.
    pub async fn keep_received(
        &self,
        message: &InboundMessage,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<String, String> {
        let (session, run) = (message.session.clone(), message.run.clone());
        let inside: std::sync::Arc<Inside> = self.inside();
        let cause = Cause::of(&inside.config, session.clone(), run, message.principal.clone());
        let permit = file::receive(name, &cause).map_err(|refusal| refusal.message)?;
        let path = permit.path().to_owned();
        let keep = move || {
            let Surroundings { place, .. } = surroundings(&inside.config.agents, &session);
            let main = inside.workspace_of(&session.agent()).ok_or("its agent does not exist")?;
            let folder =
                workspace::of_session(&inside.state, place, main).map_err(|error| sentence(&error))?;
            let permit = record(permit, &inside.ledger).map_err(|unrecorded| sentence(&unrecorded))?;
            folder.write(permit, &bytes).map_err(|error| sentence(&error))
        };
        spawn_blocking(keep).await.map_err(|_| "the gateway is stopping".to_owned())??;
        Ok(path)
    }
}
