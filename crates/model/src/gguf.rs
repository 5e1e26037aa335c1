//! The head of a GGUF, read before the engine reads it.
//!
//! The engine allocates what the head says. So everything that is counted or measured there is compared with the bytes that
//! there are, and with limits, first; what this reader accepts, the engine reads in the same way.

use std::collections::BTreeMap;

use moltbot_config::limits::{LOCAL_MODEL_ELEMENTS, LOCAL_MODEL_METADATA, LOCAL_MODEL_TENSORS};

use crate::failure::{Code, Failure};

/// What the head of a file says.
#[derive(Debug)]
pub(crate) struct Head {
    values: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Tensor>,
}

/// One value of the metadata, as far as it is needed here.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Float(f32),
    /// A list: the kind of its elements and how many there are.
    List(u32, u64),
    Number(u32),
    /// A value of another kind, which nothing here asks for.
    Other,
    Text(String),
}

/// One tensor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tensor {
    /// Its sizes, rows last: as in the file.
    pub(crate) sizes: Vec<u64>,
    /// Elements in all.
    pub(crate) elements: u64,
    /// Bytes that the engine keeps of it: as many as the file has, but whole numbers for halves.
    pub(crate) bytes: u64,
}

impl Head {
    /// Reads the head of `file`, and compares it with the rest.
    pub(crate) fn read(file: &[u8]) -> Result<Self, Failure> {
        let mut reader = Reader { file, at: 0, elements: 0 };
        let (tensors, entries) = reader.counts()?;
        let mut values = BTreeMap::new();
        for _ in 0..entries {
            let key = reader.text()?;
            let kind = reader.number()?;
            let value = reader.value(kind)?;
            if values.insert(key.clone(), value).is_some() {
                return Err(broken(&format!("it says {key:?} twice")));
            }
        }
        let mut places = BTreeMap::new();
        for _ in 0..tensors {
            let (name, place) = reader.tensor()?;
            if places.insert(name.clone(), place).is_some() {
                return Err(broken(&format!("it has {name:?} twice")));
            }
        }
        let head = Self { values, tensors: BTreeMap::new() };
        let start = head.data_start(reader.at)?;
        let tensors = placed(places, start, reader.length())?;
        Ok(Self { tensors, ..head })
    }

    /// A whole number of the metadata.
    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        match self.values.get(key) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number with a fraction.
    pub(crate) fn float(&self, key: &str) -> Option<f32> {
        match self.values.get(key) {
            Some(Value::Float(number)) => Some(*number),
            _ => None,
        }
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// How many texts are in a list of texts.
    pub(crate) fn texts(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some(Value::List(TEXT, count)) => Some(*count),
            _ => None,
        }
    }

    /// A tensor.
    pub(crate) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// All tensors.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.values()
    }

    /// Where the tensors begin, when the head ends at `end`.
    fn data_start(&self, end: usize) -> Result<u64, Failure> {
        let alignment = match self.values.get("general.alignment") {
            None => 32,
            Some(Value::Number(number)) if number.is_power_of_two() && *number <= 65_536 => {
                u64::from(*number)
            }
            Some(_) => return Err(broken("its alignment is no power of two")),
        };
        let end = u64::try_from(end).map_err(|_| broken("it is too long"))?;
        Ok(end.div_ceil(alignment) * alignment)
    }
}

/// Where a tensor is said to lie.
struct Place {
    sizes: Vec<u64>,
    kind: u32,
    offset: u64,
}

