//! `moltbot ledger …`: reads and verifies the book without the lock of the one who writes it.

use std::path::Path;

mod export;

use moltbot_ledger::query::{Filter, Reader, explain, render_line, render_tree, search};
use moltbot_ledger::view::rebuild_views;
use moltbot_ledger::{Head, LEDGER_FOLDER, PublicKey, VerifyOptions, VerifyReport, anchor, hash_of, verify};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::arguments::{Ledger, Search, Verify};
use crate::book::OWNER;
use crate::commands::files::read_file;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::{output, prompt};

/// Does what the command says.
pub(crate) fn run(home: &Home, command: Ledger) -> anyhow::Result<Exit> {
    match command {
        Ledger::Accept { yes } => accept(home, yes),
        Ledger::Anchor { file } => remember(home, &file),
        Ledger::Checkpoint => checkpoint(home),
        Ledger::Explain { run, json } => tell(home, &run, json),
        Ledger::Export(options) => export::run(home, &options),
        Ledger::Hash => {
            let value = prompt::ask("value")?;
            output::line(&hash_of(home.vault()?, value.expose_secret()))?;
            Ok(Exit::Done)
        }
        Ledger::RebuildLogs => {
            let lines = rebuild_views(&home.state).map_err(|error| home::failed(&error))?;
            output::line(&format!("the logs are written again from {lines} records"))?;
            Ok(Exit::Done)
        }
        Ledger::Search(options) => find(home, options),
        Ledger::Show { sequence, json } => show(home, sequence, json),
        Ledger::Tail { lines, json } => tail(home, lines, json),
        Ledger::Verify(options) => check(home, &options),
    }
}

fn reader(home: &Home) -> anyhow::Result<Reader> {
    Ok(Reader::of(home.state.folder(LEDGER_FOLDER).map_err(|error| home::failed(&error))?))
}

fn report(home: &Home, options: &VerifyOptions) -> VerifyReport {
    verify(&home.state.path().join(LEDGER_FOLDER), options)
}

fn check(home: &Home, options: &Verify) -> anyhow::Result<Exit> {
    let from_key = options.from_key.as_deref().map(str::parse::<PublicKey>).transpose();
    let from_key = from_key.map_err(|error| Exit::Usage.because(error))?;
    let expect_head = options.expect_head.as_deref().map(head_in).transpose()?;
    let found = report(home, &VerifyOptions { from_key, expect_head, from_checkpoint: None });
    let key = found.public_key.as_ref().map(ToString::to_string);
    if options.json {
        let problems: Vec<_> = found
            .problems
            .iter()
            .map(|one| json!({"outcome": one.outcome.name(), "path": one.path, "line": one.line, "what": one.what}))
            .collect();
        output::json(&json!({
            "outcome": found.outcome.name(), "problems": problems, "records": found.records,
            "segments": found.segments, "first": found.first, "last": found.last,
            "head": found.head.as_ref().map(ToString::to_string), "checkpoints": found.checkpoints,
            "signatures": found.signatures, "epochs": found.epochs, "publicKey": key,
            "recovered": found.recovered, "pruned": found.pruned, "closed": found.is_closed,
            "beingWritten": found.is_open,
        }))?;
    } else {
        output::line(&format!(
            "{}: {} records in {} segments, {} checkpoints, {} keys after the first",
            found.outcome.name(),
            found.records,
            found.segments,
            found.checkpoints,
            found.epochs
        ))?;
        for one in &found.problems {
            output::line(&format!(
                "{}, line {}: {}",
                one.path.display(),
                one.line,
                output::harmless(&one.what)
            ))?;
        }
        if let Some(key) = key {
            output::line(&format!("first key {key}"))?;
        }
    }
    Ok(Exit::Verdict(found.outcome.exit_code()))
}

/// The head in a file that was kept elsewhere.
fn head_in(path: &Path) -> anyhow::Result<Head> {
    let bytes = read_file(path, moltbot_config::limits::LEDGER_HEAD_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    text.parse().map_err(|error| Exit::Failed.because(format!("{}: {error}", path.display())))
}

fn tail(home: &Home, lines: u32, json: bool) -> anyhow::Result<Exit> {
    let count = usize::try_from(lines).unwrap_or(usize::MAX);
    for record in reader(home)?.tail(count).map_err(|error| home::failed(&error))? {
        print(&record, json)?;
    }
    Ok(Exit::Done)
}

fn show(home: &Home, sequence: u64, json: bool) -> anyhow::Result<Exit> {
    let found = reader(home)?.show(sequence).map_err(|error| home::failed(&error))?;
    let record = found.ok_or_else(|| Exit::Failed.because(format!("there is no record {sequence}")))?;
    print(&record, json)?;
    Ok(Exit::Done)
}

fn print(record: &moltbot_ledger::query::Record, json: bool) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string(record)? } else { render_line(record) };
    Ok(output::line(&text)?)
}

