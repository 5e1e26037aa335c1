//! `moltbot security compliance`: what is promised, and what shows it.

use moltbot_posture::proof::{self, KINDS, Promise};
use serde_json::{Value, json};

use crate::arguments::{Compliance, ComplianceForm};
use crate::exit::Exit;
use crate::{home, output};

/// What may be said of it, and no more.
const SENTENCE: &str = "`make test` fails where a test that is named here did not run and pass. Nobody has certified this program.";

pub(super) fn run(options: &Compliance) -> anyhow::Result<Exit> {
    let promises = proof::promises().map_err(|error| home::failed(&error))?;
    match options.format {
        _ if options.json => output::json(&as_json(&promises))?,
        ComplianceForm::Csv => csv(&promises)?,
        ComplianceForm::Json => output::json(&as_json(&promises))?,
        ComplianceForm::Table => table(&promises)?,
    }
    Ok(Exit::Done)
}

fn of_kind<'a>(promises: &'a [Promise], kind: &'a str) -> impl Iterator<Item = &'a Promise> {
    promises.iter().filter(move |one| one.id.split_once('.').is_some_and(|(of, _)| of == kind))
}

fn table(promises: &[Promise]) -> anyhow::Result<()> {
    for (kind, what) in KINDS {
        let (shown, all) = counts(of_kind(promises, kind));
        output::line(&format!("{what}: {shown} of {all} have tests"))?;
        for one in of_kind(promises, kind) {
            let mark = if one.is_shown() { "tested" } else { "open" };
            output::line(&format!("  {mark:<7} {:<22} {}", one.id, one.promise))?;
            if let Some(why) = &one.open {
                output::line(&format!("{:33}{why}", ""))?;
            }
            if let Some(how) = &one.differs {
                output::line(&format!("{:33}differs: {how}", ""))?;
            }
        }
        output::line("")?;
    }
    output::line(SENTENCE)?;
    Ok(())
}

fn counts<'a>(promises: impl Iterator<Item = &'a Promise>) -> (usize, usize) {
    promises.fold((0, 0), |(shown, all), one| (shown + usize::from(one.is_shown()), all + 1))
}

fn status(one: &Promise) -> &'static str {
    if one.is_shown() { "tested" } else { "open" }
}

fn as_json(promises: &[Promise]) -> Value {
    let row = |one: &Promise| {
        json!({ "id": one.id, "promise": one.promise, "status": status(one), "shownBy": one.shown_by,
            "open": one.open, "differs": one.differs })
    };
    let (shown, all) = counts(promises.iter());
    json!({ "version": env!("CARGO_PKG_VERSION"), "says": SENTENCE, "tested": shown, "promises": all,
        "rows": promises.iter().map(row).collect::<Vec<_>>() })
}

fn csv(promises: &[Promise]) -> anyhow::Result<()> {
    output::line("id,status,promise,shown by,open,differs")?;
    for one in promises {
        let empty = String::new();
        let (open, differs) = (one.open.as_ref().unwrap_or(&empty), one.differs.as_ref().unwrap_or(&empty));
        let shown_by = one.shown_by.join(" ");
        let cells = [one.id.as_str(), status(one), &one.promise, &shown_by, open, differs];
        output::line(&cells.map(cell).join(","))?;
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
