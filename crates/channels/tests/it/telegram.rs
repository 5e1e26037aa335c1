//! The driver of Telegram.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moltbot_channels::driver::{
    Arrival, Broken, Doing, Driver as _, Link, NotSent, NotTaken, Piece, Press, Pressed,
};
use moltbot_channels::telegram::{BotToken, Telegram};
use moltbot_ledger::query::Reader;
use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_net::{Client, Url};
use moltbot_policy::network::{Destination, Purpose, Reach};
use moltbot_protocol::sender::{Conversation, SenderId};
use moltbot_testkit::telegram::{Fault, Person, TelegramApi};
use moltbot_vault::StateDir;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A bot with a book of its own.
struct House {
    folder: TempDir,
    telegram: Arc<Telegram>,
}

impl House {
    fn at(api: &TelegramApi) -> Self {
        Self::with_token(api, api.token())
    }

    fn with_token(api: &TelegramApi, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(&folder.path().join("state")).unwrap();
        let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
        let root = Url::parse(&api.root()).unwrap();
        let destination = Destination::parse(&root, Reach::Configured).unwrap();
        let client = Client::new(Purpose::Vendor, destination, ledger);
        let token = BotToken::parse(&token.into()).map_err(|error| error.to_string());
        Self { folder, telegram: Arc::new(Telegram::new("default", token, root, client)) }
    }

    /// Runs the driver until it cannot go on.
    async fn run(&self, link: &Desk) -> Broken {
        self.telegram.run(link).await
    }

    /// Runs the driver beside what is tested.
    async fn while_it_runs<T>(&self, link: Desk, work: impl Future<Output = T>) -> T {
        let telegram = Arc::clone(&self.telegram);
        let running = tokio::spawn(async move { telegram.run(&link).await });
        let result = work.await;
        running.abort();
        result
    }

    async fn send(&self, conversation: Conversation, text: &str) -> Result<(), NotSent> {
        let to = SenderId::parse("telegram:default:user:1").unwrap();
        let piece = Piece { key: "k".into(), conversation, to, answers: None, text: text.into() };
        self.telegram.send(&piece).await
    }

    /// The decisions on connections in the book.
    fn book(&self) -> Vec<String> {
        let state = StateDir::open_or_create(&self.folder.path().join("state")).unwrap();
        let records = Reader::of(state.folder("ledger").unwrap()).tail(100).unwrap();
        let opened = records.iter().filter(|record| record.action == "egress.open");
        opened
            .map(|r| format!("{} {} {}", r.actor, r.target, r.detail("purpose").unwrap_or_default()))
            .collect()
    }
}

/// Who takes what arrives.
struct Desk {
    taken: mpsc::UnboundedSender<Arrival>,
    connected: mpsc::UnboundedSender<()>,
    /// How many are taken before nothing is.
    room: AtomicUsize,
}

type Desks = (Desk, mpsc::UnboundedReceiver<Arrival>, mpsc::UnboundedReceiver<()>);

fn desk(room: usize) -> Desks {
    let ((taken, arrivals), (connected, connections)) =
        (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    (Desk { taken, connected, room: room.into() }, arrivals, connections)
}

impl Link for Desk {
    fn take(&self, arrival: Arrival) -> Doing<'_, Result<(), NotTaken>> {
        Box::pin(async move {
            let left =
                self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
            left.map_err(|_| NotTaken("the desk is full".into()))?;
            self.taken.send(arrival).map_err(|_| NotTaken("nobody is at the desk".into()))
        })
    }

    fn press(&self, _press: Press) -> Doing<'_, Result<Pressed, NotTaken>> {
        Box::pin(async { Ok(Pressed { notice: "pressed".into(), text: None }) })
    }

    fn connected(&self) {
        self.connected.send(()).ok();
    }

    fn cursor(&self) -> Doing<'_, Result<Option<String>, NotTaken>> {
        Box::pin(async { Ok(None) })
    }

    fn keep_cursor(&self, _cursor: String) -> Doing<'_, Result<(), NotTaken>> {
        Box::pin(async { Ok(()) })
    }
}

fn ann() -> Person {
    Person::new(1001, "Ann", Some("ann"))
}

