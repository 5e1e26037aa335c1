//! One WebSocket: text messages in and out, bounded in size, in fragments and in memory.
//!
//! The codec is tungstenite's. It bounds frames and messages, but neither the number of fragments nor of pings; the reader
//! below it does, by counting what comes in until a message is whole.

mod backlog;
mod frames;

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::{Sink as _, SinkExt as _, StreamExt as _};
use moltbot_config::limits;
use moltbot_net::Wire;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, error};

use crate::outbox::Outbox;
use backlog::Backlog;
use frames::{Frames, TooMany};

/// A connection's read buffer. Larger ones cost every idle connection as much.
const READ_BUFFER: usize = 2048;
/// How much is gathered before it is written. The buffer grows only when it is needed.
const WRITE_BUFFER: usize = 16 * 1024;
/// Messages that are read before answers are sent, so that a client that asks without pause still hears.
const BATCH: usize = 256;
/// What is read and thrown away of a peer that is told to go: without reading, the kernel would reset the
/// connection and our reason would be lost.
const DISCARDED: usize = 1024 * 1024;
/// The markers of [`Metered`]'s errors.
const TOO_MUCH: &str = "too many bytes or fragments before a message was whole";
const TOO_OFTEN: &str = "too many control frames";
/// The longest head of a frame.
const FRAME_HEAD: usize = 14;

/// Why a connection ends, with the code and text of the close frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Goodbye {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Goodbye {
    /// A normal end.
    pub(crate) const NORMAL: u16 = 1000;
    /// The peer broke the protocol.
    pub(crate) const PROTOCOL: u16 = 1002;
    /// The peer sent something other than text.
    pub(crate) const UNSUPPORTED: u16 = 1003;
    /// The peer sent text that is not UTF-8.
    pub(crate) const NOT_TEXT: u16 = 1007;
    /// Policy ends the connection.
    pub(crate) const POLICY: u16 = 1008;
    /// The peer sent too much.
    pub(crate) const TOO_LARGE: u16 = 1009;
    /// The gateway restarts.
    pub(crate) const RESTART: u16 = 1012;

    /// The text is cut to what a close frame holds.
    pub(crate) fn new(code: u16, reason: &str) -> Self {
        let mut reason = reason.to_owned();
        reason.truncate(reason.floor_char_boundary(120));
        Self { code, reason }
    }
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The peer is gone, or the connection is broken.
    Gone,
    /// The peer broke a rule: say why and go.
    Broken(Goodbye),
    /// A ping or pong.
    Life,
    /// A whole text message.
    Text(tokio_tungstenite::tungstenite::Utf8Bytes),
}

/// One WebSocket, at the server's end.
pub(crate) struct Socket {
    stream: WebSocketStream<Metered>,
    /// Messages that were read since answers were last sent.
    unanswered: usize,
}

