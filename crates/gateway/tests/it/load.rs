use moltbot_testkit::raw::{RawFrame, RawSocket};
use serde_json::json;

use crate::house::House;

fn sign_in(house: &House) -> RawSocket {
    RawSocket::sign_in(house.port(), &house.token())
}

/// Answers to whoever does not read are not gathered without end: the requests wait in the kernel instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_and_never_reads_costs_no_memory() {
    let house = House::echo().await;
    tokio::task::block_in_place(|| {
        let mut socket = sign_in(&house);
        let request = r#"{"type":"req","id":"x","method":"health"}"#;
        let frame =
            [&[0x81, 0x80 | u8::try_from(request.len()).unwrap(), 0, 0, 0, 0], request.as_bytes()].concat();
        socket.give_up_writing_after(std::time::Duration::from_millis(500));
        let before = resident();
        let batch = frame.repeat(1000);
        // The kernel's own buffers take some megabytes before a sender waits; a gateway that reads on takes them all.
        let asked = (0..1000)
            .take_while(|_| resident() < before + 64 * 1024 * 1024 && write_within(&mut socket, &batch));
        assert!(asked.count() < 1000, "the gateway goes on reading for a client that does not");
        assert!(resident() < before + 64 * 1024 * 1024);
    });
    assert!(house.client().await.call("health", json!({})).await.is_ok());
}

/// Whether the peer took it all before the socket's patience ended.
fn write_within(socket: &mut RawSocket, bytes: &[u8]) -> bool {
    socket.bytes(bytes).is_ok()
}

#[expect(clippy::disallowed_methods, reason = "a test measures its own process")]
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap() * 4096
}

/// Requests that are sent without waiting are all answered, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let house = House::echo().await;
    tokio::task::block_in_place(|| {
        let mut socket = sign_in(&house);
        let mut writer = socket.another();
        let writing = std::thread::spawn(move || {
            for n in 0..5000 {
                writer.text(&format!(r#"{{"type":"req","id":"{n}","method":"health"}}"#)).unwrap();
            }
        });
        let began = std::time::Instant::now();
        for n in 0..5000 {
            let expected = format!(r#"{{"type":"res","id":"{n}","ok":true,"payload":{{"#);
            loop {
                match socket.next_frame() {
                    RawFrame::Text(text) if text.starts_with(&expected) => break,
                    RawFrame::Text(text) if text.starts_with(r#"{"type":"event""#) => {}
                    other => panic!("{other:?} instead of the answer to {n}"),
                }
            }
        }
        writing.join().unwrap();
        println!("{:.0} health/s", 5000.0 / began.elapsed().as_secs_f64());
    });
}

/// Measured in this process: what a client of the test costs on top is a file descriptor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_takes_less_than_ten_kilobytes() {
    let house = House::echo().await;
    tokio::task::block_in_place(|| {
        let mut open: Vec<RawSocket> = (0..50).map(|_| sign_in(&house)).collect(); // what is paid once
        let before = resident();
        open.extend((0..300).map(|_| sign_in(&house)));
        let each = (resident() - before) / 300;
        println!("{each} bytes per idle connection");
        assert!(each <= 10_000, "{each} bytes");
    });
}

/// Somebody who does not listen is dropped; everybody else hears everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_is_dropped_and_the_others_are_not() {
    let house = House::echo().await;
    let mut slow = tokio::task::block_in_place(|| sign_in(&house));
    let mut client = house.client().await;
    let text = "x".repeat(150_000);
    for n in 0..60 {
        let chat = client.chat(&format!("s{n}"), &text).await;
        assert_eq!(chat.text.len(), text.len() + "echo: ".len(), "message {n}");
    }
    let end = tokio::task::block_in_place(|| slow.end());
    let told = RawFrame::Close(Some(1008), "slow consumer".into());
    assert!(end == told || end == RawFrame::Gone, "{end:?}");
}
