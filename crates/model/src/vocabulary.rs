//! The words of a model: text to tokens and back.
//!
//! Marks (`<|im_end|>` and the like) are never looked for by the tokenizer: what is a mark and what is only spelt like one is
//! decided in [`Vocabulary::encode`], by [`GUARD`].

use std::collections::{BTreeSet, HashMap};

use candle_core::quantized::gguf_file::{Content, Value};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use crate::failure::{Code, Failure};
use crate::gguf::{Head, broken};

/// A character that no text has (Unicode calls it no character). It stands around every letter of what people and tools wrote
/// with which a mark might begin, so that no mark is ever spelt there, and is taken out again before text becomes tokens.
pub(crate) const GUARD: char = '\u{fdd0}';

/// A model's vocabulary.
pub(crate) struct Vocabulary {
    tokenizer: Tokenizer,
    marks: HashMap<String, u32>,
    /// The marks by number: what each means for an answer.
    meanings: HashMap<u32, Meaning>,
    /// Lengths of marks in bytes, longest first.
    lengths: Vec<usize>,
    first: BTreeSet<char>,
    letters: HashMap<char, u8>,
    begin: String,
    end: String,
}

/// What a mark means for an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Meaning {
    /// The answer ends.
    End,
    /// Nothing is said.
    Nothing,
    /// It is said as it is spelt.
    Said,
}

/// What a token says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// Some bytes, which need not be whole characters.
    Bytes(Vec<u8>),
    /// The answer ends.
    End,
}

/// What cannot become tokens.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The tokenizer read a mark where there is none.
    Mark,
    /// The tokenizer failed, and says why.
    Tokenizer(String),
}

impl Vocabulary {
    /// The vocabulary of a file whose head was read.
    pub(crate) fn of(content: &Content, head: &Head) -> Result<Self, Failure> {
        if head.text("tokenizer.ggml.model") != Some("gpt2") {
            return Err(Code::Tokenizer.because(
                "the model's vocabulary is not of the byte-level kind (gpt2); take a model of Llama 3, SmolLM2 or Qwen 2",
            ));
        }
        let words = texts(content, "tokenizer.ggml.tokens")?;
        let tokenizer = tokenizer(content, head, &words)?;
        let special = |key: &str| head.number(&format!("tokenizer.ggml.{key}_token_id"));
        let spelt = |id: Option<u32>| {
            id.and_then(|id| usize::try_from(id).ok())
                .and_then(|id| words.get(id))
                .cloned()
                .unwrap_or_default()
        };
        let ends: Vec<u32> = ["eos", "eot", "eom"].into_iter().filter_map(special).collect();
        let (marks, meanings) = marks(content, &words, &ends)?;
        let lengths: BTreeSet<usize> = marks.keys().map(String::len).collect();
        Ok(Self {
            tokenizer,
            meanings,
            lengths: lengths.into_iter().rev().collect(),
            first: marks.keys().filter_map(|mark| mark.chars().next()).collect(),
            marks,
            letters: letters(),
            begin: spelt(special("bos")),
            end: spelt(special("eos")),
        })
    }

    /// How the beginning of a text is spelt, for templates.
    pub(crate) fn begin(&self) -> &str {
        &self.begin
    }

    /// How the end of a text is spelt, for templates.
    pub(crate) fn end(&self) -> &str {
        &self.end
    }

    /// A text that people or tools wrote, so that no mark is spelt in it.
    pub(crate) fn guarded(&self, text: &str) -> String {
        let mut guarded = String::with_capacity(text.len() + 16);
        if !text.is_empty() {
            guarded.push(GUARD);
        }
        for letter in text.chars().filter(|letter| *letter != GUARD) {
            if self.first.contains(&letter) {
                guarded.extend([GUARD, letter, GUARD]);
            } else {
                guarded.push(letter);
            }
        }
        guarded
    }

