//! Puts right what an audit has found: planned, written once with the old config kept, looked at again, and taken back
//! where that did not help. Nothing here gives anybody more rights.

use moltbot_policy::secret::{ConfigPermit, SecretAct, SecretPermit};
use moltbot_posture::audit::{self, Evidence, Finding, Report};
use moltbot_vault::{LockError, Places};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use serde_json::Value;

use super::gather::gather;
use crate::book::{CommandBook, OWNER};
use crate::commands::gateway::rotate::{require_no_reference, require_own};
use crate::environment::Environment;
use crate::home::{self, Home, LOCK, Running, TOKEN};
use crate::keeper::VaultKeeper;
use crate::{change, clock};

/// What was done.
#[derive(Serialize)]
pub(in crate::commands) struct Fixed {
    /// Each thing, in the order in which it was found.
    pub(super) items: Vec<Item>,
}

impl Fixed {
    /// Whether something was tried and did not work.
    pub(in crate::commands) fn has_failed(&self) -> bool {
        self.items.iter().any(|item| matches!(item.outcome, Done::Failed { .. }))
    }
}

/// One thing that is put right.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    /// The finding.
    pub(super) check_id: String,
    /// What is done about it.
    pub(super) act: String,
    /// What came of it.
    #[serde(flatten)]
    pub(super) outcome: Done,
    #[serde(skip)]
    step: Step,
}

/// What came of it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub(super) enum Done {
    /// It is planned.
    Planned,
    /// It is no longer found.
    Ok,
    /// It was tried, and is still found or could not be written.
    Failed {
        /// Why.
        because: String,
    },
    /// It was not tried.
    Skipped {
        /// Why.
        because: String,
    },
}

impl Done {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Ok => "ok",
            Self::Planned => "planned",
            Self::Skipped { .. } => "skipped",
        }
    }

    pub(super) fn because(&self) -> Option<&str> {
        match self {
            Self::Failed { because } | Self::Skipped { because } => Some(because),
            Self::Ok | Self::Planned => None,
        }
    }
}

/// How one thing is put right.
#[derive(Clone, PartialEq)]
enum Step {
    /// A setting is written.
    Set(String, String),
    /// A setting is removed.
    Unset(String),
    /// Entries with a wildcard are taken out of a list.
    Narrow(String),
    /// A token is drawn for that place.
    Draw(&'static str),
    /// Secrets are sealed, as with every change.
    Seal,
    /// Files are closed to others.
    Close,
}

/// What a migration decides, and a fix leaves to its owner.
const DECIDED: [&str; 3] =
    ["gateway.bind_without_tls", "hooks.token_reuse_gateway_token", "hooks.token_too_short"];
/// Where the hooks' token stands.
const HOOKS_TOKEN: &str = "hooks.token";

/// What may be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// What stands in the way, or lets others at what is kept: no setting that somebody has chosen.
    Doctor,
    /// What everybody would do.
    Fix,
    /// That, and what closes what an earlier generation had open.
    Migration,
}

/// Plans, and unless that is all, does it.
pub(super) fn all(
    environment: &Environment,
    report: &Report,
    reach: Reach,
    dry_run: bool,
) -> anyhow::Result<Fixed> {
    let is_meant =
        |one: &&Finding| one.auto_fixable || reach == Reach::Migration && DECIDED.contains(&one.check);
    let is_in_reach =
        |item: &Item| reach != Reach::Doctor || matches!(item.step, Step::Close | Step::Draw(_) | Step::Seal);
    let mut items: Vec<Item> =
        report.findings.iter().filter(is_meant).flat_map(plan).filter(is_in_reach).collect();
    if dry_run || items.is_empty() {
        return Ok(Fixed { items });
    }
    if report.findings.iter().any(|one| matches!(one.check, "config.missing" | "config.unreadable")) {
        skip(
            &mut items,
            "the config cannot be read; correct it first, or run `moltbot up` where there is none",
        );
        return Ok(Fixed { items });
    }
    let home = Home::ensure(environment.clone())?;
    close(&home, &mut items);
    write(&home, &mut items)?;
    let again = gather(environment, false).facts(audit::audit);
    for item in &mut items {
        let is_found =
            again.findings.iter().any(|one| one.check_id == item.check_id && is_place(one, &item.step));
        if matches!(item.outcome, Done::Planned) {
            item.outcome = match is_found {
                false => Done::Ok,
                true => Done::Failed { because: "it is still found".into() },
            };
        }
    }
    Ok(Fixed { items })
}

fn is_place(finding: &Finding, step: &Step) -> bool {
    match step {
        Step::Set(place, _) | Step::Unset(place) | Step::Narrow(place) => {
            finding.evidence.iter().any(|one| one.place == *place)
        }
        Step::Close | Step::Draw(_) | Step::Seal => true,
    }
}

fn skip(items: &mut [Item], because: &str) {
    for item in items.iter_mut().filter(|item| matches!(item.outcome, Done::Planned)) {
        item.outcome = Done::Skipped { because: because.to_owned() };
    }
}