fn to(person: &Person) -> Conversation {
    Conversation::Direct { to: person.id.to_string() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_arrive_in_order_and_are_confirmed_once_they_are_taken() {
    let (api, ann) = (TelegramApi::start(), ann());
    let house = House::at(&api);
    for text in ["one", "two", "three"] {
        api.write(&ann, text);
    }
    let (full, mut arrivals, _) = desk(2);
    let broken = house.run(&full).await;
    assert!(!broken.needs_owner && broken.what.contains("the desk is full"), "{broken:?}");
    let first = [arrivals.recv().await.unwrap().text, arrivals.recv().await.unwrap().text];
    assert_eq!(first, ["one", "two"]);
    assert_eq!(api.unconfirmed(), 3, "nothing is confirmed before all of it is taken");
    let (desk, mut arrivals, _) = desk(usize::MAX);
    house
        .while_it_runs(desk, async {
            let mut texts = Vec::new();
            for _ in 0..3 {
                texts.push(arrivals.recv().await.unwrap().text);
            }
            assert_eq!(texts, ["one", "two", "three"], "what was not confirmed is told again");
            tokio::task::block_in_place(|| api.wait_until_confirmed());
        })
        .await;
    let expected = format!(
        "channel:telegram:default 127.0.0.1:{} vendor",
        Url::parse(&api.root()).unwrap().port().unwrap()
    );
    assert_eq!(house.book(), [expected.clone(), expected], "one decision for each connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_cannot_be_read_keeps_nothing_back() {
    let (api, ann) = (TelegramApi::start(), ann());
    let house = House::at(&api);
    api.update(json!({"message": {"message_id": "no number", "text": "poison"}}));
    api.update(json!({"edited_message": 7}));
    api.write(&ann, "behind it");
    let (desk, mut arrivals, _) = desk(usize::MAX);
    let text = house.while_it_runs(desk, async { arrivals.recv().await.unwrap().text }).await;
    assert_eq!(text, "behind it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_sent_and_what_telegram_says_about_it_is_understood() {
    let (api, ann, bob) = (TelegramApi::start(), ann(), Person::new(1002, "Bob", None));
    let house = House::at(&api);
    let refused = house.send(to(&ann), "x").await;
    assert!(matches!(refused, Err(NotSent::Unreachable(_))), "before it is connected: {refused:?}");
    api.write(&ann, "hi");
    api.write(&bob, "hi");
    api.block(&bob);
    let group = api.group("G")["id"].as_i64().unwrap();
    api.migrate(-5, group);
    let (desk, _arrivals, mut connections) = desk(usize::MAX);
    let work = async {
        connections.recv().await.unwrap();
        house
            .send(to(&ann), &house.telegram.pieces("**one** & [two](https://example.org)")[0])
            .await
            .unwrap();
        house.send(to(&ann), "<h1>no tag</h1> &amp; plain").await.unwrap();
        house.send(Conversation::Group { id: "-5".into(), thread: None }, "moved").await.unwrap();
        house.telegram.show_working(&to(&ann)).await;
        api.fail("sendMessage", [Fault::Busy(7)]);
        let later = house.send(to(&ann), "x").await;
        assert!(matches!(later, Err(NotSent::Later(wait)) if wait == Duration::from_secs(7)), "{later:?}");
        for fault in [Fault::Drop, Fault::Status(502), Fault::Status(500)] {
            api.fail("sendMessage", [fault.clone()]);
            let passing = house.send(to(&ann), "x").await;
            assert!(matches!(passing, Err(NotSent::Unreachable(_))), "{fault:?}: {passing:?}");
        }
        for (conversation, text) in
            [(to(&bob), "x"), (to(&Person::new(4711, "N", None)), "x"), (to(&ann), " ")]
        {
            let never = house.send(conversation, text).await;
            assert!(matches!(never, Err(NotSent::Never(_))), "{never:?}");
        }
    };
    house.while_it_runs(desk, work).await;
    let sent = api.sent_to(ann.id);
    let seen: Vec<(&str, bool)> = sent.iter().map(|sent| (sent.text.as_str(), sent.html)).collect();
    assert_eq!(seen, [("one & two", true), ("no tag & plain", false)]);
    assert!(sent.iter().all(|sent| !sent.previews));
    assert_eq!(api.sent_to(group)[0].text, "moved");
    assert_eq!(api.count("sendChatAction"), 1);
}

#[tokio::test]
async fn what_ends_a_run_says_whether_its_owner_must_act() {
    let api = TelegramApi::start();
    let house = House::at(&api);
    let (desk, _arrivals, _connections) = desk(usize::MAX);
    for (method, fault, needs_owner, wait) in [
        ("getUpdates", Fault::Busy(9), false, Some(9)),
        (
            "getUpdates",
            Fault::Refuse(409, "Conflict: terminated by other getUpdates request".into()),
            false,
            Some(30),
        ),
        ("getUpdates", Fault::Status(502), false, None),
        ("getMe", Fault::Drop, false, None),
        ("getMe", Fault::Refuse(404, "Not Found".into()), true, None),
    ] {
        api.fail(method, [fault.clone()]);
        let broken = house.run(&desk).await;
        let told = (broken.needs_owner, broken.wait.map(|wait| wait.as_secs()));
        assert_eq!(told, (needs_owner, wait), "{fault:?}: {broken:?}");
    }
    let wrong = "7000000001:AAcanary-0123456789-0123456789-0123456789";
    let stranger = House::with_token(&api, wrong);
    let broken = stranger.run(&desk).await;
    assert!(broken.needs_owner && broken.what.contains("@BotFather"), "{broken:?}");
    let told = format!("{broken:?} {:?}", stranger.book());
    assert!(!told.contains("canary"), "{told}");
    let calls = api.calls().len();
    let without = House::with_token(&api, "canary");
    let broken = without.run(&desk).await;
    assert!(broken.needs_owner && broken.what.contains("does not look like a bot token"), "{broken:?}");
    assert!(without.book().is_empty() && api.calls().len() == calls, "nobody was asked anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poller_that_began_later_goes_on_and_a_webhook_ends() {
    let (api, ann) = (TelegramApi::start(), ann());
    api.set_webhook("https://example.org/hook");
    let (house, other) = (House::at(&api), House::at(&api));
    let (first, _arrivals, mut connections) = desk(usize::MAX);
    let telegram = Arc::clone(&house.telegram);
    let running = tokio::spawn(async move { telegram.run(&first).await });
    connections.recv().await.unwrap();
    tokio::task::block_in_place(|| api.wait_for_calls("getUpdates", 1));
    assert_eq!(api.count("deleteWebhook"), 1);
    let (second, mut arrivals, _) = desk(usize::MAX);
    let work = async {
        let broken = running.await.unwrap();
        assert!(broken.what.contains("another program") && broken.wait.is_some(), "{broken:?}");
        api.write(&ann, "hi");
        assert_eq!(arrivals.recv().await.unwrap().text, "hi");
    };
    other.while_it_runs(second, work).await;
}
