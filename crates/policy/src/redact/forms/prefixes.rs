//! Keys that tell their vendor by how they begin.

use super::is_token;
use crate::redact::value::{DRAWN_WITHIN, run};
use Alphabet::{Dotted, Plain, Token, Upper};

/// How a vendor's keys look.
struct Vendor {
    prefix: &'static [u8],
    /// Characters behind the prefix, at least.
    least: usize,
    /// What they consist of.
    holds: Alphabet,
    /// Whether only one with a digit is a key: the prefix may begin ordinary words.
    drawn: bool,
}

const fn vendor(prefix: &'static str, least: usize, holds: Alphabet, drawn: bool) -> Vendor {
    Vendor { prefix: prefix.as_bytes(), least, holds, drawn }
}

/// What the characters of a key are.
#[derive(Clone, Copy)]
enum Alphabet {
    /// Letters, digits, `-`, `_` and `.`.
    Dotted,
    /// Letters and digits.
    Plain,
    /// Letters, digits, `-` and `_`.
    Token,
    /// Upper case letters and digits.
    Upper,
}

/// Where the characters of an alphabet end, from `from` on, looking at `most` at most.
fn end(text: &[u8], from: usize, most: usize, alphabet: Alphabet) -> usize {
    match alphabet {
        Alphabet::Dotted => run(text, from, most, |byte| is_token(byte) || byte == b'.'),
        Alphabet::Plain => run(text, from, most, |byte| byte.is_ascii_alphanumeric()),
        Alphabet::Token => run(text, from, most, is_token),
        Alphabet::Upper => run(text, from, most, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
    }
}

/// Sorted by their prefixes' first bytes.
const VENDORS: [Vendor; 40] = [
    vendor("AGE-SECRET-KEY-1", 40, Upper, false),
    vendor("AIza", 30, Token, false),
    vendor("AKIA", 16, Upper, false),
    vendor("ASIA", 16, Upper, false),
    vendor("SG.", 30, Dotted, true),
    vendor("dckr_pat_", 20, Token, false),
    vendor("dop_v1_", 32, Plain, false),
    vendor("gho_", 20, Plain, false),
    vendor("ghp_", 20, Plain, false),
    vendor("ghr_", 20, Plain, false),
    vendor("ghs_", 20, Plain, false),
    vendor("ghu_", 20, Plain, false),
    vendor("github_pat_", 20, Token, false),
    vendor("glpat-", 16, Token, false),
    vendor("glptt-", 16, Token, false),
    vendor("gsk_", 20, Plain, true),
    vendor("hf_", 30, Plain, true),
    vendor("hvs.", 20, Token, true),
    vendor("lin_api_", 20, Plain, true),
    vendor("npm_", 30, Plain, true),
    vendor("nvapi-", 20, Token, true),
    vendor("pplx-", 20, Token, true),
    vendor("pypi-", 40, Token, true),
    vendor("r8_", 30, Plain, true),
    vendor("rk_live_", 16, Plain, false),
    vendor("shpat_", 20, Plain, true),
    vendor("sk-", 16, Token, true),
    vendor("sk_live_", 16, Plain, false),
    vendor("sk_test_", 16, Plain, false),
    vendor("tskey-", 16, Token, true),
    vendor("whsec_", 20, Plain, true),
    vendor("xai-", 20, Token, true),
    vendor("xapp-", 10, Token, true),
    vendor("xoxa-", 10, Token, true),
    vendor("xoxb-", 10, Token, true),
    vendor("xoxe-", 10, Token, true),
    vendor("xoxp-", 10, Token, true),
    vendor("xoxr-", 10, Token, true),
    vendor("xoxs-", 10, Token, true),
    vendor("ya29.", 16, Dotted, false),
];

/// The length of the key with which `rest` begins.
pub(super) fn key(rest: &[u8]) -> Option<usize> {
    let first = rest.first();
    let from = VENDORS.partition_point(|vendor| vendor.prefix.first() < first);
    let mut candidates = VENDORS.iter().skip(from).take_while(|vendor| vendor.prefix.first() == first);
    candidates.find_map(|vendor| length(vendor, rest))
}

fn length(vendor: &Vendor, rest: &[u8]) -> Option<usize> {
    let behind = rest.strip_prefix(vendor.prefix)?;
    let looked_at = behind.get(..end(behind, 0, vendor.least.max(DRAWN_WITHIN), vendor.holds))?;
    if looked_at.len() < vendor.least || vendor.drawn && !looked_at.iter().any(u8::is_ascii_digit) {
        return None;
    }
    Some(vendor.prefix.len() + end(behind, looked_at.len(), usize::MAX, vendor.holds))
}
