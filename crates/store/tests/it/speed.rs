//! What sealing costs. Prints figures, for a person; run in release, by name.

use std::time::Instant;

use moltbot_testkit::vault;
use rusqlite::Connection;

use super::{Place, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run in release, by name"]
async fn measure_what_sealing_costs() {
    let place = Place::new();
    let keys = vault(&place.state);
    let text = vec![b'x'; 1024];
    let begin = Instant::now();
    let sealed: Vec<_> = (0..5000).map(|_| keys.seal("messages.body/1/2/3/id/key", &text).unwrap()).collect();
    eprintln!("seal 1 kB: {:?}", begin.elapsed() / 5000);
    let begin = Instant::now();
    sealed.iter().for_each(|sealed| drop(keys.unseal("messages.body/1/2/3/id/key", sealed).unwrap()));
    eprintln!("open 1 kB: {:?}", begin.elapsed() / 5000);

    let begin = Instant::now();
    for number in 0..300 {
        place.tell("main", &format!("a{number}"), "x".repeat(1000), &"y".repeat(1000)).await;
    }
    eprintln!("a durable turn of 2 kB: {:?}", begin.elapsed() / 300);
    for sql in ["PRAGMA secure_delete = OFF", "PRAGMA secure_delete = ON"] {
        eprintln!("{sql}: two commits of a turn in SQLite alone: {:?}", turns_in_sqlite(&place, sql));
    }

    for number in 0..500 {
        place.tell("large", &format!("b{number}"), "x".repeat(5600), &"y".repeat(5600)).await;
    }
    place.store.history(&key("large"), 1000).await.unwrap();
    let begin = Instant::now();
    let messages = place.store.history(&key("large"), 1000).await.unwrap().messages;
    let bytes: usize = messages.iter().map(|message| message.text().len()).sum();
    eprintln!("history of {} messages, {bytes} bytes: {:?}", messages.len(), begin.elapsed());

    place.store.close();
    let rotating = vault(&place.state).begin_rotation(&place.state).unwrap();
    let store = moltbot_store::Store::open(&place.state, &rotating).unwrap();
    let begin = Instant::now();
    let done = store.reseal(|_| {}).await.unwrap();
    eprintln!("sealed anew: {done:?} in {:?}", begin.elapsed());
    let begin = Instant::now();
    assert!(store.delete_session(&key("large"), true).await.unwrap());
    eprintln!("a session of {bytes} bytes is deleted in {:?}", begin.elapsed());
}

/// The statements of a turn, without anything of ours.
fn turns_in_sqlite(place: &Place, pragma: &str) -> std::time::Duration {
    let database = Connection::open(place.folder.path().join(format!("{}.db", pragma.len()))).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").unwrap();
    database.execute_batch(pragma).unwrap();
    database
        .execute_batch(
            "CREATE TABLE m (s INTEGER, t INTEGER, q INTEGER, b BLOB, PRIMARY KEY (s, t, q)) WITHOUT ROWID;
             CREATE TABLE o (t INTEGER PRIMARY KEY, b BLOB); CREATE TABLE s (id INTEGER PRIMARY KEY, b BLOB);
             INSERT INTO s VALUES (1, zeroblob(300));",
        )
        .unwrap();
    let begin = Instant::now();
    for turn in 0..300 {
        for part in 0..2 {
            database.execute_batch("BEGIN IMMEDIATE").unwrap();
            database.execute("INSERT INTO m VALUES (1, ?1, ?2, randomblob(1101))", [turn, part]).unwrap();
            database.execute("UPDATE s SET b = randomblob(200 + ?1 % 100)", [turn + part]).unwrap();
            if part == 1 {
                database.execute("INSERT INTO o VALUES (?1, randomblob(1101))", [turn]).unwrap();
            }
            database.execute_batch("COMMIT").unwrap();
        }
    }
    begin.elapsed() / 300
}
