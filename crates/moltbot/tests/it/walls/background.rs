//! Commands in the background, through the real program: whose they are, what is kept of them, and that each has its end.

use std::time::{Duration, Instant};

use moltbot_testkit::client::unique;
use moltbot_testkit::model::Reply;
use moltbot_testkit::process::Circumstances;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::backends::{as_user, has_bubblewrap, ordinary, program_says, stage};
use super::stage::{Stage, marker, none_survives, outside, processes_with, until, users};

/// A family that ignores what it can ignore and leaves its parents.
fn daemons(marker: &str) -> String {
    format!(
        "trap '' TERM HUP INT QUIT; (setsid nohup sleep {marker} >/dev/null 2>&1 &); \
         (setsid bash -c 'trap \"\" TERM HUP; exec 0<&- 1>&- 2>&-; while :; do sleep {marker}; done' &); sleep {marker}"
    )
}

/// Begins a command in the background, and answers its name.
async fn begin(stage: &mut Stage, command: &str) -> String {
    let told = stage.call("exec", json!({"command": command, "background": true})).await;
    name_in(&told)
}

fn name_in(told: &str) -> String {
    let rest = told.strip_prefix("Command still running (session ").unwrap_or_else(|| panic!("{told}"));
    rest.split_once(')').unwrap().0.to_owned()
}

async fn process(stage: &mut Stage, action: &str, name: &str) -> String {
    stage.call("process", json!({"action": action, "sessionId": name, "timeout": 10_000})).await
}

/// The same in another conversation.
async fn elsewhere(stage: &mut Stage, session: &str, tool: &str, arguments: &Value) -> String {
    stage.model.push(Reply::tool(tool, arguments));
    stage.model.push(Reply::text("done"));
    let run = stage.client.send_chat(session, "go").await;
    stage.end(run).await
}

