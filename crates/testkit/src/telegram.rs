//! A stand-in of the Telegram Bot API on loopback: strict about what it is asked, and at fault where the test wants it.
//!
//! It keeps to the public documentation of the Bot API: the token is in the path; updates wait until they are confirmed by
//! a later `offset`; one poller at a time, an older one is answered 409; parameters that a method does not have are
//! refused (the real server ignores them), as is HTML that is not exactly what is documented. A client library that
//! other people wrote is pointed at it by the tests, so that it stands in for more than our own driver.
//!
//! It runs on a thread of its own and outlives a gateway that is killed, as Telegram does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};

mod html;
mod methods;
mod parameters;
mod posting;
mod server;
mod state;

pub use parameters::Parameters;
pub use state::Sent;
use state::State;

/// The bot's user id, which its token begins with.
pub const BOT_ID: i64 = 7_000_000_001;
/// The bot's user name.
pub const BOT_NAME: &str = "stand_in_bot";
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 429, with that many seconds in `retry_after`.
    Busy(u64),
    /// The connection ends, and nothing was done.
    Drop,
    /// The call is done, and the connection ends before its answer.
    DropAfter,
    /// The call is taken and never answered.
    Hang,
    /// A refusal of the API with that code and description.
    Refuse(u16, String),
    /// A status of something before the API, with a page for browsers.
    Status(u16),
}

/// A user of Telegram.
#[derive(Clone, Debug)]
pub struct Person {
    /// The immutable id.
    pub id: i64,
    /// The first name, which its owner may change at any time.
    pub first_name: String,
    /// The user name, which its owner may change or lose to somebody else at any time.
    pub username: Option<String>,
}

impl Person {
    /// A person who writes.
    pub fn new(id: i64, first_name: &str, username: Option<&str>) -> Self {
        Self { id, first_name: first_name.into(), username: username.map(Into::into) }
    }

    /// The person as updates tell of one.
    pub fn json(&self) -> Value {
        let mut user = json!({"id": self.id, "is_bot": false, "first_name": self.first_name});
        if let (Some(name), Some(user)) = (&self.username, user.as_object_mut()) {
            user.insert("username".into(), json!(name));
        }
        user
    }

    /// The chat of that person and the bot.
    fn chat(&self) -> Value {
        let mut chat = json!({"id": self.id, "type": "private", "first_name": self.first_name});
        if let (Some(name), Some(chat)) = (&self.username, chat.as_object_mut()) {
            chat.insert("username".into(), json!(name));
        }
        chat
    }
}

/// One call that the API was asked for, refused ones among them.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: String,
    /// What it was given.
    pub parameters: Parameters,
}

struct Shared {
    token: String,
    state: Mutex<State>,
    faults: Mutex<Vec<(String, VecDeque<Fault>)>>,
    down: AtomicBool,
    /// The test is over.
    ended: AtomicBool,
    /// Told when the state changes: to long polls, and to the test.
    updates: Notify,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked with the state")
    }

    fn touch(&self) {
        self.updates.notify_waiters();
        self.changed.notify_all();
    }

    fn is_token(&self, token: &str) -> bool {
        token == self.token && !self.state().revoked
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    fn next_fault(&self, method: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().expect("no thread panicked with the faults");
        faults.iter_mut().find(|(name, _)| name == method).and_then(|(_, queue)| queue.pop_front())
    }
}

/// The API. It stops when it is dropped.
pub struct TelegramApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl TelegramApi {
    /// Starts with one bot and nobody who has written to it.
    pub fn start() -> Self {
        let secret = moltbot_vault::draw_token().expect("random bytes");
        let secret: String = secrecy::ExposeSecret::expose_secret(&secret)
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(35)
            .collect();
        let shared = Arc::new(Shared {
            token: format!("{BOT_ID}:{secret}"),
            state: Mutex::default(),
            faults: Mutex::default(),
            down: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            updates: Notify::new(),
            changed: Condvar::new(),
        });
        let (listener, address) = crate::model::listen();
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("telegram-api".into())
            .spawn(move || server::serve(listener, &served, stopped))
            .expect("a thread for the stand-in");
        Self { address, shared, stop: Some(stop), threads: vec![thread] }
    }

