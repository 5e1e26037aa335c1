use moltbot_config::ConfigErrorKind;

use crate::{error_of, read};

#[test]
fn every_error_of_a_file_is_reported_at_once() {
    let text = include_str!("../data/five-errors.json5");
    let report = read(text).unwrap_err().to_string();
    assert_eq!(report, include_str!("../data/five-errors.txt"), "\n{report}");
}

#[test]
fn errors_have_a_structure_for_programs() {
    let errors = read("{\n  gateway: { port: 'x' } }").unwrap_err();
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "file": "moltbot.json",
            "more": 0,
            "errors": [{
                "kind": "type", "path": "gateway.port", "message": "\"x\" is a text",
                "expected": "a whole number from 1 to 65535",
                "fix": "correct it, or remove the setting: its default is 18789",
                "line": 2, "column": 20,
                "excerpt": "  2 | gateway: { port: 'x' } }\n    |                  ^^^"
            }]
        })
    );
    assert_eq!(errors.errors()[0].kind, ConfigErrorKind::Type);
}

const CASES: &[(&str, &str)] = &[
    // Types.
    ("[]", ": this is a list"),
    ("null", ": this is null"),
    ("{gateway: 5}", "gateway: 5 is a number"),
    ("{gateway: {port: true}}", "gateway.port: true is true or false, not what belongs here"),
    ("{gateway: {port: 1.5}}", "gateway.port: 1.5 is not a whole number"),
    ("{gateway: {port: null}}", "gateway.port: this is null"),
    ("{gateway: {port: {}}}", "gateway.port: this is an object"),
    ("{gateway: {bind: ['lan']}}", "gateway.bind: this is a list"),
    ("{agents: {list: {}}}", "agents.list: this is an object"),
    ("{agents: {list: [{id: 'a'}, 7]}}", "agents.list[1]: 7 is a number"),
    ("{agents: {list: [{name: 'a'}]}}", "agents.list[0]: `id` is missing"),
    ("{tools: {deny: ['a', 1]}}", "tools.deny[1]: 1 is a number"),
    ("{agents: {defaults: {model: 1}}}", "agents.defaults.model: 1 is a number"),
    (
        "{models: {providers: {a: {headers: {H: 1}}}}}",
        "models.providers.a.headers.H: this (hidden) value is a number",
    ),
    // Ranges and values.
    ("{gateway: {port: 0}}", "gateway.port: 0 is too small"),
    ("{gateway: {port: 65536}}", "gateway.port: 65536 is too large"),
    ("{gateway: {port: -1}}", "gateway.port: -1 is too small"),
    ("{gateway: {port: 1e400}}", "gateway.port: this number is not finite"),
    ("{gateway: {port: Infinity}}", "gateway.port: this number is not finite"),
    (
        "{agents: {defaults: {contextTokens: NaN}}}",
        "agents.defaults.contextTokens: this number is not finite",
    ),
    ("{ui: {a: [-Infinity]}}", "ui.a[0]: this number is not finite"),
    ("{gateway: {bind: 'everywhere'}}", "gateway.bind: \"everywhere\" is not a value that there is"),
    ("{gateway: {bind: 'Loopback'}}", "gateway.bind: \"Loopback\" is not a value that there is"),
    ("{gateway: {bind: '${TEST_BIND}'}}", "no error"),
    ("{gateway: {mode: '${TEST_BIND}'}}", "gateway.mode: \"${TEST_BIND}\" is not a value that there is"),
    (
        "{agents: {list: [{id: 'no spaces'}]}}",
        "agents.list[0].id: \"no spaces\" does not have the right form",
    ),
    (
        "{models: {providers: {a: {baseUrl: 'localhost'}}}}",
        "models.providers.a.baseUrl: \"localhost\" does not have the right form",
    ),
    (
        "{models: {providers: {a: {baseUrl: 'ftp://u:p@h'}}}}",
        "models.providers.a.baseUrl: this (hidden) value does not have the right form",
    ),
    ("{ledger: {syslog: {port: 1}}}", "ledger.syslog: `host` is missing"),
    ("{ledger: {syslog: {host: 'logs.example.org'}}}", "no error"),
    ("{ledger: {syslog: {host: '[::1]', port: 6515, caFile: '/etc/ca.pem'}}}", "no error"),
    ("{ledger: {syslog: {host: 'logs', port: 0}}}", "ledger.syslog.port: 0 is too small"),
    (
        "{ledger: {syslog: {host: 'logs:6514'}}}",
        "ledger.syslog.host: \"logs:6514\" does not have the right form",
    ),
    (
        "{ledger: {syslog: {host: 'tls://logs'}}}",
        "ledger.syslog.host: \"tls://logs\" does not have the right form",
    ),
    ("{ledger: {syslog: {host: ''}}}", "ledger.syslog.host: \"\" does not have the right form"),
    ("{ledger: {otlp: {}}}", "ledger.otlp: `url` is missing"),
    ("{ledger: {otlp: {url: 'https://h/v1/logs', headers: {a: 'b'}}}}", "no error"),
    ("{ledger: {otlp: {url: 'http://127.0.0.1:4318/v1/logs'}}}", "no error"),
    ("{ledger: {otlp: {url: 'http://[::1]:4318/v1/logs'}}}", "no error"),
    (
        "{ledger: {otlp: {url: 'http://192.168.1.7/v1/logs'}}}",
        "ledger.otlp.url: \"http://192.168.1.7/v1/logs\" does not have the right form",
    ),
    (
        "{ledger: {otlp: {url: 'http://localhost.evil.test/'}}}",
        "ledger.otlp.url: \"http://localhost.evil.test/\" does not have the right form",
    ),
    (
        "{ledger: {otlp: {url: 'http://127.0.0.1@evil.test/'}}}",
        "ledger.otlp.url: this (hidden) value does not have the right form",
    ),
    // Keys.
    ("{ledger: {syslog: {host: 'h', tls: false}}}", "ledger.syslog.tls: there is no setting \"tls\""),
    ("{gatway: {}}", "gatway: there is no setting \"gatway\""),
    (
        "{gateway: {a: 1, a: 2}}",
        "gateway.a: there is no setting \"a\" | gateway.a: \"a\" is set twice | gateway.a: there is no setting \"a\"",
    ),
    ("{ui: {a: 1, 'a': 2}}", "ui.a: \"a\" is set twice"),
    ("{'\\u001b[2J': 1}", "[\"\\u001b[2J\"]: there is no setting \"\\u001b[2J\""),
    // Variables.
    (
        "{gateway: {auth: {token: '${NO_SUCH}'}}}",
        "gateway.auth.token: the variable `NO_SUCH` of the environment is not set",
    ),
    (
        "{gateway: {auth: {token: '${TEST_EMPTY}'}}}",
        "gateway.auth.token: the variable `TEST_EMPTY` of the environment is empty",
    ),
    (
        "{channels: {x: {a: ['${NO_SUCH} ${TEST_EMPTY}']}}}",
        "channels.x.a[0]: the variable `NO_SUCH` of the environment is not set | channels.x.a[0]: the variable `TEST_EMPTY` of the environment is empty",
    ),
    ("{ui: {a: '$${NO_SUCH} ${lower}'}}", "no error"),
    ("{session: {reset: {atHour: 24}}}", "session.reset.atHour: 24 is too large"),
    // Settings that are not served yet.
    ("{session: {dmScope: 'peer'}}", "session.dmScope: \"peer\" is not a value that there is"),
    ("{gateway: {reload: {debounceMs: -1}}}", "gateway.reload.debounceMs: -1 is out of its range"),
    ("{gateway: {controlUi: {enabled: 'yes'}}}", "gateway.controlUi.enabled: \"yes\" is a text"),
    ("{gateway: {controlUi: {enable: true}}}", "gateway.controlUi.enable: there is no setting \"enable\""),
    (
        "{bindings: [{agentId: 'main', match: {chanel: 'x'}}]}",
        "bindings[0].match: `channel` is missing | bindings[0].match.chanel: there is no setting \"chanel\"",
    ),
    (
        "{models: {providers: {a: {api: 'smtp'}}}}",
        "models.providers.a.api: \"smtp\" is not a value that there is",
    ),
    ("{browser: {anything: 1}}", "no error"),
];

