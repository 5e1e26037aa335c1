//! Serving: connections come over the control socket, and go when their other end does.

use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use moltbot_config::limits::LOCAL_MODEL_CONNECTIONS;
use tokio::io::Interest;
use tokio::sync::{Semaphore, oneshot};

use crate::control::{self, Packet};
use crate::failure::{Code, Failure};
use crate::http::{House, too_many};

/// Serves connections until the control socket is closed. Fails when `gone` does: then nobody answers any more.
pub(crate) async fn serve(
    control: UnixStream,
    house: Arc<House>,
    mut gone: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let lost = |cause: io::Error| Code::Protocol.explained("the control socket failed", &cause);
    control.set_nonblocking(true).map_err(lost)?;
    let control = tokio::net::UnixStream::from_std(control).map_err(lost)?;
    let places = Arc::new(Semaphore::new(LOCAL_MODEL_CONNECTIONS));
    loop {
        let next = control.async_io(Interest::READABLE, || control::receive(control.as_fd()));
        let packet = tokio::select! {
            packet = next => packet.map_err(lost)?,
            _ = &mut gone => return Err(Code::Engine.because("the model's thread has ended; start it anew")),
        };
        match packet {
            None => return Ok(()),
            Some(Ok((Packet::Connection {}, stream))) => open(stream, &house, &places)?,
            Some(Ok((Packet::Load(_), _))) => {
                return Err(
                    Code::Protocol.because("a model is loaded; start another process for another one")
                );
            }
            Some(Err(failure)) => return Err(failure),
        }
    }
}

/// Serves a connection, or tells it that it is one too many.
fn open(stream: OwnedFd, house: &Arc<House>, places: &Arc<Semaphore>) -> Result<(), Failure> {
    if !control::is_connection(stream.as_fd()) {
        return Err(Code::Protocol.because("a connection must be a stream socket of this machine"));
    }
    let mut stream = UnixStream::from(stream);
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        turn_away(&mut stream);
        return Ok(());
    };
    let ready = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
    let stream = match ready {
        Ok(stream) => stream,
        // Its other end may have gone already.
        Err(_) => return Ok(()),
    };
    let house = Arc::clone(house);
    tokio::spawn(async move {
        house.serve(stream).await;
        drop(place);
    });
    Ok(())
}

/// Says that there are too many, as far as the socket takes it at once.
fn turn_away(stream: &mut UnixStream) {
    let told = stream.set_nonblocking(true).and_then(|()| stream.write_all(too_many().as_bytes()));
    // Whoever does not hear it sees the end of the connection.
    drop(told.or_else(|cause| if cause.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(cause) }));
}
