use std::path::Path;

use moltbot_testkit::client::now_ms;
use moltbot_testkit::raw::{RawFrame, RawSocket};
use serde_json::{Value, json};

use crate::house::House;

/// Every file is an attack: the frames, and how it must end. A gateway of its own for each, because failures
/// are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_handshakes_end_as_their_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/connect");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 30, "{} files", files.len());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let attack = read(&file);
        let house = House::echo().await;
        tokio::task::block_in_place(|| play(&house, &name, &attack));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own data")]
fn read(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn play(house: &House, name: &str, attack: &Value) {
    let mut socket = RawSocket::open(house.port());
    let RawFrame::Text(challenge) = socket.next_frame() else { panic!("{name}: no challenge") };
    let challenge: Value = serde_json::from_str(&challenge).unwrap();
    let nonce = challenge["payload"]["nonce"].as_str().unwrap();
    for frame in attack["frames"].as_array().unwrap() {
        let text = frame.as_str().map_or_else(|| frame.to_string(), str::to_owned);
        let text = text
            .replace("$TOKEN", &house.token())
            .replace("$NONCE", nonce)
            .replace("\"$NOW\"", &now_ms().to_string());
        socket.text(&text).unwrap();
    }
    let expect = &attack["expect"];
    if let Some(error) = expect["error"].as_str() {
        let RawFrame::Text(answer) = socket.next_frame() else { panic!("{name}: no answer") };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!((&answer["ok"], &answer["id"]), (&json!(false), &json!("c1")), "{name}: {answer}");
        assert!(message.starts_with(error), "{name}: {answer}");
        assert!(!answer.to_string().contains(&house.token()), "{name}: the token is not repeated");
    }
    match socket.next_frame() {
        RawFrame::Close(code, reason) => {
            assert_eq!(code.map(u64::from), expect["close"].as_u64(), "{name}: {reason}");
            let expected = expect["reason"].as_str().unwrap();
            assert!(reason.starts_with(expected), "{name}: {reason}");
        }
        other => panic!("{name}: {other:?} instead of a close frame"),
    }
}

/// Signs in over a raw socket.
fn signed_in(house: &House) -> RawSocket {
    let mut socket = RawSocket::open(house.port());
    assert!(matches!(socket.next_frame(), RawFrame::Text(_)), "the challenge");
    let params = json!({
        "minProtocol": 3, "maxProtocol": 4, "scopes": ["operator.read", "operator.write"],
        "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
        "auth": {"token": house.token()},
    });
    socket
        .text(&json!({"type": "req", "id": "c", "method": "connect", "params": params}).to_string())
        .unwrap();
    assert!(matches!(socket.next_frame(), RawFrame::Text(_)), "hello-ok");
    assert!(matches!(socket.next_frame(), RawFrame::Text(_)), "health");
    socket
}

/// The next frame that is no event.
fn answer(socket: &mut RawSocket) -> RawFrame {
    loop {
        match socket.next_frame() {
            RawFrame::Text(text) if text.starts_with(r#"{"type":"event""#) => {}
            other => return other,
        }
    }
}

fn closes(house: &House, attack: impl FnOnce(&mut RawSocket)) -> RawFrame {
    tokio::task::block_in_place(|| {
        let mut socket = signed_in(house);
        attack(&mut socket);
        socket.end()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_a_gigabyte_is_refused_by_its_head() {
    let house = House::echo().await;
    for length in [1 << 30, 512 * 1024 + 1, u64::MAX >> 1] {
        let end = closes(&house, |socket| socket.declare(1, length).unwrap());
        assert_eq!(end, RawFrame::Close(Some(1009), "message too large".into()), "{length} bytes");
    }
    assert!(house.client().await.call("health", json!({})).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_fragments_are_not_gathered() {
    let house = House::echo().await;
    let end = closes(&house, |socket| {
        socket.frame(false, 1, b"").unwrap();
        let fragments = [0x00, 0x80, 0, 0, 0, 0].repeat(1000);
        let sent = (0..1000).try_for_each(|_| socket.bytes(&fragments));
        drop(sent); // the gateway may close before it has read them all
    });
    let expected = "message too large or in too many fragments";
    assert!(matches!(&end, RawFrame::Gone) || end == RawFrame::Close(Some(1009), expected.into()), "{end:?}");
    assert!(house.client().await.call("health", json!({})).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_break_the_protocol_end_the_connection_with_its_code() {
    let house = House::echo().await;
    type Attack = fn(&mut RawSocket);
    let cases: [(&str, u16, Attack); 6] = [
        ("binary", 1003, |socket| socket.frame(true, 2, b"{}").unwrap()),
        ("not UTF-8", 1007, |socket| socket.frame(true, 1, &[0xff, 0xfe]).unwrap()),
        ("continuation of nothing", 1002, |socket| socket.frame(true, 0, b"x").unwrap()),
        ("unknown opcode", 1002, |socket| socket.frame(true, 3, b"x").unwrap()),
        ("long ping", 1002, |socket| socket.frame(true, 9, &[0; 126]).unwrap()),
        ("not masked", 1002, |socket| socket.bytes(&[0x81, 0x02, b'{', b'}']).unwrap()),
    ];
    for (name, code, attack) in cases {
        match closes(&house, attack) {
            RawFrame::Close(Some(found), _) => assert_eq!(found, code, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_answered_and_the_connection_stays() {
    let house = House::echo().await;
    tokio::task::block_in_place(|| {
        let mut socket = signed_in(&house);
        for (sent, id, message) in [
            ("garbage", "invalid", "invalid request frame: "),
            (r#"{"type":"nonsense","id":"1","method":"health"}"#, "1", "invalid request frame: "),
            (r#"{"type":"req","id":"2","method":"health","x":1}"#, "2", "invalid request frame: "),
            (r#"{"type":"req","id":"3","method":"no.such"}"#, "3", "unknown method: no.such"),
            (r#"{"type":"req","id":"4","method":"health","params":{"x":1}}"#, "4", "invalid health params: "),
            (r#"{"type":"req","id":"5","method":"chat.send","params":7}"#, "5", "invalid chat.send params: "),
            (r#"{"type":"req","id":"6","method":"config.get"}"#, "6", "missing scope: operator.admin"),
        ] {
            socket.text(sent).unwrap();
            let RawFrame::Text(answer) = answer(&mut socket) else { panic!("no answer to {sent}") };
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((&answer["id"], &answer["ok"]), (&json!(id), &json!(false)), "{sent}");
            let told = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(told.starts_with(message), "{sent}: {told}");
        }
        socket.frame(true, 9, b"are you there").unwrap();
        assert_eq!(answer(&mut socket), RawFrame::Other(10, b"are you there".to_vec()));
    });
}
