use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use moltbot_vault::{Opening, Outcome as PathOutcome, PathKind, PathReport, SecureReport};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::check::Check as Row;

const NOW: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 86_400_000;

fn ago(days: u64) -> u64 {
    NOW - days * DAY_MS
}

/// Facts of an installation with nothing wrong in it, to be made worse.
struct Fixture {
    config: ConfigFact,
    credential: CredentialFact,
    hooks: Option<CredentialFact>,
    is_token_reused: bool,
    paths: Vec<PathReport>,
    plain: PlainSecrets,
    keys: KeysFact,
    ledger: LedgerFact,
    sandbox: SandboxFact,
    engine: Option<EngineFact>,
    stopped_by: Option<String>,
    host: HostFacts,
    age: AgeFacts,
    drills: Option<Vec<DrillFact>>,
}

impl Fixture {
    fn good() -> Self {
        let ok = |id: &'static str| Row::ok(id, "well");
        Self {
            config: ConfigFact::Valid { value: json!({}) },
            credential: CredentialFact::Strong,
            hooks: None,
            is_token_reused: false,
            paths: Vec::new(),
            plain: PlainSecrets::default(),
            keys: KeysFact::Open,
            ledger: LedgerFact::Intact { records: 9, is_anchored: true },
            sandbox: SandboxFact::Works("it ran".into()),
            engine: None,
            stopped_by: None,
            host: HostFacts {
                is_root: false,
                swap: ok("memory.swap"),
                memory_lock: ok("memory.lock"),
                clock: ok("clock"),
                disk: Some(ok("disk")),
                synced: ok("state.synced"),
            },
            age: AgeFacts {
                credentials: Ok(vec![("gateway.auth.token".into(), ago(90))]),
                certificate_ends_ms: Some(NOW + 31 * DAY_MS),
                pairings: Ok(vec![("device a".into(), ago(30))]),
                units: vec![("moltbot.service".into(), Vec::new())],
            },
            drills: None,
        }
    }

    fn with(config: &Value) -> Self {
        Self { config: ConfigFact::Valid { value: config.clone() }, ..Self::good() }
    }

    fn audit(self) -> Report {
        let files = SecureReport { paths: self.paths, ..SecureReport::default() };
        let facts = Facts {
            now_ms: NOW,
            home: Path::new("/home/a"),
            state: Path::new("/home/a/.moltbot"),
            config_path: Path::new("/home/a/.moltbot/moltbot.json"),
            config: self.config,
            credential: self.credential,
            hooks: self.hooks,
            is_token_reused: self.is_token_reused,
            files: &files,
            plain: self.plain,
            keys: self.keys,
            ledger: self.ledger,
            sandbox: self.sandbox,
            engine: self.engine,
            stopped_by: self.stopped_by,
            host: self.host,
            age: self.age,
            drills: self.drills,
        };
        audit(&facts)
    }
}

/// The checks that found something, but for those that only describe.
fn found(report: &Report) -> BTreeSet<&'static str> {
    let judging = report.findings.iter().filter(|one| one.check != "summary.attack_surface");
    judging.map(|one| one.check).collect()
}

fn path(path: &str, mode: u32) -> PathReport {
    let path = PathBuf::from("/home/a/.moltbot").join(path);
    PathReport {
        path,
        kind: PathKind::File,
        found: mode,
        wanted: 0o600,
        outcome: PathOutcome::Open(Opening::Mode),
    }
}

