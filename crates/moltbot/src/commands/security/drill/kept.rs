//! Attacks on what is kept and said: secrets, the book, the log; and on the review of commands.

use std::io::Write as _;

use anyhow::Context as _;
use moltbot_ledger::{LEDGER_FOLDER, Outcome, VerifyOptions, verify};
use moltbot_policy::cause::Cause;
use moltbot_policy::command::{CommandRequest, RULES_FILE, Rules, review};
use moltbot_policy::drill::DrillPermit;
use moltbot_policy::profile::Profile;
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_policy::{Book as _, Decision, Entry, Recorded, record, with_causes};
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::principal::Principal;
use moltbot_vault::{Scratch, StateDir, draw_token};
use secrecy::{ExposeSecret as _, SecretString};

use super::Seen;
use super::field::Field;
use crate::book::OWNER;
use crate::home::TOKEN;
use crate::redacted::Redacted;

/// What no agent may run, whoever asks for it.
const DENIED: [&str; 4] = [
    "nsenter -t 1 -m -p sh",
    "unshare -r sh",
    "mount -o bind / /mnt",
    "curl -s --unix-socket /var/run/docker.sock http://localhost/containers/json",
];
/// The largest book of which a copy is changed; of a larger one, another book is.
const BOOK_BYTES: u64 = 32 * 1024 * 1024;
/// The book's register of its own end, beside its segments.
const REGISTER: &str = "head";
/// Where another secret of the config is.
const ELSEWHERE: &str = "models.providers.other.apiKey";

/// Through the function that the agent's tool calls, with the owner's rules.
pub(super) fn denied_command(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let home = field.home;
    let config = home.load()?.config;
    let read = home.state.read(RULES_FILE, moltbot_config::limits::CONFIG_BYTES);
    let own =
        String::from_utf8(read.map_err(|error| anyhow::anyhow!(with_causes(&error)))?.unwrap_or_default())?;
    let rules = Rules::with_owners(&own, RULES_FILE)?;
    let mut passed = Vec::new();
    for script in DENIED {
        let session = SessionKey::main_of(&AgentId::main());
        let cause = Cause::of(&config, session, RunId::parse("drill")?, Principal::Owner);
        let request = CommandRequest { script: script.into(), directory: String::new(), cause };
        if review(request, Profile::for_exec(&config, None), &rules).is_ok() {
            passed.push(script);
        }
    }
    let what = match passed.as_slice() {
        [] => format!("{} of {} are refused", DENIED.len(), DENIED.len()),
        some => format!("not refused: {}", some.join("; ")),
    };
    Ok(Seen { held: passed.is_empty(), what })
}

/// With keys that are thrown away, by the code that opens the config's secrets.
pub(super) fn swapped_envelope(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let home = &field.bench()?.home;
    let permit = record(SecretPermit::for_owner(SecretAct::Seal, TOKEN, OWNER), home.ledger()?)?;
    let secrets = home.vault()?.secrets(&permit);
    let secret = draw_token()?;
    let sealed = secrets.seal(TOKEN, &secret)?;
    secrets.unseal(TOKEN, &sealed).context("it does not open at its own place, either")?;
    let swapped = secrets.unseal(ELSEWHERE, &sealed);
    let changed = secrets.unseal(TOKEN, &changed(&sealed).context("a sealed text is too short")?);
    let told = |opened: &Result<SecretString, _>| if opened.is_ok() { "opens" } else { "does not open" };
    let what = format!("at another place it {}, changed it {}", told(&swapped), told(&changed));
    Ok(Seen { held: swapped.is_err() && changed.is_err(), what })
}

/// With another sign in the middle.
fn changed(sealed: &str) -> Option<String> {
    let middle = sealed.len() / 2;
    let (before, after) = (sealed.get(..middle)?, sealed.get(middle..)?);
    let sign = after.chars().next()?;
    let other = if sign == 'A' { 'B' } else { 'A' };
    Some(format!("{before}{other}{}", after.get(sign.len_utf8()..)?))
}