impl Socket {
    /// A socket on a stream whose upgrade was answered; `read` is what came after the request's head. Only
    /// [`limits::CONNECT_BYTES`] are read until [`Socket::welcome`].
    pub(crate) async fn new(stream: Wire, read: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            // One message at a time is handed over, and the outbox bounds those that wait. A limit here would end
            // the connection of whoever is told of a long answer, each time that it asks.
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(limits::MESSAGE_BYTES))
            .max_frame_size(Some(limits::MESSAGE_BYTES));
        let mut frames = Frames::default();
        let early = frames.pass(&read, Instant::now()).err();
        let allowance = limits::CONNECT_BYTES + READ_BUFFER;
        let metered = Metered { stream, allowance, full: 0, frames, early, backlog: Backlog::default() };
        let stream = WebSocketStream::from_partially_read(metered, read, Role::Server, Some(config)).await;
        Self { stream, unanswered: 0 }
    }

    /// Lets the peer send messages of full size from now on.
    pub(crate) fn welcome(&mut self) {
        let metered = self.stream.get_mut();
        metered.full = limits::MESSAGE_BYTES + limits::FRAGMENTS * FRAME_HEAD + READ_BUFFER;
        metered.allowance = metered.full;
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Incoming {
        poll_fn(|context| self.poll_incoming(context)).await
    }

    /// The next message, while what waits in the outbox is sent.
    ///
    /// Messages that are here already are read before their answers are sent, so that many answers leave in
    /// one write. When the peer takes nothing for the moment, it is read on for as long as its answers have
    /// room: a peer that writes a long message before it reads again must not wait for us while we wait for it.
    pub(crate) async fn next_while_sending(&mut self, outbox: &Outbox) -> Incoming {
        let mut more = pin!(outbox.ready());
        let mut waited = false;
        poll_fn(|context| {
            loop {
                let reading = self.unanswered < BATCH && outbox.has_room();
                if reading && let Poll::Ready(incoming) = self.poll_incoming(context) {
                    self.unanswered += 1;
                    return Poll::Ready(incoming);
                }
                // Those who are at work on other answers go first, so that theirs leave in the same write.
                if !std::mem::replace(&mut waited, true) && outbox.is_gathering() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let sent = self.poll_send(context, outbox);
                if sent.is_pending() && self.stream.get_mut().backlog.is_hopeless(outbox.waiting(), context) {
                    outbox.drop_slow_client();
                }
                let whole_batch = std::mem::take(&mut self.unanswered) >= BATCH;
                match sent {
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Incoming::Gone),
                    // Nothing may be awaited before the reader was asked: there is room for answers again.
                    Poll::Ready(Ok(())) if !reading => {}
                    Poll::Ready(Ok(())) if more.as_mut().poll(context).is_ready() => {
                        more.set(outbox.ready());
                    }
                    Poll::Pending if whole_batch => {}
                    Poll::Ready(Ok(())) | Poll::Pending => {
                        waited = false;
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    /// Sends everything that waits.
    pub(crate) async fn send_waiting(&mut self, outbox: &Outbox) -> Result<(), Gone> {
        poll_fn(|context| self.poll_send(context, outbox)).await
    }

    fn poll_send(&mut self, context: &mut Context<'_>, outbox: &Outbox) -> Poll<Result<(), Gone>> {
        let mut stream = Pin::new(&mut self.stream);
        loop {
            ready!(stream.as_mut().poll_ready(context)).map_err(Gone::because)?;
            let message = match outbox.pop() {
                Some(frame) => Message::text(frame.into_text()),
                None if outbox.take_ping() => Message::Ping(Bytes::new()),
                None => {
                    ready!(stream.as_mut().poll_flush(context)).map_err(Gone::because)?;
                    stream.get_mut().get_mut().backlog.settle();
                    return Poll::Ready(Ok(()));
                }
            };
            stream.as_mut().get_mut().get_mut().backlog.hand_over(message.len());
            stream.as_mut().start_send(message).map_err(Gone::because)?;
        }
    }

    fn poll_incoming(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            let incoming = match ready!(self.stream.poll_next_unpin(context)) {
                None => Incoming::Gone,
                Some(Err(error)) => broken(&error),
                Some(Ok(Message::Text(text))) => {
                    let metered = self.stream.get_mut();
                    metered.allowance = metered.full;
                    Incoming::Text(text)
                }
                Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                    self.credit(payload.len());
                    Incoming::Life
                }
                Some(Ok(Message::Binary(_))) => {
                    Incoming::Broken(Goodbye::new(Goodbye::UNSUPPORTED, "only text messages are accepted"))
                }
                // The codec answers it; the stream then ends by itself.
                Some(Ok(Message::Close(_) | Message::Frame(_))) => continue,
            };
            return Poll::Ready(incoming);
        }
    }

    /// A control frame is no part of a message: what it took is given back.
    fn credit(&mut self, payload: usize) {
        let metered = self.stream.get_mut();
        if metered.full > 0 {
            metered.allowance = metered.allowance.saturating_add(payload + 14).min(metered.full);
        }
    }

    /// Gathers a text message; [`Socket::flush`] sends it at the latest.
    pub(crate) async fn feed(&mut self, text: String) -> Result<(), Gone> {
        self.stream.feed(Message::text(text)).await.map_err(Gone::because)
    }

    /// Sends what was gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        self.stream.flush().await.map_err(Gone::because)
    }

    /// Says goodbye to a client within [`limits::LINGER`], in which it has to hear it.
    pub(crate) async fn close(self, goodbye: Goodbye) {
        self.close_within(limits::LINGER, goodbye).await;
    }

    /// Says goodbye to somebody who did not sign in, within [`limits::HANDSHAKE_GOODBYE`].
    pub(crate) async fn dismiss(self, goodbye: Goodbye) {
        self.close_within(limits::HANDSHAKE_GOODBYE, goodbye).await;
    }

    async fn close_within(mut self, patience: Duration, goodbye: Goodbye) {
        let frame = CloseFrame { code: CloseCode::from(goodbye.code), reason: goodbye.reason.into() };
        let farewell = async {
            match self.stream.close(Some(frame)).await {
                Ok(()) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {}
                Err(error) => return tracing::debug!(%error, "a client did not hear the goodbye"),
            }
            self.stream.get_mut().discard().await;
        };
        if tokio::time::timeout(patience, farewell).await.is_err() {
            tracing::debug!("a client did not close in time and was dropped");
        }
    }
}

/// The connection is broken; there is nobody to tell.
#[derive(Debug)]
pub(crate) struct Gone;

impl Gone {
    fn because(error: Error) -> Self {
        tracing::debug!(%error, "a connection broke while sending");
        Self
    }
}

fn broken(error: &Error) -> Incoming {
    let (code, reason) = match error {
        Error::Capacity(error::CapacityError::MessageTooLong { .. }) => {
            (Goodbye::TOO_LARGE, "message too large")
        }
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.to_string() == TOO_MUCH) => {
            (Goodbye::TOO_LARGE, "message too large or in too many fragments")
        }
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.to_string() == TOO_OFTEN) => {
            (Goodbye::TOO_LARGE, "too many control frames")
        }
        Error::Utf8(_) => (Goodbye::NOT_TEXT, "text is not UTF-8"),
        Error::Protocol(error::ProtocolError::ResetWithoutClosingHandshake) => return Incoming::Gone,
        Error::Protocol(_) => (Goodbye::PROTOCOL, "the WebSocket protocol was broken"),
        _ => return Incoming::Gone,
    };
    Incoming::Broken(Goodbye::new(code, reason))
}