#[test]
fn the_table_and_the_code_have_the_same_checks() {
    let coded: Vec<&str> = checks().map(|(id, _)| id).collect();
    let told: BTreeSet<&str> = catalog::all().iter().map(|info| info.id.as_str()).collect();
    assert_eq!(coded.iter().copied().collect::<BTreeSet<_>>(), told);
    assert_eq!(coded.len(), told.len(), "none is there twice");
    assert!(told.len() > 90, "{}", told.len());
    for info in catalog::all() {
        assert!(!catalog::bears_on(&info.topic).is_empty(), "{}: the topic {} is none", info.id, info.topic);
    }
    let both: Vec<_> =
        catalog::not_applicable().iter().filter(|one| told.contains(one.id.as_str())).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn the_reference_page_has_every_check() {
    let page = include_str!("../../../../docs/reference/audit.md");
    for info in catalog::all() {
        let (id, severity, fixed) = (&info.id, info.severity.name(), if info.fixable { "yes" } else { "" });
        let row = format!("| `{id}` | {severity} | {} | {fixed} |", info.title);
        assert!(page.contains(&row), "{row}");
    }
    for one in catalog::not_applicable() {
        assert!(page.contains(&format!("| `{}` | {} |", one.id, one.reason)), "{}", one.id);
    }
}

#[test]
fn an_installation_with_nothing_wrong_has_everything() {
    let report = Fixture::good().audit();
    assert_eq!(found(&report), BTreeSet::new());
    assert_eq!(
        (report.score.score, report.score.coverage, report.score.rating),
        (100, 100, Rating::Excellent)
    );
    assert!(report.not_run.is_empty() && report.score.caps.is_empty(), "{report:?}");
}

#[test]
fn every_setting_that_is_wrong_is_found_and_what_is_right_is_not() {
    let rows: Vec<(String, Value, Value)> = serde_json::from_str(include_str!("fixtures.json")).unwrap();
    for (id, bad, good) in &rows {
        let report = Fixture::with(bad).audit();
        assert_eq!(found(&report), BTreeSet::from([id.as_str()]), "{bad}");
        assert!(report.score.score < 100, "{id}");
        let finding = report.findings.iter().find(|one| one.check == id).unwrap();
        assert!(
            finding.evidence.iter().all(|one| !one.place.is_empty() && !one.seen.is_empty()),
            "{finding:?}"
        );
        assert_eq!(found(&Fixture::with(good).audit()), BTreeSet::new(), "{good}");
    }
}

/// Settings that are wrong in more than one way.
#[test]
fn what_is_open_to_everybody_is_told_with_all_that_it_opens() {
    for (config, ids) in [
        (
            json!({"channels": {"telegram": {"dm": {"policy": " Open "}}}}),
            vec![
                "channels.<provider>.dm.open",
                "channels.<provider>.dm.open_invalid",
                "security.exposure.open_groups_with_runtime_or_fs",
            ],
        ),
        (
            json!({"channels": {"defaults": {"groupPolicy": "open"}}, "tools": {"elevated": {"enabled": true}}}),
            vec![
                "channels.<provider>.groups.open",
                "security.exposure.open_groups_with_elevated",
                "security.exposure.open_groups_with_runtime_or_fs",
            ],
        ),
        (
            json!({"channels": {"slack": {"accounts": {"b": {"dmPolicy": "open", "allowFrom": ["*"]}}}},
                "tools": {"deny": ["group:runtime", "group:fs"]}}),
            vec!["channels.<provider>.dm.open", "channels.<provider>.allowlist.wildcard"],
        ),
        (
            json!({"tools": {"exec": {"host": "gateway"}}}),
            vec!["tools.exec.host_gateway", "tools.exec.security_full_configured"],
        ),
        (
            json!({"gateway": {"controlUi": {"dangerouslyAllowHostHeaderOriginFallback": true}}}),
            vec!["gateway.control_ui.host_header_origin_fallback", "config.insecure_or_dangerous_flags"],
        ),
        (
            json!({"agents": {"defaults": {"sandbox": {"mode": "off", "docker": {}}}}}),
            vec!["sandbox.mode_off", "sandbox.docker_config_mode_off"],
        ),
    ] {
        let report = Fixture::with(&config).audit();
        assert_eq!(found(&report), ids.into_iter().collect(), "{config}");
    }
    let report =
        Fixture::with(&json!({"channels": {"slack": {"accounts": {"b": {"dmPolicy": "open"}}}}})).audit();
    let finding = report.findings.iter().find(|one| one.check_id == "channels.slack.dm.open").unwrap();
    assert_eq!(
        finding.evidence[0].place, "channels.slack.accounts.b.dmPolicy",
        "by its account, not the default one's"
    );
}

/// A change that makes an installation worse, and the ids that tell it.
type Break = (&'static [&'static str], fn(&mut Fixture));

