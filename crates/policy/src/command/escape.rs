//! Escapes by which letters are spelt as numbers: of `$'…'`, of `printf` and `echo -e`, and of the encodings that a
//! pipeline undoes.

use std::str::Chars;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The character that stands after a backslash, as `$'…'` has it. Nothing at the end of the text.
pub(super) fn ansi(rest: &mut Chars<'_>) -> Option<char> {
    let c = rest.next()?;
    Some(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' | 'E' => '\u{1b}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        'x' => number(rest, 16, 2).unwrap_or('x'),
        'u' => number(rest, 16, 4).unwrap_or('u'),
        'U' => number(rest, 16, 8).unwrap_or('U'),
        'c' => rest.next().map_or('c', |next| char::from_u32(u32::from(next) & 0x1f).unwrap_or(next)),
        '0'..='7' => octal(c, rest),
        _ => c,
    })
}

/// Undoes the escapes of `printf` and `echo -e`.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        // `\0155` has a zero before its three digits.
        if rest.as_str().starts_with('0') {
            rest.next();
            out.push(number(&mut rest, 8, 3).unwrap_or('\0'));
        } else {
            out.push(ansi(&mut rest).unwrap_or('\\'));
        }
    }
    out
}

fn octal(first: char, rest: &mut Chars<'_>) -> char {
    let mut value = first.to_digit(8).unwrap_or(0);
    for _ in 0..2 {
        let Some(digit) = rest.clone().next().and_then(|c| c.to_digit(8)) else { break };
        rest.next();
        value = value.saturating_mul(8).saturating_add(digit);
    }
    char::from_u32(value & 0xff).unwrap_or('\u{fffd}')
}

fn number(rest: &mut Chars<'_>, base: u32, most: usize) -> Option<char> {
    let mut value = None;
    for _ in 0..most {
        let Some(digit) = rest.clone().next().and_then(|c| c.to_digit(base)) else { break };
        rest.next();
        value = Some(value.unwrap_or(0_u32).saturating_mul(base).saturating_add(digit));
    }
    value.map(|value| char::from_u32(value).unwrap_or('\u{fffd}'))
}

/// The text that base64 stands for.
pub(super) fn base64(text: &str) -> Option<String> {
    let clean: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, lenient).decode(clean).ok()?;
    String::from_utf8(bytes).ok()
}

/// The text that base32 stands for.
pub(super) fn base32(text: &str) -> Option<String> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0_u32, Vec::new());
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '=') {
        let five = match c {
            'A'..='Z' => u32::from(c).checked_sub(u32::from('A'))?,
            '2'..='7' => u32::from(c).checked_sub(u32::from('2'))?.checked_add(26)?,
            _ => return None,
        };
        bits = (bits << 5) | five;
        count = count.saturating_add(5);
        if count >= 8 {
            count = count.saturating_sub(8);
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
            bits &= (1_u32 << count).saturating_sub(1);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The text that hexadecimal digits stand for.
pub(super) fn hexadecimal(text: &str) -> Option<String> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [high, low] => u8::try_from(high.saturating_mul(16).saturating_add(*low)).ok(),
            _ => None,
        })
        .collect();
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_are_spelt_as_numbers_are_read() {
        assert_eq!(unescape("\\155\\x6f\\u0075n\\0164\\n"), "mount\n");
        assert_eq!(base64("bnNlbnRlcg").as_deref(), Some("nsenter"));
        assert_eq!(base32("NFSAU===").as_deref(), Some("id\n"));
        assert_eq!(hexadecimal("6e73 656e").as_deref(), Some("nsen"));
        assert_eq!(base64("~"), None);
    }
}
