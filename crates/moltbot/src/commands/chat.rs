//! `moltbot chat`: a conversation in the terminal, or line by line from a pipe.
//!
//! Lines are read by a thread, because a terminal cannot be waited for otherwise; it ends with the program.

mod run;

use std::collections::VecDeque;
use std::io::BufRead as _;

use moltbot_config::limits;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::arguments::Chat;
use crate::client::{self, Connection, Heard};
use crate::commands::approvals::{self, Asked};
use crate::commands::sessions::print_messages;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, Paint, harmless};
use run::Run;

const HELP: &str = "\
/help    these lines
/new     begin the conversation anew
/status  what runs, and what this conversation used
/model   the model that answers: /model PROVIDER/MODEL chooses it, /models shows which there are
/think   how much is thought: /think off|minimal|low|medium|high|xhigh|default
/verbose how much is told of tools: /verbose off|on|full|default
/compact have what was said before summarised: /compact WHAT MATTERS
/approve answer whether a command may run: /approve ID allow-once
/stop    stop the answer (as Ctrl-C does)
/exit    leave (as Ctrl-D does)";

/// Commands without words that the gateway answers.
const TOLD: [&str; 6] = ["/compact", "/model", "/models", "/queue", "/think", "/verbose"];

/// The conversation on the screen.
struct Screen {
    connection: Connection,
    session: String,
    interactive: bool,
    run: Option<Run>,
    waiting: VecDeque<String>,
    input_ended: bool,
    failed: bool,
}

/// What to do after a line was handled.
enum Next {
    Exit,
    Go,
}

/// Talks until the input ends, `/exit`, or a second Ctrl-C.
pub(crate) async fn run(home: &Home, options: &Chat) -> anyhow::Result<Exit> {
    let scopes = [Scope::Admin, Scope::Read, Scope::Write];
    let mut screen = Screen {
        connection: Connection::open(home, &scopes).await?,
        session: options.session.clone(),
        interactive: output::is_interactive(),
        run: None,
        waiting: VecDeque::new(),
        input_ended: false,
        failed: false,
    };
    screen.greet(options.history).await?;
    let mut lines = read_lines();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let exit = screen.talk(&mut lines, &mut interrupts).await?;
    screen.connection.close().await;
    Ok(exit)
}

