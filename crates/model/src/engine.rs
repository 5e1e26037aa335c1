//! The engine: tokens in, likelihoods of the next one out.
//!
//! A question is taken in steps of at most [`STEP`] tokens, so that one whose asker has gone is dropped within a second, and
//! so that memory does not grow with the square of the context.

use std::io::Cursor;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{DType, Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};

use crate::failure::{Code, Failure};
use crate::plan::{Architecture, Plan};

/// The most tokens that are computed at once. The engine keeps a mask for each size of step at each place: steps of sizes that
/// are powers of two, at multiples of themselves, keep those few.
pub(crate) const STEP: usize = 64;
/// The least size of a step but one.
const STEP_LEAST: usize = 8;

/// A loaded model, and where in a text it is.
pub(crate) struct Engine {
    weights: Weights,
    device: Device,
    context: usize,
    at: usize,
}

enum Weights {
    Llama(Box<quantized_llama::ModelWeights>),
    Qwen2(Box<quantized_qwen2::ModelWeights>),
}

impl Engine {
    /// Builds the model of `file`, whose head was read into `content` and compared with `plan`.
    pub(crate) fn new(file: &[u8], mut content: Content, plan: &Plan) -> Result<Self, Failure> {
        let failed =
            |cause: candle_core::Error| Code::Format.explained("the file's tensors cannot be read", &cause);
        let device = Device::Cpu;
        let mut file = Cursor::new(file);
        let weights = match plan.architecture {
            Architecture::Llama => {
                let weights = quantized_llama::ModelWeights::from_gguf(content, &mut file, &device);
                Weights::Llama(Box::new(weights.map_err(failed)?))
            }
            Architecture::Qwen2 => {
                // The engine makes a table as long as the context that it is told.
                let context = u32::try_from(plan.context).unwrap_or(u32::MAX);
                content.metadata.insert("qwen2.context_length".into(), Value::U32(context));
                let weights = quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &device);
                Weights::Qwen2(Box::new(weights.map_err(failed)?))
            }
        };
        Ok(Self { weights, device, context: plan.context, at: 0 })
    }

    /// Tokens that a question and its answer may have together.
    pub(crate) const fn context(&self) -> usize {
        self.context
    }

    /// Forgets what was said.
    pub(crate) fn begin(&mut self) {
        self.at = 0;
        match &mut self.weights {
            Weights::Llama(weights) => weights.clear_kv_cache(),
            Weights::Qwen2(weights) => weights.clear_kv_cache(),
        }
    }

    /// Takes the first of `tokens`, as many as one step has: the rest, and the likelihoods after what was taken.
    pub(crate) fn step<'a>(&mut self, tokens: &'a [u32]) -> Result<(&'a [u32], Tensor), candle_core::Error> {
        let size = step(tokens.len());
        let (now, rest) = tokens.split_at_checked(size).unwrap_or((tokens, &[]));
        let input = Tensor::new(now, &self.device)?.unsqueeze(0)?;
        let likelihoods = match &mut self.weights {
            Weights::Llama(weights) => weights.forward(&input, self.at),
            Weights::Qwen2(weights) => weights.forward(&input, self.at),
        }?;
        self.at += now.len();
        Ok((rest, likelihoods.squeeze(0)?.to_dtype(DType::F32)?))
    }
}

/// The size of the next step of a text that has `left` tokens.
fn step(left: usize) -> usize {
    let sizes = std::iter::successors(Some(STEP), |size| Some(size / 2));
    sizes.take_while(|size| *size >= STEP_LEAST).find(|size| *size <= left).unwrap_or(left.min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_take_all_of_a_text_and_begin_at_multiples_of_themselves() {
        for length in 0..300 {
            let mut at = 0;
            while at < length {
                let size = step(length - at);
                assert!((1..=STEP).contains(&size) && at % size == 0, "{size} at {at} of {length}");
                at += size;
            }
            assert_eq!(at, length);
        }
    }
}