#[test]
fn each_kind_of_error_names_path_and_value() {
    for (text, expected) in CASES {
        assert_eq!(error_of(text), *expected, "{text}");
    }
}

#[test]
fn what_would_lower_a_guard_is_refused() {
    let open = |path: &str, shown: &str| {
        format!("{path}: {shown} is not accepted: anybody could give orders to your assistant")
    };
    let open_group = |path: &str, shown: &str| {
        format!("{path}: {shown} is not accepted: anybody in any group could give orders to your assistant")
    };
    let wildcard = |path: &str, shown: &str| {
        format!("{path}: {shown} is not accepted: a wildcard lets anybody give orders to your assistant")
    };
    for (text, expected) in [
        ("{channels: {telegram: {dmPolicy: 'open'}}}", open("channels.telegram.dmPolicy", "\"open\"")),
        ("{channels: {telegram: {dmPolicy: ' OPEN '}}}", open("channels.telegram.dmPolicy", "\" OPEN \"")),
        ("{channels: {x: {dm_policy: 'o-p-e-n'}}}", open("channels.x.dm_policy", "\"o-p-e-n\"")),
        ("{channels: {x: {dmPolicy: '${TEST_OPEN}'}}}", open("channels.x.dmPolicy", "\"${TEST_OPEN}\"")),
        ("{channels: {discord: {dm: {policy: 'open'}}}}", open("channels.discord.dm.policy", "\"open\"")),
        ("{channels: {defaults: {dmPolicy: 'open'}}}", open("channels.defaults.dmPolicy", "\"open\"")),
        ("{channels: {x: {accounts: {a: {dmPolicy: 'open'}}}}}", open("channels.x.accounts.a.dmPolicy", "\"open\"")),
        ("{channels: {x: {accounts: {a: {dm: {Policy: 'open'}}}}}}", open("channels.x.accounts.a.dm.Policy", "\"open\"")),
        ("{channels: {x: {y: [{z: {dmPolicy: 'open'}}]}}}", open("channels.x.y[0].z.dmPolicy", "\"open\"")),
        ("{channels: {x: {dmPolicy: 'anyone'}}}", "channels.x.dmPolicy: \"anyone\" is not a value that there is".into()),
        ("{channels: {x: {dmPolicy: 'Pairing'}}}", "channels.x.dmPolicy: \"Pairing\" is not a value that there is".into()),
        ("{channels: {x: {dmPolicy: true}}}", "channels.x.dmPolicy: true is true or false".into()),
        ("{channels: {x: {groupPolicy: 'all'}}}", "channels.x.groupPolicy: \"all\" is not a value that there is".into()),
        ("{channels: {x: {groupPolicy: 'open', dmPolicy: 'pairing'}}}", open_group("channels.x.groupPolicy", "\"open\"")),
        ("{channels: {x: {accounts: {a: {group_policy: ' Open'}}}}}", open_group("channels.x.accounts.a.group_policy", "\" Open\"")),
        ("{channels: {x: {groups: {'*': {groupPolicy: 'open'}}}}}", open_group("channels.x.groups.*.groupPolicy", "\"open\"")),
        ("{channels: {x: {allowFrom: [17, '*']}}}", wildcard("channels.x.allowFrom[1]", "\"*\"")),
        ("{channels: {x: {allow_from: ' * '}}}", wildcard("channels.x.allow_from", "\" * \"")),
        ("{channels: {x: {groupAllowFrom: ['${TEST_STAR}']}}}", wildcard("channels.x.groupAllowFrom[0]", "\"${TEST_STAR}\"")),
        ("{channels: {x: {dm: {allowFrom: ['x:*']}}}}", wildcard("channels.x.dm.allowFrom[0]", "\"x:*\"")),
        ("{channels: {x: {accounts: {a: {allowFrom: ['**']}}}}}", wildcard("channels.x.accounts.a.allowFrom[0]", "\"**\"")),
        ("{channels: {discord: {guilds: {g: {users: ['*']}}}}}", wildcard("channels.discord.guilds.g.users[0]", "\"*\"")),
        ("{tools: {elevated: {allowFrom: {telegram: ['*']}}}}", wildcard("tools.elevated.allowFrom.telegram[0]", "\"*\"")),
        ("{channels: {x: {groups: {'*': {requireMention: true}}, allowFrom: [17, '+49']}}}", "no error".into()),
        (
            "{gateway: {controlUi: {allowInsecureAuth: true}}}",
            "gateway.controlUi.allowInsecureAuth: true is not accepted: it would send the credential over plain HTTP".into(),
        ),
        (
            "{gateway: {controlUi: {dangerouslyDisableDeviceAuth: true}}}",
            "gateway.controlUi.dangerouslyDisableDeviceAuth: true is not accepted: it would let in browsers that nobody approved".into(),
        ),
        ("{agents: {defaults: {sandbox: {mode: 'Off'}}}}", "agents.defaults.sandbox.mode: \"Off\" is not a value that there is".into()),
        ("{agents: {defaults: {sandbox: {backend: 'none'}}}}", "agents.defaults.sandbox.backend: \"none\" is not a value that there is".into()),
        ("{agents: {list: [{id: 'a', sandbox: {scope: ''}}]}}", "agents.list[0].sandbox.scope: \"\" is not a value that there is".into()),
        ("{agents: {defaults: {sandbox: {mode: 'none'}}}}", "agents.defaults.sandbox.mode: \"none\" is not a value that there is".into()),
        ("{agents: {defaults: {sandbox: {mode: false}}}}", "agents.defaults.sandbox.mode: false is true or false, not what belongs here".into()),
    ] {
        assert_eq!(error_of(text), expected, "{text}");
    }
    let both = read("{channels: {telegram: {dmPolicy: 'open', allowFrom: ['*']}}}").unwrap_err();
    assert_eq!(both.errors().len(), 2, "{both}");
    let report = read("{channels: {telegram: {dmPolicy: 'open'}}}").unwrap_err().to_string();
    assert!(report.contains("write \"pairing\""), "it says what to do: {report}");
    assert!(report.contains("docs/security/breaking-changes.md"), "and where more is told: {report}");
}