    /// The tokens of a text in which everything that is not the template's own is guarded.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, Unreadable> {
        let (mut tokens, mut plain, mut at) = (Vec::new(), String::new(), 0);
        while let Some(letter) = text.get(at..).and_then(|rest| rest.chars().next()) {
            if let Some((id, length)) = self.mark_at(text, at, letter) {
                self.encode_plain(&mut plain, &mut tokens)?;
                tokens.push(id);
                at += length;
                continue;
            }
            at += letter.len_utf8();
            if letter == GUARD {
                continue;
            }
            let word = letter == ' ' && !plain.ends_with(char::is_whitespace);
            if plain.len() >= if word { PIECE } else { PIECE_MOST } {
                self.encode_plain(&mut plain, &mut tokens)?;
            }
            plain.push(letter);
        }
        self.encode_plain(&mut plain, &mut tokens)?;
        Ok(tokens)
    }

    fn mark_at(&self, text: &str, at: usize, letter: char) -> Option<(u32, usize)> {
        if !self.first.contains(&letter) {
            return None;
        }
        self.lengths.iter().find_map(|length| {
            let spelt = text.get(at..at.checked_add(*length)?)?;
            self.marks.get(spelt).map(|id| (*id, *length))
        })
    }

    fn encode_plain(&self, plain: &mut String, tokens: &mut Vec<u32>) -> Result<(), Unreadable> {
        if plain.is_empty() {
            return Ok(());
        }
        let failed = |cause: tokenizers::Error| Unreadable::Tokenizer(crate::failure::short(&cause));
        let encoding = self.tokenizer.encode_fast(plain.as_str(), false).map_err(failed)?;
        if encoding.get_ids().iter().any(|id| self.meanings.contains_key(id)) {
            return Err(Unreadable::Mark);
        }
        tokens.extend(encoding.get_ids());
        plain.clear();
        Ok(())
    }

    /// What a token of an answer says.
    pub(crate) fn said(&self, token: u32) -> Said {
        let text = self.tokenizer.id_to_token(token).unwrap_or_default();
        match self.meanings.get(&token) {
            Some(Meaning::End) => Said::End,
            Some(Meaning::Nothing) => Said::Bytes(Vec::new()),
            Some(Meaning::Said) => Said::Bytes(text.into_bytes()),
            None => Said::Bytes(self.bytes(&text)),
        }
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len());
        for letter in text.chars() {
            match self.letters.get(&letter) {
                Some(byte) => bytes.push(*byte),
                None => bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        bytes
    }
}

/// The marks of a vocabulary by their spelling, and what each means.
#[expect(clippy::type_complexity, reason = "two tables, made in one pass")]
fn marks(
    content: &Content,
    words: &[String],
    ends: &[u32],
) -> Result<(HashMap<String, u32>, HashMap<u32, Meaning>), Failure> {
    let kinds = match content.metadata.get("tokenizer.ggml.token_type") {
        Some(Value::Array(kinds)) if kinds.len() == words.len() => kinds,
        _ => return Err(broken("it does not say of which kind each token is")),
    };
    let (mut marks, mut meanings) = (HashMap::new(), HashMap::new());
    for ((word, kind), id) in words.iter().zip(kinds).zip(0_u32..) {
        let calls = matches!(word.as_str(), "<tool_call>" | "</tool_call>");
        let meaning = match kind {
            _ if ends.contains(&id) => Meaning::End,
            Value::I32(1 | 6) | Value::U32(1 | 6) => continue,
            Value::I32(3) | Value::U32(3) if !calls => Meaning::End,
            Value::I32(3 | 4) | Value::U32(3 | 4) => Meaning::Said,
            Value::I32(2 | 5) | Value::U32(2 | 5) => Meaning::Nothing,
            _ => return Err(broken("it has a token of a kind that is not known")),
        };
        meanings.insert(id, meaning);
        // One letter is no mark: it could not be told from the letter.
        if word.chars().count() > 1 && word.len() <= MARK_BYTES && !word.contains(GUARD) {
            marks.insert(word.clone(), id);
        }
    }
    Ok((marks, meanings))
}

