//! The one thread that computes: questions in order, one at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use candle_core::Tensor;
use candle_transformers::generation::{LogitsProcessor, Sampling};
use http::StatusCode;
use moltbot_config::limits::LOCAL_MODEL_QUEUE;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::Engine;
use crate::failure::{Code, Failure, short};
use crate::refusal::Refusal;
use crate::request::{Choice, Conversation, Message, Role};
use crate::spoken::Spoken;
use crate::template::Template;
use crate::vocabulary::{Said, Unreadable, Vocabulary};

/// A question that waits for its answer.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) conversation: Conversation,
    pub(crate) choice: Choice,
    pub(crate) stops: Vec<String>,
    pub(crate) most: Option<usize>,
    /// Who asked: gone when this is closed.
    pub(crate) asker: UnboundedSender<Word>,
}

/// What an asker hears.
#[derive(Debug)]
pub(crate) enum Word {
    /// The question was read, and will be answered.
    Begun,
    /// The answer is whole.
    Ended(Ending),
    /// There is no answer, or no rest of it.
    Refused(Refusal),
    /// Some of the answer.
    Text(String),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ending {
    /// Whether it is whole: not cut off at the longest that it may be.
    pub(crate) whole: bool,
    /// Tokens of the question.
    pub(crate) asked: usize,
    /// Tokens of the answer, without the mark of its end.
    pub(crate) said: usize,
}

/// The questions that wait.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    questions: Mutex<VecDeque<Question>>,
    more: Condvar,
}

impl Queue {
    /// Puts a question at the end. Those of askers who have gone make room.
    pub(crate) fn put(&self, question: Question) -> Result<(), Refusal> {
        let mut questions = self.lock();
        questions.retain(|question| !question.asker.is_closed());
        if questions.len() >= LOCAL_MODEL_QUEUE {
            return Err(Refusal::busy("too many questions wait for the local model; ask again in a minute"));
        }
        questions.push_back(question);
        drop(questions);
        self.more.notify_one();
        Ok(())
    }