#[test]
fn what_would_lower_a_guard_of_telegram_is_refused() {
    let open = |path: &str, shown: &str| {
        format!("{path}: {shown} is not accepted: anybody could give orders to your assistant")
    };
    let open_group = |path: &str, shown: &str| {
        format!("{path}: {shown} is not accepted: anybody in any group could give orders to your assistant")
    };
    let name = |path: &str, shown: &str| {
        format!("{path}: {shown} is not accepted: a name may be somebody else's tomorrow")
    };
    for (text, expected) in [
        (
            "{channels: {telegram: {dm_policy: 'o-p-e-n'}}}",
            format!(
                "channels.telegram.dm_policy: there is no setting \"dm_policy\" | {}",
                open("channels.telegram.dm_policy", "\"o-p-e-n\"")
            ),
        ),
        ("{channels: {telegram: {dm: {policy: 'open'}}}}", open("channels.telegram.dm.policy", "\"open\"")),
        (
            "{channels: {telegram: {accounts: {a: {dmPolicy: 'open'}}}}}",
            open("channels.telegram.accounts.a.dmPolicy", "\"open\""),
        ),
        (
            "{channels: {telegram: {groupPolicy: 'open'}}}",
            open_group("channels.telegram.groupPolicy", "\"open\""),
        ),
        (
            "{channels: {telegram: {groupPolicy: 'all'}}}",
            "channels.telegram.groupPolicy: \"all\" is not a value that there is".into(),
        ),
        ("{channels: {telegram: {dmPolicy: 7}}}", "channels.telegram.dmPolicy: 7 is a number".into()),
        ("{channels: {telegram: {allowFrom: ['@ann']}}}", name("channels.telegram.allowFrom[0]", "\"@ann\"")),
        (
            "{channels: {telegram: {groupAllowFrom: [1, 'tg:ann']}}}",
            name("channels.telegram.groupAllowFrom[1]", "\"tg:ann\""),
        ),
        (
            "{channels: {telegram: {accounts: {a: {groups: {'-1': {allowFrom: ['ann']}}}}}}}",
            name("channels.telegram.accounts.a.groups.-1.allowFrom[0]", "\"ann\""),
        ),
        (
            "{channels: {telegram: {allowFrom: [1, '2', 'tg:3', 'Telegram:4', 'telegram:default:user:5']}}}",
            "no error".into(),
        ),
    ] {
        assert_eq!(error_of(text), expected, "{text}");
    }
}

