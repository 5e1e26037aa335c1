//! The words that are commands here. What else begins with `/` and is known to the gateway goes to it as a message.

/// What `/help` shows.
pub(super) const HELP: &str = "\
/status               what runs, and what this conversation is set to
/agent NAME, /agents  talk to another agent, or choose one (Ctrl+G)
/session KEY, /sessions  go to another conversation, or choose one (Ctrl+P)
/model NAME|default, /models  the model that answers, or choose one (Ctrl+L)
/think LEVEL|default  off, minimal, low, medium, high or xhigh
/verbose off|on|full|default  how much is told of tools
/usage off|tokens|full  what is shown of tokens
/abort                stop the answer (Esc)
/new, /reset          begin the conversation anew
/resend               send again what may not have arrived (Ctrl+R)
/settings             what is shown
/exit                 leave (Ctrl+D)
Enter sends; Alt+Enter, Ctrl+J, or a \\ before Enter begins a new line. Up and Down bring back what was sent.
Ctrl+O shows what tools bring, Ctrl+T what the model thought. PageUp and PageDown scroll.
Ctrl+Y allows the command that is asked about, once; Ctrl+N denies it.
/compact, /queue and /approve go to the gateway.";

/// A command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Command {
    Abort,
    Agent,
    Exit,
    Help,
    Model,
    New,
    Resend,
    Session,
    Settings,
    Status,
    Think,
    Usage,
    Verbose,
}

/// All words, and what they mean.
const WORDS: [(&str, Command); 22] = [
    ("/abort", Command::Abort),
    ("/agent", Command::Agent),
    ("/agents", Command::Agent),
    ("/exit", Command::Exit),
    ("/help", Command::Help),
    ("/model", Command::Model),
    ("/models", Command::Model),
    ("/new", Command::New),
    ("/quit", Command::Exit),
    ("/resend", Command::Resend),
    ("/reset", Command::New),
    ("/session", Command::Session),
    ("/sessions", Command::Session),
    ("/settings", Command::Settings),
    ("/status", Command::Status),
    ("/stop", Command::Abort),
    ("/t", Command::Think),
    ("/think", Command::Think),
    ("/thinking", Command::Think),
    ("/usage", Command::Usage),
    ("/v", Command::Verbose),
    ("/verbose", Command::Verbose),
];

/// Words that the gateway answers.
const OF_THE_GATEWAY: [&str; 5] = ["/allowance", "/approve", "/compact", "/queue", "/release"];

/// What a line that begins with `/` is.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Line<'a> {
    /// One of our commands, with what stands behind it.
    Command(Command, &'a str),
    /// A message, for the agent or the gateway.
    Message,
    /// A single word that nobody knows: sending it to the model would help nobody.
    Unknown,
}

/// Reads a line.
pub(super) fn read(text: &str) -> Line<'_> {
    if !text.starts_with('/') {
        return Line::Message;
    }
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let found = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    match found {
        // `/stop all` is the gateway's.
        Some((_, Command::Abort)) if !rest.is_empty() => Line::Message,
        // `/new` and `/reset` with words say those words in the new conversation, which the gateway does.
        Some((_, Command::New)) if !rest.is_empty() => Line::Message,
        Some((_, command)) => Line::Command(*command, rest),
        None if rest.is_empty() && !OF_THE_GATEWAY.contains(&word) => Line::Unknown,
        None => Line::Message,
    }
}

/// The rest of a command of which the beginning is typed, when there is only one such.
pub(super) fn completion(text: &str) -> Option<&'static str> {
    if text.len() < 2 || !text.starts_with('/') || text.contains(char::is_whitespace) {
        return None;
    }
    let mut found = WORDS.iter().filter_map(|(word, _)| word.strip_prefix(text));
    let rest = found.next().filter(|rest| !rest.is_empty())?;
    // `/agent` and `/agents`: the shorter one is what both begin with.
    found.all(|other| other.starts_with(rest)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        for (text, expected) in [
            ("hello", Line::Message),
            ("/think high", Line::Command(Command::Think, "high")),
            ("/MODELS", Line::Command(Command::Model, "")),
            ("/stop", Line::Command(Command::Abort, "")),
            ("/stop all", Line::Message),
            ("/new and now?", Line::Message),
            ("/compact", Line::Message),
            ("/approve x deny", Line::Message),
            ("/nonsense", Line::Unknown),
            ("/etc/passwd is a file", Line::Message),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_command_is_completed_when_it_is_the_only_one() {
        for (text, expected) in [
            ("/ag", Some("ent")),
            ("/he", Some("lp")),
            ("/s", None),
            ("/help", None),
            ("he", None),
            ("/", None),
        ] {
            assert_eq!(completion(text), expected, "{text}");
        }
    }
}