/// A stream that reads only so much until it is given more.
#[derive(Debug)]
struct Metered {
    stream: Wire,
    allowance: usize,
    /// What each message may take; nothing before the peer has signed in, so that one small message is all
    /// it can send.
    full: usize,
    frames: Frames,
    /// What was wrong already with the bytes that came right after the request's head.
    early: Option<TooMany>,
    backlog: Backlog,
}

impl Metered {
    /// Reads and throws away until the peer closes.
    async fn discard(&mut self) {
        let mut scratch = [0; 1024];
        let mut left = DISCARDED;
        while let Ok(read @ 1..) = self.stream.read(&mut scratch).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    }
}

impl From<TooMany> for io::Error {
    fn from(too_many: TooMany) -> Self {
        Self::other(match too_many {
            TooMany::Controls => TOO_OFTEN,
            TooMany::Fragments => TOO_MUCH,
        })
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(too_many) = this.early {
            return Poll::Ready(Err(too_many.into()));
        }
        if this.allowance == 0 {
            return Poll::Ready(Err(io::Error::other(TOO_MUCH)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        this.allowance = this.allowance.saturating_sub(read.len());
        Poll::Ready(this.frames.pass(read, Instant::now()).map_err(Into::into))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes));
        this.backlog.take(*written.as_ref().unwrap_or(&0));
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
