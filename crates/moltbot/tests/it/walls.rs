//! The walls around a command, through the real program: as root, and as an ordinary user.
//!
//! Each test makes an attempt for real. Where the attempt would work outside the walls, the test shows that first:
//! an attack that fails for another reason shows nothing.

mod absent;
mod backends;
mod background;
mod scopes;
pub(crate) mod stage;
mod terminals;
mod way_out;

use std::time::{Duration, Instant};

use moltbot_testkit::model::Reply;
use moltbot_testkit::process::Circumstances;
use moltbot_testkit::skip::skip;
use serde_json::json;

use stage::{NOBODY, Stage, files_below, has, marker, none_survives, outside, processes_with, until, users};

/// Says `reached` for each way that leads somewhere.
fn knocking(gateway: u16, model: u16) -> String {
    let mut script = String::new();
    for port in [gateway, model] {
        script += &format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo reached {port}\n");
    }
    script += "(exec 3<>/dev/tcp/1.1.1.1/443) 2>/dev/null && echo reached the internet\n";
    script += "(echo x > /dev/udp/127.0.0.1/53) 2>/dev/null && echo reached udp\n";
    script += "(echo x > /dev/udp/1.1.1.1/53) 2>/dev/null && echo reached udp on the internet\n";
    script
        + "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un(\"s\")) \
        && print \"reached socket file\\n\"' 2>/dev/null; true"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h11_a_command_reaches_no_network_and_no_socket_of_the_host() {
    const NAME: &str = "h11_a_command_reaches_no_network_and_no_socket_of_the_host";
    for user in users(NAME) {
        let mut stage = Stage::new(user).await;
        let socket = stage.workspace().join("s");
        #[expect(clippy::disallowed_methods, reason = "a host program that listens in the workspace")]
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        rustix::fs::chmod(&socket, rustix::fs::Mode::from_raw_mode(0o777)).unwrap();
        let script = knocking(stage.gateway.port(), stage.model.port());
        let reached = outside(&stage.workspace(), &script);
        let mut expected: Vec<String> =
            [stage.gateway.port(), stage.model.port()].map(|port| format!("reached {port}\n")).into();
        expected.push("reached udp\n".into());
        if has("/usr/bin/perl") {
            expected.push("reached socket file\n".into());
        } else {
            skip(NAME, "the socket file was not tried: there is no /usr/bin/perl");
        }
        for line in expected {
            assert!(reached.contains(&line), "even outside the walls there is no {line}: {reached}");
        }
        assert_eq!(stage.output(&script).await, "", "as {user:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_sees_no_file_of_the_host_but_programs() {
    for user in users("a_command_sees_no_file_of_the_host_but_programs") {
        let mut stage = Stage::new(user).await;
        let token = stage.gateway.token().to_owned();
        let (first, second) = token.split_at_checked(10).unwrap();
        let state = stage.home.state_path();
        // The token stands in the config beside the workspace. Its halves are joined inside, or the command itself
        // would be found. What it looks through is all there is but programs and the kernel's files.
        let search = format!(
            "for top in /* /workspace/../*; do case /${{top##*/}} in /usr|/proc|/bin|/sbin|/lib*) ;; \
             *) grep -rlF -D skip -e {first}''{second} $top 2>/dev/null ;; esac; done"
        );
        let found = outside(&state, &format!("grep -lF -e {first}''{second} moltbot.json"));
        assert_eq!(found, "moltbot.json\n");
        let paths = format!(
            "for path in {0} {0}/moltbot.json {1} /root /home /etc/shadow /etc/passwd- /etc/ssh /etc/hostname \
             /boot /var /run /srv /opt /mnt /media /sys /sys/kernel /run/docker.sock /var/run/docker.sock /proc/1/root/etc \
             /proc/1/cwd/ /proc/1/environ /proc/1/mem /proc/1/maps /proc/kcore /proc/kallsyms /proc/keys \
             /dev/mem /dev/kmem /dev/kmsg /dev/sda /dev/vda /dev/nvme0n1 /dev/loop0 /dev/fuse /dev/kvm /dev/ptmx; do \
             (ls -d $path/. || head -c 1 $path | grep .) 2>/dev/null; done",
            state.display(),
            stage.home.path().display()
        );
        let devices = "for path in /dev/*; do [ -L $path ] && continue; [ -b $path ] && echo block $path; \
            [ -c $path ] && echo $path; done";
        assert_eq!(stage.output(&search).await, "", "as {user:?}");
        assert_eq!(stage.output(&paths).await, "", "as {user:?}");
        assert_eq!(
            stage.output(devices).await,
            "/dev/full\n/dev/null\n/dev/random\n/dev/tty\n/dev/urandom\n/dev/zero\n",
            "as {user:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_not_told_where_the_workspace_is_on_this_machine() {
    for user in users("a_command_is_not_told_where_the_workspace_is_on_this_machine") {
        let mut stage = Stage::new(user).await;
        let home = stage.home.path().file_name().unwrap().to_str().unwrap().to_owned();
        let script = "for list in mountinfo mounts mountstats; do \
            for process in self thread-self 1 $$ $PPID self/task/$$; do cat /proc/$process/$list; done; \
            done 2>/dev/null; readlink /proc/self/cwd";
        // Outside the walls the same says where everything is.
        assert!(outside(&stage.workspace(), script).contains(&home), "even outside nothing is told");
        let told = stage.output(&format!("{script}; touch here")).await;
        assert_eq!(told, "/workspace\n", "as {user:?}");
        assert!(stage.workspace().join("here").exists(), "it is the workspace");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_sees_no_other_process_and_kills_none() {
    for user in users("a_command_sees_no_other_process_and_kills_none") {
        let mut stage = Stage::new(user).await;
        let pid = stage.gateway.pid();
        let visible = stage.output("cd /proc; ls -d [0-9]*").await;
        let numbers: Vec<u32> = visible.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.len() <= 3 && numbers.iter().all(|number| *number < 10), "{visible}");
        let attack = format!(
            "kill -9 {pid} && echo killed the gateway; ls -d /proc/{pid} 2>/dev/null; \
             kill -9 1 && echo killed the first; (trap '' TERM; kill -TERM 0); kill -9 -1; kill -STOP -1; true"
        );
        let told = stage.exec(&format!("({attack}) 2>/dev/null; echo end")).await;
        assert!(!told.contains("killed") || told.starts_with("killed by signal"), "{told}");
        assert!(!told.contains("/proc/"), "{told}");
        assert!(stage.gateway.is_running(), "the gateway was killed by its command");
        assert_eq!(stage.output("echo on").await, "on\n", "the next command works");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_gets_three_variables_and_no_secret() {
    for user in users("a_command_gets_three_variables_and_no_secret") {
        let secret = "sk-ant-a8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1Q";
        let environment = [("ANTHROPIC_API_KEY", secret), ("LD_PRELOAD_X", "1"), ("BASH_ENV", "/tmp/x")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let circumstances = Circumstances { user, environment, ..Circumstances::default() };
        let mut stage = Stage::with(circumstances).await;
        let given = stage
            .output("while IFS= read -r -d '' line; do echo \"$line\"; done < /proc/self/environ | sort")
            .await;
        let path = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
        assert_eq!(given, format!("HOME=/tmp\nLANG=C.UTF-8\n{path}\n"), "as {user:?}");
        let names = stage.output("env | cut -d= -f1 | sort | tr '\\n' ' '").await;
        assert_eq!(names, "HOME LANG PATH PWD SHLVL _ ", "what bash adds, as {user:?}");
        let everywhere =
            "grep -aoE 'sk-[a-z]+-[A-Za-z0-9]+' /proc/*/environ /proc/*/cmdline /proc/*/comm 2>/dev/null";
        assert_eq!(stage.output(everywhere).await, "", "as {user:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_survives_a_timeout() {
    for (tag, user) in users("nothing_survives_a_timeout").into_iter().enumerate() {
        let mut stage = Stage::new(user).await;
        let marker = marker(u32::try_from(tag).unwrap());
        let script = format!(
            "trap '' TERM HUP INT QUIT; for i in 1 2 3; do (setsid nohup sleep {marker} >/dev/null 2>&1 &) ; done; \
             (setsid bash -c 'trap \"\" TERM HUP; exec 0<&- 1>&- 2>&-; cd /; while :; do sleep {marker}; done' &) ; \
             sleep {marker}"
        );
        let began = Instant::now();
        let run = stage.begin("exec", json!({"command": script, "timeout": 1})).await;
        until("the daemons run", || processes_with(&format!("sleep {marker}")).len() >= 5).await;
        let told = stage.end(run).await;
        assert!(told.starts_with("killed: it was still running after 1 s"), "{told}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(processes_with(&marker), Vec::<String>::new(), "as {user:?}");
        // And none that a command which ended by itself has left behind.
        let told = stage.exec(&format!("(setsid nohup sleep {marker} >/dev/null 2>&1 &); echo gone")).await;
        assert!(told.ends_with("gone\n"), "{told}");
        assert_eq!(processes_with(&marker), Vec::<String>::new(), "as {user:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_planted_in_the_workspace_lends_nobody_its_owners_rights() {
    for user in users("a_file_planted_in_the_workspace_lends_nobody_its_owners_rights") {
        let mut stage = Stage::new(user).await;
        let script = "cp /bin/sh a; chmod 4755 a; cp /bin/sh b; chmod u+s,g+s b; install -m 6755 /bin/sh c; \
            mkdir -m 2777 d; mkdir e; chmod g+s e; cp /bin/sh f; chmod --reference=/usr/bin/passwd f; \
            cp -p /usr/bin/passwd g; tar -C / -cf t.tar usr/bin/passwd; tar -xpf t.tar; rm t.tar; \
            ln /usr/bin/passwd h; mknod i c 1 3; mknod j b 8 0; \
            perl -e 'require \"syscall.ph\"' ; \
            perl -e '$v = pack(\"V5\", 0x02000001, 0xffffffff, 0, 0, 0); \
                syscall(188, \"b\", \"security.capability\", $v, 20, 0) == 0 and print \"capability\\n\"'; \
            true";
        let told = stage.exec(&format!("({script}) 2>/dev/null; echo end")).await;
        assert!(told.ends_with("end\n") && !told.contains("capability\n"), "{told}");
        let owner = rustix::fs::stat(stage.workspace()).unwrap();
        let files = files_below(&stage.workspace());
        assert!(files.iter().any(|(path, ..)| path.ends_with("a")), "the attempt made no file: {files:?}");
        for (path, uid, gid, mode) in files {
            assert_eq!(mode & 0o6000, 0, "{} has mode {mode:o}, as {user:?}", path.display());
            assert!(matches!(mode & 0o170_000, 0o100_000 | 0o040_000), "{} is no file", path.display());
            assert_eq!((uid, gid), (owner.st_uid, owner.st_gid), "{} as {user:?}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_is_bounded_and_the_gateway_answers_meanwhile() {
    for (tag, user) in
        users("a_fork_bomb_is_bounded_and_the_gateway_answers_meanwhile").into_iter().enumerate()
    {
        let mut stage = Stage::new(user).await;
        let marker = marker(10 + u32::try_from(tag).unwrap());
        let mut seen = Vec::new();
        // A busy machine may need longer until there are enough of them that a limit is worth the name.
        for seconds in [2, 8, 30] {
            let most = bomb(&mut stage, &marker, seconds).await;
            // The limit is 128; the helper's own processes have the marker in their memory only.
            assert!(most <= 130, "{most} processes as {user:?}");
            none_survives(&marker).await;
            seen.push((seconds, most));
            if most >= 20 {
                break;
            }
        }
        assert!(seen.iter().any(|(_, most)| *most >= 20), "seconds and processes: {seen:?}, as {user:?}");
    }
}

/// Lets a fork bomb run for so long, asks the gateway for its health meanwhile, and counts the most processes that
/// there were at once.
async fn bomb(stage: &mut Stage, marker: &str, seconds: u64) -> usize {
    let bomb = format!("bomb() {{ bomb | bomb & sleep {marker}; }}; bomb & sleep {marker}");
    let other = stage.gateway.connect().open().await.unwrap();
    let run = stage.begin("exec", json!({"command": bomb, "timeout": seconds})).await;
    let (mut most, mut slowest, mut asked) = (0, Duration::ZERO, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let before = Instant::now();
        other.call("health", json!({})).await.unwrap();
        slowest = slowest.max(before.elapsed());
        asked += 1;
        most = most.max(processes_with(marker).len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = stage.end(run).await;
    assert!(told.starts_with(&format!("killed: it was still running after {seconds} s")), "{told}");
    assert!(asked >= 5 && slowest < Duration::from_secs(3), "{asked} answers, the slowest {slowest:?}");
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_hogs_memory_is_ended() {
    const NAME: &str = "a_command_that_hogs_memory_is_ended";
    if !has("/usr/bin/perl") {
        return skip(NAME, "there is no /usr/bin/perl");
    }
    if available_memory() < 5 << 30 {
        return skip(NAME, "it takes 2 GiB before it is stopped, and this machine has little free");
    }
    for user in users(NAME) {
        let mut stage = Stage::new(user).await;
        // Each stays within its own limit; together they do not.
        let hog = "for i in 1 2 3 4; do perl -e '$x = \"a\" x (700 << 20); sleep 60' & done; wait";
        let told = stage.exec(hog).await;
        assert!(told.starts_with("killed: it took more memory"), "as {user:?}: {told}");
        assert_eq!(stage.output("echo on").await, "on\n", "the next command works");
    }
}

/// Bytes that could be had without swapping.
#[expect(clippy::disallowed_methods, reason = "the kernel's figures are files")]
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_and_commands_share_the_workspace_and_its_owner() {
    for user in users("tools_and_commands_share_the_workspace_and_its_owner") {
        let mut stage = Stage::new(user).await;
        stage.call("write", json!({"path": "a/told.txt", "content": "told\n"})).await;
        let script = "cat a/told.txt && echo more >> a/told.txt && echo made > a/made.txt && mkdir -p b/c && \
            cp a/made.txt b/c/ && ln -s ../a/made.txt b/link && stat -c %u:%g a/told.txt a/made.txt";
        assert_eq!(stage.output(script).await, "told\n1000:1000\n1000:1000\n", "as {user:?}");
        let owner = rustix::fs::stat(stage.workspace()).unwrap();
        assert_eq!(user.unwrap_or(rustix::process::geteuid().as_raw()), owner.st_uid);
        for (path, uid, gid, _) in files_below(&stage.workspace()) {
            assert_eq!((uid, gid), (owner.st_uid, owner.st_gid), "{} as {user:?}", path.display());
        }
        let read = stage.call("read", json!({"path": "a/told.txt"})).await;
        assert!(read.contains("told\nmore"), "{read}");
        stage.call("edit", json!({"path": "a/made.txt", "oldText": "made", "newText": "edited"})).await;
        assert_eq!(stage.output("cat a/made.txt").await, "edited\n", "as {user:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_or_pipe_made_by_a_command_leads_no_tool_and_no_prompt_out() {
    for user in users("a_link_or_pipe_made_by_a_command_leads_no_tool_and_no_prompt_out") {
        let mut stage = Stage::new(user).await;
        let token = stage.gateway.token().to_owned();
        let before = stage.home.config_text();
        let script = "ln -s ../moltbot.json config; ln -s .. up; ln -s / top; ln -s /proc/self/root magic; \
            ln -s config chain; mkfifo pipe; ln -s /proc/self/environ environment; \
            rm -f AGENTS.md SOUL.md IDENTITY.md USER.md; \
            ln -s ../moltbot.json AGENTS.md; mkfifo SOUL.md; mkdir IDENTITY.md; truncate -s 200M USER.md";
        stage.output(script).await;
        for (tool, path) in [
            ("read", "config"),
            ("read", "up/moltbot.json"),
            ("read", "chain"),
            ("read", "top/etc/passwd"),
            ("read", "magic/etc/passwd"),
            ("read", "environment"),
            ("read", "pipe"),
            ("read", "AGENTS.md"),
            ("write", "up/planted"),
            ("write", "top/tmp/moltbot-walls-planted"),
            ("write", "up/moltbot.json"),
            ("edit", "config"),
            ("edit", "up/moltbot.json"),
        ] {
            let arguments = match tool {
                "read" => json!({"path": path}),
                "write" => json!({"path": path, "content": "planted"}),
                _ => json!({"path": path, "oldText": "gateway", "newText": "planted"}),
            };
            let told = stage.call(tool, arguments).await;
            assert!(
                !told.contains("root:") && !told.contains("HOME=") && !told.contains(&token),
                "{path}: {told}"
            );
            assert!(told.len() < 400, "{tool} {path} as {user:?}: {told}");
        }
        // A write replaces a link in the workspace, and does not follow it.
        stage.call("write", json!({"path": "config", "content": "planted"})).await;
        assert_eq!(stage.home.config_text(), before, "as {user:?}");
        assert!(!stage.home.state_path().join("planted").exists());
        assert!(!std::path::Path::new("/tmp/moltbot-walls-planted").exists());
        for request in stage.model.requests() {
            assert!(!request.body.to_string().contains(&token), "the token is in a prompt, as {user:?}");
            assert!(request.system().len() < 100_000);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_leaves_no_command_and_runs_none_twice() {
    for (tag, user) in users("a_killed_gateway_leaves_no_command_and_runs_none_twice").into_iter().enumerate()
    {
        let mut stage = Stage::new(user).await;
        let marker = marker(20 + u32::try_from(tag).unwrap());
        let script = format!("echo ran >> times; (setsid nohup sleep {marker} &); sleep {marker}");
        let run = stage.begin("exec", json!({"command": script})).await;
        until("the command runs", || processes_with(&format!("sleep {marker}")).len() >= 2).await;
        stage.gateway.kill9();
        none_survives(&marker).await;
        stage.gateway.restart(&stage.home);
        let client = stage.gateway.connect().open().await.unwrap();
        let ended = client.call("agent.wait", json!({"runId": run, "timeoutMs": 30_000})).await.unwrap();
        assert_eq!(ended["status"], "ok", "{ended}");
        let told = stage.model.requests().last().unwrap().tool_results();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("outcome is unknown") && told[0].contains("not run again"), "{told:?}");
        let times = outside(&stage.workspace(), "cat times");
        assert_eq!(times, "ran\n", "as {user:?}");
        assert_eq!(processes_with(&marker), Vec::<String>::new());
        stage.client = client;
        assert_eq!(stage.output("wc -l < times").await.trim(), "1", "commands run again after the restart");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_root_runs_commands_as_nobody_who_owns_anything() {
    const NAME: &str = "a_gateway_that_is_root_runs_commands_as_nobody_who_owns_anything";
    if !rustix::process::geteuid().is_root() {
        return skip(NAME, "the gateway must be root");
    }
    let mut stage = Stage::new(None).await;
    let marker = marker(30);
    let run = stage
        .begin("exec", json!({"command": format!("sleep {marker} & sleep {marker}"), "timeout": 1}))
        .await;
    until("the command runs", || processes_with(&format!("sleep {marker}")).len() >= 2).await;
    for process in processes_with(&marker) {
        let (folder, _) = process.split_once(':').unwrap();
        let status = outside(std::path::Path::new("/"), &format!("grep -E '^(Uid|Gid):' {folder}/status"));
        for number in status.split_whitespace().filter_map(|word| word.parse::<u32>().ok()) {
            assert!(number >= NOBODY, "{process} is user or group {number}");
        }
    }
    stage.model.push(Reply::text("unused"));
    assert!(stage.end(run).await.starts_with("killed: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_process_one_runs_commands_and_takes_them_with_it() {
    const NAME: &str = "a_gateway_that_is_process_one_runs_commands_and_takes_them_with_it";
    let wrapper =
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"].map(str::to_owned).to_vec();
    if outside(std::path::Path::new("/"), &format!("{} echo yes", wrapper.join(" "))) != "yes\n" {
        return skip(NAME, "`unshare` cannot make a process namespace here; it needs root");
    }
    let mut stage = Stage::with(Circumstances { wrapper, ..Circumstances::default() }).await;
    assert_eq!(
        stage.output("echo on").await,
        "on\n",
        "its helper takes process 1 for a parent that has died"
    );
    let marker = marker(40);
    stage.begin("exec", json!({"command": format!("sleep {marker}; true")})).await;
    until("the command runs", || processes_with(&format!("sleep {marker}")).len() >= 2).await;
    stage.gateway.kill9();
    none_survives(&marker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_outlives_the_threads_that_end_when_idle() {
    let mut stage = Stage::new(None).await;
    // Threads of the runtime's pool end after 10 s; a helper started by one would be killed with it.
    let told = stage.call("exec", json!({"command": "sleep 11; echo rested", "yieldMs": 60_000})).await;
    assert_eq!(told, "exit code 0\n\nrested\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_of_the_owner_runs_nothing_that_a_tool_or_command_has_left() {
    const NAME: &str = "git_of_the_owner_runs_nothing_that_a_tool_or_command_has_left";
    let prepare = "git init -q . && git config user.name a && git config user.email a@b && echo x > f && git add f \
        && git commit -q -m one && echo ready";
    let mut stage = Stage::new(None).await;
    let trap = stage.home.path().join("trap");
    if !outside(&stage.workspace(), prepare).ends_with("ready\n") {
        return skip(NAME, "git is not on this machine");
    }
    let settings =
        format!("[core]\n\trepositoryformatversion = 0\n\tfsmonitor = \"touch {}; false\"\n", trap.display());
    let lead = "mkdir -p evil/objects evil/refs && echo ../evil > .git/commondir";
    stage.call("write", json!({"path": "evil/config", "content": settings})).await;
    // Outside the walls each of these makes the owner's git run a program.
    outside(&stage.workspace(), &format!("{lead}; git status"));
    assert!(trap.exists(), "the attack does not work where nothing stops it");
    outside(&stage.workspace(), &format!("rm {} .git/commondir", trap.display()));
    let told = stage.exec(lead).await;
    assert!(told.starts_with("exit code 0"), "{told}");
    for path in [".git/config", ".git/hooks/post-index-change", ".git/commondir", ".git", "evil/.git/config"]
    {
        let told = stage.call("write", json!({"path": path, "content": settings})).await;
        assert!(told.contains("no tool may change it"), "{path}: {told}");
    }
    let edit = json!({"path": ".git/config", "oldText": "[core]", "newText": settings});
    let told = stage.call("edit", edit).await;
    assert!(told.contains("no tool may change it"), "{told}");
    let told = stage.exec("cp evil/config .git/config").await;
    assert!(!told.starts_with("exit code 0"), "{told}");
    let said = outside(&stage.workspace(), "git status && git log --oneline && git add -A && echo worked");
    assert!(said.ends_with("worked\n") && !trap.exists(), "{said}");
}
