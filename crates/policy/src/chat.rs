//! Layer 3, commands in chats: what is told to the gateway itself, such as `/pair`, and who may.
//!
//! Pure. A command is judged after its sender was let in: a stranger's command is a stranger's message. What decides about
//! others is the owner's alone, from an identity that the config names as his, in a conversation with nobody else.

use std::collections::BTreeSet;

use moltbot_protocol::sender::{Conversation, SenderId};

use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;
use crate::senders::SenderPermit;

/// What the gateway can be told in a chat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChatCommand {
    /// A command of other programs of this kind, which does not exist here. It is not for the model: people who type it
    /// expect that something is done.
    Absent(&'static str),
    /// How much a sender may cause.
    Allowance,
    /// Decides about an act that waits for a person.
    Approve,
    /// Has the older messages of the conversation summarised.
    Compact,
    /// Tells the commands.
    Help,
    /// Tells or chooses the model of the conversation.
    Model,
    /// Tells the models that may be chosen.
    Models,
    /// Decides about senders.
    Pairing,
    /// Sets how messages of the conversation wait.
    Queue,
    /// Lets a conversation go on that is in quarantine.
    Release,
    /// Begins the conversation anew.
    Reset,
    /// Tells how the gateway is.
    Status,
    /// Ends what is being answered.
    Stop,
    /// Tells or sets how much is thought in the conversation.
    Think,
    /// Tells or sets how much is told of the conversation's tools.
    Verbose,
    /// Tells a sender his own id.
    WhoAmI,
}

/// Names that exist elsewhere and not here.
const ABSENT: [&str; 23] = [
    "activation",
    "allowlist",
    "bash",
    "config",
    "context",
    "debug",
    "elev",
    "elevated",
    "exec",
    "reason",
    "reasoning",
    "restart",
    "send",
    "skill",
    "subagents",
    "tts",
    "usage",
    "voice",
    "export",
    "focus",
    "unfocus",
    "agents",
    "kill",
];
/// Names that begin so do not exist here either.
const ABSENT_PREFIX: &str = "dock-";

impl ChatCommand {
    /// Those that exist.
    pub const ALL: [Self; 15] = [
        Self::Allowance,
        Self::Approve,
        Self::Compact,
        Self::Help,
        Self::Model,
        Self::Models,
        Self::Pairing,
        Self::Queue,
        Self::Release,
        Self::Reset,
        Self::Status,
        Self::Stop,
        Self::Think,
        Self::Verbose,
        Self::WhoAmI,
    ];

    /// Reads a message: the command and the words behind it. Nothing when it is none, as a path is not.
    pub fn parse(text: &str) -> Option<(Self, Vec<&str>)> {
        let said = text.trim().strip_prefix('/').filter(|rest| !rest.starts_with(char::is_whitespace))?;
        let mut words = said.split_whitespace();
        let name = words.next()?.trim_end_matches(':').to_ascii_lowercase();
        let command = match name.as_str() {
            "abort" | "stop" => Self::Stop,
            "allowance" => Self::Allowance,
            "approve" => Self::Approve,
            "compact" => Self::Compact,
            "commands" | "help" => Self::Help,
            "id" | "whoami" => Self::WhoAmI,
            "model" => Self::Model,
            "models" => Self::Models,
            "new" | "reset" => Self::Reset,
            "pair" | "pairing" => Self::Pairing,
            "queue" => Self::Queue,
            "release" => Self::Release,
            "status" => Self::Status,
            "t" | "think" | "thinking" => Self::Think,
            "v" | "verbose" => Self::Verbose,
            name if name.starts_with(ABSENT_PREFIX) => Self::Absent("dock"),
            name => Self::Absent(ABSENT.into_iter().find(|absent| *absent == name)?),
        };
        Some((command, words.collect()))
    }

    /// The name that people type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent(name) => name,
            Self::Allowance => "allowance",
            Self::Approve => "approve",
            Self::Compact => "compact",
            Self::Help => "help",
            Self::Model => "model",
            Self::Models => "models",
            Self::Pairing => "pair",
            Self::Queue => "queue",
            Self::Release => "release",
            Self::Reset => "new",
            Self::Status => "status",
            Self::Stop => "stop",
            Self::Think => "think",
            Self::Verbose => "verbose",
            Self::WhoAmI => "whoami",
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Absent(_) => "chat.absent",
            Self::Allowance => "chat.allowance",
            Self::Approve => "chat.approve",
            Self::Compact => "chat.compact",
            Self::Help => "chat.help",
            Self::Model => "chat.model",
            Self::Models => "chat.models",
            Self::Pairing => "chat.pairing",
            Self::Queue => "chat.queue",
            Self::Release => "chat.release",
            Self::Reset => "chat.reset",
            Self::Status => "chat.status",
            Self::Stop => "chat.stop",
            Self::Think => "chat.think",
            Self::Verbose => "chat.verbose",
            Self::WhoAmI => "chat.whoami",
        }
    }
}

