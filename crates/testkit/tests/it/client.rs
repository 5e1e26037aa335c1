//! The client, against a gateway of twenty lines.

use std::net::Ipv4Addr;

use futures_util::{SinkExt, StreamExt};
use moltbot_protocol::connect::{ConnectParams, DeviceText};
use moltbot_protocol::frame::{EventFrame, RequestFrame, ResponseFrame};
use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Serves one connection: a challenge, a hello for the token `t`, an answer for every method.
#[expect(clippy::disallowed_methods, reason = "a server for the client under test")]
async fn gateway() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        send(&mut socket, &EventFrame::single("connect.challenge", json!({"nonce": "n", "ts": 1}))).await;
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            serve(&mut socket, &RequestFrame::parse(&text).unwrap()).await;
        }
    });
    port
}

async fn send(socket: &mut WebSocketStream<TcpStream>, frame: &impl serde::Serialize) {
    socket.send(Message::text(serde_json::to_string(frame).unwrap())).await.unwrap();
}

async fn serve(socket: &mut WebSocketStream<TcpStream>, request: &RequestFrame<'_>) {
    let params: Value = request.params(&request.method).unwrap();
    match request.method.as_str() {
        "connect" => {
            let connect: ConnectParams = serde_json::from_value(params.clone()).unwrap();
            let known = connect.auth.as_ref().and_then(|auth| auth.token.as_deref()) == Some("t");
            let error = moltbot_protocol::error::WireError::invalid("unauthorized");
            let failure = ResponseFrame::failure(&request.id, error);
            let answer = if known { ResponseFrame::success(&request.id, params) } else { failure };
            send(socket, &answer).await;
            if !known {
                socket.close(None).await.unwrap();
            }
        }
        "chat.send" => {
            send(socket, &ResponseFrame::success(&request.id, json!({"status": "started"}))).await;
            for (state, text) in [("delta", "a"), ("delta", "ab"), ("final", "abc")] {
                let message = json!({"role": "assistant", "content": [{"type": "text", "text": text}]});
                let run = &params["idempotencyKey"];
                send(socket, &EventFrame::broadcast("tick", json!({}), 1)).await;
                let payload = json!({"runId": run, "state": state, "message": message});
                send(socket, &EventFrame::single("chat", payload)).await;
            }
        }
        "agent" => {
            for status in ["accepted", "ok"] {
                send(socket, &ResponseFrame::success(&request.id, json!({"status": status}))).await;
            }
        }
        "bye" => socket.close(None).await.unwrap(),
        _ => send(socket, &ResponseFrame::success(&request.id, params)).await,
    }
}

#[tokio::test]
async fn calls_chats_and_double_answers_find_their_way() {
    let mut client = Connect::to(gateway().await).token("t").protocols(4, 4).open().await.unwrap();
    assert_eq!(client.hello["minProtocol"], 4);
    assert_eq!(client.call("health", json!({"x": 1})).await, Ok(json!({"x": 1})));
    let chat = client.chat("main", "hi").await;
    assert_eq!(
        (chat.deltas, chat.state, chat.text),
        (vec!["a".into(), "ab".into()], "final".into(), "abc".into())
    );
    let (first, second) = client.call_twice("agent", json!({})).await;
    assert_eq!(
        (first.unwrap()["status"].clone(), second.unwrap().unwrap()["status"].clone()),
        (json!("accepted"), json!("ok"))
    );
    assert_eq!(client.try_call("bye", json!({})).await, None, "the connection ended");
    client.wait_for_close().await;
    assert_eq!(client.try_call("health", json!({})).await, None);
}

#[tokio::test]
async fn a_refused_sign_in_tells_its_error() {
    let rejection = Connect::to(gateway().await).token("wrong").open().await.err().unwrap();
    assert_eq!(rejection.error.unwrap().message, "unauthorized");
    assert!(rejection.close.is_some());
}

#[tokio::test]
async fn a_device_signs_what_it_sends() {
    let device = Device::from_seed(7);
    for version in [SignatureVersion::V1, SignatureVersion::V2, SignatureVersion::V3] {
        let client = Connect::to(gateway().await).token("t").device(&device, version).open().await.unwrap();
        let connect: ConnectParams = serde_json::from_value(client.hello.clone()).unwrap();
        let proof = connect.device.unwrap();
        let text = DeviceText {
            device_id: &device.id(),
            client_id: "test",
            client_mode: "test",
            role: "operator",
            scopes: &["operator.admin".to_owned()],
            signed_at: proof.signed_at,
            token: "t",
            nonce: Some("n"),
            platform: "linux",
            device_family: "",
        };
        let signed = match version {
            SignatureVersion::V1 => text.version1(),
            SignatureVersion::V2 => text.version2(),
            SignatureVersion::V3 => text.version3(),
        };
        assert_eq!(proof.signature, device.sign(&signed), "{version:?}");
        assert_eq!(proof.nonce.is_some(), version != SignatureVersion::V1);
    }
}
