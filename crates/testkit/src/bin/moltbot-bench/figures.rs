//! A measured figure, its unit, the budget that it must keep, and what this machine does without moltbot.

use std::fmt;

/// What a figure must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// A budget: more fails the run.
    AtMost(f64),
    /// Nothing: told for comparison.
    None,
}

/// The same work without moltbot, measured in the same run, in the figure's own unit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reference {
    /// More of it is better.
    Rate(&'static str, f64),
    /// Less of it is better.
    Time(&'static str, f64),
}

/// One measured figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) limit: Limit,
    pub(crate) reference: Option<Reference>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: f64, limit: Limit) -> Self {
        Self { name: name.into(), unit, value, limit, reference: None }
    }

    /// The same figure beside what it is compared with.
    pub(crate) fn beside(self, reference: Reference) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// Whether it keeps its budget.
    pub(crate) fn within(&self) -> bool {
        match self.limit {
            Limit::AtMost(most) => self.value <= most,
            Limit::None => true,
        }
    }

    /// How many times the cost of its reference it costs: more is worse, whatever the unit.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.reference.map(|reference| match reference {
            Reference::Rate(_, rate) => rate / self.value,
            Reference::Time(_, time) => self.value / time,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<46} {:>10.2} {:<10}", self.name, self.value, self.unit)?;
        if let Limit::AtMost(most) = self.limit {
            write!(f, "  (budget {most})")?;
        }
        match (self.reference, self.ratio()) {
            (Some(Reference::Rate(what, value) | Reference::Time(what, value)), Some(ratio)) => {
                write!(f, "  {ratio:.2} x the cost of {what} ({value:.2})")
            }
            _ => Ok(()),
        }
    }
}

/// All figures as one JSON object: name to value, unit and ratio.
pub(crate) fn json(figures: &[Figure]) -> String {
    let entries = figures.iter().map(|figure| {
        let Figure { name, unit, value, .. } = figure;
        (name.clone(), serde_json::json!({ "value": value, "unit": unit, "ratio": figure.ratio() }))
    });
    serde_json::Value::Object(entries.collect()).to_string()
}

/// The middle one of several measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
