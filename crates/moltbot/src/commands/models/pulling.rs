//! `moltbot models pull`: fetches a model that moltbot runs itself.

use std::path::Path;

use moltbot_agent::model::{FETCHABLE, Fetchable, Pull, is_here};
use moltbot_config::Config;
use moltbot_net::{SharedBook, Url, loopback_answers};
use moltbot_posture::model::Choice;
use moltbot_vault::read_public;
use serde_json::json;

use super::planned;
use crate::arguments::PullOptions;
use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output;
use crate::{environment, prompt, serve};

/// The largest file of pip's settings that is read, in bytes: ten lines have 500.
const PIP_BYTES: u64 = 64 * 1024;

/// Fetches what is named, once somebody has said yes.
pub(crate) fn run(home: &Home, options: &PullOptions) -> anyhow::Result<Exit> {
    let model = named(options.model.as_deref())?;
    let config = home.load()?.config;
    let was_here = is_here(model, &home.state);
    if !was_here {
        let index = index_of(home, &config)?;
        if !options.yes && !prompt::confirm(&question(model, &index))? {
            return Err(Exit::Failed
                .because("nothing was fetched: say yes to the question at a terminal, or give --yes"));
        }
        let book = CommandBook::open(home)?.shared();
        let fetched = fetch(home, model, &index, book);
        home.close_book();
        fetched?;
    }
    told(home, model, was_here, options.json)?;
    Ok(Exit::Done)
}

/// Offers a model to a person whose gateway would have none.
pub(crate) fn offer(home: &Home) -> anyhow::Result<()> {
    let Some(model) = FETCHABLE.first().filter(|model| !is_here(model, &home.state)) else { return Ok(()) };
    let config = home.load()?.config;
    if !output::is_interactive() || !config.models.local.enabled || planned(home)? != Choice::Nobody {
        return Ok(());
    }
    // Without an index the sentence about the missing model says what to do.
    let Ok(index) = index_of(home, &config) else { return Ok(()) };
    let ledger = home.ledger()?.clone();
    if serve::block_on(async { Ok(loopback_answers(&ledger).await) })?.is_some() {
        return Ok(());
    }
    output::line(
        "no model is set up: there is no key in the config or the environment, and no model server here",
    )?;
    if !prompt::confirm(&question(model, &index))? {
        return Ok(());
    }
    let fetched = fetch(home, model, &index, std::sync::Arc::new(ledger));
    if let Err(error) = fetched {
        output::note(&format!("{error:#}"));
    }
    Ok(())
}

fn named(name: Option<&str>) -> anyhow::Result<&'static Fetchable> {
    let found = match name {
        None => FETCHABLE.first(),
        Some(name) => FETCHABLE.iter().find(|model| model.name == name),
    };
    let names: Vec<&str> = FETCHABLE.iter().map(|model| model.name).collect();
    let unknown =
        || Exit::Usage.because(format!("no such model can be fetched; there is {}", names.join(", ")));
    found.ok_or_else(unknown)
}

fn question(model: &Fetchable, index: &Url) -> String {
    format!(
        "Fetch {} ({}, {} MB) from {}?",
        model.title,
        model.license,
        in_megabytes(model.archive_bytes),
        index.origin().ascii_serialization()
    )
}

const fn in_megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

fn fetch(home: &Home, model: &Fetchable, index: &Url, book: SharedBook) -> anyhow::Result<()> {
    let proxy = environment::proxy()?;
    let mut shown = None;
    let mut progress = |bytes: u64| {
        let percent = bytes.saturating_mul(100).checked_div(model.archive_bytes).unwrap_or(0);
        if shown != Some(percent) {
            shown = Some(percent);
            output::progress(&bar(model, bytes, percent));
        }
    };
    let pull = Pull { model, index, state: &home.state, book, proxy: proxy.as_ref(), actor: OWNER };
    let pulled = serve::block_on(async { Ok(pull.run(&mut progress).await) })?;
    output::progress("");
    pulled.map_err(|error| home::failed(&error))
}

/// How far it is, in one line.
fn bar(model: &Fetchable, bytes: u64, percent: u64) -> String {
    const WIDTH: u64 = 30;
    let full = usize::try_from(percent.min(100).saturating_mul(WIDTH) / 100).unwrap_or(0);
    let empty = usize::try_from(WIDTH).unwrap_or(0).saturating_sub(full);
    let (done, all) = (bytes / 1_000_000, in_megabytes(model.archive_bytes));
    format!("{} [{}{}] {percent:>3} %  {done} of {all} MB", model.name, "#".repeat(full), " ".repeat(empty))
}

fn told(home: &Home, model: &Fetchable, was_here: bool, as_json: bool) -> anyhow::Result<()> {
    let name = format!("moltbot/{}", model.name);
    if as_json {
        let told = json!({"model": name, "bytes": model.bytes, "sha256": model.sha256, "fetched": !was_here});
        return Ok(output::json(&told)?);
    }
    let what = if was_here { "was here already" } else { "is here" };
    output::line(&format!("{name} {what}: {}", model.title))?;
    if !was_here && home.running()?.is_some() {
        output::note("the running gateway does not know it yet: `moltbot gateway restart`");
    }
    Ok(())
}

/// The index that the config names, else the one of pip's own configuration.
fn index_of(home: &Home, config: &Config) -> anyhow::Result<Url> {
    let (text, place) = match &config.models.pull_index {
        Some(text) => (text.clone(), "models.pullIndex"),
        None => {
            let found = environment::pip_index().or_else(|| pips(home));
            let found = found.ok_or_else(|| {
                Exit::Config.because(
                    "no index of packages is named: set models.pullIndex to its address, such as https://HOST/simple, with `moltbot config set models.pullIndex '\"https://HOST/simple\"'`",
                )
            })?;
            (found, "pip's configuration")
        }
    };
    Url::parse(&text)
        .map_err(|_| Exit::Config.because(format!("the index of packages in {place} is no address")))
}

/// What pip's files say: the user's before the system's, as pip has it.
fn pips(home: &Home) -> Option<String> {
    let own = &home.environment.home;
    let places =
        [own.join(".config/pip/pip.conf"), own.join(".pip/pip.conf"), Path::new("/etc/pip.conf").into()];
    places.iter().find_map(|place| {
        let bytes = read_public(place, PIP_BYTES).ok()?;
        index_in(&String::from_utf8(bytes).ok()?)
    })
}

/// The `index-url` of the section `[global]`.
fn index_in(text: &str) -> Option<String> {
    let mut is_global = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_global = section.strip_suffix(']').is_some_and(|name| name.trim() == "global");
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        if is_global && matches!(name.trim(), "index-url" | "index_url") && !value.trim().is_empty() {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_pip_is_that_of_its_global_section() {
        let text = "# mine\n[install]\nindex-url = https://other/simple\n[global]\ncert = /x\nindex-url = https://a.example:8443/simple\n";
        assert_eq!(index_in(text).as_deref(), Some("https://a.example:8443/simple"));
        for text in ["", "[global]\n", "[global]\nindex-url =\n", "index-url = https://x\n"] {
            assert_eq!(index_in(text), None, "{text}");
        }
    }

    #[test]
    fn progress_is_one_line_of_one_length() {
        let model = &FETCHABLE[0];
        let lines = [0, 50, 100].map(|percent| bar(model, model.archive_bytes * percent / 100, percent));
        assert!(lines.iter().all(|line| line.contains(" of 93 MB")), "{lines:?}");
        assert!(lines[1].contains(&format!("[{}{}]", "#".repeat(15), " ".repeat(15))), "{lines:?}");
    }
}