/// Everything that is wrong outside of the config.
const BREAKS: [Break; 38] = [
    (&["config.missing"], |one| one.config = ConfigFact::Missing),
    (&["config.unreadable"], |one| one.config = ConfigFact::Unreadable("line 1: x".into())),
    (&["fs.state_dir.perms_world_writable"], |one| one.paths.push(path("", 0o777))),
    (&["fs.state_dir.perms_group_writable"], |one| one.paths.push(path("", 0o770))),
    (&["fs.state_dir.perms_readable"], |one| one.paths.push(path("", 0o755))),
    (&["fs.config.perms_writable"], |one| one.paths.push(path("moltbot.json", 0o666))),
    (&["fs.config.perms_world_readable"], |one| one.paths.push(path("moltbot.json", 0o644))),
    (&["fs.config.perms_group_readable"], |one| one.paths.push(path("moltbot.json", 0o640))),
    (&["fs.auth_profiles.perms_writable"], |one| {
        one.paths.push(path("agents/m/agent/auth-profiles.json", 0o666))
    }),
    (&["fs.auth_profiles.perms_readable"], |one| {
        one.paths.push(path("agents/m/agent/auth-profiles.json", 0o644))
    }),
    (&["fs.credentials_dir.perms_writable"], |one| one.paths.push(path("credentials", 0o777))),
    (&["fs.credentials_dir.perms_readable"], |one| one.paths.push(path("credentials/a.json", 0o644))),
    (&["fs.sessions_store.perms_readable"], |one| {
        one.paths.push(path("agents/m/sessions/sessions.json", 0o644))
    }),
    (&["fs.log_file.perms_readable"], |one| one.paths.push(path("logs/a.log", 0o640))),
    (&["fs.key_file.perms"], |one| one.paths.push(path("keys/secrets.key", 0o440))),
    (&["fs.other.perms"], |one| one.paths.push(path("cron/jobs.json", 0o644))),
    (&["fs.synced_dir"], |one| one.host.synced = Row::warn("state.synced", "Dropbox", "")),
    (&["gateway.loopback_no_auth"], |one| one.credential = CredentialFact::None),
    (&["gateway.token_placeholder_value"], |one| {
        one.credential = CredentialFact::Placeholder { is_password: false };
    }),
    (&["gateway.password_placeholder_value"], |one| {
        one.credential = CredentialFact::Placeholder { is_password: true };
    }),
    (&["gateway.token_too_short"], |one| {
        one.credential = CredentialFact::Weak { is_password: false, rule: "it is short".into() };
    }),
    (&["gateway.password_too_short"], |one| {
        one.credential = CredentialFact::Weak { is_password: true, rule: "it is short".into() };
    }),
    (&["gateway.auth_unknown"], |one| one.credential = CredentialFact::Unknown("no keys".into())),
    (&["hooks.token_too_short"], |one| one.hooks = Some(CredentialFact::None)),
    (&["hooks.token_reuse_gateway_token"], |one| one.is_token_reused = true),
    (&["config.secrets.gateway_token_in_config"], |one| one.plain.config.push("gateway.auth.token".into())),
    (&["secrets.plaintext_in_config"], |one| one.plain.config.push("models.providers.a.apiKey".into())),
    (&["secrets.plaintext_in_copies"], |one| one.plain.copies.push("/x.bak".into())),
    (&["secrets.keys_missing"], |one| one.keys = KeysFact::Lost),
    (&["ledger.not_intact"], |one| one.ledger = LedgerFact::Changed("tampered: line 3".into())),
    (&["ledger.missing"], |one| one.ledger = LedgerFact::Missing),
    (&["sandbox.probe_failed"], |one| {
        one.sandbox = SandboxFact::Unavailable { reason: "no user namespaces".into() };
    }),
    (&["sandbox.engine_vulnerable"], |one| {
        one.engine = Some(EngineFact::Versions { engine: "24".into(), runc: Some("1.1.5".into()) });
    }),
    (&["secrets.rotation_overdue"], |one| {
        one.age.credentials = Ok(vec![("gateway.auth.token".into(), ago(91))]);
    }),
    (&["gateway.tls.certificate_ends"], |one| one.age.certificate_ends_ms = Some(NOW + 29 * DAY_MS)),
    (&["security.pairings_unused"], |one| one.age.pairings = Ok(vec![("device a".into(), ago(31))])),
    (&["host.unit_exposed"], |one| one.age.units = vec![("moltbot.service".into(), vec!["UMask=0077"])]),
    (&["host.clock"], |one| one.host.clock = Row::fail("clock", "1970", "")),
];

#[test]
fn everything_that_is_wrong_around_the_config_is_found() {
    for (ids, make_worse) in BREAKS {
        let mut fixture = Fixture::good();
        make_worse(&mut fixture);
        let report = fixture.audit();
        assert_eq!(found(&report), ids.iter().copied().collect(), "{ids:?}");
        let worst = report.findings.iter().map(|one| one.severity).max().unwrap();
        let at_most = match worst {
            Severity::Critical => 39,
            Severity::High => 69,
            Severity::Info | Severity::Warn => 99,
        };
        assert!(report.score.score <= at_most, "{ids:?}: {:?}", report.score);
    }
}

