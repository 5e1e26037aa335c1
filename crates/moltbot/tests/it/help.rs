//! The help of every command as one transcript.

use crate::program::Program;

const COMMANDS: [&str; 84] = [
    "",
    "up",
    "gateway",
    "gateway run",
    "gateway status",
    "gateway stop",
    "gateway restart",
    "gateway call",
    "chat",
    "agent",
    "agents",
    "agents add",
    "agents delete",
    "agents list",
    "agents set-identity",
    "commands",
    "commands review",
    "commands rules",
    "commands rules check",
    "commands rules list",
    "commands rules test",
    "sessions",
    "sessions list",
    "sessions show",
    "sessions export",
    "sessions import",
    "sessions search",
    "sessions release",
    "sessions reset",
    "sessions delete",
    "hooks",
    "hooks list",
    "models",
    "models list",
    "models status",
    "models scan",
    "models test",
    "models set",
    "models aliases",
    "models aliases list",
    "models aliases add",
    "models aliases remove",
    "models fallbacks",
    "models fallbacks list",
    "models fallbacks add",
    "models fallbacks clear",
    "usage",
    "service",
    "service install",
    "service print",
    "service status",
    "service uninstall",
    "support",
    "support bundle",
    "system",
    "system event",
    "system heartbeat",
    "system heartbeat disable",
    "system heartbeat enable",
    "system heartbeat last",
    "system presence",
    "config",
    "config validate",
    "config get",
    "config set",
    "config path",
    "config schema",
    "status",
    "health",
    "logs",
    "sandbox",
    "sandbox containers",
    "sandbox doctor",
    "sandbox image",
    "sandbox image build",
    "sandbox image list",
    "security",
    "security audit",
    "security compliance",
    "security decrypt",
    "security drill",
    "security fix",
    "security migrate",
    "security score",
];

#[test]
fn every_command_explains_itself() {
    let program = Program::new();
    let mut transcript = String::new();
    for command in COMMANDS.into_iter().chain(["doctor", "completion", "stop", "resume"]) {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let ran = program.run(&arguments);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{command} --help");
        transcript.push_str(&format!("$ moltbot {}\n{}\n", arguments.join(" "), ran.out));
    }
    assert!(!program.state().exists(), "help makes no state");
    insta::assert_snapshot!(transcript);
}
