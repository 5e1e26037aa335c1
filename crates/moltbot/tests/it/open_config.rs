//! A config that lets anybody in, through the real binary: no command works with it but those that repair it.

use crate::program::Program;

/// The exact one that operators were warned of, wherever the variable comes from.
const OPEN: &str = r#"{"channels":{"telegram":{"dm":{"policy":"open"}}}}"#;

const REFUSED: [&[&str]; 20] = [
    &["agent", "--message", "hi"],
    &["chat"],
    &["gateway", "call", "health"],
    &["gateway", "restart"],
    &["gateway", "run"],
    &["gateway", "status"],
    &["health"],
    &["ledger", "tail"],
    &["ledger", "verify"],
    &["logs"],
    &["models", "list"],
    &["models", "status"],
    &["secrets", "doctor"],
    &["secrets", "list"],
    &["secrets", "rotate"],
    &["secrets", "status"],
    &["security", "decrypt", "--export", "/nowhere/plain.json"],
    &["sessions", "list"],
    &["status"],
    &["up", "--detach", "--port", "0"],
];

fn with_config(variable: &'static str, text: &str) -> Program {
    let program = Program::new();
    program.write_config(text);
    let path = program.state().join("moltbot.json");
    program.with(variable, path.display().to_string())
}

#[test]
fn d_121_an_open_policy_ends_every_command_but_those_that_repair_it() {
    for variable in ["MOLTBOT_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH"] {
        let program = with_config(variable, OPEN);
        for arguments in REFUSED.into_iter().chain([&["config", "validate"][..]]) {
            let ran = program.run(arguments);
            assert_eq!(ran.code, 78, "{variable} {arguments:?}: {ran:?}");
            for told in ["channels.telegram.dm.policy", "docs/security/breaking-changes.md"] {
                assert!(ran.err.contains(told), "{variable} {arguments:?}: {ran:?}");
            }
        }
        for (arguments, code) in [
            (&["completion", "bash"][..], 0),
            (&["config", "schema"], 0),
            (&["doctor"], 1),
            (&["gateway", "stop"], 0),
        ] {
            let ran = program.run(arguments);
            assert_eq!(ran.code, code, "{variable} {arguments:?}: {ran:?}");
        }
        let repaired = program.run(&["config", "set", "channels.telegram.dm.policy", "\"pairing\""]);
        assert_eq!(repaired.code, 0, "{repaired:?}");
        assert_eq!(program.run(&["config", "validate"]).code, 0);
        assert_eq!(program.run(&["gateway", "status"]).code, 69);
    }
}

#[test]
fn d_17_d_89_d_122_d_125_other_spellings_and_other_ways_in_are_refused_like_it() {
    for text in [
        "{channels: {telegram: {dmPolicy: ' Open '}}}",
        "{channels: {telegram: {accounts: {work: {dmPolicy: 'open'}}}}}",
        "{channels: {defaults: {groupPolicy: 'open'}}}",
        "{channels: {telegram: {allowFrom: ['*']}}}",
        "{channels: {discord: {guilds: {g: {users: ['*']}}}}}",
        "{tools: {elevated: {allowFrom: {telegram: ['*']}}}}",
        "{gateway: {controlUi: {allowInsecureAuth: true}}}",
        "{gateway: {controlUi: {dangerouslyDisableDeviceAuth: true}}}",
    ] {
        let program = with_config("MOLTBOT_CONFIG_PATH", text);
        for arguments in [&["gateway", "run"][..], &["status"], &["ledger", "verify"]] {
            let ran = program.run(arguments);
            assert_eq!(ran.code, 78, "{text} {arguments:?}: {ran:?}");
            assert!(ran.err.contains("docs/security/breaking-changes.md"), "{text}: {ran:?}");
        }
    }
}

#[test]
fn a_restart_with_a_config_that_would_not_start_leaves_the_gateway_running() {
    let program = Program::new();
    program.start();
    let good = program.config();
    program.write_config(OPEN);
    let refused = program.run(&["gateway", "restart"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    program.write_config(&good);
    assert_eq!(program.run(&["health"]).code, 0, "it still runs");
}
