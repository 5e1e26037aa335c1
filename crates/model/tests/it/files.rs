//! Small models that say what a test wants, as files.

use std::collections::BTreeMap;
use std::io::Cursor;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

/// A file to be made.
pub(crate) struct File {
    /// What the metadata says of its kind.
    pub architecture: &'static str,
    /// Tokens of context.
    pub context: u32,
    /// The chat template.
    pub template: Option<&'static str>,
    /// What the model does.
    pub mind: Mind,
    /// Metadata besides, or instead.
    pub metadata: Vec<(&'static str, Value)>,
}

/// What a model does.
pub(crate) enum Mind {
    /// It says what follows from its numbers, which follow from this one.
    Random(u64),
    /// It says these tokens, one after the other, then the mark of the end; or from the beginning again.
    Script(&'static [&'static str], Then),
}

/// What a script does at its end.
#[derive(PartialEq)]
pub(crate) enum Then {
    /// The answer ends.
    End,
    /// The first token comes again.
    Repeat,
}

/// A template like that of many models: each message between marks.
pub(crate) const TEMPLATE: &str = "{%- if tools %}{{- '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' }}{%- endif %}\
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

impl File {
    /// A model of Llama's kind that says `script`.
    pub(crate) fn script(script: &'static [&'static str], then: Then) -> Self {
        Self {
            architecture: "llama",
            context: 4096,
            template: Some(TEMPLATE),
            mind: Mind::Script(script, then),
            metadata: Vec::new(),
        }
    }

    /// A model of one of the two kinds with numbers that mean nothing.
    pub(crate) fn random(architecture: &'static str) -> Self {
        Self {
            architecture,
            context: 256,
            template: Some(TEMPLATE),
            mind: Mind::Random(7),
            metadata: Vec::new(),
        }
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (words, kinds) = self.words();
        let (width, inner) = match self.mind {
            Mind::Random(_) => (64, 96),
            Mind::Script(..) => (words.len(), 32),
        };
        let mut metadata: BTreeMap<String, Value> = BTreeMap::new();
        let mut put = |key: &str, value: Value| drop(metadata.insert(key.into(), value));
        let number = |number: usize| Value::U32(u32::try_from(number).unwrap());
        put("general.architecture", Value::String(self.architecture.into()));
        let name = if self.architecture == "qwen2" { "qwen2" } else { "llama" };
        for (key, value) in [
            ("block_count", Value::U32(2)),
            ("context_length", Value::U32(self.context)),
            ("embedding_length", number(width)),
            ("feed_forward_length", number(inner)),
            ("attention.head_count", Value::U32(4)),
            ("attention.head_count_kv", Value::U32(2)),
            ("attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
            ("rope.dimension_count", number(width / 4)),
            ("rope.freq_base", Value::F32(10_000.0)),
        ] {
            put(&format!("{name}.{key}"), value);
        }
        let texts = |texts: &[String]| Value::Array(texts.iter().cloned().map(Value::String).collect());
        put("tokenizer.ggml.model", Value::String("gpt2".into()));
        put("tokenizer.ggml.pre", Value::String(if name == "qwen2" { "qwen2" } else { "smollm" }.into()));
        put("tokenizer.ggml.tokens", texts(&words));
        put("tokenizer.ggml.token_type", Value::Array(kinds.into_iter().map(Value::I32).collect()));
        put("tokenizer.ggml.merges", texts(&["t h".into(), "th e".into()]));
        put("tokenizer.ggml.eos_token_id", number(END));
        put("tokenizer.ggml.bos_token_id", number(START));
        if let Some(template) = self.template {
            put("tokenizer.chat_template", Value::String(template.into()));
        }
        for (key, value) in &self.metadata {
            put(key, value.clone());
        }
        let tensors = self.tensors(words.len(), width, inner, &words);
        let metadata: Vec<(&str, &Value)> =
            metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = Cursor::new(Vec::new());
        gguf_file::write(&mut file, &metadata, &tensors).unwrap();
        file.into_inner()
    }

    /// The vocabulary, a multiple of eight, and the kind of each word.
    fn words(&self) -> (Vec<String>, Vec<i32>) {
        let mut words: Vec<(String, i32)> = Vec::new();
        let mut hidden = 0x100;
        for byte in 0..=255_u8 {
            let seen = matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let letter = if seen {
                char::from(byte)
            } else {
                hidden += 1;
                char::from_u32(hidden - 1).unwrap()
            };
            words.push((letter.into(), 1));
        }
        words.extend(MARKS.map(|(mark, kind)| (mark.to_owned(), kind)));
        words.extend(["th", "the"].map(|word| (word.to_owned(), 1)));
        if let Mind::Script(script, _) = self.mind {
            for said in script {
                let spelt = spelt(said);
                if !words.iter().any(|(word, _)| *word == spelt) {
                    words.push((spelt, 1));
                }
            }
        }
        while !words.len().is_multiple_of(8) {
            words.push((format!("<|unused{}|>", words.len()), 5));
        }
        words.into_iter().unzip()
    }

    fn tensors(&self, count: usize, width: usize, inner: usize, words: &[String]) -> Vec<(String, QTensor)> {
        let mut numbers = match self.mind {
            Mind::Random(seed) => Numbers::Random(seed),
            Mind::Script(..) => Numbers::Nought,
        };
        let shared = width / 2;
        let mut tensors: Vec<(String, Vec<f32>, Vec<usize>)> = Vec::new();
        let mut add = |name: &str, sizes: &[usize], all: Vec<f32>| {
            tensors.push((name.to_owned(), all, sizes.to_vec()));
        };
        if let Mind::Script(script, then) = &self.mind {
            add("token_embd.weight", &[count, width], one_each(count));
            add("output.weight", &[count, width], follow(script, then, words));
        } else {
            add("token_embd.weight", &[count, width], numbers.take(count * width));
        }
        add("output_norm.weight", &[width], vec![1.0; width]);
        for layer in 0..2 {
            let mut part = |name: &str, sizes: &[usize]| {
                let all = if name.contains("norm") {
                    vec![1.0; width]
                } else {
                    numbers.take(sizes.iter().product())
                };
                add(&format!("blk.{layer}.{name}"), sizes, all);
            };
            part("attn_norm.weight", &[width]);
            part("attn_q.weight", &[width, width]);
            part("attn_k.weight", &[shared, width]);
            part("attn_v.weight", &[shared, width]);
            part("attn_output.weight", &[width, width]);
            part("ffn_norm.weight", &[width]);
            part("ffn_gate.weight", &[inner, width]);
            part("ffn_up.weight", &[inner, width]);
            part("ffn_down.weight", &[width, inner]);
            if self.architecture == "qwen2" {
                part("attn_q.bias", &[width]);
                part("attn_k.bias", &[shared]);
                part("attn_v.bias", &[shared]);
            }
        }
        let made = tensors.into_iter().map(|(name, all, sizes)| {
            let tensor = Tensor::from_vec(all, sizes, &Device::Cpu).unwrap();
            // As real files are: most of it in blocks.
            let blocks = matches!(self.mind, Mind::Random(_)) && name.contains("ffn_up");
            let kind = if blocks { GgmlDType::Q8_0 } else { GgmlDType::F32 };
            (name, QTensor::quantize(&tensor, kind).unwrap())
        });
        made.collect()
    }
}

