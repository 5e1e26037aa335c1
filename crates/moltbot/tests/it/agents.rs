//! `moltbot agents …`: who answers, changed in the config.

use serde_json::Value;

use crate::program::Program;

#[test]
fn agents_are_listed_added_named_and_taken_away_and_comments_stay() {
    let program = Program::new();
    program.write_config("{\n  // mine\n  gateway: {port: 23461, auth: {token: 'q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM'}}, // the port\n}\n");
    let listed = |program: &Program| {
        let ran = program.run(&["agents", "list", "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        serde_json::from_str::<Value>(&ran.out).unwrap()["agents"].clone()
    };
    let ids = |list: &Value| {
        let all = list.as_array().unwrap().iter();
        all.map(|one| (one["id"].as_str().unwrap().to_owned(), one["default"] == true)).collect::<Vec<_>>()
    };
    assert_eq!(ids(&listed(&program)), [("main".to_owned(), true)]);
    let add = ["agents", "add", "work", "--name", "At work", "--workspace", "~/work", "--model", "a/b"];
    let ran = program.run(&add);
    assert_eq!(ran.code, 0, "{ran:?}");
    let list = listed(&program);
    assert_eq!(
        ids(&list),
        [("main".to_owned(), true), ("work".to_owned(), false)],
        "the one that was there stays the first"
    );
    assert_eq!(
        (&list[1]["name"], &list[1]["workspace"], &list[1]["model"]),
        (&"At work".into(), &"~/work".into(), &"a/b".into())
    );
    assert_eq!(program.run(&["agents", "set-identity", "main", "--name", "Molty"]).code, 0);
    assert_eq!(listed(&program)[0]["name"], "Molty");
    assert!(
        program.config().contains("// mine") && program.config().contains("// the port"),
        "{}",
        program.config()
    );
    for (arguments, code, said) in [
        (&["agents", "add", "work"][..], 1, "there is an agent work already"),
        (&["agents", "add", "No Name"], 2, "agent id"),
        (&["agents", "add", "other", "--workspace", "relative"], 2, "whole path"),
        (&["agents", "delete", "main"], 1, "is the agent that is asked"),
        (&["agents", "delete", "nobody"], 1, "there is no agent nobody"),
        (&["agents", "set-identity", "nobody", "--name", "x"], 1, "there is no agent nobody"),
    ] {
        let ran = program.run(arguments);
        assert!(ran.code == code && ran.err.contains(said), "{arguments:?}: {ran:?}");
    }
    assert_eq!(program.start().code, 0, "what was written is a config that serves");
    let told = program.run(&["gateway", "call", "agents.list"]).out;
    assert!(told.contains("At work") && told.contains("Molty"), "{told}");
    let deleted = program.run(&["agents", "delete", "work"]);
    assert!(deleted.code == 0 && deleted.out.contains("its conversations stay"), "{deleted:?}");
    assert_eq!(ids(&listed(&program)), [("main".to_owned(), true)]);
}

#[test]
fn what_an_agent_answers_is_bound_listed_and_taken_away_with_it() {
    let program = Program::new();
    program.write_config("{\n  bindings: [\n    // mine\n    {agentId: 'main', match: {channel: 'telegram', accountId: '*'}},\n  ],\n}\n");
    let add = ["agents", "add", "work", "--bind", "telegram", "--bind", "irc:libera", "--bind", "telegram"];
    let ran = program.run(&add);
    assert_eq!(ran.code, 0, "{ran:?}");
    let listed = program.run(&["agents", "list", "--bindings"]);
    assert_eq!(
        listed.out,
        "main  default\n  answers telegram:*\nwork\n  answers telegram\n  answers irc:libera\n"
    );
    let told = program.run(&["agents", "list", "--bindings", "--json"]).out;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["agents"][1]["bindings"], serde_json::json!(["telegram", "irc:libera"]));
    assert!(!program.run(&["agents", "list", "--json"]).out.contains("bindings"));
    for (arguments, code, said) in [
        (["agents", "add", "other", "--bind", "telegram:default"], 1, "bound to the agent work already"),
        (["agents", "add", "other", "--bind", "telegram:*"], 1, "bound to the agent main already"),
        (["agents", "add", "other", "--bind", "telegran"], 78, "bindings[3].match.channel"),
        (["agents", "add", "other", "--bind", ":work"], 2, "names no channel"),
    ] {
        let ran = program.run(&arguments);
        assert!(ran.code == code && ran.err.contains(said), "{arguments:?}: {ran:?}");
    }
    let deleted = program.run(&["agents", "delete", "work"]);
    assert!(
        deleted.code == 0 && deleted.out.contains("answers nothing any more (2 bindings)"),
        "{deleted:?}"
    );
    let config = program.config();
    assert!(config.contains("// mine") && !config.contains("work") && !config.contains("libera"), "{config}");
    assert_eq!(program.run(&["agents", "list", "--bindings"]).out, "main  default\n  answers telegram:*\n");
}
