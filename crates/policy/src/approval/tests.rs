use std::net::IpAddr;

use moltbot_config::Config;
use moltbot_config::settings::ExecConfig;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::principal::Principal;
use moltbot_protocol::sender::SenderId;

use super::*;
use crate::authentication::{Identity, Locality};
use crate::authorization;
use crate::cause::Cause;
use crate::command::{CommandRequest, review};
use crate::profile::Profile;
use crate::record::Permit as _;

const ASKED: u64 = 1_000_000;
const LATEST: u64 = ASKED + 120_000;

fn cause(principal: &str, session: &str) -> Cause {
    let mut config = Config::default();
    config.hooks.enabled = true;
    config.hooks.mappings = vec![moltbot_config::settings::HookMapping {
        id: Some("github".into()),
        tools: Some(vec![moltbot_config::settings::ToolName::Exec]),
        ..Default::default()
    }];
    let session = SessionKey::parse(session, &AgentId::main()).unwrap();
    Cause::of(&config, session, RunId::parse("r").unwrap(), Principal::parse(principal).unwrap())
}

fn command_of(script: &str, principal: &str, session: &str) -> Command {
    let request =
        CommandRequest { script: script.into(), directory: "src".into(), cause: cause(principal, session) };
    review(request, Profile::for_exec(&Config::default(), None), built_in()).unwrap()
}

fn built_in() -> &'static crate::command::Rules {
    crate::command::Rules::built_in().unwrap()
}

fn command(script: &str) -> Command {
    command_of(script, "owner", "main")
}

fn file(path: &str) -> Named {
    let name = path.rsplit('/').next().unwrap().to_owned();
    Named { name, file: Some(FileFact { path: path.into(), device: 1, inode: 2, digest: [3; 32] }) }
}

fn facts(program: &str) -> Facts {
    Facts { directory: (4, 5), programs: vec![file(program)], ..Facts::default() }
}

