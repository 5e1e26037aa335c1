//! From a command to its permit: judged, asked about where it has to be, and looked at once more before it runs.

use std::sync::Arc;

use moltbot_policy::approval::{
    self, ApprovalPermit, ApprovalsFile, Facts, HostPermit, Judgement, Overview, Place, Question, Rules,
};
use moltbot_policy::command::{Command, CommandPermit};
use moltbot_policy::container::Backend;
use moltbot_policy::{Recorded, Refusal};
use moltbot_sandbox::{Examined, examine};
use tokio::task::spawn_blocking;

use crate::approvals::Approvals;
use crate::tools::{Toolbox, sentence, stopped};

/// What is known of a command before it is judged.
struct Looked {
    overview: Overview,
    rules: Rules,
    /// What is around it. Held until it was decided, so that nothing else gets the same number.
    seen: Examined,
}

/// The permit for a command within the walls.
pub(super) async fn in_sandbox(tools: &Toolbox, command: Command) -> Result<CommandPermit, String> {
    let target = command.script().to_owned();
    let Looked { overview, rules, seen } = look(tools, &command, Place::Sandbox).await?;
    match approval::judge(command, &seen.facts, &rules) {
        Err(refusal) => Err(refuse(tools, &target, &refusal).await),
        Ok(Judgement::Run { permit, listed }) => {
            note(tools, listed, &target, &seen.facts).await;
            Ok(*permit)
        }
        Ok(Judgement::Ask(question)) => {
            let (yes, asked) = ask(tools, &question).await?;
            let now = seen_of(tools, question.directory(), &overview, Place::Sandbox).await?;
            match yes.into_permit().open(&question, &now.facts, asked.now_ms()) {
                Ok(permit) => Ok(permit),
                Err(refusal) => Err(refuse(tools, &target, &refusal).await),
            }
        }
    }
}

/// The permit for a command outside the walls: the owner says yes to each.
pub(super) async fn on_host(tools: &Toolbox, command: Command) -> Result<HostPermit, String> {
    let target = command.script().to_owned();
    let Looked { overview, rules, seen } = look(tools, &command, Place::Host).await?;
    let question = match approval::judge_on_host(command, &seen.facts, &rules) {
        Ok(question) => question,
        Err(refusal) => return Err(refuse(tools, &target, &refusal).await),
    };
    let (yes, asked) = ask(tools, &question).await?;
    let now = seen_of(tools, question.directory(), &overview, Place::Host).await?;
    match yes.into_permit().open_on_host(&question, &now.facts, asked.now_ms()) {
        Ok(permit) => Ok(permit),
        Err(refusal) => Err(refuse(tools, &target, &refusal).await),
    }
}

/// The entries of the list that let it pass were used.
async fn note(tools: &Toolbox, listed: Vec<String>, script: &str, facts: &Facts) {
    let Some(approvals) = tools.approvals.clone().filter(|_| !listed.is_empty()) else { return };
    let path = facts.programs.first().and_then(|program| program.file.as_ref());
    let (script, path) = (script.to_owned(), path.map(|file| file.path.clone()).unwrap_or_default());
    if let Err(error) = spawn_blocking(move || approvals.used(&listed, &script, &path)).await {
        tracing::warn!(%error, "that an entry of exec-approvals.json was used is not noted");
    }
}

async fn look(tools: &Toolbox, command: &Command, place: Place) -> Result<Looked, String> {
    let overview = Overview::of(command.verdict());
    let file = match tools.approvals.clone() {
        None => ApprovalsFile::default(),
        Some(approvals) => match spawn_blocking(move || approvals.file()).await.map_err(|_| stopped())? {
            Ok(file) => file,
            Err(why) => {
                let refusal = Refusal::new("exec_denied", format!("no command runs: {why}"));
                return Err(refuse(tools, command.script(), &refusal).await);
            }
        },
    };
    let agent = tools.cause.session().agent();
    let rules = Rules::of(&tools.config.tools.exec, &file, agent.as_str());
    let seen = if place == Place::Host || rules.looks_at_files(&overview) {
        seen_of(tools, command.directory(), &overview, place).await?
    } else {
        Examined::nothing()
    };
    Ok(Looked { overview, rules, seen })
}

async fn seen_of(
    tools: &Toolbox,
    directory: &str,
    overview: &Overview,
    place: Place,
) -> Result<Examined, String> {
    let (workspace, home) = (tools.workspace.clone(), tools.home.clone());
    let (directory, overview) = (directory.to_owned(), overview.clone());
    let session = tools.cause.session();
    let backend = Backend::of(&tools.config.agents.sandbox_of(&session.agent()), session);
    let backend = backend.map_err(|refusal| refusal.to_string())?;
    let look = move || examine(workspace.fd(), &directory, &overview, place, &backend, &home);
    let looked = spawn_blocking(look).await;
    looked.map_err(|_| stopped())?.map_err(|error| sentence(&error))
}

/// Asks the owner, for as long as the turn is not stopped.
async fn ask(
    tools: &Toolbox,
    question: &Arc<Question>,
) -> Result<(Recorded<ApprovalPermit>, Arc<dyn Approvals>), String> {
    let Some(approvals) = &tools.approvals else {
        let nobody = "the command needs its owner's yes, and there is nobody to ask; it did not run";
        return Err(refuse(tools, question.script(), &Refusal::new("approval_nobody", nobody)).await);
    };
    tokio::select! {
        biased;
        () = tools.stop.cancelled() => Err("the command did not run because the turn was stopped".into()),
        answer = approvals.ask(Arc::clone(question)) => Ok((answer?, Arc::clone(approvals))),
    }
}

async fn refuse(tools: &Toolbox, script: &str, refusal: &Refusal) -> String {
    tools.refuse("command.start", script, refusal).await
}
