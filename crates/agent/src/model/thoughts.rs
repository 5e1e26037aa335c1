//! What models think: kept as each provider wants to have it back, and never sent to another.

use serde_json::Value;

/// The format of thoughts of Anthropic.
pub(super) const ANTHROPIC: &str = "anthropic";
/// The format of thoughts of Anthropic that it does not show.
pub(super) const ANTHROPIC_HIDDEN: &str = "anthropic-redacted";
/// The format of thoughts of Gemini, which belong to the part behind them.
pub(super) const GEMINI: &str = "gemini";
/// The format of items of OpenAI Responses.
pub(super) const RESPONSES: &str = "openai-responses";

/// A signature that says whose it is.
pub(super) fn pack(format: &str, signature: &Value) -> String {
    format!("{format}:{signature}")
}

/// What [`pack`] packed in that format; nothing when it is another's.
pub(super) fn unpack(format: &str, packed: &str) -> Option<Value> {
    serde_json::from_str(packed.strip_prefix(format)?.strip_prefix(':')?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thoughts_go_back_to_their_own_format_alone() {
        let packed = pack(RESPONSES, &json!({"id": "rs_1"}));
        assert_eq!(unpack(RESPONSES, &packed), Some(json!({"id": "rs_1"})));
        assert_eq!(unpack(GEMINI, &packed), None);
        assert_eq!(unpack(RESPONSES, "EqQBCkYI"), None);
    }
}