/// In a copy, which is thrown away.
pub(super) fn changed_ledger(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let scratch = Scratch::make().map_err(|error| anyhow::anyhow!(with_causes(&error)))?;
    let (segment, whose) = match copy(&field.home.state, &scratch)? {
        Some(segment) => (segment, "this installation's book"),
        None => {
            let bench = field.bench()?;
            (copy(&bench.home.state, &scratch)?.context("the book cannot be copied")?, "a book made for it")
        }
    };
    let whole = verify(scratch.path(), &VerifyOptions::default());
    let is_whole = matches!(whole.outcome, Outcome::Intact | Outcome::Torn);
    anyhow::ensure!(is_whole, "the copy is {} before it is changed", whole.outcome.name());
    let folder = scratch.folder();
    let failed = |error: moltbot_vault::FileError| anyhow::anyhow!(with_causes(&error));
    let mut bytes = folder.read(&segment, BOOK_BYTES).map_err(failed)?.context("the copy has vanished")?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the book is empty")? ^= 1;
    folder.write(&segment, &bytes).map_err(failed)?;
    let after = verify(scratch.path(), &VerifyOptions::default());
    let what =
        format!("{whose}: a copy is {}, with one bit changed {}", whole.outcome.name(), after.outcome.name());
    Ok(Seen { held: after.outcome == Outcome::Tampered, what })
}

/// Copies a book; the name of its first segment. Nothing when it is too large.
fn copy(state: &StateDir, scratch: &Scratch) -> anyhow::Result<Option<String>> {
    let folder = state.find_folder(LEDGER_FOLDER).map_err(|error| anyhow::anyhow!(with_causes(&error)))?;
    let folder = folder.context("there is no book")?;
    let failed = |error: moltbot_vault::FileError| anyhow::anyhow!(with_causes(&error));
    // The register first: what is written meanwhile is then longer than what it remembers, and not shorter.
    let mut names = folder.list().map_err(failed)?;
    names.retain(|name| name == REGISTER || is_segment(name));
    names.sort_by_key(|name| is_segment(name));
    let mut left = BOOK_BYTES;
    for name in &names {
        let Ok(read) = folder.read(name, left) else { return Ok(None) };
        let bytes = read.unwrap_or_default();
        left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        scratch.folder().write(name, &bytes).map_err(failed)?;
    }
    Ok(names.into_iter().find(|name| is_segment(name)))
}

fn is_segment(name: &str) -> bool {
    name.ends_with(".mlog")
}

/// Through the writer that every line of the log goes through, and into a book that is thrown away.
pub(super) fn log_canary(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let canary = draw_token()?;
    let canary = canary.expose_secret();
    let told = format!(
        "{{\"message\":\"GET https://api.telegram.org/bot123456789:{canary}/x\",\"header\":\"Authorization: Bearer {canary}\",\"key\":\"sk-ant-api03-{canary}\"}}\n"
    );
    let mut log = Redacted(Vec::new());
    log.write_all(told.as_bytes())?;
    let bench = field.bench()?;
    let ledger = bench.home.ledger()?;
    ledger.enter(Entry::new(OWNER, "drill.canary", told, Decision::Done))?;
    let folder = bench.home.state.find_folder(LEDGER_FOLDER).ok().flatten().context("there is no book")?;
    let mut places = Vec::new();
    if contains(&log.0, canary) {
        places.push("the log");
    }
    let names = folder.list().map_err(|error| anyhow::anyhow!(with_causes(&error)))?;
    let read = |name: &String| folder.read(name, BOOK_BYTES).ok().flatten().unwrap_or_default();
    if names.iter().any(|name| contains(&read(name), canary)) {
        places.push("the book");
    }
    let what = match places.as_slice() {
        [] => "neither the log nor the book has it".to_owned(),
        some => format!("it stands in {}", some.join(" and ")),
    };
    Ok(Seen { held: places.is_empty(), what })
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sign_is_changed() {
        assert_eq!(changed("abcd").as_deref(), Some("abAd"));
        assert_eq!(changed("abAd").as_deref(), Some("abBd"));
        assert_eq!(changed(""), None);
    }
}
