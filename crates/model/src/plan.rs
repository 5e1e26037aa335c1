//! What a model needs, read off its head: its measures, its tensors, its memory.
//!
//! The engine trusts the measures and goes by them through the tensors. So each tensor that it will use is looked up here, with
//! the sizes that the measures ask for.

use moltbot_config::limits::{LOCAL_MODEL_CONTEXT, LOCAL_MODEL_CONTEXT_LEAST};

use crate::failure::{Code, Failure};
use crate::gguf::{Head, broken};

/// The models that are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Architecture {
    Llama,
    Qwen2,
}

impl Architecture {
    /// The architecture that a head names.
    fn of(head: &Head) -> Result<Self, Failure> {
        let unknown = |what: &str| {
            Code::Architecture.because(format!("{what}; take a GGUF of architecture llama or qwen2"))
        };
        match head.text("general.architecture") {
            Some("llama") if head.number("llama.expert_count").is_some_and(|experts| experts > 1) => {
                Err(unknown("the model is a mixture of experts, which is not served"))
            }
            Some("llama") if head.tensor("rope_freqs.weight").is_some() => {
                Err(unknown("the model stretches its positions (rope_freqs), which is not served"))
            }
            Some("llama") => Ok(Self::Llama),
            Some("qwen2") => Ok(Self::Qwen2),
            Some(other) => {
                let other: String = other.chars().take(40).collect();
                Err(unknown(&format!("the model's architecture {other:?} is not served")))
            }
            None => Err(broken("it names no architecture")),
        }
    }

    /// The name in files and answers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }

    /// The longest context that the engine knows for it.
    const fn longest(self) -> usize {
        match self {
            Self::Llama => candle_transformers::models::quantized_llama::MAX_SEQ_LEN,
            Self::Qwen2 => LOCAL_MODEL_CONTEXT,
        }
    }
}

/// A model's measures, all of them compared with its tensors.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) architecture: Architecture,
    /// The context that is served, in tokens.
    pub(crate) context: usize,
    /// Numbers in all tensors.
    pub(crate) parameters: u64,
    /// What the process may take for data, in bytes: what it needs, and [`SLACK`].
    pub(crate) memory: u64,
}

impl Plan {
    /// Plans the model of `head`, a file of `bytes`, with `asked` tokens of context in `memory` bytes.
    pub(crate) fn of(head: &Head, bytes: u64, asked: usize, memory: u64) -> Result<Self, Failure> {
        let architecture = Architecture::of(head)?;
        let measures = Measures::of(head, architecture)?;
        measures.compare(head, architecture)?;
        let own = usize::try_from(measures.context).unwrap_or(usize::MAX);
        let most = asked.min(own).min(architecture.longest()).min(LOCAL_MODEL_CONTEXT);
        // File and tensors are there at once while they are read; the first one goes before there is a context.
        let tensors = measures.embedded().saturating_add(head.tensors().map(|tensor| tensor.bytes).sum());
        let reading = tensors.saturating_add(bytes);
        let needs = |context: usize| {
            let serving =
                tensors.saturating_add(measures.serving(u64::try_from(context).unwrap_or(u64::MAX)));
            serving.max(reading).saturating_add(SLACK)
        };
        let fits = |context: &usize| needs(*context) <= memory;
        let lengths = std::iter::successors(Some(most), |length| Some(length / 2));
        let mut lengths = lengths.take_while(|length| *length >= LOCAL_MODEL_CONTEXT_LEAST.min(own));
        let context = lengths.find(fits).filter(|length| *length > 0).ok_or_else(|| {
            let megabytes = needs(LOCAL_MODEL_CONTEXT_LEAST.min(most)) >> 20;
            Code::Memory.because(format!(
                "the model needs {megabytes} MiB of memory, or a context of {LOCAL_MODEL_CONTEXT_LEAST} tokens or more, and it may have {} MiB; take a smaller model",
                memory >> 20
            ))
        })?;
        let parameters = head.tensors().map(|tensor| tensor.elements).sum();
        Ok(Self { architecture, context, parameters, memory: needs(context) })
    }
}

/// The numbers that the engine goes by.
#[derive(Debug)]
struct Measures {
    layers: u32,
    width: u64,
    heads: u64,
    pairs: u64,
    head: u64,
    inner: u64,
    context: u32,
    tokens: u64,
}