/// The lines of standard input, read by a thread of their own.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Screen {
    async fn greet(&mut self, history: u32) -> anyhow::Result<()> {
        if !self.interactive {
            return Ok(());
        }
        if history > 0 {
            let params = json!({"sessionKey": self.session, "limit": history});
            print_messages(&self.connection.ask(Method::ChatHistory.name(), params).await?)?;
        }
        output::line(&output::paint("/help shows the commands, /exit leaves", Paint::Dim))?;
        self.prompt()
    }

    fn prompt(&self) -> anyhow::Result<()> {
        if self.interactive {
            output::piece(&output::paint("> ", Paint::Strong))?;
        }
        Ok(())
    }

    /// The loop: a line, a frame or Ctrl-C, whichever comes first.
    async fn talk(
        &mut self,
        lines: &mut mpsc::Receiver<String>,
        interrupts: &mut Signal,
    ) -> anyhow::Result<Exit> {
        loop {
            if self.run.is_none() {
                if let Some(line) = self.waiting.pop_front() {
                    if matches!(self.say(line).await?, Next::Exit) {
                        return Ok(self.end());
                    }
                    continue;
                }
                if self.input_ended {
                    return Ok(self.end());
                }
            }
            // From a pipe, the next line is read only when the answer to this one is complete.
            let listens = !self.input_ended && (self.interactive || self.run.is_none());
            tokio::select! {
                line = lines.recv(), if listens => match line {
                    Some(line) if self.run.is_some() => self.meanwhile(line).await?,
                    Some(line) => self.waiting.push_back(line),
                    None => self.input_ended = true,
                },
                heard = self.connection.next() => self.hear(heard?)?,
                _ = interrupts.recv() => if self.interrupt().await? {
                    return Ok(Exit::Interrupted);
                },
            }
        }
    }

    fn end(&self) -> Exit {
        if self.failed && !self.interactive { Exit::Failed } else { Exit::Done }
    }

    /// A line that came while an answer is written.
    async fn meanwhile(&mut self, line: String) -> anyhow::Result<()> {
        match line.trim() {
            "/stop" => self.abort().await,
            line if line.starts_with("/approve ") => self.approve(line).await,
            _ if self.waiting.len() >= limits::QUEUED_TURNS => {
                output::note("too many lines are waiting; this one is dropped");
                Ok(())
            }
            _ => {
                self.waiting.push_back(line);
                Ok(())
            }
        }
    }

    /// Whether this was the second Ctrl-C, or one without an answer to stop.
    async fn interrupt(&mut self) -> anyhow::Result<bool> {
        match &self.run {
            Some(run) if !run.stopping => {
                self.abort().await?;
                Ok(false)
            }
            Some(_) | None => {
                output::line("")?;
                Ok(true)
            }
        }
    }

    async fn abort(&mut self) -> anyhow::Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        run.stopping = true;
        self.waiting.clear();
        let params = json!({"sessionKey": self.session, "runId": run.id});
        self.connection.send(Method::ChatAbort.name(), params).await?;
        Ok(())
    }

    async fn say(&mut self, line: String) -> anyhow::Result<Next> {
        let text = line.trim();
        match text {
            "" => self.prompt()?,
            "/exit" | "/quit" => return Ok(Next::Exit),
            "/help" => output::line(HELP)?,
            "/status" => self.status().await?,
            "/new" => self.reset().await?,
            "/stop" => output::line("nothing runs")?,
            _ => return self.send(text).await,
        }
        if !text.is_empty() {
            self.prompt()?;
        }
        Ok(Next::Go)
    }

    async fn send(&mut self, text: &str) -> anyhow::Result<Next> {
        if text.starts_with('/') && !text.contains(' ') && !TOLD.contains(&text) {
            output::line(&format!("{text} is not a command; /help shows those there are"))?;
            self.prompt()?;
            return Ok(Next::Go);
        }
        let id = moltbot_vault::random_id().map_err(|error| home::failed(&error))?;
        let params = json!({"sessionKey": self.session, "message": text, "idempotencyKey": id});
        let request = self.connection.send(Method::ChatSend.name(), params).await?;
        self.run = Some(Run::new(id, request));
        Ok(Next::Go)
    }

    /// Shows what the gateway says of our run.
    fn hear(&mut self, heard: Heard) -> anyhow::Result<()> {
        if let Heard::Event(event) = &heard
            && let Some(asked) = Asked::of(event, &self.session).filter(|_| self.interactive)
        {
            let answers = asked.decisions.join(" | ");
            output::line(&format!("\n{}\n/approve {} {answers}", asked.prompt, asked.id))?;
        }
        let Some(run) = &mut self.run else { return Ok(()) };
        let ended = match heard {
            Heard::Event(event) => run.show(&event, self.interactive)?,
            Heard::Response(response) => run.answered(response)?,
        };
        if let Some(well) = ended {
            self.failed |= !well;
            self.run = None;
            self.prompt()?;
        }
        Ok(())
    }

    /// Answers whether a command may run, while the turn that wants it waits.
    async fn approve(&mut self, line: &str) -> anyhow::Result<()> {
        let mut words = line.split_whitespace().skip(1);
        match (words.next(), words.next(), words.next()) {
            (Some(id), Some(decision), None) => approvals::send(&mut self.connection, id, decision).await,
            _ => {
                output::note("write /approve, the id, and the answer");
                Ok(())
            }
        }
    }

    async fn status(&mut self) -> anyhow::Result<()> {
        let status = self.connection.ask(Method::Status.name(), json!({})).await?;
        let text = |name: &str| harmless(status.get(name).and_then(Value::as_str).unwrap_or("unknown"));
        let params = json!({"search": self.session, "limit": 1000});
        let sessions = self.connection.ask(Method::SessionsList.name(), params).await?;
        let rows = sessions.get("sessions").and_then(Value::as_array).cloned().unwrap_or_default();
        let ours = rows.iter().find(|row| {
            row.get("key")
                .and_then(Value::as_str)
                .is_some_and(|key| key == self.session || key.ends_with(&format!(":{}", self.session)))
        });
        let number = |name: &str| ours.and_then(|row| row.get(name)?.as_u64()).unwrap_or_default();
        output::line(&format!("gateway {}, model: {}", text("version"), text("model")))?;
        let (messages, tokens) = (number("messageCount"), number("totalTokens"));
        output::line(&format!("{}: {messages} messages, {tokens} tokens", self.session))?;
        Ok(())
    }

    async fn reset(&mut self) -> anyhow::Result<()> {
        let params = json!({"key": self.session});
        match self.connection.call(Method::SessionsReset.name(), params).await? {
            Ok(_) => output::line("a new conversation begins")?,
            Err(error) => output::note(&client::failure(&error).to_string()),
        }
        Ok(())
    }
}