/// The tensors, each of which lies within the file; together they are no longer than it.
fn placed(
    places: BTreeMap<String, Place>,
    start: u64,
    length: u64,
) -> Result<BTreeMap<String, Tensor>, Failure> {
    let mut tensors = BTreeMap::new();
    let mut all = 0_u64;
    for (name, Place { sizes, kind, offset }) in places {
        let outside = || broken(&format!("its tensor {name:?} lies outside the file"));
        let (block, bytes) = format(kind).ok_or_else(|| {
            Code::Format.because(format!(
                "the file's tensor {name:?} is of kind {kind}, which cannot be read; take a file in Q4_0, Q4_1, Q4_K_M or Q8_0"
            ))
        })?;
        let elements = sizes.iter().try_fold(1_u64, |all, size| all.checked_mul(*size));
        let elements = elements.ok_or_else(outside)?;
        let row = sizes.first().copied().unwrap_or(1);
        if elements == 0 || row % block != 0 {
            return Err(broken(&format!("its tensor {name:?} has no whole blocks")));
        }
        let bytes = (elements / block).checked_mul(bytes).ok_or_else(outside)?;
        let end = start.checked_add(offset).and_then(|start| start.checked_add(bytes));
        all = all.saturating_add(bytes);
        if end.is_none_or(|end| end > length) || all > length {
            return Err(outside());
        }
        let bytes = if matches!(kind, 1 | 30) { bytes.saturating_mul(2) } else { bytes };
        tensors.insert(name, Tensor { sizes, elements, bytes });
    }
    Ok(tensors)
}

/// Elements and bytes of one block of a kind of numbers that the engine reads.
const fn format(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (1, 4),
        1 | 30 => (1, 2),
        2 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        10 => (256, 84),
        11 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        _ => return None,
    })
}

/// The kind of a text in the metadata.
const TEXT: u32 = 8;
/// The kind of a list.
const LIST: u32 = 9;
/// The most bytes of one text: templates are the longest, and have a limit of their own.
const TEXT_BYTES: u64 = 16 * 1024 * 1024;
/// Dimensions of a tensor.
const DIMENSIONS: u32 = 4;

/// The bytes of a file, from front to back.
struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    /// Elements of lists so far.
    elements: u64,
}

impl<'a> Reader<'a> {
    /// Tensors and entries of the metadata, behind the file's first bytes.
    fn counts(&mut self) -> Result<(u64, u64), Failure> {
        if self.take(4).ok() != Some(b"GGUF") {
            return Err(Code::Format.because("the file is no GGUF; take a model's .gguf file"));
        }
        let version = self.number()?;
        if !matches!(version, 2 | 3) {
            return Err(broken(&format!("it is of version {version}, and 2 and 3 are known")));
        }
        let (tensors, entries) = (self.long()?, self.long()?);
        if tensors > LOCAL_MODEL_TENSORS || entries > LOCAL_MODEL_METADATA {
            return Err(broken(&format!("it says that it has {tensors} tensors and {entries} entries")));
        }
        Ok((tensors, entries))
    }

    /// One value of a kind.
    fn value(&mut self, kind: u32) -> Result<Value, Failure> {
        Ok(match kind {
            4 => Value::Number(self.number()?),
            6 => Value::Float(f32::from_le_bytes(self.array()?)),
            7 => match self.array()? {
                [0_u8 | 1] => Value::Other,
                _ => return Err(broken("it has a flag that is neither yes nor no")),
            },
            TEXT => Value::Text(self.text()?),
            LIST => self.list()?,
            _ => {
                self.take(width(kind)?)?;
                Value::Other
            }
        })
    }

    /// A list, of which nothing is kept: the engine reads it from the same bytes.
    fn list(&mut self) -> Result<Value, Failure> {
        let kind = self.number()?;
        let count = self.long()?;
        self.elements = self.elements.saturating_add(count);
        if self.elements > LOCAL_MODEL_ELEMENTS {
            return Err(broken("its lists are too long"));
        }
        match kind {
            LIST => return Err(broken("it has a list of lists")),
            TEXT => {
                for _ in 0..count {
                    self.piece()?;
                }
            }
            7 => {
                let flags = self.take(usize::try_from(count).unwrap_or(usize::MAX))?;
                if flags.iter().any(|flag| *flag > 1) {
                    return Err(broken("it has a flag that is neither yes nor no"));
                }
            }
            _ => {
                let width = u64::try_from(width(kind)?).unwrap_or(u64::MAX);
                let bytes = count.saturating_mul(width);
                self.take(usize::try_from(bytes).unwrap_or(usize::MAX))?;
            }
        }
        Ok(Value::List(kind, count))
    }

