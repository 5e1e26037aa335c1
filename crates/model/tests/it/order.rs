//! One answer at a time, in order, for askers who are still there.

use std::time::Instant;

use serde_json::json;

use crate::files::{File, Then};
use crate::process::{Connection, Model, request, said};

/// Says the same for ever, as long as there is room.
fn endless() -> Vec<u8> {
    File::script(&["again ", "and "], Then::Repeat).bytes()
}

#[test]
fn an_answer_ends_when_its_asker_has_gone() {
    let model = Model::ready(&endless());
    let begun = Instant::now();
    let (_, answer) = model.chat(&request("a", json!({})));
    let whole = begun.elapsed();
    assert_eq!(answer["usage"]["total_tokens"], 4096, "{answer}");
    for stream in [true, false] {
        let mut connection = model.connect();
        connection.post(&request("a", json!({ "stream": stream })));
        if stream {
            connection.wait();
        }
        let begun = Instant::now();
        drop(connection);
        let (_, answer) = model.chat(&request("a", json!({ "max_tokens": 1 })));
        assert_eq!(said(&answer), "again ");
        let taken = begun.elapsed();
        assert!(taken < whole / 2, "{taken:?} for one word, though a whole answer takes {whole:?}");
    }
    assert_eq!(model.close().code(), Some(0));
}

#[test]
fn a_socket_that_closes_ends_an_answer_that_is_being_said() {
    let model = Model::ready(&endless());
    let mut connection = model.connect();
    connection.post(&request("a", json!({ "stream": true })));
    connection.wait();
    assert_eq!(model.close().code(), Some(0));
    assert!(!connection.rest().ends_with(b"0\r\n\r\n"), "it was not cut off");
}

#[test]
fn questions_are_answered_in_order() {
    let model = Model::ready(&endless());
    let mut first = model.connect();
    first.post(&request("a", json!({ "max_tokens": 300 })));
    let mut others: Vec<Connection> = (0..7).map(|_| model.connect()).collect();
    for (place, other) in others.iter_mut().enumerate() {
        other.post(&request("a", json!({ "max_tokens": place + 1 })));
    }
    let all = std::iter::once(&mut first).chain(&mut others);
    let lengths: Vec<u64> =
        all.map(|connection| connection.answer().1["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(lengths, [300, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn the_ninth_connection_is_turned_away_until_one_has_gone() {
    let model = Model::ready(&endless());
    let mut open: Vec<Connection> = (0..8).map(|_| model.connect()).collect();
    for connection in &mut open {
        connection.raw("GET", "/v1/models", b"");
        assert_eq!(connection.answer().0, 200);
    }
    let mut ninth = model.connect();
    let (status, refused) = ninth.answer();
    assert_eq!((status, &refused["error"]["code"]), (503, &json!("model_busy")), "{refused}");
    assert_eq!(ninth.rest(), b"", "it is closed");
    open.pop();
    // Its place is free as soon as the program has seen its end.
    let again = (0..1000)
        .map(|_| model.chat(&request("a", json!({ "max_tokens": 1 }))))
        .find(|(status, _)| *status == 200);
    assert!(again.is_some(), "no place became free");
}
