//! Values that are known to be secret, found in linear time and without keeping a readable index of them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::Span;

/// The shortest value that is looked for: shorter ones are found in ordinary words.
const LEAST: usize = 8;
/// The shortest piece of base64 that is looked for.
const LEAST_BASE64: usize = 12;
/// As much of a value decides whether it is there; what follows is taken as far as it agrees. So a text that was
/// cut keeps no half of a long secret, and comparing costs no more than this for each byte of the text.
const DECIDING: usize = 64;
/// Bits of the filter that says at once that no value begins here: one in 70 places is compared for nothing
/// when there are a hundred values.
const FILTER_BITS: u32 = 16;

/// The known values with the ways to write them.
#[derive(Default)]
pub(super) struct Known {
    /// Sorted by their bytes.
    writings: Vec<Writing>,
    /// The first eight bytes of each, as a number in the same order.
    beginnings: Zeroizing<Vec<u64>>,
    filter: Vec<u64>,
}

/// One way to write a value.
struct Writing {
    bytes: Zeroizing<Vec<u8>>,
    /// The value itself.
    value: SecretString,
}

/// A value that was found.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) span: Span,
    /// The value itself, when all of it is there.
    pub(super) value: Option<&'a str>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({} writings)", self.writings.len())
    }
}

impl Known {
    pub(super) fn of(values: &[SecretString]) -> Self {
        let mut writings: Vec<Writing> = values.iter().flat_map(writings).collect();
        writings.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        writings.dedup_by(|a, b| a.bytes == b.bytes);
        let mut filter = vec![0; 1 << (FILTER_BITS - 6)];
        let beginnings: Vec<u64> = writings.iter().filter_map(|writing| window(&writing.bytes, 0)).collect();
        for (word, bit) in beginnings.iter().copied().map(place) {
            if let Some(word) = filter.get_mut(word) {
                *word |= bit;
            }
        }
        Self { writings, beginnings: Zeroizing::new(beginnings), filter }
    }

    /// The longest value that begins at `at`.
    pub(super) fn at(&self, text: &[u8], at: usize) -> Option<Found<'_>> {
        let rest = text.get(at..)?;
        let agreeing =
            self.deciding(text, at)?.iter().map(|writing| (agreement(&writing.bytes, rest), writing));
        let (length, writing) = agreeing.max_by_key(|(length, _)| *length)?;
        let value = (length == writing.bytes.len()).then(|| writing.value.expose_secret());
        Some(Found { span: Span { start: at, end: at + length }, value })
    }

    /// Where a value ends that begins at `at` and of which more stands behind `end`, or `end`. What is in front
    /// of `end` is taken out anyway and is not compared again.
    pub(super) fn beyond(&self, text: &[u8], at: usize, end: usize) -> usize {
        let rest = text.get(end..).unwrap_or_default();
        let more = |writing: &Writing| agreement(writing.bytes.get(end - at..).unwrap_or_default(), rest);
        let longest = self.deciding(text, at).and_then(|writings| writings.iter().map(more).max());
        end + longest.unwrap_or(0)
    }

    /// The writings whose deciding part begins at `at`: the longest such part.
    ///
    /// Those that a text begins with are not after it in order, and whatever lies between the longest of them and
    /// the text begins with that one too.
    fn deciding(&self, text: &[u8], at: usize) -> Option<&[Writing]> {
        if self.writings.is_empty() {
            return None;
        }
        let beginning = window(text, at)?;
        let (word, bit) = place(beginning);
        if self.filter.get(word)? & bit == 0 {
            return None;
        }
        let from = self.beginnings.partition_point(|other| *other < beginning);
        let until = self.beginnings.partition_point(|other| *other <= beginning);
        let writings = self.writings.get(from..until)?;
        let rest = text.get(at..)?;
        let mut query = rest.get(..DECIDING).unwrap_or(rest);
        loop {
            let behind = writings.partition_point(|writing| writing.deciding() <= query);
            let deciding = writings.get(behind.checked_sub(1)?)?.deciding();
            if query.starts_with(deciding) {
                let alike = writings.get(..behind)?;
                let count = alike.iter().rev().take_while(|writing| writing.deciding() == deciding).count();
                return alike.get(behind - count..);
            }
            query = query.get(..agreement(deciding, query)).filter(|query| query.len() >= LEAST)?;
        }
    }
}

impl Writing {
    fn deciding(&self) -> &[u8] {
        self.bytes.get(..DECIDING).unwrap_or(&self.bytes)
    }
}

/// How many bytes two texts begin with alike.
fn agreement(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The eight bytes at `at`.
fn window(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Which bit of which word of the filter stands for these bytes.
fn place(window: u64) -> (usize, u64) {
    let hash = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
    (usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63))
}

/// Every way to write a value that is looked for.
fn writings(value: &SecretString) -> Vec<Writing> {
    let plain = value.expose_secret().trim();
    if plain.len() < LEAST {
        return Vec::new();
    }
    let mut written = vec![
        Zeroizing::new(plain.as_bytes().to_vec()),
        Zeroizing::new(in_json(plain).as_bytes().to_vec()),
        Zeroizing::new(in_url(plain.as_bytes()).as_bytes().to_vec()),
        Zeroizing::new(in_hex(plain.as_bytes()).as_bytes().to_vec()),
    ];
    for before in 0..3 {
        written.extend(in_base64(plain.as_bytes(), before));
    }
    written.into_iter().map(|bytes| Writing { bytes, value: value.clone() }).collect()
}

/// As it stands in a JSON string.
fn in_json(plain: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(plain.len() * 6));
    for character in plain.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            plain => out.push(plain),
        }
    }
    out
}

/// As it stands in a URL.
fn in_url(plain: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(plain.len() * 3));
    for &byte in plain {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            push_hex(&mut out, byte, true);
        }
    }
    out
}

fn in_hex(plain: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(plain.len() * 2));
    plain.iter().for_each(|byte| push_hex(&mut out, *byte, false));
    out
}

fn push_hex(out: &mut String, byte: u8, upper: bool) {
    for nibble in [byte >> 4, byte & 0xf] {
        let digit = char::from_digit(nibble.into(), 16).unwrap_or_default();
        out.push(if upper { digit.to_ascii_uppercase() } else { digit });
    }
}

/// The characters of base64 that no neighbour changes, when `before` bytes more than a multiple of three
/// stand in front: so a password is found in `Basic` credentials, whatever the user's name is.
fn in_base64(plain: &[u8], before: usize) -> Vec<Zeroizing<Vec<u8>>> {
    let mut padded = Zeroizing::new(vec![0; before]);
    padded.extend_from_slice(plain);
    let whole = padded.len() / 3 * 4 + [0, 1, 2].get(padded.len() % 3).copied().unwrap_or(0);
    let first = [0, 2, 3].get(before).copied().unwrap_or(0);
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD]
        .into_iter()
        .filter_map(|engine| {
            let text = Zeroizing::new(engine.encode(padded.as_slice()));
            let piece = text.get(first..whole)?;
            (piece.len() >= LEAST_BASE64).then(|| Zeroizing::new(piece.as_bytes().to_vec()))
        })
        .collect()
}
