//! A measured figure, its unit, and the budget that it must keep.

use std::fmt;

/// What a figure must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// A budget: more fails the run.
    AtMost(f64),
    /// Nothing: told for comparison.
    None,
}

/// One measured figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) limit: Limit,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: f64, limit: Limit) -> Self {
        Self { name: name.into(), unit, value, limit }
    }

    /// Whether it keeps its budget.
    pub(crate) fn within(&self) -> bool {
        match self.limit {
            Limit::AtMost(most) => self.value <= most,
            Limit::None => true,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<52} {:>12.2} {}", self.name, self.value, self.unit)?;
        match self.limit {
            Limit::AtMost(most) => write!(f, "  (budget {most})"),
            Limit::None => Ok(()),
        }
    }
}

/// All figures as one JSON object: name to value.
pub(crate) fn json(figures: &[Figure]) -> String {
    let entries = figures.iter().map(|figure| {
        (figure.name.clone(), serde_json::json!({ "value": figure.value, "unit": figure.unit }))
    });
    serde_json::Value::Object(entries.collect()).to_string()
}

/// The middle one of several measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
