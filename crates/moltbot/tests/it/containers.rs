//! Commands in containers, through the real program: a gateway of an ordinary user, a model that calls `exec`, and a real
//! engine. And what such a gateway refuses.

use moltbot_testkit::client::Client;
use moltbot_testkit::engine::{Engine, IMAGE};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Circumstances, Gateway, command_in, run};
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

use crate::walls::stage::{NOBODY, marker, none_survives, processes_with, program_for, until};

/// A gateway whose commands run in containers.
struct Yard {
    model: ScriptedModel,
    gateway: Gateway,
    client: Client,
    home: Home,
    engine: Engine,
    prefix: String,
}

impl Yard {
    async fn new(test: &str, docker: Value) -> Option<Self> {
        Self::with(test, docker, |_, _| {}).await
    }

    /// The same with a config that is changed further, given the folder that it stands in.
    async fn with(test: &str, docker: Value, change: impl Fn(&mut Value, &std::path::Path)) -> Option<Self> {
        let engine = Engine::start(test)?;
        rustix::fs::chmod(engine.socket(), rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
        let model = ScriptedModel::queue([]);
        let home = Home::with_model(&model);
        let prefix = format!("y{}-", std::process::id());
        home.change_config(|config| {
            let mut settings =
                json!({ "image": IMAGE, "socket": engine.socket(), "containerPrefix": prefix });
            for (name, value) in docker.as_object().unwrap() {
                settings[name] = value.clone();
            }
            config["agents"]["defaults"]["sandbox"] = json!({ "backend": "docker", "docker": settings });
            change(config, home.path());
        });
        home.give_to(NOBODY);
        let program = program_for(&home);
        let circumstances = Circumstances { user: Some(NOBODY), ..Circumstances::default() };
        let gateway = Gateway::start_in(circumstances, &program, &home);
        let client = gateway.connect().open().await.unwrap();
        Some(Self { model, gateway, client, home, engine, prefix })
    }

    async fn exec(&mut self, command: Value) -> String {
        self.call("exec", command).await
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> String {
        self.model.push(Reply::tool(tool, &arguments));
        self.model.push(Reply::text("done"));
        let run = self.client.send_chat("main", "go").await;
        let chat = self.client.finish_chat(run).await;
        assert_eq!((chat.state.as_str(), chat.text.as_str()), ("final", "done"), "{}", chat.end);
        self.model.requests().last().unwrap().tool_results().pop().unwrap()
    }

    fn names(&self) -> String {
        self.engine.ask(&[
            "ps",
            "--all",
            "--filter",
            &format!("name={}", self.prefix),
            "--format",
            "{{.Names}}",
        ])
    }

    /// The program as the gateway's user, and what it prints.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let circumstances = Circumstances { user: Some(NOBODY), ..Circumstances::default() };
        let output =
            command_in(&circumstances, program_for(&self.home), &self.home, arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for name in self.names().lines() {
            self.engine.docker(&["rm", "--force", "--volumes", name]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turns_command_runs_in_a_container_and_the_book_says_so() {
    const NAME: &str = "a_turns_command_runs_in_a_container_and_the_book_says_so";
    let Some(mut yard) =
        Yard::new(NAME, json!({ "setupCommand": "mkdir -p /tmp/data && chmod 755 /tmp/data" })).await
    else {
        return;
    };
    let script =
        "hostname; id -u; grep -c . /proc/net/dev; ls -d /tmp/data; ls /bin/busybox; echo made > made; true";
    let told = yard.exec(json!({ "command": script })).await;
    assert_eq!(told, format!("exit code 0\n\nsandbox\n{NOBODY}\n3\n/tmp/data\n/bin/busybox\n"));
    let name = yard.names();
    assert!(name.starts_with(&format!("{}agent-main-main-", yard.prefix)), "{name}");
    let (code, book) = yard.run(&["ledger", "search", "--action", "command", "--json"]);
    assert_eq!(code, Some(0), "{book}");
    assert!(
        book.contains("\"sandbox\":\"docker\"") && book.contains(&name) && book.contains("containerId"),
        "{book}"
    );
    let (code, listed) = yard.run(&["sandbox", "containers", "--json"]);
    assert!(code == Some(0) && listed.contains(&name), "{listed}");
    let (code, removed) = yard.run(&["sandbox", "containers", "--remove", &name]);
    assert_eq!((code, removed), (Some(0), format!("removed {name}\n")));
    assert_eq!(yard.names(), "");
    let (_, book) = yard.run(&["ledger", "search", "--action", "container.remove", "--json"]);
    assert!(book.contains(&name) && book.contains("relayed"), "{book}");
    let (_, explained) = yard.run(&["sandbox", "explain"]);
    assert!(explained.contains("engine   ") && explained.contains("runc"), "{explained}");
    let (_, doctor) = yard.run(&["doctor"]);
    assert!(
        doctor.contains("commands run in containers of") && doctor.contains("sandbox.engine"),
        "{doctor}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_a_container_survives_a_timeout_or_its_gateway() {
    const NAME: &str = "nothing_in_a_container_survives_a_timeout_or_its_gateway";
    let Some(mut yard) = Yard::new(NAME, json!({})).await else { return };
    let (first, second) = (marker(71), marker(72));
    let script = |marker: &str| format!("(setsid sleep {marker} &) ; (sleep {marker} &) ; sleep {marker}");
    let told = yard.exec(json!({ "command": script(&first), "timeout": 1 })).await;
    assert!(told.starts_with("killed: it was still running after"), "{told}");
    none_survives(&format!("sleep {first}")).await;
    yard.model.push(Reply::tool("exec", &json!({ "command": script(&second) })));
    yard.client.send_chat("main", "go").await;
    until("the command runs", || processes_with(&format!("sleep {second}")).len() >= 3).await;
    yard.gateway.kill9();
    none_survives(&format!("sleep {second}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_on_in_a_container_and_nothing_of_it_survives_its_end() {
    const NAME: &str = "a_command_goes_on_in_a_container_and_nothing_of_it_survives_its_end";
    let Some(mut yard) = Yard::new(NAME, json!({})).await else { return };
    let (first, second) = (marker(73), marker(74));
    let script = |marker: &str| format!("echo begun; (setsid sleep {marker} &) ; sleep {marker}");
    let begin = |marker: &str| json!({ "command": script(marker), "background": true });
    let told = yard.exec(begin(&first)).await;
    let name = told.split_once("(session ").and_then(|(_, rest)| rest.split_once(')')).unwrap().0.to_owned();
    let poll = json!({ "action": "poll", "sessionId": name, "timeout": 20_000 });
    let told = yard.call("process", poll).await;
    assert!(told.starts_with("running for ") && told.ends_with("begun\n"), "{told}");
    let told = yard.call("process", json!({ "action": "kill", "sessionId": name })).await;
    assert_eq!(told, format!("{name}: killed"));
    none_survives(&format!("sleep {first}")).await;
    yard.exec(begin(&second)).await;
    until("the command runs", || processes_with(&format!("sleep {second}")).len() >= 2).await;
    yard.gateway.kill9();
    none_survives(&format!("sleep {second}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_102_d_103_without_an_engine_or_an_image_nothing_runs_and_the_gateway_stays() {
    const NAME: &str = "d_102_d_103_without_an_engine_or_an_image_nothing_runs_and_the_gateway_stays";
    for (docker, said) in [
        (
            json!({ "socket": "/nonexistent/docker.sock" }),
            "no container engine answers at /nonexistent/docker.sock",
        ),
        (json!({ "image": "moltbot-sandbox:latest" }), "there is no image moltbot-sandbox:latest here"),
    ] {
        let Some(mut yard) = Yard::new(NAME, docker).await else { return };
        let told = yard.exec(json!({ "command": "touch ran; uname" })).await;
        assert!(told.contains("commands cannot run on this machine") && told.contains(said), "{told}");
        assert!(!yard.home.state_path().join("workspace/ran").exists(), "another backend took over");
        assert!(yard.gateway.is_running());
        let (code, doctor) = yard.run(&["doctor"]);
        assert!(code == Some(1) && doctor.contains("commands are refused"), "{doctor}");
    }
}

/// What a gateway says that is started with these settings of containers.
fn judged(docker: &Value) -> (Option<i32>, String) {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    home.change_config(|config| config["agents"]["defaults"]["sandbox"] = json!({ "docker": docker }));
    let output = run(env!("CARGO_BIN_EXE_moltbot"), &home, &["gateway", "run"]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn d_90_d_91_d_92_d_96_a_gateway_does_not_start_with_containers_that_are_weakened_or_prepared_from_the_network()
 {
    for (docker, said) in [
        (
            json!({ "setupCommand": "curl https://example.org" }),
            "Docker setup command cannot include network tools: curl",
        ),
        (json!({ "setupCommand": "cu\"\"rl https://example.org" }), "Docker setup command"),
        (
            json!({ "setup": [["pip3", "install", "x"]] }),
            "Docker setup command cannot include network tools: pip3",
        ),
        (json!({ "setupCommand": "echo $(id)" }), "Dangerous Docker setup command rejected"),
        (json!({ "capDrop": [] }), "agents.defaults.sandbox.docker.capDrop"),
        (json!({ "network": "host" }), "agents.defaults.sandbox.docker.network"),
        (json!({ "binds": ["/:/host"] }), "agents.defaults.sandbox.docker.binds"),
        (json!({ "binds": ["/var/run/docker.sock:/s"] }), "agents.defaults.sandbox.docker.binds"),
        (json!({ "user": "root" }), "agents.defaults.sandbox.docker.user"),
        (json!({ "privileged": true }), "agents.defaults.sandbox.docker.privileged"),
    ] {
        let (code, report) = judged(&docker);
        assert!(code == Some(78) && report.contains(said), "{docker}: {code:?} {report}");
        // What an agent says of its own containers is judged as well.
        let home = Home::with_model(&ScriptedModel::queue([]));
        home.change_config(|config| {
            config["agents"]["list"] =
                json!([{ "id": "main" }, { "id": "work", "sandbox": { "docker": docker } }]);
        });
        let output = run(env!("CARGO_BIN_EXE_moltbot"), &home, &["config", "validate"]);
        let report = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            output.status.code() == Some(78) && report.contains("agents.list[1].sandbox.docker"),
            "{docker}: {report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_own_containers_are_as_it_says_and_an_attempt_in_one_ends_the_turn() {
    const NAME: &str = "an_agents_own_containers_are_as_it_says…";
    let change = |config: &mut Value, folder: &std::path::Path| {
        let data = folder.join("data");
        rustix::fs::mkdir(&data, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        let bind = format!("{}:/data", data.display());
        let own = json!({ "binds": [bind], "pidsLimit": 77, "setup": [["mkdir", "-p", "/tmp/own"]] });
        config["agents"]["list"] = json!([{ "id": "main", "sandbox": { "docker": own } }]);
    };
    let Some(mut yard) = Yard::with(NAME, json!({}), change).await else { return };
    let told = yard.exec(json!({ "command": "ls -d /data /tmp/own" })).await;
    assert_eq!(told, "exit code 0\n\n/data\n/tmp/own\n");
    let limit = yard.engine.ask(&["inspect", "--format", "{{.HostConfig.PidsLimit}}", &yard.names()]);
    assert_eq!(limit, "77");
    // In a file, where the review does not see it.
    yard.call("write", json!({ "path": "go.sh", "content": "unshare -m true; echo went on" })).await;
    yard.model.push(Reply::tool("exec", &json!({ "command": "sh go.sh" })));
    yard.model.push(Reply::text("never asked for"));
    let run = yard.client.send_chat("main", "go").await;
    let chat = yard.client.finish_chat(run).await;
    assert!(
        chat.state == "error" && chat.end.to_string().contains("the system call unshare"),
        "{}",
        chat.end
    );
    let (_, book) = yard.run(&["ledger", "search", "--action", "command.attempt", "--json"]);
    assert!(
        book.contains("\"unshare\"") && book.contains("\"docker\"") && book.contains("\"high\""),
        "{book}"
    );
}

/// Packages of the release of this machine, whose keys it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_made_of_a_distributions_packages_and_commands_run_in_it() {
    const NAME: &str = "an_image_is_made_of_a_distributions_packages_and_commands_run_in_it";
    let tag = format!("packages-{}:1", std::process::id());
    let Some(mut yard) = Yard::new(NAME, json!({ "image": tag })).await else { return };
    #[expect(clippy::disallowed_methods, reason = "which release this machine is")]
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let (Some(suite), true) = (suite, std::path::Path::new("/usr/bin/mmdebstrap").exists()) else {
        return skip(NAME, "there is no mmdebstrap, or no release that has a name");
    };
    // As root: an ordinary user needs numbers of subordinate users, which this one has not.
    let home = Home::with_model(&yard.model);
    home.change_config(|config| {
        config["agents"]["defaults"]["sandbox"] =
            json!({ "backend": "docker", "docker": { "image": tag, "socket": yard.engine.socket() } });
    });
    let build = |arguments: &[&str]| {
        let output =
            run(env!("CARGO_BIN_EXE_moltbot"), &home, &[&["sandbox", "image", "build"], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = build(&["--suite", suite, "--include", "there-is-no-such-package"]);
    assert!(code == Some(1) && said.contains("mmdebstrap failed"), "{said}");
    let (code, said) = build(&["--suite=--setup-hook=touch /tmp/x"]);
    assert!(code == Some(1) && said.contains("is no name of a suite"), "{said}");
    assert!(
        !yard.engine.ask(&["image", "ls", "--format", "{{.Repository}}"]).contains("packages-"),
        "none of half a root"
    );
    let (code, said) = build(&["--suite", suite, "--include", "ed"]);
    let is_away = ["Could not resolve", "Could not connect", "Failed to fetch", "Unable to connect"];
    if code == Some(1) && is_away.iter().any(|words| said.contains(words)) {
        return skip(NAME, "the distribution's packages cannot be fetched from here");
    }
    assert_eq!(code, Some(0), "{said}");
    let told = yard
        .exec(
            json!({ "command": ". /etc/os-release; echo $VERSION_CODENAME; ls /usr/bin/ed /bin/ed; id -u" }),
        )
        .await;
    yard.engine.docker(&["image", "rm", "--force", &tag]);
    assert!(told.starts_with("exit code 0") && told.contains(suite) && told.contains("/bin/ed"), "{told}");
}
