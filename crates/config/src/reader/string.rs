//! Texts of JSON5: either quote, escapes, lines joined by a backslash.

use super::{Fault, Read, Reader};

impl Reader<'_> {
    pub(super) fn string(&mut self, quote: char) -> Read<String> {
        let start = self.at;
        self.bump();
        let mut value = String::new();
        loop {
            value.push_str(self.take_while(|c| c != quote && !matches!(c, '\\' | '\n' | '\r')));
            let at = self.at;
            match self.bump() {
                None => {
                    return Err(self.fault(
                        start,
                        "the file ends inside this text",
                        "close the text with its quote",
                    ));
                }
                Some('\\') => self.escape(at, &mut value)?,
                Some('\n' | '\r') => {
                    return Err(self.fault(
                        at,
                        "a text goes over the end of the line",
                        "close the text with its quote, or end the line with '\\' to go on",
                    ));
                }
                Some(_) => return Ok(value),
            }
        }
    }

    /// Reads what follows a backslash at `at`.
    fn escape(&mut self, at: usize, value: &mut String) -> Read<()> {
        let Some(c) = self.bump() else { return Err(self.incomplete(at)) };
        value.push(match c {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => '\0',
            'x' => self.hexadecimal_unit(2).and_then(char::from_u32).ok_or_else(|| self.incomplete(at))?,
            'u' => self.unicode(at)?,
            '\r' => {
                self.eat('\n');
                return Ok(());
            }
            '\n' | '\u{2028}' | '\u{2029}' => return Ok(()),
            c if c.is_ascii_digit() => {
                return Err(self.fault(
                    at,
                    "an escape is not known",
                    "write \\x and two digits, or \\u and four",
                ));
            }
            c => c,
        });
        Ok(())
    }

    /// One `\u` unit, or two that are a surrogate pair.
    fn unicode(&mut self, at: usize) -> Read<char> {
        let first = self.hexadecimal_unit(4).ok_or_else(|| self.incomplete(at))?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        let high = u16::try_from(first).map_err(|_| self.incomplete(at))?;
        if !(self.eat('\\') && self.eat('u')) {
            return Err(self.half_a_pair(at));
        }
        let low = self.hexadecimal_unit(4).and_then(|unit| u16::try_from(unit).ok());
        let low = low.ok_or_else(|| self.incomplete(at))?;
        let mut decoded = char::decode_utf16([high, low]);
        match (decoded.next(), decoded.next()) {
            (Some(Ok(c)), None) => Ok(c),
            _ => Err(self.half_a_pair(at)),
        }
    }

    fn hexadecimal_unit(&mut self, digits: usize) -> Option<u32> {
        let text = self.rest().get(..digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let unit = u32::from_str_radix(text, 16).ok()?;
        self.advance(digits);
        Some(unit)
    }

    fn incomplete(&self, at: usize) -> Fault {
        self.fault(at, "an escape is not complete", "write \\x and two hexadecimal digits, or \\u and four")
    }

    fn half_a_pair(&self, at: usize) -> Fault {
        self.fault(at, "an escape is half of a character", "write the character itself")
    }
}
