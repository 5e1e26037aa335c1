//! A scripted model, a client, a temporary home. For tests only.
//!
//! - [`model::ScriptedModel`]: a provider on loopback that says what the test tells it to say.
//! - [`home::Home`]: a temporary home with a config.
//! - [`process::Gateway`]: the real program, run in such a home.
//! - [`client::Connect`] and [`client::Client`]: a client of protocols 3 and 4.
//! - [`engine::Engine`]: a container engine of the tests' own.
//! - [`ordinary_user`]: the tests again, without root's rights.
//! - [`raw::RawSocket`]: a WebSocket peer that breaks the rules; [`hostile`]: attacks that are data.
//! - [`figure`]: what a benchmark prints.
//! - [`telegram::TelegramApi`]: the Bot API of Telegram, as far as a bot uses it.
//! - [`skip`]: a test that cannot run here says so.
//!
//! What goes wrong in here panics with what was expected: a helper of a test fails its test.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::expect_used, reason = "a helper of a test fails its test")]

pub mod client;
pub mod engine;
pub mod figure;
pub mod home;
pub mod hostile;
pub mod model;
pub mod ordinary_user;
pub mod process;
pub mod raw;
pub mod skip;
pub mod telegram;

/// The vault of a test's state folder, with a key that nothing wraps; made when there is none.
pub fn vault(state: &moltbot_vault::StateDir) -> moltbot_vault::Vault {
    moltbot_vault::Vault::open_or_create(state, &moltbot_vault::FileKey).expect("a vault")
}