    /// Posts updates to the webhook that the bot sets, through a proxy on this machine in front of `port`: it ends TLS, and
    /// says for whom it speaks.
    pub fn post_through(&mut self, port: u16) {
        let shared = Arc::clone(&self.shared);
        let posting = std::thread::Builder::new().name("telegram-posts".into());
        self.threads.push(posting.spawn(move || posting::keep_posting(&shared, port)).expect("a thread"));
    }

    /// What was posted to the webhook: the number of the update, and the status that was answered.
    pub fn posts(&self) -> Vec<(i64, Option<u16>)> {
        self.shared.state().posts.clone()
    }

    /// Blocks until `count` posts were tried.
    ///
    /// # Panics
    /// When that does not happen within 30 s.
    pub fn wait_for_posts(&self, count: usize) {
        self.wait("posts", count, |state| state.posts.len());
    }

    /// The root that `/bot<token>/<method>` is added to.
    pub fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bot's token.
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// A person writes to the bot; answers the message's id.
    pub fn write(&self, person: &Person, text: &str) -> i64 {
        self.post(&person.chat(), person, &json!({"text": text}))
    }

    /// A person sends the bot a message of any content; answers the message's id.
    pub fn send(&self, person: &Person, content: &Value) -> i64 {
        self.post(&person.chat(), person, content)
    }

    /// A supergroup that the bot is a member of.
    pub fn group(&self, title: &str) -> Value {
        self.shared.state().add_group(title)
    }

    /// A person posts in a group; answers the message's id.
    pub fn post(&self, chat: &Value, person: &Person, content: &Value) -> i64 {
        let id = self.shared.state().message(chat, &person.json(), content);
        self.shared.touch();
        id
    }

    /// A person changes the text of a message.
    pub fn edit(&self, person: &Person, message: i64, text: &str) {
        self.shared.state().edited(&person.chat(), &person.json(), message, text);
        self.shared.touch();
    }

    /// A person presses a button, or says so: a button that carries `data` below the message in that chat.
    pub fn press(&self, person: &Person, chat: i64, message: i64, data: &str) {
        let mut state = self.shared.state();
        let known = state.chat(chat).expect("a chat");
        let query = json!({
            "id": format!("press-{}", state.now()), "from": person.json(), "chat_instance": "1", "data": data,
            "message": {"message_id": message, "date": state.now(), "chat": known, "text": "the question"},
        });
        state.push(json!({"callback_query": query}));
        drop(state);
        self.shared.touch();
    }

