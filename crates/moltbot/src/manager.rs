//! The service manager that has started this program, where one waits for word.

use std::time::Duration;

use moltbot_net::{HandedSockets, ServiceManager, ServiceWord};

use crate::environment;
use crate::exit::Exit;

/// The sockets that it has opened for this process. Called once, before anything else has a descriptor.
pub(crate) fn sockets() -> anyhow::Result<HandedSockets> {
    if !environment::is_handed_sockets(std::process::id()) {
        return Ok(HandedSockets::default());
    }
    HandedSockets::take().map_err(|error| {
        Exit::Failed.because(format!(
            "what the service manager hands over is no listening TCP socket: {error}; correct its socket unit"
        ))
    })
}

/// Tells that the gateway serves, and from now on that it is alive as often as is wanted. Called on the gateway's runtime: one
/// that hangs tells nothing any more.
pub(crate) fn ready() {
    let Some(manager) = manager() else { return };
    tell(&manager, ServiceWord::Ready);
    let Some(wanted) = environment::watchdog(std::process::id()) else { return };
    // Twice as often as would do (sd_watchdog_enabled(3)).
    let pause = (wanted / 2).max(Duration::from_millis(10));
    tokio::spawn(async move {
        loop {
            tell(&manager, ServiceWord::Alive);
            tokio::time::sleep(pause).await;
        }
    });
}

/// Tells that the gateway stops.
pub(crate) fn stopping() {
    if let Some(manager) = manager() {
        tell(&manager, ServiceWord::Stopping);
    }
}

fn manager() -> Option<ServiceManager> {
    let name = environment::notify_socket()?;
    let manager = ServiceManager::named(&name);
    manager.inspect_err(|error| tracing::warn!(%error, "the service manager cannot be told anything")).ok()
}

fn tell(manager: &ServiceManager, word: ServiceWord) {
    if let Err(error) = manager.tell(word) {
        tracing::warn!(%error, ?word, "the service manager was not told");
    }
}