impl Measures {
    fn of(head: &Head, architecture: Architecture) -> Result<Self, Failure> {
        let name = architecture.name();
        let number = |key: &str, most: u32| {
            let key = format!("{name}.{key}");
            let number = head.number(&key).ok_or_else(|| broken(&format!("it has no {key}")))?;
            let fits = (1..=most).contains(&number);
            fits.then_some(number).ok_or_else(|| broken(&format!("its {key} is {number}")))
        };
        let width = u64::from(number("embedding_length", 16_384)?);
        let heads = u64::from(number("attention.head_count", 256)?);
        let measures = Self {
            layers: number("block_count", 128)?,
            width,
            heads,
            pairs: u64::from(number("attention.head_count_kv", 256)?),
            head: width / heads,
            inner: u64::from(number("feed_forward_length", 131_072)?),
            context: number("context_length", u32::MAX)?,
            tokens: head.texts("tokenizer.ggml.tokens").ok_or_else(|| broken("it has no vocabulary"))?,
        };
        measures.agree(head, architecture)?;
        Ok(measures)
    }

    /// Whether the numbers go with each other.
    fn agree(&self, head: &Head, architecture: Architecture) -> Result<(), Failure> {
        let name = architecture.name();
        if !self.width.is_multiple_of(self.heads)
            || !self.heads.is_multiple_of(self.pairs)
            || !self.head.is_multiple_of(2)
        {
            return Err(broken("its attention heads do not divide its width"));
        }
        let turned = head.number(&format!("{name}.rope.dimension_count")).map(u64::from);
        let whole = match architecture {
            Architecture::Llama => turned == Some(self.head),
            Architecture::Qwen2 => turned.is_none_or(|turned| turned == self.head),
        };
        if !whole {
            return Err(broken("its positions do not turn whole heads"));
        }
        let near_zero = head.float(&format!("{name}.attention.layer_norm_rms_epsilon"));
        let base = head.float(&format!("{name}.rope.freq_base"));
        if !near_zero.is_some_and(|number| number > 0.0 && number < 0.1)
            || base.is_some_and(|base| !(base >= 1.0 && base.is_finite()))
            || self.tokens == 0
        {
            return Err(broken("its epsilon, its base of positions or its vocabulary is none"));
        }
        Ok(())
    }

    /// Whether every tensor is there that the engine will use, with the sizes that it will expect.
    fn compare(&self, head: &Head, architecture: Architecture) -> Result<(), Failure> {
        let is = |name: &str, sizes: &[u64]| match head.tensor(name) {
            Some(tensor) if tensor.sizes == sizes => Ok(()),
            Some(_) => Err(broken(&format!("its tensor {name} has other sizes than the rest"))),
            None => Err(broken(&format!("it has no tensor {name}"))),
        };
        let (width, shared, inner) = (self.width, self.pairs * self.head, self.inner);
        is("token_embd.weight", &[width, self.tokens])?;
        is("output_norm.weight", &[width])?;
        if head.tensor("output.weight").is_some() {
            is("output.weight", &[width, self.tokens])?;
        }
        for layer in 0..self.layers {
            let is = |part: &str, sizes: &[u64]| is(&format!("blk.{layer}.{part}"), sizes);
            is("attn_norm.weight", &[width])?;
            is("attn_q.weight", &[width, width])?;
            is("attn_k.weight", &[width, shared])?;
            is("attn_v.weight", &[width, shared])?;
            is("attn_output.weight", &[width, width])?;
            is("ffn_norm.weight", &[width])?;
            is("ffn_gate.weight", &[width, inner])?;
            is("ffn_up.weight", &[width, inner])?;
            is("ffn_down.weight", &[inner, width])?;
            if architecture == Architecture::Qwen2 {
                is("attn_q.bias", &[width])?;
                is("attn_k.bias", &[shared])?;
                is("attn_v.bias", &[shared])?;
            }
        }
        Ok(())
    }

    /// Bytes of the embeddings, which the engine keeps as plain numbers.
    fn embedded(&self) -> u64 {
        self.tokens.saturating_mul(self.width).saturating_mul(4)
    }

    /// Bytes that a context takes: keys and values of every layer, what one layer copies of them, and one step's scores,
    /// masks and positions.
    fn serving(&self, context: u64) -> u64 {
        let kept = 2 * u64::from(self.layers) * self.pairs * self.head;
        let copied = 6 * self.heads * self.head;
        let step = u64::try_from(crate::engine::STEP).unwrap_or(u64::MAX);
        let scores = 4 * step * self.heads;
        let masks = context.saturating_mul(2);
        let step = 4 * step * (self.inner * 4 + self.width * 8) + 16 * self.tokens;
        context.saturating_mul(4 * (kept + copied + scores + self.head) + masks).saturating_add(step)
    }
}

/// What is not counted above: the vocabulary, the program, requests (one of the largest, made to be large in memory, takes
/// 250 MiB while it is read), and the allocator's waste.
const SLACK: u64 = 512 << 20;
