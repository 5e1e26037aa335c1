//! Numbers of JSON5: decimal, hexadecimal, with a sign, `Infinity`, `NaN`.

use super::{Fault, Read, Reader};
use crate::tree::Number;

/// The largest magnitude at which a float is every whole number exactly: 2⁵³.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Reader<'_> {
    pub(super) fn number(&mut self) -> Read<Number> {
        let start = self.at;
        let negative = self.eat('-');
        if !negative {
            self.eat('+');
        }
        let digits_at = self.at;
        let word = self.take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'));
        let rest_at = self.at;
        let digits = match word.strip_suffix(['e', 'E']) {
            // The sign of an exponent is the one sign inside a number.
            Some(_) if !is_hexadecimal(word) && (self.eat('+') || self.eat('-')) => {
                self.take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'));
                self.text.get(digits_at..self.at).unwrap_or("")
            }
            _ => word,
        };
        if digits.is_empty() {
            return Err(self.no_number(rest_at));
        }
        let number = match digits {
            "Infinity" => Number::Float(f64::INFINITY),
            "NaN" => Number::Float(f64::NAN),
            _ if is_hexadecimal(digits) => self.hexadecimal(digits, digits_at)?,
            _ => self.decimal(digits, start, digits_at)?,
        };
        Ok(match number {
            Number::Float(float) if negative => Number::Float(-float),
            Number::Whole(whole) if negative => Number::Whole(whole.saturating_neg()),
            other => other,
        })
    }

    fn hexadecimal(&self, digits: &str, at: usize) -> Read<Number> {
        let digits = digits.get(2..).unwrap_or("");
        match u64::from_str_radix(digits, 16) {
            Ok(whole) => Ok(Number::Whole(whole.into())),
            Err(_) => Err(self.fault(
                at,
                "a hexadecimal number has a digit that does not belong, none, or too many",
                "write 0x and 1 to 16 of 0-9 and a-f",
            )),
        }
    }

    fn decimal(&self, digits: &str, start: usize, at: usize) -> Read<Number> {
        let mut first = digits.bytes();
        if first.next() == Some(b'0') && first.next().is_some_and(|b| b.is_ascii_digit()) {
            return Err(self.fault(start, "a number begins with a zero too many", "remove the zero"));
        }
        let alien = |c: char| !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
        if let Some(position) = digits.find(alien) {
            return Err(self.no_number(at.saturating_add(position)));
        }
        if let Ok(whole) = digits.parse::<u64>() {
            return Ok(Number::Whole(whole.into()));
        }
        let Ok(float) = digits.parse::<f64>() else { return Err(self.no_number(at)) };
        let is_whole = float.fract() == 0.0 && float.abs() < EXACT;
        let whole = is_whole.then(|| format!("{float:.0}").parse().ok()).flatten();
        Ok(whole.map_or(Number::Float(float), Number::Whole))
    }

    fn no_number(&self, at: usize) -> Fault {
        self.fault(
            at,
            "a number has something that does not belong",
            "write a number as 5, 0.5 or 0x1F, or a text in quotes",
        )
    }
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.starts_with("0x") || digits.starts_with("0X")
}
