//! Frames by hand, against a WebSocket server that others wrote.

use std::net::Ipv4Addr;

use futures_util::{SinkExt, StreamExt};
use moltbot_testkit::raw::{RawFrame, RawSocket};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a server for the client under test")]
async fn frames_of_all_lengths_and_pieces_arrive() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let talking = tokio::task::spawn_blocking(move || {
        let mut socket = RawSocket::open(port);
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            socket.text(&text).unwrap();
            assert_eq!(socket.next_frame(), RawFrame::Text(text), "{length} bytes");
        }
        socket.frame(false, 1, b"in ").unwrap();
        socket.frame(true, 0, b"pieces").unwrap();
        assert_eq!(socket.next_frame(), RawFrame::Text("in pieces".into()));
        socket.frame(true, 8, &[0x03, 0xe8]).unwrap();
        assert_eq!(socket.end(), RawFrame::Close(Some(1000), String::new()));
    });
    talking.await.unwrap();
    serving.await.unwrap();
}