/// Who says something, for what he may tell the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaker {
    /// Somebody who may speak in a group, the owner among them: others read along and may be spoken with.
    GroupMember,
    /// A program that called a hook.
    Hook,
    /// The owner, in a conversation with nobody else.
    Owner,
    /// Somebody who was let in, in a conversation with nobody else.
    Sender,
    /// Somebody who was not let in.
    Stranger,
}

impl Speaker {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Sender, Self::GroupMember, Self::Stranger, Self::Hook];
}

/// The identities on channels that are the owner's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnIdentities(BTreeSet<SenderId>);

impl OwnIdentities {
    /// Those that the config names.
    pub fn new(ids: impl IntoIterator<Item = SenderId>) -> Self {
        Self(ids.into_iter().collect())
    }

    /// Whether an identity is the owner's.
    pub fn contains(&self, sender: &SenderId) -> bool {
        self.0.contains(sender)
    }

    /// Those at one account of a channel.
    pub fn at<'a>(&'a self, channel: &'a str, account: &'a str) -> impl Iterator<Item = &'a SenderId> {
        self.0.iter().filter(move |owner| (owner.channel(), owner.account()) == (channel, account))
    }

    /// Who somebody is that was let in where he speaks.
    pub fn speaker(&self, permit: &SenderPermit, conversation: &Conversation) -> Speaker {
        match conversation {
            Conversation::Direct { .. } if self.0.contains(permit.sender()) => Speaker::Owner,
            Conversation::Direct { .. } => Speaker::Sender,
            Conversation::Group { .. } => Speaker::GroupMember,
        }
    }
}

/// How a command was said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Manner {
    /// It is another text of something that was said before.
    pub is_edited: bool,
    /// The conversation is the speaker's alone: not the main one, which everybody who was let in may share.
    pub is_own: bool,
}

/// What becomes of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ruling {
    /// It is done.
    Do,
    /// It is a message as any other.
    Message,
    /// It is not done, and its speaker is told why.
    Refuse(Refusal),
}

/// Judges a command.
pub fn judge(command: ChatCommand, speaker: Speaker, manner: Manner) -> Ruling {
    use ChatCommand::{
        Absent, Allowance, Approve, Compact, Help, Model, Models, Pairing, Queue, Release, Reset, Status,
        Stop, Think, Verbose, WhoAmI,
    };
    use Speaker::{GroupMember, Hook, Owner, Sender, Stranger};
    match (command, speaker) {
        (_, Hook | Stranger) => return Ruling::Message,
        (Absent(name), Owner | Sender | GroupMember) => {
            return refuse("no_such_command", format!("there is no /{name} here; /help tells what there is"));
        }
        _ if manner.is_edited => {
            return refuse("edited_command", "a changed message is no command; send it anew".into());
        }
        (
            Allowance | Approve | Compact | Help | Model | Models | Pairing | Queue | Release | Reset
            | Status | Stop | Think | Verbose | WhoAmI,
            Owner,
        )
        | (Allowance | Help | Stop | WhoAmI, Sender | GroupMember) => return Ruling::Do,
        (Compact | Reset, Sender) if manner.is_own => return Ruling::Do,
        (
            Approve | Compact | Model | Models | Pairing | Queue | Release | Reset | Status | Think | Verbose,
            Sender | GroupMember,
        ) => {}
    }
    let name = command.name();
    refuse("not_the_owner", format!("/{name} is the owner's, in a conversation with nobody else"))
}

fn refuse(code: &'static str, message: String) -> Ruling {
    Ruling::Refuse(Refusal::new(code, message))
}

/// Proof that a command may be done for who said it.
#[derive(Debug)]
#[must_use = "a permit that is dropped does nothing"]
pub struct ChatCommandPermit {
    command: ChatCommand,
    speaker: Speaker,
    sender: SenderId,
}

impl ChatCommandPermit {
    /// Judges what `permit` let in. An error is the ruling, when it is not [`Ruling::Do`].
    ///
    /// # Errors
    /// The ruling.
    pub fn of(
        command: ChatCommand,
        speaker: Speaker,
        manner: Manner,
        permit: &SenderPermit,
    ) -> Result<Self, Ruling> {
        match judge(command, speaker, manner) {
            Ruling::Do => Ok(Self { command, speaker, sender: permit.sender().clone() }),
            ruling @ (Ruling::Message | Ruling::Refuse(_)) => Err(ruling),
        }
    }

    /// What is to be done.
    pub const fn command(&self) -> ChatCommand {
        self.command
    }

    /// For whom.
    pub const fn speaker(&self) -> Speaker {
        self.speaker
    }

    /// Who said it.
    pub const fn sender(&self) -> &SenderId {
        &self.sender
    }
}

