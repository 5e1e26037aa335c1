//! Clients that have signed in, ask without end, and do not read what they are answered.

use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_testkit::raw::{RawFrame, RawSocket};
use serde_json::Value;

use super::{House, raise_open_files, require_release};
use crate::secrets::book_in;

/// When each must have been dropped, once the gateway has stopped reading it: its time, and what a loaded machine takes.
const DROPPED: Duration = Duration::from_secs(15);
const ASK: &str = r#"{"type":"req","id":"x","method":"health"}"#;
/// What the log says of each.
const TOLD: &str = "a client that does not read what it is sent was dropped";

/// Its own kernel keeps so many bytes for it: left to itself that takes some megabytes.
fn sign_in(house: &House, bytes: usize) -> RawSocket {
    let socket = RawSocket::sign_in(house.port(), house.gateway.token());
    socket.receive(bytes);
    socket
}

/// Asks until the gateway takes no more questions.
fn ask_without_end(mut socket: RawSocket) -> RawSocket {
    socket.give_up_writing_after(Duration::from_secs(1));
    let mut frame = vec![0x81, 0x80 | u8::try_from(ASK.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(ASK.as_bytes());
    let many = frame.repeat(1000);
    while socket.bytes(&many).is_ok() {}
    socket
}

fn require_dropped(clients: usize) {
    raise_open_files();
    let mut house = House::open();
    let sockets: Vec<RawSocket> = (0..clients).map(|_| sign_in(&house, 1)).collect();
    let before = house.status("VmHWM:");
    let began = Instant::now();
    let mut unread: Vec<RawSocket> = std::thread::scope(|scope| {
        let asking = |socket| scope.spawn(move || ask_without_end(socket));
        sockets.into_iter().map(asking).collect::<Vec<_>>().into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (asked, mut longest) = (began.elapsed(), Duration::ZERO);
    let told = |house: &House| house.gateway.printed().matches(TOLD).count();
    while told(&house) < clients {
        longest = longest.max(house.sign_in_time());
        assert!(began.elapsed() < asked + DROPPED, "{} of {clients} were dropped", told(&house));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (took, peak) = (began.elapsed(), house.status("VmHWM:").saturating_sub(before));
    println!(
        "{clients} clients that do not read: the last was dropped after {took:.1?}; {} bytes each at most; a sign-in took \
         {longest:.1?} at most",
        peak / clients
    );
    // What may wait before nothing more is read, and as much for the answer that is being sent and for buffers.
    assert!(peak < clients * 2 * limits::BUFFERED_BYTES + 2 * 1024 * 1024, "{peak} bytes");
    assert!(longest < Duration::from_secs(1), "the owner waited {longest:?}");
    for socket in &mut unread {
        match socket.end() {
            RawFrame::Close(Some(1008), reason) if reason == "slow consumer" => {}
            RawFrame::Gone => {}
            other => panic!("{other:?}"),
        }
    }
    house.gateway.terminate();
    let book = book_in(house.home.path());
    let records = book.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = records.filter(|record| record["details"]["why"] == "slow_consumer");
    assert_eq!(
        ended.filter(|record| record["action"] == "clients.end").count(),
        clients,
        "each is in the book"
    );
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_told() {
    require_dropped(2);
}

#[test]
#[ignore = "opens many connections that fill; `make siege` runs it"]
fn siege_a_hundred_clients_that_do_not_read_are_dropped_and_told() {
    require_release();
    require_dropped(100);
}

/// More waits for it than a client that reads nothing may leave, for longer than that one has.
#[test]
fn a_client_that_reads_slowly_is_answered_to_the_end() {
    const QUESTIONS: usize = 12_000;
    let house = House::open();
    let mut socket = sign_in(&house, 64 * 1024);
    let mut writer = socket.another();
    let writing = std::thread::spawn(move || (0..QUESTIONS).try_for_each(|_| writer.text(ASK)));
    std::thread::sleep(Duration::from_secs(3)); // a line that is silent for a moment
    let (began, mut read) = (Instant::now(), 0);
    for n in 0..QUESTIONS {
        match socket.next_answer() {
            RawFrame::Text(text) => read += text.len(),
            other => panic!("{other:?} instead of answer {n}, after {:?}", began.elapsed()),
        }
        std::thread::sleep(Duration::from_millis(1)); // which is a little more
    }
    println!("{read} bytes in {:.1?}", began.elapsed());
    assert!(read > 4 * limits::BUFFERED_BYTES, "{read} bytes are no backlog");
    assert!(began.elapsed() > limits::TAKEN, "it was fast: {:?}", began.elapsed());
    writing.join().unwrap().unwrap();
    assert!(!house.gateway.printed().contains(TOLD));
}
