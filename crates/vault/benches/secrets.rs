//! How long it takes to open a hundred secrets once the root key is there, beside bare AES-256-GCM of the same values.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "prints figures; a failure ends the measurement"
)]

use std::time::Duration;

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_policy::{Book, Entering, Entry, Unrecorded, record};
use moltbot_testkit::figure::{Figure, Limit, Reference, milliseconds_of, timed};
use moltbot_vault::StateDir;
use secrecy::SecretString;

const SECRETS: usize = 100;
const RUNS: usize = 101;

/// The real book would measure the disk.
struct Open;

impl Book for Open {
    fn enter(&self, _: Entry) -> Result<u64, Unrecorded> {
        Ok(1)
    }

    fn enter_soon(&self, entries: Vec<Entry>) -> Entering {
        Box::pin(std::future::ready(self.enter_all(entries)))
    }
}

fn main() {
    let home = tempfile::tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    let vault = moltbot_testkit::vault(&state);
    let permit = record(SecretPermit::for_owner(SecretAct::Load, "bench", "owner:bench"), &Open).unwrap();
    let secrets = vault.secrets(&permit);
    let value = SecretString::from("x".repeat(64));
    let sealed: Vec<(String, String)> = (0..SECRETS)
        .map(|n| {
            let place = format!("channels.telegram.accounts.a{n}.botToken");
            let sealed = secrets.seal(&place, &value).unwrap();
            (place, sealed)
        })
        .collect();
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let bare = cipher.encrypt(&Nonce::from([1; 12]), [b'x'; 64].as_slice()).unwrap();
    let (mut times, mut plain): (Vec<Duration>, Vec<Duration>) = (0..RUNS)
        .map(|_| {
            let open =
                || sealed.iter().for_each(|(place, sealed)| drop(secrets.unseal(place, sealed).unwrap()));
            let decrypt = || drop(cipher.decrypt(&Nonce::from([1; 12]), bare.as_slice()).unwrap());
            (timed(open), timed(|| (0..SECRETS).for_each(|_| decrypt())))
        })
        .unzip();
    let reference = Reference::Time("bare AES-256-GCM".into(), milliseconds_of(&mut plain, 500));
    let figure =
        Figure::new("100 secrets opened", "ms", milliseconds_of(&mut times, 500), Limit::AtMost(5.0));
    println!("{}", figure.beside(reference).to_line());
}