impl Permit for ChatCommandPermit {
    fn entry(&self) -> Entry {
        let target = format!("/{}", self.command.name());
        Entry::new(self.sender.to_string(), self.command.action(), target, Decision::Allowed)
            .with("channel", self.sender.channel())
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::{DmPolicy, GroupPolicy, SenderSettings};

    use super::*;
    use crate::senders::{Admission, SenderRules, Standing};

    #[test]
    fn a_command_is_read_and_what_only_looks_like_one_is_not() {
        use ChatCommand::{Absent, Help, Pairing, Reset, Stop, WhoAmI};
        for (text, expected) in [
            ("/help", Some((Help, vec![]))),
            (" /Pair approve irc ABCD2345 ", Some((Pairing, vec!["approve", "irc", "ABCD2345"]))),
            ("/pairing list", Some((Pairing, vec!["list"]))),
            ("/new: hello", Some((Reset, vec!["hello"]))),
            ("/id", Some((WhoAmI, vec![]))),
            ("/abort", Some((Stop, vec![]))),
            ("/bash rm", Some((Absent("bash"), vec!["rm"]))),
            ("/dock-telegram", Some((Absent("dock"), vec![]))),
            ("/etc/passwd says what?", None),
            ("/ help", None),
            ("help", None),
            ("say /help", None),
            ("> /pair approve", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(ChatCommand::parse(text), expected, "{text:?}");
        }
        for command in ChatCommand::ALL {
            let text = format!("/{}", command.name());
            assert_eq!(ChatCommand::parse(&text), Some((command, vec![])), "{text}");
        }
    }

    #[test]
    fn nothing_but_a_new_message_is_a_command_and_what_is_absent_is_for_nobody() {
        let manner = |is_edited| Manner { is_edited, is_own: true };
        for command in ChatCommand::ALL {
            for speaker in [Speaker::Owner, Speaker::Sender, Speaker::GroupMember] {
                assert!(matches!(judge(command, speaker, manner(true)), Ruling::Refuse(_)), "{command:?}");
            }
        }
        let ruling = judge(ChatCommand::Absent("bash"), Speaker::Owner, manner(false));
        assert!(matches!(ruling, Ruling::Refuse(refusal) if refusal.code == "no_such_command"));
    }

    /// What a cell of the table says: whether it is done, in a conversation of the speaker's own or in every one.
    fn cell(command: ChatCommand, speaker: Speaker) -> &'static str {
        let ruling = |is_own| judge(command, speaker, Manner { is_edited: false, is_own });
        match (ruling(true), ruling(false)) {
            (Ruling::Do, Ruling::Do) => "yes",
            (Ruling::Do, Ruling::Refuse(_)) => "in a conversation of his own",
            (Ruling::Refuse(_), Ruling::Refuse(_)) => "–",
            (Ruling::Message, Ruling::Message) => "a message as any other",
            other => panic!("{other:?}"),
        }
    }

    /// The golden table: docs/reference/access.md. What it lacks, or says too much, is the discussion of a change.
    #[test]
    fn the_access_table_of_commands_in_chats_is_complete() {
        let page = include_str!("../../../docs/reference/access.md");
        let table = page.lines().skip_while(|line| !line.starts_with("| in a chat |")).skip(2);
        let found: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
        let rows = ChatCommand::ALL.into_iter().chain([ChatCommand::Absent("")]).map(|command| {
            let name = match command {
                ChatCommand::Absent(_) => "commands of other programs".to_owned(),
                command => format!("`/{}`", command.name()),
            };
            let cells = Speaker::ALL.map(|speaker| cell(command, speaker));
            format!("| {name} | {} |", cells.join(" | "))
        });
        let expected: Vec<String> = rows.collect();
        assert_eq!(found, expected, "the whole table is\n{}", expected.join("\n"));
    }

    #[test]
    fn the_owner_is_who_the_config_names_and_only_where_nobody_reads_along() {
        let id = |text: &str| SenderId::parse(text).unwrap();
        let ann = id("irc:default:account:ann");
        let own = OwnIdentities::new([ann.clone()]);
        let direct = Conversation::Direct { to: "ann".into() };
        let group = Conversation::Group { id: "#home".into(), thread: None };
        let nobody = std::collections::BTreeMap::new();
        let settings = SenderSettings {
            dm_policy: DmPolicy::Pairing,
            group_policy: GroupPolicy::Allowlist,
            allow_from: &[],
            group_allow_from: &[],
            groups: &nobody,
        };
        let rules = SenderRules::new(&settings, |_| None);
        for (sender, conversation, expected) in [
            (ann.clone(), &direct, Speaker::Owner),
            (ann, &group, Speaker::GroupMember),
            (id("irc:other:account:ann"), &direct, Speaker::Sender),
            (id("irc:default:mask:ann"), &direct, Speaker::Sender),
            (id("irc:default:account:eve"), &direct, Speaker::Sender),
        ] {
            let Admission::Admit(permit) = rules.admit(&sender, &direct, true, Standing::Approved) else {
                panic!("{sender} is let in");
            };
            assert_eq!(own.speaker(&permit, conversation), expected, "{sender}");
            assert_ne!(
                OwnIdentities::default().speaker(&permit, &direct),
                Speaker::Owner,
                "nobody by default"
            );
        }
    }
}
