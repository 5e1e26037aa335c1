//! Turns a judged tree into [`Config`](crate::Config): references replaced, what is not served left out.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::substitution::{Environment, Expanded, expand};
use crate::tree::{Kind, Node, Number};

/// A value on its way into a setting.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) node: &'a Node,
    /// Members that are left out, by the offsets of their keys.
    pub(crate) skipped: &'a BTreeSet<usize>,
    pub(crate) environment: &'a Environment<'a>,
}

impl<'a> Values<'a> {
    fn of(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Bool(flag) => visitor.visit_bool(*flag),
            Kind::List { items, .. } => {
                visitor.visit_seq(SeqDeserializer::new(items.iter().map(|item| self.of(item))))
            }
            Kind::Null => visitor.visit_unit(),
            Kind::Number(Number::Float(float)) => visitor.visit_f64(*float),
            Kind::Number(Number::Whole(whole)) => match (u64::try_from(*whole), i64::try_from(*whole)) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                (Err(_), Err(_)) => visitor.visit_i128(*whole),
            },
            Kind::Object { members, .. } => {
                let served = members.iter().filter(|member| !self.skipped.contains(&member.start));
                visitor.visit_map(MapDeserializer::new(
                    served.map(|member| (member.key.as_str(), self.of(&member.value))),
                ))
            }
            Kind::Text(text) => match expand(text, self.environment) {
                // A secret is handed over as the one copy that the setting keeps.
                Ok(Expanded::Secret(secret)) => visitor.visit_string(secret.expose_secret().to_owned()),
                Ok(Expanded::Plain(text)) => visitor.visit_str(&text),
                Err(_) => {
                    Err(de::Error::custom("a variable of the environment vanished while the config was read"))
                }
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Text(text) => match expand(text, self.environment) {
                Ok(text) => text.expose().into_deserializer().deserialize_enum(name, variants, visitor),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Values<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