/// Marks: their spelling, and of which kind files say that they are.
pub(crate) const MARKS: [(&str, i32); 5] =
    [("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<tool_call>", 4), ("</tool_call>", 4)];
/// The number of `<|im_start|>`.
const START: usize = 257;
/// The number of `<|im_end|>`.
const END: usize = 258;

/// How a vocabulary of the byte-level kind spells a text of visible letters, blanks and ends of lines; marks as they are.
fn spelt(text: &str) -> String {
    let letter = |letter: char| match letter {
        ' ' => 'Ġ',
        '\n' => 'Ċ',
        letter => letter,
    };
    text.chars().map(letter).collect()
}

/// Each token is a direction of its own.
fn one_each(count: usize) -> Vec<f32> {
    let mut all = vec![0.0; count * count];
    for at in 0..count {
        all[at * count + at] = 1.0;
    }
    all
}

/// After the end of a line the script begins; after each of its tokens comes the next.
fn follow(script: &[&str], then: &Then, words: &[String]) -> Vec<f32> {
    let count = words.len();
    let number = |text: &str| words.iter().position(|word| *word == spelt(text)).unwrap();
    let mut all = vec![0.0; count * count];
    let mut before = number("\n");
    for said in script {
        let now = number(said);
        all[now * count + before] = 1.0;
        before = now;
    }
    let last = if *then == Then::End { END } else { number(script[0]) };
    all[last * count + before] = 1.0;
    all
}

/// Where numbers come from.
enum Numbers {
    Nought,
    Random(u64),
}

impl Numbers {
    fn take(&mut self, count: usize) -> Vec<f32> {
        let next = |_| match self {
            Self::Nought => 0.0,
            Self::Random(state) => {
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                f32::from(i16::try_from((*state >> 48) & 0x7fff).unwrap()) / 32_768.0 - 0.5
            }
        };
        (0..count).map(next).collect()
    }
}