fn plan(finding: &Finding) -> Vec<Item> {
    let item = |step: Step, act: String| Item {
        check_id: finding.check_id.clone(),
        act,
        outcome: Done::Planned,
        step,
    };
    let each = |step: &dyn Fn(&Evidence) -> (Step, String)| {
        finding
            .evidence
            .iter()
            .filter(|one| !one.place.is_empty())
            .map(|one| {
                let (step, act) = step(one);
                item(step, act)
            })
            .collect()
    };
    let set = |to: &'static str| {
        move |one: &Evidence| {
            (Step::Set(one.place.clone(), format!("\"{to}\"")), format!("set {} to \"{to}\"", one.place))
        }
    };
    let draw = |place: &'static str| {
        vec![item(Step::Draw(place), format!("draw a token, and seal it at {place}; it is not printed"))]
    };
    match finding.check {
        "logging.redact_off" => each(&set("tools")),
        "channels.<provider>.dm.open" | "channels.<provider>.dm.open_invalid" => each(&set("pairing")),
        "channels.<provider>.groups.open" => each(&set("allowlist")),
        "sandbox.mode_off" => each(&set("non-main")),
        "gateway.bind_without_tls" => each(&set("loopback")),
        "gateway.control_ui.insecure_auth" | "gateway.control_ui.device_auth_disabled" => {
            each(&|one| (Step::Unset(one.place.clone()), format!("remove {}", one.place)))
        }
        "channels.<provider>.allowlist.wildcard" | "tools.elevated.allowFrom.<provider>.wildcard" => {
            each(&|one| (Step::Narrow(one.place.clone()), format!("take the wildcards out of {}", one.place)))
        }
        "gateway.bind_no_auth"
        | "gateway.loopback_no_auth"
        | "gateway.token_placeholder_value"
        | "gateway.token_too_short" => draw(TOKEN),
        "hooks.token_reuse_gateway_token" | "hooks.token_too_short" => draw(HOOKS_TOKEN),
        id if id.starts_with("config.secrets.") || id == "secrets.plaintext_in_config" => {
            vec![item(Step::Seal, "seal what stands there".into())]
        }
        _ => vec![item(Step::Close, finding.remediation.to_owned())],
    }
}

/// Closes files to others. A gateway that runs has the lock under which that is done.
fn close(home: &Home, items: &mut [Item]) {
    let Some(first) = items.iter().position(|item| item.step == Step::Close) else { return };
    let contents = serde_json::to_vec(&Running::starting()).unwrap_or_default();
    let because = match home.state.lock(LOCK, &contents) {
        Ok(lock) => {
            let places = Places { config: &home.config_path, extra: &home.environment.credentials_folders };
            let report = moltbot_vault::secure(&home.state, &lock, &places, clock::now_ms());
            tracing::debug!(?report, "files are closed");
            return;
        }
        Err(LockError::Held { .. }) => {
            "a gateway runs and closes them when it starts: `moltbot gateway restart`".to_owned()
        }
        Err(error) => home::chain(&error),
    };
    for item in items.iter_mut().skip(first).filter(|item| item.step == Step::Close) {
        item.outcome = Done::Skipped { because: because.clone() };
    }
}

/// Writes the config once, with everything in it that is planned.
fn write(home: &Home, items: &mut [Item]) -> anyhow::Result<()> {
    let is_of_config = |item: &Item| item.step != Step::Close;
    if !items.iter().any(is_of_config) {
        return Ok(());
    }
    let old = change::text(home)?;
    let book = CommandBook::open(home)?;
    let mut new = old.clone();
    for item in items.iter_mut().filter(|item| is_of_config(item)) {
        match edited(home, &book, &new, &item.step) {
            Ok(text) => new = text,
            Err(error) => item.outcome = Done::Failed { because: format!("{error:#}") },
        }
    }
    if let Err(error) = change::write(home, &book, &old, &new, "security audit --fix") {
        let because = format!("the config would not be valid: {}", first_line(&format!("{error:#}")));
        for item in
            items.iter_mut().filter(|item| is_of_config(item) && matches!(item.outcome, Done::Planned))
        {
            item.outcome = Done::Failed { because: because.clone() };
        }
        take_back(home, &book, &old)?;
    }
    book.close();
    Ok(())
}

fn first_line(text: &str) -> String {
    text.lines().filter(|line| !line.trim().is_empty()).take(2).collect::<Vec<_>>().join(" ")
}

/// The old text again, where a half-written change has replaced it.
fn take_back(home: &Home, book: &CommandBook, old: &str) -> anyhow::Result<()> {
    if *change::text(home)? == *old {
        return Ok(());
    }
    let file = home.config_path.display().to_string();
    drop(book.record(ConfigPermit::for_owner(
        file,
        "security audit --fix: taken back",
        Vec::new(),
        OWNER,
    ))?);
    home.file().write(old.as_bytes()).map_err(|error| home::failed(&error))
}

fn edited(home: &Home, book: &CommandBook, text: &str, step: &Step) -> anyhow::Result<Zeroizing<String>> {
    let changed = match step {
        Step::Set(place, json5) => moltbot_config::set(text, place, json5)?,
        Step::Unset(place) => moltbot_config::unset(text, place)?,
        Step::Narrow(place) => {
            let list = moltbot_config::get(text, place)?;
            let has_star = |entry: &Value| entry.as_str().is_some_and(|text| text.contains('*'));
            let kept: Vec<&Value> =
                list.as_array().into_iter().flatten().filter(|entry| !has_star(entry)).collect();
            moltbot_config::set(text, place, &serde_json::to_string(&kept)?)?
        }
        Step::Draw(place) => return drawn(home, book, text, place),
        Step::Close | Step::Seal => text.to_owned(),
    };
    Ok(Zeroizing::new(changed))
}

/// A new token in place of the one that there is, unless it comes from elsewhere.
fn drawn(home: &Home, book: &CommandBook, text: &str, place: &str) -> anyhow::Result<Zeroizing<String>> {
    if place == TOKEN {
        require_own(home, text)?;
    } else {
        require_no_reference(text, place)?;
    }
    let permit = book.record(SecretPermit::for_owner(SecretAct::Seal, place, OWNER))?;
    let token = moltbot_vault::draw_token().map_err(|error| home::failed(&error))?;
    let keeper = VaultKeeper::new(home.vault()?.secrets(&permit), &home.state);
    Ok(Zeroizing::new(moltbot_config::set_secret(text, place, &token, &keeper)?))
}
