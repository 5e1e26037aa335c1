//! `moltbot security drill`: the owner's attacks on his own installation. Each is told to the book before it is tried, stays on
//! this machine, ends by itself, and takes away what it made. What would keep the owner out, stop his work or leave something
//! behind is tried on a gateway of this very program that is thrown away.

mod devices;
mod entrances;
mod field;
mod kept;
mod walls;

use moltbot_policy::Recorded;
use moltbot_policy::drill::{DrillEnd, DrillPermit};
use moltbot_posture::audit::{DrillFact, Verdict};
use serde_json::json;

use crate::arguments::Drills;
use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, Paint, harmless};
use field::Field;

/// The exit code when nothing got through and not everything could be tried.
const UNTRIED: u8 = 3;

/// What was seen of an attack.
struct Seen {
    held: bool,
    what: String,
}

/// One attack. That it could not be tried is an error.
type Attempt = fn(&mut Field<'_>, &Recorded<DrillPermit>) -> anyhow::Result<Seen>;

/// An attack by its name, with what it tries.
struct Drill {
    name: &'static str,
    tried: &'static str,
    attempt: Attempt,
}

const fn drill(name: &'static str, tried: &'static str, attempt: Attempt) -> Drill {
    Drill { name, tried, attempt }
}

/// Every attack, in the order in which they are tried: what leaves its source refused comes last.
const DRILLS: [Drill; 18] = [
    drill("no-credentials", "a request and a connection without a credential", entrances::no_credentials),
    drill(
        "short-token",
        "a request and a connection with a token of five characters",
        entrances::short_token,
    ),
    drill("replayed-signature", "a sign-in that was recorded, once more", devices::replayed_signature),
    drill("open-dm-policy", "dmPolicy \"open\" through a patch of the config", entrances::open_dm_policy),
    drill("denied-command", "commands that leave the sandbox, through the review", kept::denied_command),
    drill(
        "swapped-envelope",
        "a sealed secret at the place of another, and a changed one",
        kept::swapped_envelope,
    ),
    drill("changed-ledger", "one byte changed in a copy of the book", kept::changed_ledger),
    drill("log-canary", "a made-up credential, told to the log and the book", kept::log_canary),
    drill("sandbox-escape", "a command that goes for the machine around its sandbox", walls::escape),
    drill("sandbox-secret", "a command that looks for keys and passwords", walls::secret),
    drill("sandbox-socket", "a command that opens a socket", walls::socket),
    drill("sandbox-fork-bomb", "a command that starts 400 processes", walls::fork_bomb),
    drill("revoked-device", "a sign-in of a device that was revoked", devices::revoked_device),
    drill("stop-button", "a message after the owner's stop", entrances::stop_button),
    drill(
        "forged-forwarding",
        "six bad sign-ins, each said to be forwarded for another",
        entrances::forged_forwarding,
    ),
    drill("foreign-origin", "a page of another origin, with the right token", entrances::foreign_origin),
    drill("foreign-host", "another name for this machine, with the right token", entrances::foreign_host),
    drill("bad-sign-ins", "six bad sign-ins of one source", entrances::bad_sign_ins),
];

/// Lists the attacks, or tries those that are named; all without a name.
pub(super) fn run(home: &Home, options: &Drills) -> anyhow::Result<Exit> {
    let is_meant =
        |one: &&Drill| options.names.is_empty() || options.names.iter().any(|name| name == one.name);
    if let Some(unknown) = options.names.iter().find(|name| DRILLS.iter().all(|one| one.name != **name)) {
        let names: Vec<&str> = DRILLS.iter().map(|one| one.name).collect();
        return Err(
            Exit::Usage.because(format!("there is no drill {unknown:?}; there are {}", names.join(", ")))
        );
    }
    let chosen: Vec<&Drill> = DRILLS.iter().filter(is_meant).collect();
    if options.list {
        return list(&chosen, options.json);
    }
    let facts = all(home, &chosen, |fact| if options.json { Ok(()) } else { print(fact) })?;
    let count = |verdict| facts.iter().filter(|fact| fact.verdict == verdict).count();
    let (held, through, untried) = (count(Verdict::Held), count(Verdict::GotThrough), count(Verdict::NotRun));
    if options.json {
        output::json(&json!({"drills": facts, "held": held, "gotThrough": through, "notRun": untried}))?;
    } else {
        output::line(&format!("{held} held, {through} got through, {untried} not run"))?;
    }
    Ok(match (through, untried) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Verdict(UNTRIED),
        _ => Exit::Failed,
    })
}

/// Every attack, for an audit. What cannot be recorded is not tried.
pub(super) fn for_audit(home: &Home) -> Vec<DrillFact> {
    let chosen: Vec<&Drill> = DRILLS.iter().collect();
    all(home, &chosen, |_| Ok(())).unwrap_or_else(|error| untried(&format!("{error:#}")))
}

/// No attack was tried, for that reason.
pub(super) fn untried(because: &str) -> Vec<DrillFact> {
    let fact = |one: &Drill| DrillFact {
        name: one.name,
        verdict: Verdict::NotRun,
        tried: one.tried,
        seen: because.to_owned(),
    };
    DRILLS.iter().map(fact).collect()
}

fn all(
    home: &Home,
    chosen: &[&Drill],
    mut told: impl FnMut(&DrillFact) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<DrillFact>> {
    let book = CommandBook::open(home)?;
    let mut field = Field::new(home);
    let mut facts = Vec::new();
    for one in chosen {
        let permit = book.record(DrillPermit::for_owner(one.name, OWNER))?;
        let (verdict, seen) = match (one.attempt)(&mut field, &permit) {
            Ok(Seen { held: true, what }) => (Verdict::Held, what),
            Ok(Seen { held: false, what }) => (Verdict::GotThrough, what),
            Err(error) => (Verdict::NotRun, format!("{error:#}")),
        };
        let (name, actor) = (one.name, OWNER.to_owned());
        drop(book.record(DrillEnd { name, verdict: verdict.name(), seen: seen.clone(), actor })?);
        let fact = DrillFact { name, verdict, tried: one.tried, seen };
        told(&fact)?;
        facts.push(fact);
    }
    book.close();
    Ok(facts)
}

fn list(chosen: &[&Drill], as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        let rows: Vec<_> = chosen.iter().map(|one| json!({"name": one.name, "tries": one.tried})).collect();
        output::json(&json!({ "drills": rows }))?;
        return Ok(Exit::Done);
    }
    for one in chosen {
        output::line(&format!("{:18} {}", one.name, one.tried))?;
    }
    Ok(Exit::Done)
}

fn print(fact: &DrillFact) -> anyhow::Result<()> {
    let paint = match fact.verdict {
        Verdict::GotThrough => Paint::Bad,
        Verdict::Held => Paint::Good,
        Verdict::NotRun => Paint::Warn,
    };
    let verdict = output::paint(&format!("{:11}", fact.verdict.name()), paint);
    output::line(&format!("{verdict} {:18} {}: {}", fact.name, fact.tried, harmless(&fact.seen)))?;
    Ok(())
}
