//! How a container is made, and when it is made anew.

use moltbot_config::settings::DockerConfig;
use moltbot_policy::container::{Container, RemovalReason, permit_removal};
use moltbot_policy::profile::{Profile, WorkspaceAccess};
use moltbot_sandbox::{ContainerEngine, Exit, INSTALLATION_OF, RootSource};

use super::berth::Berth;
use crate::room::text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_101_a_container_of_older_settings_is_never_used_again() {
    let Some(mut berth) = Berth::new("d_101_a_container_of_older_settings_is_never_used_again") else {
        return;
    };
    berth.output("echo kept > /tmp/kept").await;
    let first = berth.id();
    berth.docker.pids_limit = 99;
    assert_eq!(berth.run("cat /tmp/kept").await.exit, Exit::Code(1), "it is a new container");
    let second = berth.id();
    assert!(first != second && berth.names().len() == 1, "the old one is gone");
    let profile = Profile { workspace: WorkspaceAccess::None, ..berth.profile() };
    berth.room.run_with("true", profile).await.unwrap();
    assert_ne!(berth.id(), second, "less of the workspace, at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_101_a_container_that_was_stopped_or_weakened_by_hand_is_made_anew() {
    let Some(berth) = Berth::new("d_101_a_container_that_was_stopped_or_weakened_by_hand_is_made_anew")
    else {
        return;
    };
    berth.output("true").await;
    let first = berth.id();
    berth.engine.ask(&["kill", &first]);
    assert_eq!(berth.output("echo on").await, "on\n");
    assert_ne!(berth.id(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_somebody_else_is_neither_used_nor_removed() {
    let Some(berth) = Berth::new("a_container_of_somebody_else_is_neither_used_nor_removed") else { return };
    let name = berth.container().name;
    let id = berth.engine.ask(&["run", "--detach", "--name", &name, &berth.docker.image, "sleep", "600"]);
    let failure = berth.run_in(berth.container(), "true").await.unwrap_err();
    assert!(failure.to_string().contains("belongs to somebody else"), "{failure}");
    assert_eq!(berth.id(), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_97_a_name_of_an_image_is_looked_up_once_and_a_new_image_means_a_new_container() {
    let Some(mut berth) =
        Berth::new("d_97_a_name_of_an_image_is_looked_up_once_and_a_new_image_means_a_new_container")
    else {
        return;
    };
    let tag = format!("moltbot-test-{}:moving", std::process::id());
    berth.engine.ask(&["tag", &berth.docker.image, &tag]);
    let id = berth.engine.ask(&["image", "inspect", "--format", "{{.Id}}", &tag]);
    berth.docker.image = tag.clone();
    berth.output("true").await;
    let first = berth.id();
    assert_eq!(berth.engine.ask(&["inspect", "--format", "{{.Config.Image}}", &first]), id);
    berth.engine.import(&tag);
    berth.output("true").await;
    assert_ne!(berth.id(), first, "the name means another image now");
    let told: Vec<String> =
        berth.told("container.create").iter().map(|line| line["details"]["imageId"].to_string()).collect();
    assert!(told.len() == 2 && told[0] != told[1] && told[0].contains(&id), "{told:?}");
    berth.engine.docker(&["rm", "--force", &berth.container().name]);
    berth.engine.ask(&["rmi", "--force", &tag]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_image_would_set_is_taken_away() {
    let Some(mut berth) = Berth::new("what_an_image_would_set_is_taken_away") else { return };
    let tag = format!("moltbot-test-{}:loud", std::process::id());
    let made = berth.engine.ask(&["create", &berth.docker.image, "true"]);
    berth.engine.ask(&[
        "commit",
        "--change",
        "ENV LD_PRELOAD=/evil.so SECRET=hunter2",
        "--change",
        "USER root",
        "--change",
        "ENTRYPOINT [\"/bin/false\"]",
        &made,
        &tag,
    ]);
    berth.engine.ask(&["rm", &made]);
    berth.docker.image = tag.clone();
    assert_eq!(
        berth.output("id -u; env | grep -c -e SECRET -e LD_ ; true").await,
        format!("{}\n0\n", super::berth::USER)
    );
    let environment = berth.engine.ask(&["inspect", "--format", "{{.Config.Env}}", &berth.container().name]);
    assert!(!environment.contains("hunter2") && !environment.contains("evil"), "{environment}");
    berth.engine.docker(&["rm", "--force", &berth.container().name]);
    berth.engine.ask(&["rmi", "--force", &tag]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_102_d_103_without_an_engine_or_an_image_a_command_is_refused_with_what_to_do() {
    let Some(berth) =
        Berth::new("d_102_d_103_without_an_engine_or_an_image_a_command_is_refused_with_what_to_do")
    else {
        return;
    };
    for (docker, said) in [
        (
            DockerConfig { socket: "/nonexistent/docker.sock".into(), ..berth.docker.clone() },
            "no container engine answers at",
        ),
        (
            DockerConfig { socket: "/etc/passwd".into(), ..berth.docker.clone() },
            "no container engine answers at",
        ),
        (
            DockerConfig { image: "moltbot-sandbox:latest".into(), ..berth.docker.clone() },
            "moltbot sandbox image build",
        ),
        (DockerConfig { runtime: Some("runsc".into()), ..berth.docker.clone() }, "runsc"),
    ] {
        let container = Container::of(&docker, "agent:main:main", Vec::new());
        let failure = berth.run_in(container, "touch /workspace/ran").await.unwrap_err().to_string();
        assert!(failure.contains(said) && failure.contains("did not run"), "{failure}");
        assert!(!berth.room.workspace().join("ran").exists(), "something else ran it");
        assert_eq!(berth.names(), Vec::<String>::new(), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_100_no_text_of_a_stranger_is_in_a_label() {
    let Some(berth) = Berth::new("d_100_no_text_of_a_stranger_is_in_a_label") else { return };
    let hostile = "agent:main:irc:dm:$(reboot)\n\"--privileged\"";
    let container = Container::of(&berth.docker, hostile, Vec::new());
    let name = container.name.clone();
    assert_eq!(text(&berth.run_in(container, "echo on").await.unwrap()), "on\n");
    let labels = berth.engine.ask(&["inspect", "--format", "{{json .Config.Labels}}", &name]);
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&labels).unwrap();
    let names: Vec<&str> = labels.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "moltbot.configHash",
            "moltbot.createdAtMs",
            "moltbot.installation",
            "moltbot.sandbox",
            "moltbot.sessionKey"
        ]
    );
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    assert!(labels.values().all(|value| value.chars().all(is_plain)), "{labels:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_runs_once_without_a_shell_and_a_failed_one_leaves_no_container() {
    let Some(berth) = Berth::new("setup_runs_once_without_a_shell_and_a_failed_one_leaves_no_container")
    else {
        return;
    };
    let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let setup = vec![words(&["mkdir", "-p", "/tmp/data"]), words(&["touch", "/tmp/data/$(id); rm -rf x"])];
    let container = Container::of(&berth.docker, "agent:main:main", setup);
    for _ in 0..2 {
        let outcome =
            berth.run_in(container.clone(), "ls /tmp/data; rmdir /tmp/none 2>/dev/null; true").await.unwrap();
        assert_eq!(text(&outcome), "$(id); rm -rf x\n".replace('/', ""), "the words are an argument");
    }
    let failing = Container { setup: vec![words(&["false"])], ..container.clone() };
    let failure = berth.run_in(failing, "touch /workspace/ran").await.unwrap_err();
    assert!(failure.to_string().contains("the setup `false` ended with exit 1"), "{failure}");
    assert_eq!((berth.names(), berth.room.workspace().join("ran").exists()), (Vec::new(), false));
    let missing = Container { setup: vec![words(&["/no/such/program"])], ..container };
    assert!(berth.run_in(missing, "true").await.is_err());
    assert_eq!(berth.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_book_tells_the_backend_the_container_and_the_image() {
    let Some(berth) = Berth::new("the_book_tells_the_backend_the_container_and_the_image") else { return };
    berth.output("true").await;
    let (name, id) = (berth.container().name, berth.id());
    let start = berth.told("command.start").pop().unwrap();
    assert_eq!(start["details"]["sandbox"], "docker");
    assert_eq!(start["details"]["container"], name.as_str());
    assert_eq!(start["details"]["image"], berth.docker.image.as_str());
    let end = berth.told("command.end").pop().unwrap();
    assert_eq!(end["details"]["containerId"], id.as_str());
    let made = berth.told("container.create").pop().unwrap();
    assert_eq!(made["target"], name.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_made_from_a_folder_or_a_tar_and_a_broken_one_makes_none() {
    let Some(mut berth) = Berth::new("an_image_is_made_from_a_folder_or_a_tar_and_a_broken_one_makes_none")
    else {
        return;
    };
    let root = moltbot_testkit::engine::busybox_root();
    let tar = berth.room.home.path().join("root.tar");
    #[expect(clippy::disallowed_methods, reason = "a tar for the test")]
    let made =
        std::process::Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(root.path()).arg(".").status();
    assert!(made.unwrap().success());
    let engine = ContainerEngine::open(berth.engine.socket(), &berth.room.ledger.hash_of(INSTALLATION_OF))
        .await
        .unwrap();
    let sources = [RootSource::Folder(root.path().into()), RootSource::Archive(tar)];
    for (number, source) in sources.into_iter().enumerate() {
        let tag = format!("moltbot-test-{}:made{number}", std::process::id());
        let permit = moltbot_policy::container::permit_image(&tag, "a test", "owner:cli");
        let permit = moltbot_policy::record(permit, &berth.room.ledger).unwrap();
        let id = engine.import(permit, source).await.unwrap();
        assert!(engine.images().await.unwrap().iter().any(|row| row.id == id && row.names.contains(&tag)));
        berth.docker.image = tag.clone();
        assert_eq!(berth.output("echo on").await, "on\n", "{tag}");
        let rows = engine.list().await.unwrap();
        assert!(rows.iter().any(|row| row.name == berth.container().name && row.image == id), "{rows:?}");
        let permit = permit_removal(&berth.container().name, RemovalReason::Asked, "owner:cli");
        engine.remove(moltbot_policy::record(permit, &berth.room.ledger).unwrap()).await.unwrap();
        assert_eq!(berth.names(), Vec::<String>::new());
        berth.engine.ask(&["rmi", "--force", &tag]);
    }
    let tag = format!("moltbot-test-{}:none", std::process::id());
    let permit = moltbot_policy::container::permit_image(&tag, "a test", "owner:cli");
    let permit = moltbot_policy::record(permit, &berth.room.ledger).unwrap();
    assert!(engine.import(permit, RootSource::Folder("/no/such/root".into())).await.is_err());
    assert!(
        !engine.images().await.unwrap().iter().any(|row| row.names.contains(&tag)),
        "an image of nothing"
    );
    let permit = permit_removal("somebody-elses", RemovalReason::Asked, "owner:cli");
    assert!(engine.remove(moltbot_policy::record(permit, &berth.room.ledger).unwrap()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the test plays a program that makes a root slowly")]
async fn an_image_may_take_longer_than_an_answer_of_the_engine() {
    const NAME: &str = "an_image_may_take_longer_than_an_answer_of_the_engine";
    let Some(berth) = Berth::new(NAME) else { return };
    let root = moltbot_testkit::engine::busybox_root();
    let (tar, pipe) = (berth.room.home.path().join("root.tar"), berth.room.home.path().join("pipe"));
    let made =
        std::process::Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(root.path()).arg(".").status();
    assert!(made.unwrap().success());
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (bytes, end) = (std::fs::read(&tar).unwrap(), pipe.clone());
    let slow = std::thread::spawn(move || {
        use std::io::Write as _;
        let mut end = std::fs::OpenOptions::new().write(true).open(end).unwrap();
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        end.write_all(first).unwrap();
        std::thread::sleep(moltbot_config::limits::CONTAINER_ENGINE + std::time::Duration::from_secs(2));
        end.write_all(rest).unwrap();
    });
    let installation = berth.room.ledger.hash_of(INSTALLATION_OF);
    let engine = ContainerEngine::open(berth.engine.socket(), &installation).await.unwrap();
    let tag = format!("moltbot-test-{}:slow", std::process::id());
    let permit = moltbot_policy::container::permit_image(&tag, "a test", "owner:cli");
    let permit = moltbot_policy::record(permit, &berth.room.ledger).unwrap();
    let id = engine.import(permit, RootSource::Archive(pipe)).await.unwrap();
    slow.join().unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    berth.engine.ask(&["rmi", "--force", &tag]);
}