fn find(home: &Home, options: Search) -> anyhow::Result<Exit> {
    let time = |text: Option<String>| -> anyhow::Result<Option<i64>> {
        let Some(text) = text else { return Ok(None) };
        let parsed = text.parse::<jiff::Timestamp>();
        let parsed = parsed
            .map_err(|_| Exit::Usage.because(format!("{text:?} is no time; write 2026-01-31T00:00:00Z")));
        Ok(Some(parsed?.as_millisecond()))
    };
    let limit = Some(usize::try_from(options.limit).unwrap_or(usize::MAX));
    let (since, until) = (time(options.since)?, time(options.until)?);
    let Search { action, actor, session, decision, text, json, .. } = options;
    let filter = Filter { action, actor, session, decision, since, until, text, limit };
    let found = search(&reader(home)?, &filter).map_err(|error| home::failed(&error))?;
    for record in &found.records {
        print(record, json)?;
    }
    if found.more {
        output::note("there are more; narrow the search or raise --limit");
    }
    note_skipped(found.skipped);
    Ok(Exit::Done)
}

fn note_skipped(lines: u64) {
    if lines > 0 {
        output::note(&format!("{lines} lines of the book are no records; `moltbot ledger verify` says why"));
    }
}

fn tell(home: &Home, run: &str, json: bool) -> anyhow::Result<Exit> {
    let found = explain(&reader(home)?, run).map_err(|error| home::failed(&error))?;
    let found = found.ok_or_else(|| Exit::Failed.because("nothing is recorded of that run"))?;
    if json {
        output::json(&serde_json::to_value(&found)?)?;
    } else {
        output::piece(&render_tree(&found))?;
    }
    Ok(Exit::Done)
}

/// The end of what fits, when all of it does.
fn head(home: &Home) -> anyhow::Result<Head> {
    let found = report(home, &VerifyOptions::default());
    match (found.outcome, found.head) {
        (moltbot_ledger::Outcome::Intact, Some(head)) => Ok(head),
        (other, _) => {
            Err(Exit::Failed.because(format!("the book is {}; run `moltbot ledger verify`", other.name())))
        }
    }
}

fn checkpoint(home: &Home) -> anyhow::Result<Exit> {
    let head = head(home)?;
    output::line(&head.to_string())?;
    Ok(Exit::Done)
}

/// Has a file remember the head, and every later opening of the book look at that file.
fn remember(home: &Home, file: &Path) -> anyhow::Result<Exit> {
    let path = std::path::absolute(file)?;
    let head = head(home)?;
    if !anchor::remember(&path, &head).map_err(|error| home::failed(&error))? {
        return Err(Exit::Failed.because(format!("{} remembers a longer book than this one", path.display())));
    }
    anchor::add(&home.state, &path).map_err(|error| home::failed(&error))?;
    output::line(&format!("{} remembers record {}", path.display(), head.sequence))?;
    Ok(Exit::Done)
}

/// The owner has looked at the tampering and goes on.
fn accept(home: &Home, yes: bool) -> anyhow::Result<Exit> {
    if home.running()?.is_some() {
        return Err(Exit::Busy.because("a gateway runs; stop it first with `moltbot gateway stop`"));
    }
    let ledger = home.ledger()?;
    let Some(found) = ledger.lockdown() else {
        return Err(Exit::Failed.because("nothing was found that has to be accepted"));
    };
    output::line(&format!("{}, line {}: {}", found.path.display(), found.line, found.what))?;
    if !yes
        && !prompt::confirm("Go on with this book? The evidence stays, and every verification reports it.")?
    {
        return Err(Exit::Failed.because("nobody said yes; the gateway stays locked down"));
    }
    ledger.accept_tampering(OWNER).map_err(|error| Exit::Busy.because(error))?;
    home.close_book();
    output::line("the gateway is not locked down at its next start")?;
    Ok(Exit::Done)
}
