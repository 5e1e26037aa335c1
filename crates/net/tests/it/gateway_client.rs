//! The command line's connection, against a WebSocket server of the test's own.

use futures_util::{SinkExt, StreamExt};
use moltbot_net::gateway_client::{GatewayClient, GatewayClientError};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::server::{Server, whole};

#[expect(clippy::disallowed_methods, reason = "a stand-in for a gateway")]
async fn socket() -> (TcpListener, u16) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

#[tokio::test]
async fn texts_of_the_size_of_a_history_go_both_ways_until_the_gateway_says_why_it_closes() {
    let (socket, port) = socket().await;
    let history = "h".repeat(6 * 1024 * 1024);
    let sent = history.clone();
    let gateway = tokio::spawn(async move {
        let (stream, _) = socket.accept().await.expect("a connection");
        let mut stream = tokio_tungstenite::accept_async(stream).await.expect("an upgrade");
        let heard = stream.next().await.expect("a message").expect("a message");
        stream.send(Message::Ping(vec![1].into())).await.expect("a ping");
        stream.send(Message::text(sent)).await.expect("a text");
        assert!(stream.next().await.expect("a message").expect("a message").is_pong(), "pings are answered");
        let frame = CloseFrame { code: 1012.into(), reason: "service restart".into() };
        stream.close(Some(frame)).await.expect("a goodbye");
        heard
    });
    let mut client = GatewayClient::dial(port).await.expect("a connection");
    client.send_text("hello".into()).await.expect("sent");
    assert!(client.recv_text().await.expect("a text") == history, "the history came over whole");
    let error = client.recv_text().await.expect_err("closed");
    assert_eq!(error.to_string(), "the gateway closed the connection (code 1012: service restart)");
    assert_eq!(gateway.await.expect("a gateway"), Message::text("hello"));
    client.close().await;
}

#[tokio::test]
async fn what_is_no_gateway_is_told_apart_from_nothing() {
    let server = Server::start(whole("404 Not Found", "", "")).await;
    let error = GatewayClient::dial(server.port).await.expect_err("no gateway");
    assert!(matches!(error, GatewayClientError::Handshake { .. }), "{error:?}");
    let request = server.requests().concat();
    assert!(request.contains(&format!("Host: 127.0.0.1:{}\r\n", server.port)), "{request}");
    assert!(!request.to_lowercase().contains("origin:"), "a page's header: {request}");
    let (socket, port) = socket().await;
    drop(socket);
    let error = GatewayClient::dial(port).await.expect_err("nothing");
    assert!(error.to_string().contains("start it with `moltbot up`"), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error_and_not_an_end() {
    let (socket, port) = socket().await;
    let gateway = tokio::spawn(async move {
        let (stream, _) = socket.accept().await.expect("a connection");
        drop(tokio_tungstenite::accept_async(stream).await.expect("an upgrade"));
    });
    let mut client = GatewayClient::dial(port).await.expect("a connection");
    gateway.await.expect("a gateway");
    let error = client.recv_text().await.expect_err("gone");
    assert!(
        matches!(error, GatewayClientError::Lost { .. } | GatewayClientError::Closed { .. }),
        "{error:?}"
    );
}
