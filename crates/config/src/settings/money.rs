//! Money: what models cost.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What a model costs, in dollars for a million tokens, as upstream writes it.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelCost {
    /// Tokens read from the provider's cache.
    pub cache_read: Dollars,
    /// Tokens written to the provider's cache.
    pub cache_write: Dollars,
    /// Tokens read.
    pub input: Dollars,
    /// Tokens written.
    pub output: Dollars,
}

/// An amount of money, exact to the millionth of a dollar: 0 to 1 000 000.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Dollars(u64);

/// Millionths of the largest amount.
const MOST: u64 = 1_000_000_000_000;

impl Dollars {
    /// So many whole dollars.
    pub(super) const fn whole(dollars: u64) -> Self {
        Self(dollars.saturating_mul(1_000_000))
    }

    /// It in millionths of a dollar.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// The amount of so many dollars; nothing when it is none.
    pub fn parse(dollars: f64) -> Option<Self> {
        let millionths = (dollars * 1e6).round();
        // Of what is neither negative, nor no number, nor too large, the digits are a whole number.
        let is_amount = millionths >= 0.0 && millionths.is_finite();
        let digits = is_amount.then(|| format!("{:.0}", millionths.abs()))?;
        digits.parse().ok().filter(|millionths| *millionths <= MOST).map(Self)
    }
}

impl JsonSchema for Dollars {
    fn schema_name() -> Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0, "maximum": 1_000_000})
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest % 10_000 == 0 {
            return write!(f, "{dollars}.{:02}", rest / 10_000);
        }
        write!(f, "{dollars}.{rest:06}")
    }
}

impl Serialize for Dollars {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Its digits are a number of JSON, and what they say is exact.
        let number: f64 = self.to_string().parse().map_err(serde::ser::Error::custom)?;
        serializer.serialize_f64(number)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;

        impl Visitor<'_> for Amount {
            type Value = Dollars;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("dollars, 0 to 1000000")
            }

            fn visit_f64<E: Error>(self, dollars: f64) -> Result<Dollars, E> {
                Dollars::parse(dollars).ok_or_else(|| E::custom("dollars must be 0 to 1000000"))
            }

            fn visit_u64<E: Error>(self, dollars: u64) -> Result<Dollars, E> {
                let millionths = dollars.checked_mul(1_000_000).filter(|millionths| *millionths <= MOST);
                millionths.map(Dollars).ok_or_else(|| E::custom("dollars must be 0 to 1000000"))
            }

            fn visit_i64<E: Error>(self, dollars: i64) -> Result<Dollars, E> {
                self.visit_u64(u64::try_from(dollars).map_err(|_| E::custom("dollars must not be negative"))?)
            }
        }

        deserializer.deserialize_any(Amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_and_nothing_else_is_money() {
        for (text, millionths, shown) in [
            ("5", 5_000_000, "5.00"),
            ("0.15", 150_000, "0.15"),
            ("0", 0, "0.00"),
            ("0.000001", 1, "0.000001"),
            ("1000000", 1_000_000_000_000, "1000000.00"),
        ] {
            let dollars: Dollars = serde_json::from_str(text).unwrap();
            assert_eq!((dollars.millionths(), dollars.to_string().as_str()), (millionths, shown), "{text}");
        }
        for text in ["-1", "-0.01", "1000000.1", "1e300", "\"5\"", "true", "18446744073709551615"] {
            assert!(serde_json::from_str::<Dollars>(text).is_err(), "{text}");
        }
        for none in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Dollars::parse(none), None);
        }
    }
}
