//! `moltbot security audit|fix|score` through the real binary: what is bad is found, what is fixed is no longer found, and
//! looking changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::program::{Program, Ran};

/// A config as the original wrote it, with everything in it that its users were warned of.
pub(crate) const LEGACY: &str = r#"{
  // written by another program
  "gateway": {
    "mode": "local",
    "auth": { "mode": "token", "token": "my-clawdbot-token" },
    "controlUi": { "enabled": true, "allowInsecureAuth": true, "dangerouslyDisableDeviceAuth": true }
  },
  "logging": { "redactSensitive": "off" },
  "agents": { "defaults": { "sandbox": { "mode": "off" } } },
  "channels": {
    "telegram": {
      "botToken": "123456:AAE-not-a-real-token-of-any-bot",
      "dmPolicy": "open",
      "allowFrom": ["*"],
      "groupPolicy": "open"
    }
  },
  "models": { "providers": { "own": { "baseUrl": "http://127.0.0.1:9/v1", "apiKey": "sk-plain-and-old-000000", "models": [] } } }
}"#;

/// The ids that operators know for what is wrong in it.
const LEGACY_IDS: [&str; 13] = [
    "channels.telegram.allowlist.wildcard",
    "channels.telegram.dm.open",
    "channels.telegram.groups.open",
    "config.invalid",
    "config.secrets.gateway_token_in_config",
    "fs.config.perms_world_readable",
    "fs.state_dir.perms_readable",
    "gateway.control_ui.device_auth_disabled",
    "gateway.control_ui.insecure_auth",
    "gateway.token_too_short",
    "logging.redact_off",
    "sandbox.mode_off",
    "secrets.plaintext_in_config",
];

#[expect(clippy::disallowed_methods, reason = "the test plays the careless user")]
pub(crate) fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn legacy() -> Program {
    let program = Program::new();
    program.write_config(LEGACY);
    chmod(&program.state(), 0o755);
    chmod(&program.state().join("moltbot.json"), 0o644);
    program
}

pub(crate) fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn ids(report: &Value) -> BTreeSet<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|one| one["checkId"].as_str().unwrap().to_owned()).collect()
}

/// Every file and folder with its mode, its owner and what is in it.
#[expect(clippy::disallowed_methods, reason = "a test reads what the program left")]
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        found.insert(folder.clone(), (folder.metadata().unwrap().mode(), Vec::new()));
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let sum =
                    std::fs::read(&path).map(|bytes| Sha256::digest(bytes).to_vec()).unwrap_or_default();
                found.insert(path.clone(), (path.metadata().map_or(0, |stat| stat.mode()), sum));
            }
        }
    }
    found
}

