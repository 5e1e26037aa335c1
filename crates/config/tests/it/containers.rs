//! A config that weakens containers is refused when it is read, with the place and what to do.

use moltbot_config::{ConfigErrorKind, Surroundings, load};
use secrecy::SecretString;

/// The first error of a config with these settings of containers, in one line.
fn error_of(holder: &str, docker: &str) -> Option<(ConfigErrorKind, String, String)> {
    let text = match holder {
        "defaults" => format!("{{agents: {{defaults: {{sandbox: {{docker: {{{docker}}}}}}}}}}}"),
        _ => format!("{{agents: {{list: [{{id: 'a', sandbox: {{docker: {{{docker}}}}}}}]}}}}"),
    };
    let environment = |name: &str| {
        let value = match name {
            "HOME" => "/home/ann",
            "MOLTBOT_STATE_DIR" => "/srv/bot/state",
            _ => return None,
        };
        Some(SecretString::from(value))
    };
    let error = load(text.as_bytes(), "test", &Surroundings::plain(&environment)).err()?;
    let first = error.errors().first()?;
    Some((first.kind, first.path.clone(), first.fix.clone().unwrap_or_default()))
}

#[test]
fn d_96_i06_what_takes_a_wall_away_is_refused_with_its_path_and_what_to_do() {
    for docker in [
        "capDrop: []",
        "capDrop: ['NET_RAW']",
        "capAdd: ['SYS_ADMIN']",
        "network: 'host'",
        "network: 'container:x'",
        "network: 'bridge'",
        "pid: 'host'",
        "pidMode: 'host'",
        "ipc: 'host'",
        "ipcMode: 'host'",
        "usernsMode: 'host'",
        "privileged: true",
        "devices: ['/dev/sda']",
        "readOnlyRoot: false",
        "seccompProfile: 'unconfined'",
        "apparmorProfile: 'Unconfined'",
        "securityOpt: ['no-new-privileges:false']",
        "securityOpt: ['seccomp=unconfined']",
        "securityOpt: ['label=disable']",
        "binds: ['/:/host']",
        "binds: ['/etc:/data']",
        "binds: ['/proc:/data:ro']",
        "binds: ['/sys:/data']",
        "binds: ['/dev:/data']",
        "binds: ['/var/run:/data']",
        "binds: ['/var:/data']",
        "binds: ['/root:/data']",
        "binds: ['/var/run/docker.sock:/data']",
        "binds: ['/srv/x/docker.sock:/data']",
        "binds: ['/home/ann:/data']",
        "binds: ['/home:/data']",
        "binds: ['${HOME}/.ssh:/data']",
        "binds: ['/srv/bot/state:/data']",
        "binds: ['/srv/bot/state/keys:/data']",
        "binds: ['/srv/bot:/data']",
    ] {
        for holder in ["defaults", "list"] {
            let (kind, path, fix) =
                error_of(holder, docker).unwrap_or_else(|| panic!("{docker} is accepted"));
            let setting = docker.split(':').next().unwrap();
            assert_eq!(kind, ConfigErrorKind::Refused, "{docker} in {holder}");
            assert!(
                path.contains(&format!("sandbox.docker.{setting}")) && !fix.is_empty(),
                "{docker}: {path}: {fix}"
            );
        }
    }
}

#[test]
fn d_96_d_100_a_user_that_is_root_and_a_bind_that_is_none_are_refused() {
    for docker in [
        "user: 'root'",
        "user: '0'",
        "user: '0:0'",
        "user: '1000:0'",
        "binds: ['/srv/a']",
        "binds: ['/srv/a:/data:rw,shared']",
        "binds: ['volume:/data']",
        "binds: ['/srv/../etc:/data']",
        "binds: ['/srv/a:/usr']",
        "socket: 'tcp://10.0.0.1:2375'",
        "containerPrefix: '--privileged'",
        "image: 'x --privileged'",
        "runtime: '../runc'",
        "memory: '1k'",
        "pidsLimit: 0",
        "cpus: 'many'",
        "unknown: 1",
    ] {
        let (_, path, fix) = error_of("defaults", docker).unwrap_or_else(|| panic!("{docker} is accepted"));
        assert!(
            path.starts_with("agents.defaults.sandbox.docker.") && !fix.is_empty(),
            "{docker}: {path}: {fix}"
        );
    }
}

#[test]
fn what_is_safe_is_accepted() {
    for docker in [
        "",
        "capDrop: ['all', 'NET_RAW'], network: 'none', readOnlyRoot: true, privileged: false",
        "user: '1000:1000', memory: '512m', cpus: 0.5, pidsLimit: 100, runtime: 'runsc'",
        "binds: ['/home/ann/work:/data:rw', '/srv/data:/more'], apparmorProfile: 'docker-default'",
        "env: { LANG: 'C.UTF-8' }, dns: ['1.1.1.1'], tmpfs: ['/tmp'], workdir: '/workspace', securityOpt: ['no-new-privileges']",
        "setupCommand: 'mkdir -p /tmp/data', setup: [['mkdir', '-p', '/tmp/data']]",
        "image: 'sha256:0123456789abcdef', socket: '/run/user/1000/docker.sock'",
    ] {
        assert_eq!(error_of("defaults", docker), None, "{docker}");
    }
}

#[test]
fn d_99_what_a_container_is_not_given_is_named_with_what_holds_instead() {
    let text = "{agents: {defaults: {sandbox: {docker: {env: {A: 'b'}, securityOpt: ['no-new-privileges'], tmpfs: []}}}}}";
    let environment = |_: &str| None;
    let loaded = load(text.as_bytes(), "test", &Surroundings::plain(&environment)).unwrap();
    let told: Vec<String> = loaded.unsupported.iter().map(ToString::to_string).collect();
    for (setting, note) in
        [("env", "LANG, PATH and HOME"), ("securityOpt", "no new privileges"), ("tmpfs", "in memory")]
    {
        let path = format!("agents.defaults.sandbox.docker.{setting} ");
        assert!(
            told.iter().any(|line| line.starts_with(&path) && line.contains(note)),
            "{setting}: {told:?}"
        );
    }
}
