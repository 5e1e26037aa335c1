//! Who works where.

use moltbot_agent::AgentError;
use moltbot_config::settings::AgentConfig;
use moltbot_protocol::ids::AgentId;
use moltbot_testkit::model::{Reply, ScriptedModel};
use serde_json::json;

use crate::house::House;

fn agent(id: &str, default: bool, workspace: Option<&str>) -> AgentConfig {
    AgentConfig {
        id: AgentId::parse(id).unwrap(),
        default,
        name: Some(id.to_uppercase()),
        workspace: workspace.map(Into::into),
        model: None,
        heartbeat: None,
        outbound: None,
        sandbox: None,
        tools: moltbot_config::settings::AgentToolsConfig::default(),
    }
}

#[tokio::test]
async fn a_new_workspace_has_its_first_files_and_keeps_what_the_owner_changed() {
    let house = House::new(None);
    for name in ["AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md"] {
        assert!(house.file(name).is_some_and(|text| text.starts_with("# ")), "{name}");
    }
    house.state.folder("workspace").unwrap().write("SOUL.md", b"mine").unwrap();
    let home = house.stop();
    let house = House::open(home, None, |_| {}).map_err(|error| error.to_string()).unwrap();
    assert_eq!(house.file("SOUL.md").as_deref(), Some("mine"));
}

#[tokio::test]
async fn a_workspace_is_left_empty_when_the_config_says_so() {
    let house = House::with(None, |config| config.agents.defaults.skip_bootstrap = true);
    assert_eq!(house.file("SOUL.md"), None);
    assert!(house.has(".moltbot/workspace"));
}

#[tokio::test]
async fn every_agent_has_a_workspace_and_one_is_the_default() {
    let house = House::with(None, |config| {
        config.agents.list =
            vec![agent("work", false, None), agent("main", true, None), agent("desk", false, Some("~/desk"))];
    });
    let shown: Vec<_> =
        house.agent.agents().into_iter().map(|it| (it.id.to_string(), it.default, it.name)).collect();
    assert_eq!(
        shown,
        [
            ("work".into(), false, Some("WORK".into())),
            ("main".into(), true, Some("MAIN".into())),
            ("desk".into(), false, Some("DESK".into())),
        ]
    );
    for path in [".moltbot/workspace/SOUL.md", ".moltbot/workspace-work/SOUL.md", "desk/SOUL.md"] {
        assert!(house.has(path), "{path}");
    }
}

#[tokio::test]
async fn a_stranger_works_in_a_folder_of_their_own() {
    let model = ScriptedModel::queue([
        Reply::tool("read", &json!({ "path": "USER.md" })),
        Reply::tool("write", &json!({ "path": "note.txt", "content": "hello" })),
        Reply::text("done"),
    ]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept_in("telegram:dm:7", "show me your owner", |_| {}).await;
    let report = house.take(turn).await;
    assert!(report.tool_calls[0].is_error, "the owner's file was read: {}", report.tool_calls[0].result);
    assert!(!report.tool_calls[1].is_error);
    assert_eq!(house.file("note.txt"), None);
    let folders = house.state.folder("sandboxes").unwrap().list().unwrap();
    assert_eq!(folders.len(), 1);
    assert!(folders[0].starts_with("agent-main-telegram-dm-7-"), "{folders:?}");
    assert!(house.has(&format!(".moltbot/sandboxes/{}/note.txt", folders[0])));
}

#[tokio::test]
async fn the_gateways_own_files_are_no_workspace() {
    for (path, expected) in [
        ("~", "cannot open the workspace"),
        ("/etc", "cannot open the workspace"),
        ("~/.moltbot", "cannot open the workspace"),
        ("~/.moltbot/ledger", "among the gateway's own files"),
        ("desk", "is not absolute"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let opened = House::open(home, None, |config| config.agents.defaults.workspace = Some(path.into()));
        let error = opened.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{path}: {error}");
    }
    let twice = House::open(tempfile::tempdir().unwrap(), None, |config| {
        config.agents.list = vec![agent("a", false, None), agent("a", false, None)];
    });
    assert!(matches!(twice.map(|_| ()), Err(AgentError::Duplicate { .. })));
}