#[test]
fn d_80_d_85_an_install_of_the_original_is_told_whole_and_scores_as_what_it_is() {
    let program = legacy();
    let before = tree(&program.state());
    let ran = program.run(&["security", "audit", "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = report(&ran);
    let found = ids(&told);
    for id in LEGACY_IDS {
        assert!(found.contains(id), "{id} is not in {found:?}");
    }
    assert!(told["score"].as_u64().unwrap() <= 39, "{told}");
    assert_eq!(told["rating"], "CRITICAL", "{told}");
    for secret in ["my-clawdbot-token", "AAE-not-a-real-token-of-any-bot", "sk-plain-and-old-000000"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{secret} is shown");
    }
    assert_eq!(tree(&program.state()), before, "looking changes nothing");
    let shown = program.run(&["security", "audit"]);
    let rating = "/100 (CRITICAL)";
    assert!(shown.out.contains("Security Score: ") && shown.out.contains(rating), "{shown:?}");
}

#[test]
fn d_83_d_84_what_fix_says_it_did_is_done_and_kept_and_no_secret_is_printed() {
    let program = legacy();
    let planned = program.run(&["security", "fix", "--dry-run", "--json"]);
    assert_eq!((planned.code, program.config().as_str()), (0, LEGACY), "{planned:?}");
    let ran = program.run(&["security", "audit", "--fix", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = report(&ran);
    let items = told["fix"]["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["outcome"] == "ok"), "{told}");
    let left = ids(&told["report"]);
    for id in LEGACY_IDS {
        assert!(!left.contains(id), "{id} is still there: {left:?}");
    }
    assert!(told["report"]["score"].as_u64().unwrap() >= 90, "{told}");
    let config = program.config();
    assert!(config.contains("// written by another program"), "comments stay: {config}");
    for gone in
        ["my-clawdbot-token", "AAE-not-a-real", "sk-plain-and-old", "\"open\"", "\"*\"", "allowInsecureAuth"]
    {
        assert!(!config.contains(gone), "{gone} is still in {config}");
    }
    let token = program.run(&["secrets", "get", "gateway.auth.token", "--raw"]);
    assert!(token.out.trim().len() >= 32 && !ran.out.contains(token.out.trim()), "{token:?}");
    // What was written is what the gateway starts with, and a second run has nothing to do.
    let again = program.run(&["security", "fix"]);
    assert!(again.code == 0 && again.out.starts_with("nothing to do"), "{again:?}");
    assert_eq!(program.run(&["config", "validate"]).code, 0);
    program.start();
    let healthy = program.run(&["health"]);
    assert_eq!(healthy.code, 0, "{healthy:?}");
    let history = program.run(&["config", "history"]);
    assert!(history.out.contains("security audit --fix"), "{history:?}");
}

#[test]
fn a_fix_that_would_leave_the_config_invalid_changes_nothing_and_says_so() {
    let program = Program::new();
    let text = r#"{"gateway": {"bind": "0.0.0.0"}, "logging": {"redactSensitive": "off"}}"#;
    program.write_config(text);
    let ran = program.run(&["security", "fix", "--json"]);
    assert_eq!((ran.code, program.config().as_str()), (1, text), "{ran:?}");
    let told = report(&ran);
    let item =
        told["fix"]["items"].as_array().unwrap().iter().find(|one| one["checkId"] == "logging.redact_off");
    let item = item.unwrap();
    assert_eq!(item["outcome"], "failed", "{told}");
    assert!(item["because"].as_str().unwrap().contains("gateway.bind"), "{item}");
}

#[test]
fn d_81_a_bad_token_is_told_and_nothing_crashes() {
    for (config, id) in [
        (r#"{"gateway":{"auth":{"token":"short"}}}"#, "gateway.token_too_short"),
        (r#"{"gateway":{"auth":{"token":"undefined"}}}"#, "gateway.token_placeholder_value"),
        (r#"{"gateway":{"auth":{"mode":"password","password":"hunter2"}}}"#, "gateway.password_too_short"),
        (r#"{"gateway":{"auth":{}}}"#, "gateway.loopback_no_auth"),
        (
            r#"{"gateway":{"auth":{"token":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}}"#,
            "gateway.token_too_short",
        ),
    ] {
        let program = Program::new();
        program.write_config(config);
        let ran = program.run(&["security", "audit", "--json", "--fail-on", "high"]);
        let told = report(&ran);
        assert!(ran.code == 1 && ids(&told).contains(id), "{config}: {ran:?}");
    }
}

#[test]
fn d_82_what_the_start_refuses_the_audit_tells_by_the_same_rule() {
    // 31 characters are refused, 32 with 20 different ones are not.
    for (token, is_weak) in
        [("Qw3rTy8UiOp4AsDfGh7JkLzXcV2bN9m", true), ("Qw3rTy8UiOp4AsDfGh7JkLzXcV2bN9m5", false)]
    {
        let program = Program::new();
        program.write_config(&json!({"gateway": {"auth": {"token": token}}}).to_string());
        let told = report(&program.run(&["security", "audit", "--json"]));
        assert_eq!(ids(&told).contains("gateway.token_too_short"), is_weak, "{token}");
        let started = program.run(&["up", "--detach", "--port", "0"]);
        assert_eq!(started.code != 0, is_weak, "{token}: {started:?}");
    }
}

#[test]
fn d_86_a_config_that_is_missing_broken_or_invalid_is_no_good_one() {
    for (text, id) in [
        (None, "config.missing"),
        (Some("{ gateway: "), "config.unreadable"),
        (Some(r#"{"gateway":{"port":"x"}}"#), "config.invalid"),
        (Some(r#"{"channels":{"telegram":{"dm":{"policy":"open"}}}}"#), "channels.telegram.dm.open"),
    ] {
        let program = Program::new();
        if let Some(text) = text {
            program.write_config(text);
        }
        let before = tree(program.state().parent().unwrap());
        let ran = program.run(&["security", "audit", "--json", "--fail-on", "high"]);
        let told = report(&ran);
        assert!(ran.code == 1 && ids(&told).contains(id), "{text:?}: {ran:?}");
        assert!(told["score"].as_u64().unwrap() <= 69, "{text:?}: {told}");
        assert_eq!(tree(program.state().parent().unwrap()), before, "{text:?}: looking changes nothing");
    }
}

#[test]
fn d_87_every_account_of_a_channel_is_looked_at() {
    let program = Program::new();
    let accounts = json!({"work": {"allowFrom": ["*"]}, "home": {"dmPolicy": "open"}});
    program.write_config(&json!({"channels": {"telegram": {"accounts": accounts}}}).to_string());
    let told = report(&program.run(&["security", "audit", "--json"]));
    let text = told.to_string();
    for place in ["channels.telegram.accounts.work.allowFrom", "channels.telegram.accounts.home.dmPolicy"] {
        assert!(text.contains(place), "{place} is not in {text}");
    }
}

#[test]
fn d_88_the_exit_code_says_what_was_found() {
    let program = Program::new();
    program.write_config(r#"{"logging":{"redactSensitive":"off"},"gateway":{"auth":{"token":"q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM"}}}"#);
    chmod(&program.state().join("moltbot.json"), 0o600);
    let code = |level: &str| program.run(&["security", "audit", "--fail-on", level]).code;
    assert_eq!([code("critical"), code("warn")], [0, 1]);
    assert_eq!(program.run(&["security", "audit", "--fail-on", "everything"]).code, 2);
    // What an earlier report has is not new.
    let baseline = program.state().join("before.json");
    let before = program.run(&["security", "audit", "--json"]).out;
    #[expect(clippy::disallowed_methods, reason = "a test keeps a report")]
    std::fs::write(&baseline, before).unwrap();
    chmod(&baseline, 0o600);
    let new = ["security", "audit", "--fail-on", "new", "--baseline", baseline.to_str().unwrap()];
    assert_eq!(program.run(&new).code, 0);
    program.write_config(r#"{"logging":{"redactSensitive":"off"},"tools":{"exec":{"ask":"off"}}}"#);
    chmod(&program.state().join("moltbot.json"), 0o600);
    assert_eq!(program.run(&new).code, 1);
}

#[test]
fn d_89_a_wildcard_is_told_as_critical_and_lets_nobody_in() {
    let program = Program::new();
    program.write_config(r#"{"channels":{"telegram":{"allowFrom":["*"]}}}"#);
    let told = report(&program.run(&["security", "audit", "--json"]));
    let findings = told["findings"].as_array().unwrap();
    let one = findings.iter().find(|one| one["checkId"] == "channels.telegram.allowlist.wildcard").unwrap();
    assert_eq!(one["severity"], "critical", "{one}");
    assert_eq!(program.run(&["up", "--detach", "--port", "0"]).code, 78, "and it does not start");
}

#[test]
fn a_fresh_installation_is_excellent_and_says_what_was_not_looked_at() {
    let program = Program::new();
    program.start();
    let ran = program.run(&["security", "audit", "--json"]);
    let told = report(&ran);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(told["score"].as_u64().unwrap() >= 95, "{told}");
    assert_eq!((&told["summary"]["critical"], &told["summary"]["high"]), (&json!(0), &json!(0)), "{told}");
    assert!(told["notApplicable"].as_array().unwrap().len() > 20, "{told}");
    let score = report(&program.run(&["security", "score", "--json"]));
    assert_eq!((&score["score"], &score["rating"]), (&told["score"], &told["rating"]));
}

/// What somebody does to an installation that was well, and the finding that tells it.
#[test]
fn what_was_done_to_a_good_installation_is_found() {
    let program = Program::new();
    program.start();
    program.run(&["gateway", "stop"]);
    let state = program.state();
    let found = |arguments: &[&str]| ids(&report(&program.run(arguments)));
    let audit: &[&str] = &["security", "audit", "--json"];
    chmod(&state.join("keys/secrets.key"), 0o444);
    assert!(found(audit).contains("fs.key_file.perms"));
    chmod(&state.join("keys/secrets.key"), 0o400);
    flip_a_byte(&state.join("ledger"));
    let after = found(audit);
    assert!(after.contains("ledger.not_intact"), "{after:?}");
    #[expect(clippy::disallowed_methods, reason = "the test plays the attacker")]
    std::fs::remove_file(state.join("keys/secrets.key")).unwrap();
    assert!(found(audit).contains("secrets.keys_missing"));
}

#[expect(clippy::disallowed_methods, reason = "the test plays the attacker")]
fn flip_a_byte(folder: &Path) {
    let segment = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|end| end == "mlog")).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
}

#[test]
fn other_programs_read_the_report() {
    let program = legacy();
    let code = report(&program.run(&["security", "audit", "--sarif"]));
    assert_eq!(code["version"], "2.1.0", "{code}");
    let results = code["runs"][0]["results"].as_array().unwrap();
    assert!(
        results.iter().any(|one| one["ruleId"] == "sandbox.mode_off" && one["level"] == "error"),
        "{code}"
    );
    let cases = program.run(&["security", "audit", "--junit"]).out;
    assert!(cases.contains("<failure type=\"critical\""), "{cases}");
    let page = program.state().join("page.html");
    let ran = program.run(&["security", "audit", "--html", page.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(page.metadata().unwrap().mode() & 0o777, 0o600);
    let both = program.run(&["security", "audit", "--json", "--sarif"]);
    assert_eq!(both.code, 2, "{both:?}");
}

/// The config that the documentation begins with.
const TEMPLATE: &str = include_str!("../../../../docs/security/secure-config-template.json");

#[test]
fn the_secure_template_is_valid_starts_and_is_excellent() {
    let token = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
    let program = Program::new().with("MOLTBOT_GATEWAY_TOKEN", token);
    program.write_config(TEMPLATE);
    chmod(&program.state().join("moltbot.json"), 0o600);
    let valid = program.run(&["config", "validate"]);
    assert!(
        valid.code == 0 && !(valid.out + &valid.err).contains("not supported"),
        "it has no setting in vain"
    );
    program.start();
    let told = report(&program.run(&["security", "audit", "--json"]));
    assert_eq!(told["rating"], "EXCELLENT", "{told:#}");
    assert_eq!((&told["summary"]["critical"], &told["summary"]["high"]), (&json!(0), &json!(0)), "{told:#}");
}

#[test]
fn a_score_is_kept_by_what_the_book_is_told_of_and_shown_where_people_look() {
    let program = Program::new();
    program.write_config(
        r#"{"gateway":{"http":{"endpoints":{"metrics":{"enabled":true}}}},"logging":{"redactSensitive":"off"}}"#,
    );
    let before = report(&program.run(&["security", "score", "--history", "--json"]));
    assert_eq!(before["scores"], json!([]));
    program.run(&["security", "audit"]);
    assert_eq!(report(&program.run(&["security", "score", "--history", "--json"]))["scores"], json!([]));
    let fixed = program.run(&["security", "fix"]);
    let kept = report(&program.run(&["security", "score", "--history", "--json"]));
    let scores = kept["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 1, "{kept} {fixed:?}");
    assert!(scores[0]["score"].as_u64().unwrap() > 0 && scores[0]["deep"] == false, "{kept}");
    let records = program.run(&["ledger", "search", "--action", "security.score", "--json"]);
    assert_eq!(records.out.lines().count(), 1, "{records:?}");
    program.start();
    let status = report(&program.run(&["status", "--json"]));
    assert_eq!(status["security"]["score"], scores[0]["score"], "{status:#}");
    assert_eq!(
        status["heard"]["status"]["security"]["score"], scores[0]["score"],
        "over the socket: {status:#}"
    );
    let shown = program.run(&["status"]);
    assert!(shown.out.contains(&format!("security {}/100", scores[0]["score"])), "{shown:?}");
}

#[test]
fn a_gateway_looks_at_itself_once_it_serves_and_tells_what_is_grave() {
    let program = Program::new();
    program.run(&["config", "set", "agents.defaults.sandbox.mode", "\"off\""]);
    program.start();
    let status = || report(&program.run(&["status", "--json"]))["heard"]["status"]["security"].clone();
    assert_eq!(status(), Value::Null, "nobody waits for it at the start");
    let began = std::time::Instant::now();
    while status().is_null() {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "no score");
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let (kept, asked) = (status(), report(&program.run(&["security", "score", "--json"])));
    assert!(kept["score"].as_u64().unwrap() <= 39, "there is a critical finding: {kept}");
    assert_eq!(
        (&kept["score"], &kept["coverage"]),
        (&asked["score"], &asked["coverage"]),
        "as the owner has it"
    );
    let records = program.run(&["ledger", "search", "--action", "security.score", "--json"]);
    let record: Value = serde_json::from_str(records.out.trim()).unwrap();
    assert_eq!(
        (&record["actor"], &record["details"]["score"]),
        (&json!("gateway"), &json!(kept["score"].to_string()))
    );
    let log = program.run(&["logs"]);
    let told = log.out.lines().filter(|line| line.contains("sandbox.mode_off")).count();
    assert!(told == 1 && log.out.contains("the security score"), "{log:?}");
}

#[test]
fn a_unit_that_leaves_the_gateway_too_much_is_found() {
    let program = Program::new();
    program.run(&["config", "set", "logging.level", "\"info\""]);
    let folder = program.state().parent().unwrap().join(".config/systemd/user");
    let unit = folder.join("moltbot.service");
    #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
    let write = |text: &str| {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&unit, text).unwrap();
        chmod(&unit, 0o644);
    };
    let found = || ids(&report(&program.run(&["security", "audit", "--json"]))).contains("host.unit_exposed");
    assert!(!found(), "there is no unit");
    write("[Service]\nExecStart=/usr/bin/moltbot gateway run\nNoNewPrivileges=no\n");
    assert!(found());
    write(
        "[Service]\nLockPersonality=yes\nMemoryDenyWriteExecute=yes\nNoNewPrivileges=yes\nProtectClock=yes\n\
         ProtectHostname=yes\nProtectKernelModules=yes\nProtectSystem=strict\nRestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\nUMask=0077\n",
    );
    assert!(!found());
}

#[test]
fn a_certificate_that_ends_soon_is_found() {
    for (days, is_told) in [(10, true), (60, false)] {
        let program = Program::new();
        let ends = jiff::Zoned::now().checked_add(jiff::Span::new().days(days)).unwrap().date();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let (month, day) = (u8::try_from(ends.month()).unwrap(), u8::try_from(ends.day()).unwrap());
        params.not_after = rcgen::date_time_ymd(i32::from(ends.year()), month, day);
        let pem = params.self_signed(&key).unwrap().pem();
        let paths = ["cert.pem", "key.pem"].map(|name| program.state().parent().unwrap().join(name));
        for (path, text) in paths.iter().zip([pem, key.serialize_pem()]) {
            #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
            std::fs::write(path, text).unwrap();
            chmod(path, 0o600);
        }
        let tls = json!({"enabled": true, "certPath": paths[0], "keyPath": paths[1]});
        program.write_config(&json!({"gateway": {"tls": tls}}).to_string());
        let told = report(&program.run(&["security", "audit", "--json"]));
        assert_eq!(ids(&told).contains("gateway.tls.certificate_ends"), is_told, "{days}: {told:#}");
    }
}

#[test]
fn what_is_promised_is_listed_with_the_tests_that_show_it_and_without_any_state() {
    let program = Program::new();
    let listed = program.run(&["security", "compliance", "--json"]);
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let rows = listed["rows"].as_array().unwrap();
    for row in rows {
        let has_tests = !row["shownBy"].as_array().unwrap().is_empty();
        match row["status"].as_str().unwrap() {
            "tested" => assert!(has_tests, "{row}"),
            "open" => assert!(row["open"].is_string(), "{row}"),
            other => assert!(other == "not-applicable" && row["notApplicable"].is_string(), "{row}"),
        }
    }
    let of_asvs = |row: &&Value| row["id"].as_str().unwrap().starts_with("asvs.");
    assert_eq!(rows.iter().filter(of_asvs).count(), 275);
    let second: Vec<&Value> = rows.iter().filter(of_asvs).filter(|row| row["level"] == 2).collect();
    let count = |status: &str| second.iter().filter(|row| row["status"] == status).count();
    let (tested, open) = (count("tested"), count("open"));
    assert!(tested * 100 >= (tested + open) * 80, "of level 2 {tested} are tested and {open} are not");
    let table = program.run(&["security", "compliance"]);
    let csv = program.run(&["security", "compliance", "--format", "csv"]);
    assert_eq!((table.code, csv.code, csv.out.lines().count()), (0, 0, rows.len() + 1));
    for text in [&table.out, &csv.out] {
        assert!(text.contains("line.14") && text.contains("refused with the time to wait"), "{text}");
    }
    assert!(
        table.out.contains("the seven layers: 7 of 7 applicable have an automated test"),
        "{}",
        table.out
    );
    let oscal = program.run(&["security", "compliance", "--format", "oscal"]);
    let oscal: Value = serde_json::from_str(&oscal.out).unwrap();
    let kinds = oscal.pointer("/component-definition/components/0/control-implementations").unwrap();
    let kinds = kinds.as_array().unwrap().iter();
    let told: Vec<&Value> =
        kinds.flat_map(|kind| kind["implemented-requirements"].as_array().unwrap()).collect();
    let ids: BTreeSet<&str> = told.iter().map(|one| one["uuid"].as_str().unwrap()).collect();
    assert_eq!((told.len(), ids.len()), (rows.len(), rows.len()));
    assert!(!program.state().exists());
}