fn book(stage: &Stage) -> String {
    outside(&stage.home.state_path(), "cat ledger/*")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_on_in_the_background_and_is_looked_after() {
    for user in users("a_command_goes_on_in_the_background_and_is_looked_after") {
        let mut stage = Stage::new(user).await;
        let script = "echo one; until [ -e go ]; do sleep 0.02; done; echo two; exit 3";
        let name = begin(&mut stage, script).await;
        let told = process(&mut stage, "poll", &name).await;
        assert!(told.starts_with("running for ") && told.ends_with("\none\n"), "{told}");
        let told = stage.call("process", json!({"action": "poll", "sessionId": name})).await;
        assert!(told.ends_with("(no new output)"), "{told}");
        let listed = stage.call("process", json!({"action": "list"})).await;
        assert!(
            listed.starts_with(&format!("{name} running for ")) && listed.contains(":: echo one;"),
            "{listed}"
        );
        let told = process(&mut stage, "clear", &name).await;
        assert!(told.contains("still runs"), "{told}");
        assert!(stage.exec("touch go").await.starts_with("exit code 0"), "others run beside it");
        let mut told = process(&mut stage, "poll", &name).await;
        assert!(told.ends_with("\ntwo\n"), "{told}");
        while told.starts_with("running") {
            told = process(&mut stage, "poll", &name).await;
        }
        assert!(told.starts_with("ended: exit code 3\n"), "{told}");
        let log =
            stage.call("process", json!({"action": "log", "sessionId": name, "offset": 1, "limit": 5})).await;
        assert_eq!(log, "ended: exit code 3\n(lines 1 to 2 of 2)\ntwo");
        assert_eq!(process(&mut stage, "clear", &name).await, format!("{name} is forgotten"));
        let listed = stage.call("process", json!({"action": "list"})).await;
        assert_eq!(listed, "No running or recent commands.");
        let book = book(&stage);
        assert!(book.contains("\"action\":\"command.start\",\"target\":\"echo one;"), "{book}");
        assert!(book.contains("exit 3"), "its end is in the book: {book}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_takes_long_goes_on_without_its_turn_and_one_that_is_quick_does_not() {
    let mut stage = Stage::new(ordinary()).await;
    let told = stage.call("exec", json!({"command": "echo quick", "yieldMs": 60_000})).await;
    assert_eq!(told, "exit code 0\n\nquick\n");
    let script = "echo first; sleep 600";
    let told = stage.call("exec", json!({"command": script, "yieldMs": 300})).await;
    let name = name_in(&told);
    assert!(told.ends_with("\n\nfirst\n"), "what it wrote so far: {told}");
    assert_eq!(process(&mut stage, "kill", &name).await, format!("{name}: killed"));
    assert_eq!(process(&mut stage, "remove", &name).await, format!("{name} is removed"));
    let book = book(&stage);
    assert!(
        book.contains("\"action\":\"process.kill\"") && book.contains("\"action\":\"process.remove\""),
        "{book}"
    );
    for (arguments, said) in [
        (json!({"action": "write", "sessionId": name}), "`process` has no action `write`"),
        (json!({"action": "poll"}), "needs `sessionId`"),
        (json!({"action": "poll", "sessionId": "p99999"}), "no command of that name"),
    ] {
        let told = stage.call("process", arguments).await;
        assert!(told.contains(said), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_conversation_neither_sees_nor_ends_a_command_of_the_background() {
    let mut stage = Stage::new(ordinary()).await;
    let marker = marker(301);
    let name = begin(&mut stage, &format!("echo a-secret-of-ours; sleep {marker}")).await;
    process(&mut stage, "poll", &name).await;
    let other = "agent:main:other";
    let listed = elsewhere(&mut stage, other, "process", &json!({"action": "list"})).await;
    assert_eq!(listed, "No running or recent commands.");
    for action in ["poll", "log", "kill", "clear", "remove"] {
        let told =
            elsewhere(&mut stage, other, "process", &json!({"action": action, "sessionId": name})).await;
        assert!(told.contains("no command of that name") && !told.contains("a-secret"), "{action}: {told}");
    }
    assert!(!processes_with(&format!("sleep {marker}")).is_empty(), "it was ended from elsewhere");
    assert!(book(&stage).contains("\"code\":\"process_unknown\""), "that somebody tried is in the book");
    assert!(
        process(&mut stage, "poll", &name).await.starts_with("running"),
        "it is its own conversation's still"
    );
    // Nor does what ends the other conversation's commands.
    let stop = json!({"sessionKey": other, "message": "/stop", "idempotencyKey": unique("k")});
    stage.client.call("chat.send", stop).await.unwrap();
    assert!(process(&mut stage, "poll", &name).await.starts_with("running"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_command_of_the_background_made_survives_its_end() {
    for (tag, user) in (310..).zip(users("nothing_that_a_command_of_the_background_made_survives_its_end")) {
        let mut stage = Stage::new(user).await;
        let marker = marker(tag);
        let sleeps = format!("sleep {marker}");
        let name = begin(&mut stage, &daemons(&marker)).await;
        until("the daemons run", || processes_with(&sleeps).len() >= 3).await;
        assert_eq!(process(&mut stage, "kill", &name).await, format!("{name}: killed"));
        assert_eq!(processes_with(&sleeps), Vec::<String>::new(), "as {user:?}");
        // Its own time ends it, too.
        let arguments = json!({"command": daemons(&marker), "background": true, "timeout": 1});
        let name = name_in(&stage.call("exec", arguments).await);
        let mut told = process(&mut stage, "poll", &name).await;
        while told.starts_with("running") {
            told = process(&mut stage, "poll", &name).await;
        }
        assert!(told.starts_with("ended: killed: it was still running after 1 s"), "{told}");
        assert_eq!(processes_with(&sleeps), Vec::<String>::new(), "as {user:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stop_ends_the_commands_of_the_background_within_a_second() {
    let mut stage = Stage::new(ordinary()).await;
    let marker = marker(320);
    let sleeps = format!("sleep {marker}");
    for way in ["a stop word", "chat.abort", "a reset", "the signal"] {
        let name = begin(&mut stage, &daemons(&marker)).await;
        until("the daemons run", || processes_with(&sleeps).len() >= 3).await;
        let began = Instant::now();
        let stop = json!({"sessionKey": "main", "message": "/stop", "idempotencyKey": unique("k")});
        match way {
            "a stop word" => drop(stage.client.call("chat.send", stop).await.unwrap()),
            "chat.abort" => {
                drop(stage.client.call("chat.abort", json!({"sessionKey": "main"})).await.unwrap())
            }
            "a reset" => {
                let said = program_says(&stage.home, ordinary(), &["sessions", "reset", "main"]);
                assert!(said.contains("main"), "{said}");
            }
            _ => stage.gateway.signal(Signal::USR2),
        }
        none_survives(&sleeps).await;
        // To start a program of ours is no part of it.
        assert!(way == "a reset" || began.elapsed() < Duration::from_secs(1), "{way}: {:?}", began.elapsed());
        if way != "the signal" {
            let told = process(&mut stage, "poll", &name).await;
            assert!(told.starts_with("ended: killed\n"), "{way}: {told}");
        }
    }
    until("its end is in the book", || book(&stage).matches("\"outcome\":\"aborted\"").count() >= 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_of_the_background_outlives_its_gateway() {
    for (tag, user) in (330..).zip(users("no_command_of_the_background_outlives_its_gateway")) {
        let mut stage = Stage::new(user).await;
        let sleeps = format!("sleep {}", marker(tag));
        begin(&mut stage, &daemons(&marker(tag))).await;
        until("the daemons run", || processes_with(&sleeps).len() >= 3).await;
        stage.gateway.kill9();
        none_survives(&sleeps).await;
        // Of the next gateway it is gone, and a name of before means nothing.
        stage.gateway.restart(&stage.home);
        stage.client = stage.gateway.connect().open().await.unwrap();
        let listed = stage.call("process", json!({"action": "list"})).await;
        assert_eq!(listed, "No running or recent commands.");
        begin(&mut stage, &daemons(&marker(tag))).await;
        until("the daemons run", || processes_with(&sleeps).len() >= 3).await;
        stage.gateway.terminate();
        assert_eq!(processes_with(&sleeps), Vec::<String>::new(), "as {user:?}");
        assert!(book(&stage).contains("\"outcome\":\"aborted\""), "an orderly end is in the book");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_output_of_the_background_is_bounded() {
    let mut stage = Stage::new(ordinary()).await;
    let name = begin(&mut stage, "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo over; sleep 600").await;
    let mut log = String::new();
    while !log.ends_with("\nover") {
        log = stage.call("process", json!({"action": "log", "sessionId": name, "limit": 1})).await;
    }
    assert!(log.contains("bytes before them are kept no more"), "{log}");
    let polled = stage.call("process", json!({"action": "poll", "sessionId": name})).await;
    let most = moltbot_config::limits::COMMAND_OUTPUT_BYTES;
    assert!((most..most + 200).contains(&polled.len()), "{} bytes", polled.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_conversation_has_more_in_the_background_than_it_may() {
    let mut stage = Stage::new(ordinary()).await;
    for _ in 0..moltbot_config::limits::PROCESSES_OF_SESSION {
        begin(&mut stage, "sleep 600").await;
    }
    let told = stage.call("exec", json!({"command": "sleep 600", "background": true})).await;
    assert!(told.contains("run in the background already, which is the limit"), "{told}");
    assert!(book(&stage).contains("\"code\":\"process_limit\""));
    assert!(stage.exec("echo on").await.ends_with("on\n"), "it can run in the foreground");
    let other = json!({"command": "sleep 600", "background": true});
    let told = elsewhere(&mut stage, "agent:main:other", "exec", &other).await;
    assert!(told.starts_with("Command still running"), "{told}");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_of_the_background_puts_its_session_into_quarantine_and_ends_the_others() {
    let mut stage = Stage::new(ordinary()).await;
    let marker = marker(340);
    begin(&mut stage, &format!("sleep {marker}")).await;
    let script =
        "until [ -e go ]; do sleep 0.02; done; perl -e 'syscall(272, 0x10000000); print \"went on\"'";
    begin(&mut stage, script).await;
    // A client of its own: the other drops what comes before its turn has ended.
    let mut watcher = stage.gateway.connect().open().await.unwrap();
    stage.exec("touch go").await;
    let held = watcher.event("session.quarantine").await;
    assert_eq!(held["sessionKey"], "agent:main:main", "{held}");
    none_survives(&format!("sleep {marker}")).await;
    let message = json!({"sessionKey": "main", "message": "go on", "idempotencyKey": unique("k")});
    let refused = stage.client.call("chat.send", message).await.unwrap_err();
    assert_eq!(refused.details.unwrap()["code"], "session_quarantined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_every_backend_of_this_machine_a_background_command_has_its_end() {
    const NAME: &str = "on_every_backend_of_this_machine_a_background_command_has_its_end";
    for (tag, backend) in (350..).zip(["bwrap", "embedded-weak"]) {
        if backend == "bwrap" && !has_bubblewrap(NAME) {
            continue;
        }
        let mut stage = stage(backend, as_user(ordinary())).await;
        let sleeps = format!("sleep {}", marker(tag));
        let name = begin(&mut stage, &daemons(&marker(tag))).await;
        until("the daemons run", || processes_with(&sleeps).len() >= 3).await;
        assert_eq!(process(&mut stage, "kill", &name).await, format!("{name}: killed"), "{backend}");
        assert_eq!(processes_with(&sleeps), Vec::<String>::new(), "{backend}");
        begin(&mut stage, &daemons(&marker(tag))).await;
        until("the daemons run", || processes_with(&sleeps).len() >= 3).await;
        stage.gateway.kill9();
        none_survives(&sleeps).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_tool_that_looks_after_it_no_command_goes_on_in_the_background() {
    let model = moltbot_testkit::model::ScriptedModel::queue([]);
    let home = moltbot_testkit::home::Home::with_model(&model);
    home.change_config(|config| {
        config["tools"] = json!({"deny": ["process"], "exec": {"backgroundMs": 10}});
    });
    let gateway =
        moltbot_testkit::process::Gateway::start_in(Circumstances::default(), super::stage::PROGRAM, &home);
    let client = gateway.connect().open().await.unwrap();
    let mut stage = Stage { model, home, gateway, client };
    let told = stage.call("exec", json!({"command": "sleep 600", "background": true})).await;
    assert!(told.contains("has no tool `process`; leave `background` out"), "{told}");
    assert_eq!(stage.output("sleep 0.2; echo waited").await, "waited\n");
    let offered = stage.model.requests().last().unwrap().tools();
    assert_eq!(offered, ["edit", "exec", "read", "session_status", "write"]);
}