    /// Takes the first question; waits for one.
    fn take(&self) -> Question {
        let mut questions = self.lock();
        loop {
            match questions.pop_front() {
                Some(question) if question.asker.is_closed() => {}
                Some(question) => return question,
                None => questions = self.more.wait(questions).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that answers take.
pub(crate) struct Speaker {
    pub(crate) engine: Engine,
    pub(crate) words: Vocabulary,
    pub(crate) template: Template,
}

/// Why there is nothing to say.
enum Silence {
    /// The asker has gone.
    Gone,
    /// There is a reason.
    Refused(Refusal),
}

impl From<candle_core::Error> for Silence {
    fn from(cause: candle_core::Error) -> Self {
        Self::Refused(Refusal::failed(&format!("the model failed: {}", short(&cause))))
    }
}

impl Speaker {
    /// Answers questions for ever.
    pub(crate) fn serve(mut self, queue: &Arc<Queue>) -> ! {
        loop {
            let question = queue.take();
            let asker = question.asker.clone();
            let heard = match self.answer(question) {
                Ok(ending) => asker.send(Word::Ended(ending)),
                Err(Silence::Gone) => Ok(()),
                Err(Silence::Refused(refusal)) => asker.send(Word::Refused(refusal)),
            };
            // An asker who has gone meanwhile hears nothing, and nobody else was to.
            drop(heard);
            self.engine.begin();
        }
    }

    /// Says something to nobody, so that everything is in memory that answers take.
    pub(crate) fn warm_up(&mut self) -> Result<(), candle_core::Error> {
        let tokens = vec![0; self.engine.context().min(WARM)];
        let mut rest = tokens.as_slice();
        self.engine.begin();
        while !rest.is_empty() {
            let likelihoods;
            (rest, likelihoods) = self.engine.step(rest)?;
            chooser(Choice { temperature: 1.0, share: 0.5, seed: Some(0) }, 0).sample(&likelihoods)?;
        }
        self.engine.begin();
        Ok(())
    }

    /// Writes and reads a short conversation, as each question will be: a template that cannot is found out now.
    pub(crate) fn greet(&self) -> Result<(), Failure> {
        let message = Message {
            role: Role::User,
            content: "Hello".into(),
            name: None,
            answers: None,
            calls: Vec::new(),
        };
        let read = self.read(&Conversation { messages: vec![message], tools: None });
        let failed = |refusal: Refusal| {
            Code::Template.because(format!(
                "a greeting cannot be put to the model: {}; take another file",
                refusal.message
            ))
        };
        read.map(drop).map_err(failed)
    }

    fn answer(&mut self, question: Question) -> Result<Ending, Silence> {
        let Question { conversation, choice, stops, most, asker } = question;
        let tokens = self.read(&conversation).map_err(Silence::Refused)?;
        tell(&asker, Word::Begun)?;
        let room = self.engine.context().saturating_sub(tokens.len());
        let most = most.unwrap_or(usize::MAX).min(room);
        let mut likelihoods = self.hear(&tokens, &asker)?;
        let mut chooser = chooser(choice, fresh());
        let mut spoken = Spoken::new(stops);
        let mut ending = Ending { whole: true, asked: tokens.len(), said: 0 };
        loop {
            let token = chooser.sample(&likelihoods)?;
            let Said::Bytes(bytes) = self.words.said(token) else { break };
            ending.said += 1;
            let (text, stopped) = spoken.add(&bytes);
            if !text.is_empty() {
                tell(&asker, Word::Text(text))?;
            }
            if stopped {
                return Ok(ending);
            }
            if ending.said >= most {
                ending.whole = false;
                break;
            }
            likelihoods = self.hear(&[token], &asker)?;
        }
        let rest = spoken.end();
        if !rest.is_empty() {
            tell(&asker, Word::Text(rest))?;
        }
        Ok(ending)
    }

    /// The tokens of a conversation, which leave room for an answer.
    fn read(&self, conversation: &Conversation) -> Result<Vec<u32>, Refusal> {
        let bad = |code, message: String| Refusal::new(StatusCode::BAD_REQUEST, code, message);
        let text = self.template.write(conversation, &self.words).map_err(|cause| {
            bad("invalid_conversation", format!("the model's template refuses the conversation: {cause}"))
        })?;
        let tokens = self.words.encode(&text).map_err(|unreadable| match unreadable {
            Unreadable::Mark => {
                bad("control_text", "a message is spelt like a mark of the model's own".into())
            }
            Unreadable::Tokenizer(cause) => Refusal::failed(&format!("the tokenizer failed: {cause}")),
        })?;
        let context = self.engine.context();
        if tokens.len() >= context {
            let message = format!(
                "the conversation has {} tokens, and with an answer there is room for {context}; leave older messages out",
                tokens.len()
            );
            return Err(bad("context_length_exceeded", message));
        }
        if tokens.is_empty() {
            return Err(bad("invalid_conversation", "the model's template writes nothing for it".into()));
        }
        Ok(tokens)
    }

    /// Takes tokens in, and gives the likelihoods of the next one.
    fn hear(&mut self, tokens: &[u32], asker: &UnboundedSender<Word>) -> Result<Tensor, Silence> {
        let mut rest = tokens;
        loop {
            if asker.is_closed() {
                return Err(Silence::Gone);
            }
            let likelihoods;
            (rest, likelihoods) = self.engine.step(rest)?;
            if rest.is_empty() {
                return Ok(likelihoods);
            }
        }
    }
}

/// Tokens of the warming up: a step of many and a step of one.
const WARM: usize = 8 + 1;

fn tell(asker: &UnboundedSender<Word>, word: Word) -> Result<(), Silence> {
    asker.send(word).map_err(|_| Silence::Gone)
}

/// What chooses tokens, by the seed that was asked for, else by `fresh`.
fn chooser(choice: Choice, fresh: u64) -> LogitsProcessor {
    let Choice { temperature, share, seed } = choice;
    let sampling = if temperature < LEAST_TEMPERATURE || share <= 0.0 {
        Sampling::ArgMax
    } else if share >= 1.0 {
        Sampling::All { temperature }
    } else {
        Sampling::TopP { p: share, temperature }
    };
    LogitsProcessor::from_sampling(seed.unwrap_or(fresh), sampling)
}

/// Below this a temperature makes nothing but the likeliest likely, and numbers too large.
const LEAST_TEMPERATURE: f64 = 1e-4;

/// A seed that was not used before: where the kernel gives none, answers repeat themselves, and that is all.
fn fresh() -> u64 {
    let mut bytes = [0; 8];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    filled.map_or(0, |_| u64::from_le_bytes(bytes))
}
