use std::path::Path;

use moltbot_testkit::raw::{RawFrame, RawSocket};
use serde_json::{Value, json};

use crate::house::House;

/// Every file is an attack: the frames, and how it must end. A gateway of its own for each, because failures
/// are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_handshakes_end_as_their_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/connect");
    let attacks = moltbot_testkit::hostile::attacks(&folder);
    assert!(attacks.len() >= 30, "{} files", attacks.len());
    for attack in attacks {
        let house = House::echo().await;
        tokio::task::block_in_place(|| attack.play(house.port(), &house.token()));
    }
}

fn closes(house: &House, attack: impl FnOnce(&mut RawSocket)) -> RawFrame {
    tokio::task::block_in_place(|| {
        let mut socket = RawSocket::sign_in(house.port(), &house.token());
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
        let mut socket = RawSocket::sign_in(house.port(), &house.token());
        for (sent, id, message) in [
            ("garbage", "invalid", "invalid request frame: "),
            (r#"{"type":"nonsense","id":"1","method":"health"}"#, "1", "invalid request frame: "),
            (r#"{"type":"req","id":"2","method":"health","x":1}"#, "2", "invalid request frame: "),
            (r#"{"type":"req","id":"3","method":"no.such"}"#, "3", "unknown method: no.such"),
            (r#"{"type":"req","id":"4","method":"health","params":{"x":1}}"#, "4", "invalid health params: "),
            (r#"{"type":"req","id":"5","method":"chat.send","params":7}"#, "5", "invalid chat.send params: "),
            (r#"{"type":"req","id":"6","method":"sessions.reset"}"#, "6", "missing scope: operator.admin"),
        ] {
            socket.text(sent).unwrap();
            let RawFrame::Text(answer) = socket.next_answer() else { panic!("no answer to {sent}") };
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((&answer["id"], &answer["ok"]), (&json!(id), &json!(false)), "{sent}");
            let told = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(told.starts_with(message), "{sent}: {told}");
        }
        socket.frame(true, 9, b"are you there").unwrap();
        assert_eq!(socket.next_answer(), RawFrame::Other(10, b"are you there".to_vec()));
    });
}
