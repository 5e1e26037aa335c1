//! `moltbot security …`.

mod ages;
pub(crate) mod at_start;
pub(super) mod audit;
mod compliance;
mod drill;
mod fix;
pub(super) mod gather;
mod migrate;
pub(super) mod scores;

use std::path::{Path, PathBuf};

use moltbot_policy::secret::{SecretAct, SecretPermit};

use crate::arguments::Security;
use crate::book::{CommandBook, OWNER};
use crate::commands::files::new_file;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::keeper::VaultKeeper;
use crate::{change, credentials, output};

/// Does what the command says. An audit looks at whatever is there: it opens nothing that opening would repair.
pub(crate) fn run(environment: Environment, command: &Security) -> anyhow::Result<Exit> {
    match command {
        Security::Audit(options) => audit::run(&environment, options),
        Security::Compliance(options) => compliance::run(options),
        Security::Decrypt { export } => decrypt(&super::open(environment)?, export),
        Security::Drill(options) => drill::run(&super::open(environment)?, options),
        Security::Fix(options) => audit::fix(&environment, options.dry_run, options.json),
        Security::Migrate(options) => migrate::run(&environment, options),
        Security::Score(options) => audit::score(&environment, options),
    }
}

/// What an audit finds, as JSON.
pub(super) fn report(environment: &Environment) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::to_value(audit::look(environment, false))?)
}

/// Puts right what `doctor` may put right.
pub(super) fn cure(environment: &Environment) -> anyhow::Result<fix::Fixed> {
    fix::all(environment, &audit::look(environment, false), fix::Reach::Doctor, false)
}

fn decrypt(home: &Home, export: &Path) -> anyhow::Result<Exit> {
    let text = change::text(home)?;
    let book = CommandBook::open(home)?;
    let place = format!("{} -> {}", home.config_path.display(), export.display());
    let permit = book.record(SecretPermit::for_owner(SecretAct::Export, place, OWNER))?;
    let keeper = VaultKeeper::new(home.vault()?.secrets(&permit), &home.state);
    let plain = moltbot_config::unseal_all(&text, &keeper)
        .map_err(|error| Exit::Config.because(home::chain(&error)))?;
    new_file(export, plain.as_bytes())?;
    let mut written = vec![export.to_owned()];
    for file in credentials::files(home)? {
        let path = beside(export, &file.name);
        let plain = file.in_plaintext(home, home.vault()?.secrets(&permit))?;
        new_file(&path, plain.as_bytes())?;
        written.push(path);
    }
    book.close();
    for path in written {
        output::line(&format!(
            "{} has every secret in plaintext; remove it when it is no longer needed",
            path.display()
        ))?;
    }
    Ok(Exit::Done)
}

/// Where the plaintext of a file of credentials goes: `plain.json` has `plain.json.agents-main-agent-auth-profiles.json`
/// beside it.
fn beside(export: &Path, name: &str) -> PathBuf {
    let mut path = export.as_os_str().to_owned();
    path.push(format!(".{}", name.trim_start_matches('/').replace('/', "-")));
    PathBuf::from(path)
}
