//! The walls of a container: what the engine says of them, and what is seen and tried from inside.

use moltbot_policy::command::Severity;
use moltbot_policy::container::Container;
use moltbot_policy::profile::{Profile, WorkspaceAccess};
use moltbot_sandbox::Exit;

use super::berth::{Berth, USER};
use crate::room::{has, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_97_every_option_is_set_by_the_engines_own_word() {
    let Some(mut berth) = Berth::new("d_97_every_option_is_set_by_the_engines_own_word") else { return };
    berth.docker.memory = moltbot_config::settings::MemorySize(256 << 20);
    berth.output("true").await;
    let name = berth.container().name;
    let inspected: serde_json::Value = serde_json::from_str(&berth.engine.ask(&["inspect", &name])).unwrap();
    let (host, config) = (&inspected[0]["HostConfig"], &inspected[0]["Config"]);
    let image = berth.engine.ask(&["image", "inspect", "--format", "{{.Id}}", &berth.docker.image]);
    for (path, expected) in [
        ("CapAdd", serde_json::json!([])),
        ("CapDrop", serde_json::json!(["ALL"])),
        ("Privileged", serde_json::json!(false)),
        ("ReadonlyRootfs", serde_json::json!(true)),
        ("NetworkMode", serde_json::json!("none")),
        ("IpcMode", serde_json::json!("private")),
        ("PidMode", serde_json::json!("")),
        ("UTSMode", serde_json::json!("")),
        ("PidsLimit", serde_json::json!(256)),
        ("Memory", serde_json::json!(256 << 20)),
        ("MemorySwap", serde_json::json!(256 << 20)),
        ("NanoCpus", serde_json::json!(1_000_000_000)),
        ("Devices", serde_json::json!(null)),
        ("PublishAllPorts", serde_json::json!(false)),
        ("AutoRemove", serde_json::json!(false)),
    ] {
        let found = &host[path];
        let empty = found.as_array().is_some_and(Vec::is_empty) && expected.is_null();
        assert!(
            *found == expected || empty || (found.is_null() && expected == serde_json::json!([])),
            "{path}: {found}"
        );
    }
    let security: Vec<&str> =
        host["SecurityOpt"].as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
    assert!(security.contains(&"no-new-privileges"), "{security:?}");
    assert!(security.iter().any(|one| one.starts_with("seccomp={")), "our own filter");
    assert_eq!(
        (&config["User"], &config["Image"]),
        (&serde_json::json!(format!("{USER}:{USER}")), &serde_json::json!(image))
    );
    for folder in ["/tmp", "/var/tmp", "/run"] {
        let options = host["Tmpfs"][folder].as_str().unwrap();
        assert!(
            ["noexec", "nosuid", "nodev", "size="].iter().all(|one| options.contains(one)),
            "{folder}: {options}"
        );
    }
    for mount in inspected[0]["Mounts"].as_array().unwrap() {
        let (there, writable) = (mount["Destination"].as_str().unwrap(), mount["RW"].as_bool().unwrap());
        assert_eq!(mount["Type"], "bind");
        assert!(there == "/workspace" || (there.starts_with("/.moltbot/") && !writable), "{mount}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_97_every_option_holds_seen_from_inside() {
    let Some(berth) = Berth::new("d_97_every_option_holds_seen_from_inside") else { return };
    for (script, expected) in [
        ("id -u; id -g; id -G", format!("{USER}\n{USER}\n{USER}\n")),
        (
            "grep -E '^(Cap...|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'",
            "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\nCapBnd:0000000000000000\n\
             CapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n"
                .to_owned(),
        ),
        ("grep : /proc/net/dev | cut -d: -f1 | tr -d ' '", "lo\n".to_owned()),
        ("hostname", "sandbox\n".to_owned()),
        ("ls /sys; cat /proc/1/environ; ls /proc/1/cwd/; true", String::new()),
        ("echo x > /root-was-written; echo x > /etc/x; echo x > /run/x; echo x > /var/tmp/x; true", String::new()),
        ("cp /bin/busybox /tmp/ls && /tmp/ls; true", String::new()),
        ("ulimit -c; ulimit -n", "0\n1024\n".to_owned()),
    ] {
        let outcome = berth.run(&format!("({script}) 2>/dev/null")).await;
        assert_eq!((outcome.exit, text(&outcome)), (Exit::Code(0), expected), "{script}");
    }
    let environment = berth.output("cat /proc/$$/environ | tr '\\0' '\\n'").await;
    let path = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
    assert!(environment.contains("HOME=/tmp\n") && environment.contains(path), "{environment}");
    assert!(!environment.contains("LD_") && !environment.contains("HOSTNAME"), "{environment}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_is_seen_as_the_profile_says() {
    let Some(berth) = Berth::new("a_workspace_is_seen_as_the_profile_says") else { return };
    berth.put("note", "hello\n");
    let script = "cat /workspace/note; echo x > /workspace/made && echo wrote; true";
    for (access, expected) in [
        (WorkspaceAccess::ReadWrite, "hello\nwrote\n"),
        (WorkspaceAccess::ReadOnly, "hello\n"),
        (WorkspaceAccess::None, "wrote\n"),
    ] {
        let profile = Profile { workspace: access, ..berth.profile() };
        let outcome = berth.room.run_with(&format!("({script}) 2>/dev/null"), profile).await.unwrap();
        assert_eq!(text(&outcome), expected, "{access:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_the_owners_programs_obey_are_held_in_a_container_too() {
    let Some(berth) = Berth::new("files_that_the_owners_programs_obey_are_held_in_a_container_too") else {
        return;
    };
    for name in [".git/config", ".git/hooks/pre-commit", ".envrc"] {
        berth.put(name, "owner\n");
    }
    let script = "for f in .git/config .git/hooks/pre-commit .envrc; do echo x > $f; rm -f $f; mv $f y; done 2>/dev/null; \
        mv .git moved 2>/dev/null; echo x > .git/index; cat .git/config .git/hooks/pre-commit .envrc .git/index";
    assert_eq!(berth.output(script).await, "owner\nowner\nowner\nx\n");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_system_call_and_no_trick_leads_out_of_a_container() {
    const NAME: &str = "no_system_call_and_no_trick_leads_out_of_a_container";
    let Some(berth) = Berth::new(NAME) else { return };
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip(NAME, "there is no /usr/bin/perl to put into the image");
    }
    // An image has folders of its own, and a command may signal the processes that it has started itself.
    let tricks = crate::escape::tricks_without(&["the parent of every root", "signals to everybody"]);
    let mut tried = 0;
    for (script, expected) in [crate::escape::calls_without("x32", &[]), tricks] {
        berth.put("attempt.pl", &script);
        let outcome = berth.run("LANG=C perl attempt.pl").await;
        let seen = text(&outcome);
        let differences: Vec<_> =
            seen.lines().zip(expected.lines()).filter(|(seen, wanted)| seen != wanted).collect();
        let ended = (differences, seen.lines().count(), outcome.exit);
        assert_eq!(ended, (Vec::new(), expected.lines().count(), Exit::Code(0)), "{seen}");
        tried += outcome.attempts.len();
    }
    for (name, number, arguments) in crate::escape::ENDING {
        // Not the shell's own process: a grandchild in a session of its own.
        berth
            .put("attempt.pl", &format!("$a = \"/tmp\\0\"; syscall({number}, {arguments}); print 'went on'"));
        let outcome = berth.run("(LANG=C setsid perl attempt.pl &) ; sleep 20").await;
        assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Escape, ""), "{name}");
        let seen: Vec<_> = outcome.attempts.iter().map(|one| (one.call, one.severity)).collect();
        assert_eq!(seen, [(name.split(' ').next().unwrap(), Severity::High)], "{name}");
    }
    assert_eq!(berth.told("command.attempt").len(), crate::escape::ENDING.len() + tried);
    // The engine's own filter knows no number of that interface at all.
    let outcome = berth.run("LANG=C exec perl -e 'syscall(0x40000000 + 39); print 1'").await;
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Signal(31), ""), "x32");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_96_a_bind_that_is_forbidden_or_behind_a_link_is_refused_and_leaves_nothing() {
    let Some(berth) =
        Berth::new("d_96_a_bind_that_is_forbidden_or_behind_a_link_is_refused_and_leaves_nothing")
    else {
        return;
    };
    let link = berth.room.home.path().join("link");
    rustix::fs::symlink("/etc", &link).unwrap();
    let below = format!("{}/ssl", link.display());
    let socket = berth.engine.socket().to_str().unwrap().to_owned();
    for source in
        ["/", "/etc", "/var/run/docker.sock", "/proc", link.to_str().unwrap(), &below, &socket, "/no/such"]
    {
        let mut docker = berth.docker.clone();
        docker.binds = vec![moltbot_config::settings::Bind {
            source: source.into(),
            target: "/data".into(),
            writable: true,
        }];
        let failure = berth
            .run_in(Container::of(&docker, "agent:main:main", Vec::new()), "ls /data")
            .await
            .unwrap_err();
        assert!(failure.to_string().contains("the bind "), "{source}: {failure}");
        assert_eq!(berth.names(), Vec::<String>::new(), "{source}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bind_is_seen_and_written_only_when_it_says_so() {
    let Some(berth) = Berth::new("a_bind_is_seen_and_written_only_when_it_says_so") else { return };
    let data = berth.room.home.path().join("data");
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    std::fs::create_dir(&data).unwrap();
    rustix::fs::chmod(&data, rustix::fs::Mode::from_raw_mode(0o777)).unwrap();
    for (writable, expected) in [(false, ""), (true, "wrote\n")] {
        let mut docker = berth.docker.clone();
        docker.binds =
            vec![moltbot_config::settings::Bind { source: data.clone(), target: "/data".into(), writable }];
        let container = Container::of(&docker, "agent:main:main", Vec::new());
        let outcome =
            berth.run_in(container, "(echo x > /data/x && echo wrote) 2>/dev/null; true").await.unwrap();
        assert_eq!(text(&outcome), expected, "writable: {writable}");
    }
}
