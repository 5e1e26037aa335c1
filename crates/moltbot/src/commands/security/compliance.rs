//! `moltbot security compliance`: what is promised, and what shows it.

use moltbot_posture::proof::{self, KINDS, Promise, Status};
use serde_json::{Value, json};

use crate::arguments::{Compliance, ComplianceForm};
use crate::exit::Exit;
use crate::{clock, home, output};

mod oscal;

/// What may be said of it, and no more.
const SENTENCE: &str = "`make test` fails where a test that is named here did not run and pass. Nobody has certified this program.";

pub(super) fn run(options: &Compliance) -> anyhow::Result<Exit> {
    let promises = proof::promises().map_err(|error| home::failed(&error))?;
    match options.format {
        _ if options.json => output::json(&as_json(&promises))?,
        ComplianceForm::Csv => csv(&promises)?,
        ComplianceForm::Json => output::json(&as_json(&promises))?,
        ComplianceForm::Oscal => output::json(&oscal::component(&promises, SENTENCE, clock::now_ms()))?,
        ComplianceForm::Table => table(&promises)?,
    }
    Ok(Exit::Done)
}

fn of_kind<'a>(promises: &'a [Promise], kind: &'a str) -> impl Iterator<Item = &'a Promise> {
    promises.iter().filter(move |one| one.id.split_once('.').is_some_and(|(of, _)| of == kind))
}

/// What has to be said of a promise besides its status.
fn notes(one: &Promise) -> impl Iterator<Item = String> {
    let notes = [("", &one.open), ("", &one.not_applicable), ("differs: ", &one.differs)];
    notes.into_iter().filter_map(|(head, note)| Some(format!("{head}{}", note.as_ref()?)))
}

fn table(promises: &[Promise]) -> anyhow::Result<()> {
    for (kind, what) in KINDS {
        output::line(&in_a_sentence(what, of_kind(promises, kind)))?;
        for one in of_kind(promises, kind) {
            output::line(&format!("  {:<15} {:<22} {}", one.status().name(), one.id, one.promise))?;
            for note in notes(one) {
                output::line(&format!("{:41}{note}", ""))?;
            }
        }
        output::line("")?;
    }
    output::line(SENTENCE)?;
    Ok(())
}

/// The one form in which a number of requirements may be told: how many of those that apply.
fn in_a_sentence<'a>(what: &str, promises: impl Iterator<Item = &'a Promise>) -> String {
    let all: Vec<Status> = promises.map(Promise::status).collect();
    let count = |wanted: Status| all.iter().filter(|status| **status == wanted).count();
    let (tested, apart) = (count(Status::Tested), count(Status::NotApplicable));
    let applicable = all.len().saturating_sub(apart);
    let apart = if apart == 0 { String::new() } else { format!("; {apart} do not apply") };
    format!("{what}: {tested} of {applicable} applicable have an automated test{apart}")
}

fn as_json(promises: &[Promise]) -> Value {
    let row = |one: &Promise| {
        json!({ "id": one.id, "level": one.level, "promise": one.promise, "status": one.status().name(),
            "shownBy": one.shown_by, "open": one.open, "notApplicable": one.not_applicable, "differs": one.differs })
    };
    let says: Vec<String> =
        KINDS.iter().map(|(kind, what)| in_a_sentence(what, of_kind(promises, kind))).collect();
    json!({ "version": env!("CARGO_PKG_VERSION"), "note": SENTENCE, "says": says,
        "rows": promises.iter().map(row).collect::<Vec<_>>() })
}

fn csv(promises: &[Promise]) -> anyhow::Result<()> {
    output::line("id,level,status,promise,shown by,open,not applicable,differs")?;
    for one in promises {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let level = one.level.map(|level| level.to_string()).unwrap_or_default();
        let cells = [
            one.id.clone(),
            level,
            one.status().name().to_owned(),
            one.promise.clone(),
            one.shown_by.join(" "),
            text(&one.open),
            text(&one.not_applicable),
            text(&one.differs),
        ];
        output::line(&cells.map(|text| cell(&text)).join(","))?;
    }
    Ok(())
}

/// A cell as RFC 4180 has it. What a spreadsheet would take for a formula is told as text.
fn cell(text: &str) -> String {
    let shield = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{shield}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_text_whatever_is_in_it() {
        for (text, expected) in [("a", "\"a\""), ("a \"b\", c", "\"a \"\"b\"\", c\""), ("=1+1", "\"'=1+1\"")]
        {
            assert_eq!(cell(text), expected);
        }
    }
}