/// Every drill, with the same verdict.
fn drilled(verdict: Verdict) -> Vec<DrillFact> {
    let names = checks().filter_map(|(id, _)| id.strip_prefix("drill."));
    names.map(|name| DrillFact { name, verdict, tried: "an attack", seen: "what was seen".into() }).collect()
}

#[test]
fn an_attack_that_got_through_is_critical_and_one_that_was_not_tried_has_not_failed() {
    let names = drilled(Verdict::Held).len();
    assert!(names >= 18, "{names}");
    for at in 0..names {
        let mut drills = drilled(Verdict::Held);
        drills[at].verdict = Verdict::GotThrough;
        let id = format!("drill.{}", drills[at].name);
        let report = Fixture { drills: Some(drills), ..Fixture::good() }.audit();
        assert_eq!(found(&report), BTreeSet::from([id.as_str()]));
        assert!(report.score.score <= 39 && report.worst() == Some(Severity::Critical), "{id}");
    }
    let held = Fixture { drills: Some(drilled(Verdict::Held)), ..Fixture::good() }.audit();
    assert_eq!((held.score.score, held.score.coverage), (100, 100), "{:?}", held.score);
    let none = Fixture { drills: Some(drilled(Verdict::NotRun)), ..Fixture::good() }.audit();
    assert_eq!(none.not_run.len(), names);
    assert!(none.score.score <= 79 && none.score.coverage < 90, "{:?}", none.score);
    let unasked = Fixture::good().audit();
    assert!(unasked.passed.iter().all(|id| !id.starts_with("drill.")), "they count when they were asked for");
}

#[test]
fn an_empty_or_broken_config_is_no_good_config() {
    for config in [ConfigFact::Missing, ConfigFact::Unreadable("x".into())] {
        let report = Fixture { config, credential: CredentialFact::None, ..Fixture::good() }.audit();
        assert!(report.score.score < 50, "{:?}", report.score);
        assert!(report.score.coverage < 90 && report.not_run.len() > 40, "{:?}", report.score);
    }
}

#[test]
fn what_was_not_run_is_not_passed() {
    let report = Fixture { sandbox: SandboxFact::Untried("why".into()), ..Fixture::good() }.audit();
    assert_eq!(report.not_run.len(), 1);
    assert!(report.score.score < 100 && report.score.coverage < 100, "{:?}", report.score);
}

#[test]
fn a_suppression_has_a_reason_an_owner_and_an_end() {
    let suppressed = |entry: Value| {
        Fixture::with(
            &json!({"tools": {"exec": {"ask": "off"}}, "security": {"audit": {"suppressions": [entry]}}}),
        )
        .audit()
    };
    // The fixture's clock stands in September 2026.
    let whole = json!({"checkId": "tools.exec.ask_off", "reason": "a test bench", "owner": "a", "until": "2026-10-31"});
    let report = suppressed(whole.clone());
    assert_eq!((report.suppressed.len(), report.ineffective_suppressions.len()), (1, 0), "{report:?}");
    assert!(report.score.score <= 69 && report.score_with_suppressions > 90, "{:?}", report.score);
    assert_eq!(report.open().filter(|one| one.check == "tools.exec.ask_off").count(), 0);
    assert!(report.findings.iter().any(|one| one.check == "security.audit.suppressions.active"));
    for (name, value) in [
        ("reason", json!("")),
        ("owner", Value::Null),
        ("until", json!("2026-09-01")),
        ("until", json!("2027-03-01")),
        ("until", json!("soon")),
    ] {
        let mut entry = whole.clone();
        entry[name] = value.clone();
        let report = suppressed(entry);
        assert_eq!(
            (report.suppressed.len(), report.ineffective_suppressions.len()),
            (0, 1),
            "{name} {value}"
        );
        assert_eq!(
            report.score.score,
            report.score_with_suppressions.min(report.score.score),
            "{name} {value}"
        );
        assert!(report.score_with_suppressions <= 69, "{name} {value}");
    }
}

#[test]
fn a_critical_finding_cannot_be_suppressed() {
    let entry = json!({"checkId": "sandbox.mode_off", "reason": "r", "owner": "a", "until": "2026-10-31"});
    let config = json!({"agents": {"defaults": {"sandbox": {"mode": "off"}}}, "security": {"audit": {"suppressions": [entry]}}});
    let report = Fixture::with(&config).audit();
    assert!(report.score.score <= 39 && report.score_with_suppressions <= 39, "{:?}", report.score);
    assert_eq!(report.worst(), Some(Severity::Critical));
}

