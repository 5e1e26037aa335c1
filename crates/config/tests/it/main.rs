//! The public face of the config crate.

mod containers;
mod edits;
mod errors;
mod full;
mod hostile;
mod includes;
mod oracle;
mod references;
mod secrets;
mod toy;

use moltbot_config::{ConfigErrors, Loaded, Surroundings, load};
use secrecy::SecretString;

/// The variables that the tests have.
fn environment(name: &str) -> Option<SecretString> {
    match name {
        "TEST_KEY" => Some("key-from-the-environment".into()),
        "TEST_BIND" => Some("loopback".into()),
        "TEST_OPEN" => Some(" Open ".into()),
        "TEST_STAR" => Some("*".into()),
        "TEST_EMPTY" => Some("".into()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Loaded, ConfigErrors> {
    load(text.as_bytes(), "moltbot.json", &Surroundings::plain(&environment))
}

/// The one error of a text, as `path: message`.
fn error_of(text: &str) -> String {
    match read(text) {
        Ok(_) => "no error".to_owned(),
        Err(errors) => {
            let said: Vec<String> =
                errors.errors().iter().map(|error| format!("{}: {}", error.path, error.message)).collect();
            said.join(" | ")
        }
    }
}