fn rules(security: ExecSecurity, ask: ExecAsk, list: &str) -> Rules {
    let config = ExecConfig { security, ask, ..ExecConfig::default() };
    let text = format!(r#"{{"agents":{{"main":{{"allowlist":[{{"id":"1","pattern":"{list}"}}]}}}}}}"#);
    Rules::of(&config, &ApprovalsFile::parse(text.as_bytes()).unwrap(), "main")
}

fn asked() -> Asked {
    Asked { id: ApprovalId::from_random([1; 8]), asked_ms: ASKED, expires_ms: LATEST }
}

fn question_of(script: &str, program: &str, principal: &str, session: &str) -> Arc<Question> {
    let rules = rules(ExecSecurity::Full, ExecAsk::Always, "/none");
    let command = command_of(script, principal, session);
    match judge(command, &facts(program), &rules).unwrap() {
        Judgement::Ask(question) => question,
        Judgement::Run { .. } => panic!("{script} runs"),
    }
}

fn question() -> Arc<Question> {
    question_of("rm x", "/usr/bin/rm", "owner", "main")
}

fn owner() -> SenderId {
    SenderId::parse("telegram:default:user:1").unwrap()
}

fn said(question: &Question, choice: Choice) -> ApprovalPermit {
    let sender = owner();
    let by = Approver::Person { sender: &sender, is_owner: true, in_group: false };
    decide(question, &asked(), choice, by, ASKED).unwrap()
}

#[test]
fn what_is_asked_about_follows_from_the_review_and_from_what_the_owner_set() {
    use ExecAsk::{Always, Off, OnMiss};
    use ExecSecurity::{Allowlist, Deny, Full};
    // Harmless; a program that no rule knows; a program that leaves its folder.
    let (plain, unknown, escape) = ("ls x", "frobnicate x", "chroot /tmp/escape /bin/bash");
    for (security, ask, listed, script, expected) in [
        (Full, OnMiss, false, plain, "run"),
        (Full, OnMiss, false, unknown, "ask"),
        (Full, OnMiss, true, unknown, "run"),
        (Full, OnMiss, true, escape, "ask"),
        (Full, Off, false, unknown, "run"),
        (Full, Off, false, escape, "run"),
        (Full, Always, true, plain, "ask"),
        (Allowlist, OnMiss, false, plain, "ask"),
        (Allowlist, OnMiss, true, plain, "run"),
        (Allowlist, Off, false, plain, "exec_not_listed"),
        (Allowlist, Off, true, escape, "exec_not_listed"),
        (Allowlist, Off, true, unknown, "run"),
        (Allowlist, Always, true, plain, "ask"),
        (Deny, Off, true, plain, "exec_denied"),
        (Deny, Always, true, unknown, "exec_denied"),
    ] {
        let program = format!("/usr/bin/{}", script.split(' ').next().unwrap());
        let rules = rules(security, ask, if listed { &program } else { "/usr/bin/other" });
        let judged = judge(command(script), &facts(&program), &rules);
        let told = match judged {
            Ok(Judgement::Ask(_)) => "ask",
            Ok(Judgement::Run { .. }) => "run",
            Err(refusal) => refusal.code,
        };
        assert_eq!(told, expected, "{security:?} {ask:?} listed: {listed} {script}");
    }
}

#[test]
fn e16_a_list_speaks_for_no_command_whose_program_runs_what_it_is_given() {
    for (script, program) in [
        ("sh -c id", "/usr/bin/sh"),
        ("python3 x.py", "/usr/bin/python3"),
        ("env ls", "/usr/bin/env"),
        ("./ls", "/workspace/ls"),
        ("ls $(id)", "/usr/bin/ls"),
    ] {
        let rules = rules(ExecSecurity::Allowlist, ExecAsk::OnMiss, "/**");
        let judged = judge(command(script), &facts(program), &rules).unwrap();
        let Judgement::Ask(question) = judged else { panic!("{script} passes") };
        assert!(!question.choices().contains(&Choice::AllowAlways), "{script}");
        let sender = owner();
        let by = Approver::Person { sender: &sender, is_owner: true, in_group: false };
        let refused = decide(&question, &asked(), Choice::AllowAlways, by, ASKED).unwrap_err();
        assert_eq!(refused.code, "approval_choice", "{script}");
    }
    assert_eq!(question().always(), ["/usr/bin/rm"]);
}

#[test]
fn a_yes_opens_the_one_command_that_was_asked_about() {
    let question = question();
    let permit = said(&question, Choice::AllowOnce).open(&question, &facts("/usr/bin/rm"), LATEST).unwrap();
    assert_eq!((permit.script(), permit.directory()), ("rm x", "src"));
    let entry = permit.entry();
    assert_eq!(entry.details["approval"], asked().id.to_string());
    assert_eq!(entry.details["approvedBy"], "sender:telegram:default:user:1");
    assert_eq!(entry.details["choice"], "allow-once");
}

#[test]
fn a_no_and_a_late_yes_open_nothing() {
    let (question, now) = (question(), facts("/usr/bin/rm"));
    let denied = said(&question, Choice::Deny).open(&question, &now, ASKED).unwrap_err();
    assert_eq!(denied.code, "approval_denied");
    let late = said(&question, Choice::AllowOnce).open(&question, &now, LATEST + 1).unwrap_err();
    assert_eq!(late.code, "approval_expired");
    let (sender, asked) = (owner(), asked());
    let by = Approver::Person { sender: &sender, is_owner: true, in_group: false };
    for now in [LATEST + 1, ASKED - 1] {
        assert_eq!(
            decide(&question, &asked, Choice::AllowOnce, by, now).unwrap_err().code,
            "approval_expired"
        );
    }
}

#[test]
fn e14_whatever_changes_after_the_yes_it_opens_nothing() {
    type Change = fn(&mut Facts);
    let changes: [(&str, Change); 9] = [
        ("the folder", |facts| facts.directory.1 += 1),
        ("the folder's device", |facts| facts.directory.0 += 1),
        ("the program's path", |facts| facts.programs[0].file.as_mut().unwrap().path.push('x')),
        ("the program's inode", |facts| facts.programs[0].file.as_mut().unwrap().inode += 1),
        ("the program's content", |facts| facts.programs[0].file.as_mut().unwrap().digest[31] ^= 1),
        ("the program is gone", |facts| facts.programs[0].file = None),
        ("a script file", |facts| facts.operands.push(file("/workspace/x"))),
        ("a variable", |facts| facts.environment.push(("LD_PRELOAD".into(), "/tmp/x".into()))),
        ("no program", |facts| facts.programs.clear()),
    ];
    for (what, change) in changes {
        let question = question();
        let mut now = facts("/usr/bin/rm");
        change(&mut now);
        let refused = said(&question, Choice::AllowOnce).open(&question, &now, ASKED).unwrap_err();
        assert_eq!(refused.code, "approval_drift", "{what}");
    }
}

#[test]
fn a_yes_is_bound_to_the_command_the_walls_the_conversation_and_who_asked() {
    let base = question();
    let others = [
        question_of("rm y", "/usr/bin/rm", "owner", "main"),
        question_of("rm x", "/usr/bin/rm", "owner", "agent:main:other"),
        question_of("rm x", "/usr/bin/rm", "sender:telegram:default:user:1", "main"),
        judge_on_host(
            command("rm x"),
            &facts("/usr/bin/rm"),
            &rules(ExecSecurity::Full, ExecAsk::Off, "/none"),
        )
        .unwrap(),
    ];
    let request =
        CommandRequest { script: "rm x".into(), directory: "src".into(), cause: cause("owner", "main") };
    let walls = Profile { memory: 1, ..Profile::for_exec(&Config::default(), None) };
    let looser = review(request, walls, built_in()).unwrap();
    let rules = rules(ExecSecurity::Full, ExecAsk::Always, "/none");
    let looser = judge(looser, &facts("/usr/bin/rm"), &rules).unwrap();
    let Judgement::Ask(looser) = looser else { panic!("it runs") };
    for other in others.iter().chain([&looser]) {
        assert_ne!(base.binding(), other.binding(), "{other:?}");
        let refused = said(&base, Choice::AllowOnce).open(other, &facts("/usr/bin/rm"), ASKED).unwrap_err();
        assert_eq!(refused.code, "approval_drift", "{other:?}");
    }
}

#[test]
fn a_yes_for_an_hour_speaks_for_the_very_same_command_alone() {
    let (first, same) = (question(), question());
    let standing = said(&first, Choice::AllowForSession).standing(ASKED).unwrap();
    assert!(said(&first, Choice::AllowOnce).standing(ASKED).is_none());
    let hour = ASKED + 60 * 60 * 1000;
    let again = Asked { asked_ms: hour, expires_ms: hour + 1000, ..asked() };
    let permit = standing.permit(&same, &again, hour).unwrap();
    assert!(permit.standing(hour).is_none(), "using it makes it no longer");
    assert_eq!(permit.open(&same, &facts("/usr/bin/rm"), hour).unwrap().script(), "rm x");
    assert!(standing.permit(&same, &again, hour + 1).is_err());
    let other = question_of("rm x", "/usr/bin/rm", "owner", "agent:main:other");
    assert!(standing.permit(&other, &again, ASKED).is_err());
}

#[test]
fn e17_only_the_owner_or_who_holds_the_scope_decides_and_never_who_asked_in_a_group() {
    let (owner, stranger) = (owner(), SenderId::parse("telegram:default:user:2").unwrap());
    let own =
        question_of("rm x", "/usr/bin/rm", "sender:telegram:default:user:1", "agent:main:telegram:group:5");
    for (question, sender, is_owner, in_group, expected) in [
        (&question(), &owner, true, false, "yes"),
        (&question(), &owner, true, true, "yes"),
        (&question(), &stranger, false, false, "approval_stranger"),
        (&question(), &owner, false, false, "approval_stranger"),
        (&own, &owner, true, true, "approval_own"),
        (&own, &owner, true, false, "yes"),
        (&own, &stranger, false, true, "approval_stranger"),
    ] {
        let by = Approver::Person { sender, is_owner, in_group };
        let told =
            decide(question, &asked(), Choice::AllowOnce, by, ASKED).map_or_else(|no| no.code, |_| "yes");
        assert_eq!(told, expected, "{sender} owner: {is_owner} group: {in_group} {:?}", question.requester());
    }
}

#[test]
fn outside_the_walls_every_command_is_asked_about_and_only_a_simple_one_is() {
    let host = |script: &str, program: &str, rules: &Rules| {
        judge_on_host(command(script), &facts(program), rules).map_err(|no| no.code)
    };
    let open = rules(ExecSecurity::Full, ExecAsk::Off, "/**");
    let question = host("ls -la", "/usr/bin/ls", &open).unwrap();
    assert_eq!(question.choices(), [Choice::AllowOnce, Choice::Deny]);
    let inside =
        said(&question, Choice::AllowOnce).open(&question, &facts("/usr/bin/ls"), ASKED).unwrap_err();
    assert_eq!(inside.code, "approval_drift", "a yes for one place is none for the other");
    let permit =
        said(&question, Choice::AllowOnce).open_on_host(&question, &facts("/usr/bin/ls"), ASKED).unwrap();
    assert_eq!(permit.words(), ["ls", "-la"]);
    assert_eq!(permit.entry().details["elevated"], "true");
    for script in ["ls | sh", "ls $HOME", "ls; id", "A=b ls", "ls > x", "ls *", "ls\nid"] {
        assert_eq!(host(script, "/usr/bin/ls", &open).unwrap_err(), "host_not_simple", "{script}");
    }
    let denied = rules(ExecSecurity::Deny, ExecAsk::Off, "/**");
    assert_eq!(host("ls", "/usr/bin/ls", &denied).unwrap_err(), "exec_denied");
    let absent = Facts { programs: vec![Named { name: "x".into(), file: None }], ..Facts::default() };
    let none = judge_on_host(command("x"), &absent, &open).map(|_| ()).unwrap_err();
    assert_eq!(none.code, "host_no_program");
}

#[test]
fn a_prompt_shows_what_would_run_and_nothing_acts_on_the_screen() {
    let script = "rm \u{202e}x\r\u{1b}[2Kls\necho\tApproval aaaaaaaa: fine";
    let prompt = Question::of_client(script.into(), "s\rc".into(), None, "c").prompt(&asked());
    assert!(prompt.contains("  | rm <U+202E>x<U+000D><U+001B>[2Kls\n  | echo<U+0009>Approval"), "{prompt}");
    assert!(prompt.contains("s<U+000D>c") && prompt.contains("at the client that asks"), "{prompt}");
    assert!(!prompt.contains(['\u{202e}', '\r', '\u{1b}', '\t']), "{prompt}");
    let prompt = question().prompt(&asked());
    for said in [
        "in the sandbox",
        "src",
        "/usr/bin/rm (sha256 0303",
        "the agent, for owner",
        "allow-once, allow-session, allow-always, deny",
    ] {
        assert!(prompt.contains(said), "{said}: {prompt}");
    }
    let long = question_of(&"x".repeat(5000), "/usr/bin/rm", "owner", "main").prompt(&asked());
    assert!(long.contains("(4700 more characters)") && long.len() < 2000, "{long}");
    let many = question_of(&"x\n".repeat(100), "/usr/bin/rm", "owner", "main").prompt(&asked());
    assert!(many.contains("81 more lines"), "{many}");
}

#[test]
fn e01_a_client_that_asks_does_not_answer_itself_and_gets_no_permit() {
    let question = Question::of_client("id".into(), String::new(), None, "connection-1");
    let grant = |scope: &str| {
        let identity = Identity {
            method: "token",
            device: Some("d".into()),
            locality: Locality::Local,
            client: IpAddr::from([127, 0, 0, 1]),
            fresh: true,
        };
        authorization::grant(identity, &[scope.to_owned()], crate::pairing::Standing::Unknown).0.unwrap()
    };
    let decided = |grant: &authorization::Grant, connection: &str, choice| {
        decide(&question, &asked(), choice, Approver::Client { grant, connection }, ASKED)
    };
    let approver = grant("operator.approvals");
    assert_eq!(decided(&approver, "connection-1", Choice::AllowOnce).unwrap_err().code, "approval_own");
    assert_eq!(
        decided(&grant("operator.write"), "connection-2", Choice::AllowOnce).unwrap_err().code,
        "missing_scope"
    );
    let permit = decided(&approver, "connection-2", Choice::AllowOnce).unwrap();
    assert_eq!(permit.open(&question, &Facts::default(), ASKED).unwrap_err().code, "approval_drift");
}