/// Bytes from which on text is cut between words: the tokenizer takes a hundred bytes of memory for each, and nothing is joined
/// there anyway.
const PIECE: usize = 32 * 1024;
/// Bytes from which on text without words is cut.
const PIECE_MOST: usize = 64 * 1024;
/// The longest mark.
const MARK_BYTES: usize = 64;

/// The tokenizer: pairs of the file, cut as the file's kind is cut.
fn tokenizer(content: &Content, head: &Head, words: &[String]) -> Result<Tokenizer, Failure> {
    let (cut, whole, composed) = cut(head)?;
    let merges = texts(content, "tokenizer.ggml.merges")?.into_iter().map(|merge| {
        let pair = merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
        pair.ok_or_else(|| broken("its vocabulary joins what is no pair"))
    });
    let merges = merges.collect::<Result<Vec<_>, Failure>>()?;
    let numbered: Vocab = words.iter().cloned().zip(0_u32..).collect();
    if numbered.len() != words.len() {
        return Err(broken("its vocabulary has a word twice"));
    }
    let model = BPE::builder().vocab_and_merges(numbered, merges).ignore_merges(whole).build();
    let model =
        model.map_err(|cause| Code::Tokenizer.explained("the file's vocabulary does not work", &cause))?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(cut));
    if composed {
        let added = tokenizer.with_normalizer(Some(NFC));
        added.map_err(|cause| Code::Tokenizer.explained("the file's vocabulary does not work", &cause))?;
    }
    Ok(tokenizer)
}

/// How text is cut before pairs are joined; whether a whole piece that is a word is taken as it is; whether letters are composed.
fn cut(head: &Head) -> Result<(PreTokenizerWrapper, bool, bool), Failure> {
    let kind = head.text("tokenizer.ggml.pre").unwrap_or("default");
    Ok(match kind {
        "default" | "gpt-2" => (ByteLevel::new(false, true, true).into(), false, false),
        "llama-bpe" | "llama3" | "smaug-bpe" => (split(LLAMA)?, true, false),
        "qwen2" => (split(QWEN)?, false, true),
        "smollm" => {
            let parts = vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()];
            (Sequence::new(parts).into(), false, false)
        }
        other => {
            let other: String = other.chars().take(40).collect();
            return Err(Code::Tokenizer.because(format!(
                "the model's vocabulary cuts text in a way ({other:?}) that is not known; take a model of Llama 3, SmolLM2 or Qwen 2"
            )));
        }
    })
}

fn split(pattern: &str) -> Result<PreTokenizerWrapper, Failure> {
    let split = Split::new(SplitPattern::Regex(pattern.to_owned()), SplitDelimiterBehavior::Isolated, false);
    let split = split.map_err(|cause| Code::Engine.explained("the tokenizer failed", &cause))?;
    Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, false, false).into()]).into())
}

/// How Llama 3 cuts text.
const LLAMA: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// How Qwen 2 does.
const QWEN: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The texts of a list.
fn texts(content: &Content, key: &str) -> Result<Vec<String>, Failure> {
    let missing = || broken(&format!("it has no {key}"));
    let Some(Value::Array(list)) = content.metadata.get(key) else { return Err(missing()) };
    let texts = list.iter().map(|value| match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(missing()),
    });
    texts.collect()
}

/// The letters by which byte-level vocabularies spell bytes: themselves where they can be seen, else counted from U+0100.
fn letters() -> HashMap<char, u8> {
    let seen = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden = (0..=u8::MAX).filter(|byte| !seen(byte)).zip('\u{100}'..);
    let shown = (0..=u8::MAX).filter(seen).map(|byte| (char::from(byte), byte));
    shown.chain(hidden.map(|(byte, letter)| (letter, byte))).collect()
}
