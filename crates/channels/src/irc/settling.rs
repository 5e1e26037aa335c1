//! The first moments on a network that tells who is who only when it is asked: what is said before the answers waits for
//! them. Otherwise whoever writes as soon as we are back would be nobody, and his words lost.

use irc_proto::{Command, Message};

use super::wire::source;

/// Messages that wait; what comes beyond them is not answered.
const WAITING: usize = 256;

/// How far it is.
#[derive(Debug)]
enum Step {
    /// Our channels are entered.
    Entering,
    /// Who is in them is asked.
    Asking,
    Over,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// This line is to be sent.
    Ask(&'static str),
    /// It is over, and what waited can be heard.
    Hear(Vec<Message>),
    Wait,
}

/// Waits for the answers about who is in our channels.
#[derive(Debug)]
pub(super) struct Settling {
    step: Step,
    waiting: Vec<Message>,
}

impl Settling {
    /// Begins when the channels were asked for; over at once where there is nothing to wait for. Gives what to send.
    pub(super) fn begin(is_asked: bool) -> (Self, Option<&'static str>) {
        let step = if is_asked { Step::Entering } else { Step::Over };
        (Self { step, waiting: Vec::new() }, is_asked.then_some("PING :entered"))
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }

    /// Takes the answer to a PING, behind which come no more answers to what was sent before it.
    pub(super) fn pong(&mut self, token: &str) -> Next {
        match (&self.step, token) {
            (Step::Entering, "entered") => {
                self.step = Step::Asking;
                Next::Ask("PING :asked")
            }
            (Step::Asking, "asked") => {
                self.step = Step::Over;
                Next::Hear(std::mem::take(&mut self.waiting))
            }
            _ => Next::Wait,
        }
    }

    /// Keeps what was said, until it is over.
    pub(super) fn keep(&mut self, said: Message) {
        if self.waiting.len() < WAITING {
            self.waiting.push(said);
        } else {
            tracing::warn!("more is said on IRC than waits for who says it; a message is lost");
        }
    }

    /// Takes note of what was told. A nick that comes, goes or changes its hands is another one afterwards: what was said
    /// under it before is nobody's.
    pub(super) fn follow(&mut self, message: &Message) {
        let Some((from, ..)) = source(message).filter(|_| !self.waiting.is_empty()) else { return };
        let nicks = match &message.command {
            Command::NICK(to) => [from, to.as_str()],
            Command::KICK(_, nick, _) => [nick.as_str(); 2],
            Command::ACCOUNT(_)
            | Command::CHGHOST(..)
            | Command::JOIN(..)
            | Command::PART(..)
            | Command::QUIT(_) => [from, from],
            _ => return,
        };
        self.waiting.retain(|said| source(said).is_some_and(|(nick, ..)| !nicks.contains(&nick)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> Vec<String> {
        let (mut settling, line) = Settling::begin(true);
        assert_eq!(line, Some("PING :entered"));
        for line in lines {
            let message: Message = line.parse().unwrap();
            settling.follow(&message);
            if matches!(message.command, Command::PRIVMSG(..)) {
                settling.keep(message);
            }
        }
        assert!(matches!(settling.pong("asked"), Next::Wait), "not in this order");
        assert!(matches!(settling.pong("entered"), Next::Ask("PING :asked")) && !settling.is_over());
        assert!(matches!(settling.pong("entered"), Next::Wait));
        let Next::Hear(waiting) = settling.pong("asked") else { panic!("it is over") };
        assert!(settling.is_over());
        waiting.iter().map(|message| message.to_string().trim_end().to_owned()).collect()
    }

    #[test]
    fn what_is_said_before_the_answers_waits_for_them() {
        let (one, two) = (":ann!a@h PRIVMSG molt one", ":bob!b@h PRIVMSG #home two");
        let there = ":srv 354 molt 71 #home a h ann Ann";
        assert_eq!(after(&[one, there, two]), [one, two]);
        for change in [
            ":ann!a@h NICK other",
            ":other!a@h NICK ann",
            ":ann!a@h QUIT :bye",
            ":ann!a@h PART #home",
            ":op!o@h KICK #home ann :out",
            ":ann!a@h ACCOUNT Eve",
            ":ann!a@h JOIN #home Ann :a",
        ] {
            assert_eq!(after(&[one, two, change]), [two], "{change}");
            assert_eq!(after(&[change, one, two]), [one, two], "{change}");
        }
        assert!(Settling::begin(false).0.is_over());
        let many = vec![one; WAITING + 5];
        assert_eq!(after(&many).len(), WAITING);
    }
}