    /// The name of a tensor, and where it is said to lie.
    fn tensor(&mut self) -> Result<(String, Place), Failure> {
        let name = self.text()?;
        let dimensions = self.number()?;
        if dimensions == 0 || dimensions > DIMENSIONS {
            return Err(broken(&format!("its tensor {name:?} has {dimensions} dimensions")));
        }
        let sizes = (0..dimensions).map(|_| self.long()).collect::<Result<Vec<u64>, Failure>>()?;
        Ok((name, Place { sizes, kind: self.number()?, offset: self.long()? }))
    }

    fn text(&mut self) -> Result<String, Failure> {
        let bytes = self.piece()?;
        let text = std::str::from_utf8(bytes).map_err(|_| broken("it has a text that is no UTF-8"))?;
        // As the engine reads it.
        Ok(text.trim_end_matches('\0').to_owned())
    }

    /// The bytes of a text.
    fn piece(&mut self) -> Result<&'a [u8], Failure> {
        let length = self.long()?;
        if length > TEXT_BYTES {
            return Err(broken("it has a text that is too long"));
        }
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn number(&mut self) -> Result<u32, Failure> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn long(&mut self) -> Result<u64, Failure> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        self.take(N)?.try_into().map_err(|_| broken("it ends too early"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let end = self.at.checked_add(count).ok_or_else(|| broken("it ends too early"))?;
        let bytes = self.file.get(self.at..end).ok_or_else(|| broken("it ends too early"))?;
        self.at = end;
        Ok(bytes)
    }

    fn length(&self) -> u64 {
        u64::try_from(self.file.len()).unwrap_or(u64::MAX)
    }
}

/// Bytes of one value of a kind that has always as many.
fn width(kind: u32) -> Result<usize, Failure> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(broken(&format!("it has a value of kind {kind}, which is not known"))),
    }
}

/// A file that does not say what it should.
pub(crate) fn broken(how: &str) -> Failure {
    Code::Format.because(format!("the file is damaged, or made to do damage: {how}; fetch it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A file with one number, one list of texts and one tensor of 32 numbers.
    fn file(alignment: u32, offset: u64, sizes: &[u64], entries: u64) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend(1_u64.to_le_bytes());
        out.extend(entries.to_le_bytes());
        text(&mut out, "general.alignment");
        out.extend(4_u32.to_le_bytes());
        out.extend(alignment.to_le_bytes());
        text(&mut out, "list");
        out.extend(9_u32.to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "a");
        text(&mut out, "b");
        text(&mut out, "t");
        out.extend(u32::try_from(sizes.len()).unwrap().to_le_bytes());
        for size in sizes {
            out.extend(size.to_le_bytes());
        }
        out.extend(0_u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.resize(out.len().next_multiple_of(64) + 128, 0);
        out
    }

    #[test]
    fn a_head_is_read_with_what_it_measures() {
        let head = Head::read(&file(64, 0, &[32], 2)).unwrap();
        assert_eq!(head.number("general.alignment"), Some(64));
        assert_eq!(head.texts("list"), Some(2));
        assert_eq!(head.tensor("t"), Some(&Tensor { sizes: vec![32], elements: 32, bytes: 128 }));
    }

    #[test]
    fn what_does_not_fit_the_file_is_refused_before_anything_is_allocated() {
        for (file, expected) in [
            (file(0, 0, &[32], 2), "alignment is no power of two"),
            (file(64, 1, &[32], 2), "lies outside the file"),
            (file(64, u64::MAX, &[32], 2), "lies outside the file"),
            (file(64, 0, &[u64::MAX, 2], 2), "lies outside the file"),
            (file(64, 0, &[1 << 40], 2), "lies outside the file"),
            (file(64, 0, &[0], 2), "no whole blocks"),
            (file(64, 0, &[1; 5], 2), "5 dimensions"),
            (file(64, 0, &[32], u64::MAX), "18446744073709551615 entries"),
            (file(64, 0, &[32], 9), "damaged"),
            (b"GGUF".to_vec(), "ends too early"),
            (b"MZ".to_vec(), "no GGUF"),
        ] {
            let failure = Head::read(&file).unwrap_err();
            assert_eq!(failure.code, Code::Format);
            assert!(failure.message.contains(expected), "{failure} instead of {expected}");
        }
    }
}