#[test]
fn a_mistyped_key_or_value_finds_what_was_meant() {
    for (text, expected) in [
        ("{gatway: {}}", "did you mean `gateway`?"),
        ("{gateway: {prot: 1}}", "did you mean `port`?"),
        ("{gateway: {controlui: {}}}", "did you mean `controlUi`?"),
        ("{gateway: {bind: 'lann'}}", "did you mean \"lan\"?"),
        ("{session: {dmScope: 'per-peers'}}", "did you mean \"per-peer\"?"),
        ("{gateway: {port: '18789'}}", "write it without quotes"),
        ("{tools: {zzzz: 1}}", "remove it, or move it to where it belongs"),
    ] {
        let errors = read(text).unwrap_err();
        assert_eq!(errors.errors()[0].fix.as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn no_report_shows_a_secret() {
    const SECRET: &str = "S3CR3T-never-shown";
    for text in [
        format!("{{gateway: {{auth: {{token: ['{SECRET}'], mode: 'x'}}}}}}"),
        format!("{{gateway: {{auth: {{token: '{SECRET}', tokn: '{SECRET}'}}, port: 'x'}}}}"),
        format!("{{gateway: {{auth: {{mode: 'x', token: '{SECRET}'}} /* {SECRET} */}}}} // {SECRET}"),
        format!("{{gateway: {{auth: {{token: '{SECRET}'}} x}}}}"),
        format!("{{gateway: {{auth: {{token: '{SECRET}}}}}"),
        format!("{{gateway: {{auth: {{token: '{SECRET}\n'}}}}}}"),
        format!("{{gateway: {{auth: {{token: {SECRET}}}}}}}"),
        format!("{{gateway: {{auth: {{'{SECRET}'}}}}}}"),
        format!("{{gateway: {{auth: {{token: '${{NO_SUCH}}{SECRET}'}}}}}}"),
        format!("{{models: {{providers: {{a: {{baseUrl: 'ftp://u:{SECRET}@h'}}}}}}}}"),
        format!("{{models: {{providers: {{a: {{headers: {{X: {{y: '{SECRET}'}}}}}}}}}}}}"),
        format!("{{env: {{A: '{SECRET}'}}, gateway: 1}}"),
        format!("{{channels: {{x: {{botToken: '{SECRET}', dmPolicy: 'open'}}}}}}"),
    ] {
        let errors = read(&text).unwrap_err();
        for said in [errors.to_string(), format!("{errors:?}"), serde_json::to_string(&errors).unwrap()] {
            assert!(!said.contains("S3CR3T"), "{text}\n{said}");
        }
    }
    let loaded = read(&format!("{{gateway: {{auth: {{token: '{SECRET}'}}}}}}")).unwrap();
    assert!(!format!("{loaded:?}").contains("S3CR3T"), "Debug");
}