    /// A person presses a button; what he is answered.
    ///
    /// # Panics
    /// When he is not answered within 30 s.
    pub fn press_and_hear(&self, person: &Person, chat: i64, message: i64, data: &str) -> String {
        let heard = self.press_answers().len();
        self.press(person, chat, message, data);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.press_answers().get(heard) {
                return answer.clone();
            }
            assert!(Instant::now() < deadline, "the press is not answered");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What was answered to presses, in order.
    pub fn press_answers(&self) -> Vec<String> {
        let calls = self.calls().into_iter().filter(|call| call.method == "answerCallbackQuery");
        calls.filter_map(|call| call.parameters.text("text")).collect()
    }

    /// Any update, without its `update_id`.
    pub fn update(&self, update: Value) {
        self.shared.state().push(update);
        self.shared.touch();
    }

    /// Puts a file where `getFile` finds it.
    pub fn add_file(&self, file_id: &str, bytes: Vec<u8>) {
        self.shared.state().add_file(file_id, bytes);
    }

    /// `getFile` says of a file that it is elsewhere and so large.
    pub fn lie_about_file(&self, file_id: &str, path: &str, size: usize) {
        self.shared.state().lies.insert(file_id.to_owned(), (path.to_owned(), size));
    }

    /// The next calls of `method` fail, one fault a call.
    pub fn fail(&self, method: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut all = self.shared.faults.lock().expect("no thread panicked with the faults");
        match all.iter_mut().find(|(name, _)| name == method) {
            Some((_, queue)) => queue.extend(faults),
            None => all.push((method.to_owned(), faults.into_iter().collect())),
        }
    }

    /// Nothing is answered until [`TelegramApi::come_back`]: every connection ends.
    pub fn go_down(&self) {
        self.shared.down.store(true, Ordering::Relaxed);
        let mut state = self.shared.state();
        state.end_polls();
        state.cut = state.poll;
        drop(state);
        self.shared.touch();
    }

    /// Ends an outage.
    pub fn come_back(&self) {
        self.shared.down.store(false, Ordering::Relaxed);
    }

    /// The token is worth nothing any more: its owner had a new one made.
    pub fn revoke_token(&self) {
        let mut state = self.shared.state();
        state.revoked = true;
        state.end_polls();
        drop(state);
        self.shared.touch();
    }

    /// A person blocks the bot: it may not write there.
    pub fn block(&self, person: &Person) {
        self.shared.state().blocked.insert(person.id);
    }

    /// Another program has updates posted to `url`.
    pub fn set_webhook(&self, url: &str) {
        self.shared.state().webhook =
            Some(state::Webhook { url: url.to_owned(), allowed: Vec::new(), secret: None, failed: None });
    }

    /// A group becomes a supergroup of another id.
    pub fn migrate(&self, from: i64, to: i64) {
        self.shared.state().migrated.insert(from, to);
    }

    /// What the bot sent and edited, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.shared.state().sent.clone()
    }

    /// What the bot sent to one chat, in order.
    pub fn sent_to(&self, chat: i64) -> Vec<Sent> {
        self.sent().into_iter().filter(|sent| sent.chat == chat).collect()
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// How often a method was called so far.
    pub fn count(&self, method: &str) -> usize {
        self.shared.state().calls.iter().filter(|call| call.method == method).count()
    }

    /// Updates that wait for their confirmation.
    pub fn unconfirmed(&self) -> usize {
        self.shared.state().updates.len()
    }

    /// Blocks until `count` messages were sent to a chat.
    ///
    /// # Panics
    /// When that does not happen within 30 s.
    pub fn wait_for_sent(&self, chat: i64, count: usize) -> Vec<Sent> {
        let seen = |state: &State| state.sent.iter().filter(|sent| sent.chat == chat).count();
        self.wait(&format!("messages to {chat}"), count, seen);
        self.sent_to(chat)
    }

    /// Blocks until a message to that chat has no buttons any more: what its press did is in it then. Answers the message.
    ///
    /// # Panics
    /// When that does not happen within 30 s.
    pub fn wait_until_decided(&self, chat: i64, message: i64) -> Sent {
        let is_it = |sent: &&Sent| sent.chat == chat && sent.message == message && sent.buttons.is_empty();
        self.wait("decided questions", 1, |state| state.sent.iter().filter(is_it).count());
        self.sent().into_iter().find(|sent| is_it(&sent)).expect("it was there")
    }

    /// Blocks until a method was called `count` times in all.
    ///
    /// # Panics
    /// When that does not happen within 30 s.
    pub fn wait_for_calls(&self, method: &str, count: usize) {
        let seen = |state: &State| state.calls.iter().filter(|call| call.method == method).count();
        self.wait(&format!("calls of {method}"), count, seen);
    }

    /// Blocks until every update is confirmed.
    ///
    /// # Panics
    /// When that does not happen within 30 s.
    pub fn wait_until_confirmed(&self) {
        self.wait("confirmed queues", 1, |state| usize::from(state.updates.is_empty()));
    }

    fn wait(&self, what: &str, count: usize, number: impl Fn(&State) -> usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        while number(&state) < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the stand-in saw {} {what} in 30 s, not {count}", number(&state));
            state =
                self.shared.changed.wait_timeout(state, left).expect("no thread panicked with the state").0;
        }
    }
}

impl Drop for TelegramApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
