//! A measured figure, its unit, the budget that it must keep, and what this machine does without moltbot.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a figure must keep.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum Limit {
    /// A promise: less fails the run.
    AtLeast(f64),
    /// A budget: more fails the run.
    AtMost(f64),
    /// A budget in multiples of the reference: more fails the run, and so does a figure without one.
    Times(f64),
    /// Nothing: told for comparison.
    None,
}

/// The same work without moltbot, measured in the same run, in the figure's own unit.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Reference {
    /// More of it is better.
    Rate(String, f64),
    /// Less of it is better.
    Time(String, f64),
}

/// One measured figure.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What it was measured in.
    pub unit: String,
    /// How much it is.
    pub value: f64,
    /// What it must keep.
    pub limit: Limit,
    /// What it is compared with.
    pub reference: Option<Reference>,
}

impl Figure {
    /// A figure that is compared with nothing yet.
    pub fn new(name: impl Into<String>, unit: &str, value: f64, limit: Limit) -> Self {
        Self { name: name.into(), unit: unit.to_owned(), value, limit, reference: None }
    }

    /// One JSON object in one line, as the bench of a crate prints its figures.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers")
    }

    /// The same figure beside what it is compared with.
    pub fn beside(self, reference: Reference) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// Whether it keeps its budget.
    pub fn within(&self) -> bool {
        match self.limit {
            Limit::AtLeast(least) => self.value >= least,
            Limit::AtMost(most) => self.value <= most,
            Limit::Times(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Limit::None => true,
        }
    }

    /// How many times the cost of its reference it costs: more is worse, whatever the unit.
    pub fn ratio(&self) -> Option<f64> {
        self.reference.as_ref().map(|reference| match reference {
            Reference::Rate(_, rate) => rate / self.value,
            Reference::Time(_, time) => self.value / time,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<46} {:>10.2} {:<10}", self.name, self.value, self.unit)?;
        match self.limit {
            Limit::AtLeast(least) => write!(f, "  (at least {least})")?,
            Limit::AtMost(most) => write!(f, "  (budget {most})")?,
            Limit::Times(most) => write!(f, "  (budget {most} x)")?,
            Limit::None => {}
        }
        match (&self.reference, self.ratio()) {
            (Some(Reference::Rate(what, value) | Reference::Time(what, value)), Some(ratio)) => {
                write!(f, "  {ratio:.2} x the cost of {what} ({value:.2})")
            }
            _ => Ok(()),
        }
    }
}

/// All figures as one JSON object: name to value, unit and ratio.
pub fn json(figures: &[Figure]) -> String {
    let entries = figures.iter().map(|figure| {
        let Figure { name, unit, value, .. } = figure;
        (name.clone(), serde_json::json!({ "value": value, "unit": unit, "ratio": figure.ratio() }))
    });
    serde_json::Value::Object(entries.collect()).to_string()
}

/// The middle one of several measurements.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How long `run` takes.
pub fn timed(run: impl FnOnce()) -> Duration {
    let began = std::time::Instant::now();
    run();
    began.elapsed()
}

/// What so many of a thousand measurements stay below, in milliseconds; 500 is the median.
pub fn milliseconds_of(times: &mut [Duration], thousandth: usize) -> f64 {
    times.sort_unstable();
    let at = times.len().saturating_mul(thousandth) / 1000;
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