#[test]
fn a_baseline_knows_what_is_not_new() {
    let before = Fixture::with(&json!({"tools": {"exec": {"ask": "off"}}})).audit();
    let baseline = baseline::Baseline::read(&serde_json::to_vec(&before).unwrap()).unwrap();
    assert!(before.findings.iter().all(|one| !baseline.is_new(one)));
    let after =
        Fixture::with(&json!({"tools": {"exec": {"ask": "off"}}, "logging": {"redactSensitive": "off"}}))
            .audit();
    let new: Vec<&str> =
        after.findings.iter().filter(|one| baseline.is_new(one)).map(|one| one.check).collect();
    assert_eq!(new, ["logging.redact_off"]);
    for bad in [&b"{}"[..], b"x", b"{\"findings\":[{}]}"] {
        assert!(baseline::Baseline::read(bad).is_err());
    }
}

#[test]
fn no_text_of_a_config_becomes_markup() {
    let report =
        Fixture::with(&json!({"agents": {"defaults": {"model": "x/gpt-3.5<script>\u{1}&\"'"}}})).audit();
    let (page, cases) = (html(&report), junit(&report));
    for text in [&page, &cases] {
        assert!(!text.contains("<script>") && !text.contains('\u{1}'), "{text}");
        assert!(text.contains("&lt;script&gt;"), "{text}");
    }
    let code = sarif(&report, "/c.json");
    assert_eq!(code["runs"][0]["results"][0]["level"], "warning", "{code}");
    let rules = code["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: BTreeSet<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert!(
        code["runs"][0]["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| ids.contains(one["ruleId"].as_str().unwrap()))
    );
}

proptest! {
    /// Breaking one thing more never raises the score, and so putting one right never lowers it.
    #[test]
    fn the_score_is_monotone(chosen in proptest::collection::vec(any::<bool>(), BREAKS.len()), one in 2..BREAKS.len()) {
        let score = |with_it: bool| {
            let mut fixture = Fixture::good();
            // The first two replace the config, and with it what others say of it.
            for (index, (_, make_worse)) in BREAKS.iter().enumerate().skip(2) {
                if (chosen[index] && index != one) || (index == one && with_it) {
                    make_worse(&mut fixture);
                }
            }
            fixture.audit().score
        };
        let (better, worse) = (score(false), score(true));
        prop_assert!(worse.score <= better.score, "{:?} after {:?}", worse, better);
        prop_assert_eq!(&score(true), &worse, "the same facts, the same score");
    }

    /// Settings from all the rows at once: exactly their ids are found.
    #[test]
    fn any_mixture_of_bad_settings_is_told_in_full(chosen in proptest::collection::vec(any::<bool>(), 40)) {
        let rows: Vec<(String, Value, Value)> = serde_json::from_str(include_str!("fixtures.json")).unwrap();
        let mut config = json!({});
        let mut expected = BTreeSet::new();
        for ((id, bad, _), chosen) in rows.iter().zip(&chosen) {
            // Of another row a setting may be right that is wrong in this one.
            let stands_alone = id != "security.profile_personal_exposed";
            if *chosen && stands_alone && merge(&mut config, bad) {
                expected.insert(id.as_str());
            }
        }
        let report = Fixture::with(&config).audit();
        prop_assert_eq!(found(&report), expected, "{}", config);
    }
}

/// Adds `more` to `config` where they do not disagree; says whether they did not.
fn merge(config: &mut Value, more: &Value) -> bool {
    fn fits(config: &Value, more: &Value) -> bool {
        match (config, more) {
            (Value::Object(config), Value::Object(more)) => {
                more.iter().all(|(name, value)| config.get(name).is_none_or(|own| fits(own, value)))
            }
            (config, more) => config == more,
        }
    }
    fn add(config: &mut Value, more: &Value) {
        let (Value::Object(config), Value::Object(more)) = (config, more) else { return };
        for (name, value) in more {
            add(
                config
                    .entry(name.clone())
                    .or_insert_with(|| if value.is_object() { json!({}) } else { value.clone() }),
                value,
            );
        }
    }
    let fits = fits(config, more);
    if fits {
        add(config, more);
    }
    fits
}
