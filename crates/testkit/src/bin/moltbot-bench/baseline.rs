//! The ratios of an earlier run, kept in the repository, and how today's compare with them.
//!
//! Ratios travel between machines where figures do not: both sides of each were measured in one run.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::gateway::proc_text;
use moltbot_testkit::figure::Figure;

/// A ratio worse than this many times its baseline is a regression. Less is the noise of a busy machine.
const WORSE: f64 = 2.0;

/// An earlier run.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// What it ran on, for people.
    pub(crate) machine: String,
    /// A figure's name to how many times the cost of its reference it cost.
    pub(crate) ratios: BTreeMap<String, f64>,
}

impl Baseline {
    /// Today's figures as a baseline.
    pub(crate) fn of(figures: &[Figure]) -> Self {
        let round = |ratio: f64| (ratio * 100.0).round() / 100.0;
        let ratios = figures.iter().filter_map(|figure| Some((figure.name.clone(), round(figure.ratio()?))));
        Self { machine: machine(), ratios: ratios.collect() }
    }

    #[expect(clippy::disallowed_methods, reason = "the baseline is a file of the repository")]
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    #[expect(clippy::disallowed_methods, reason = "the baseline is a file of the repository")]
    pub(crate) fn write(&self, path: &Path) -> Outcome<()> {
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// A figure's ratio as a share of its baseline: 1 is as before, 2 is twice as costly.
    pub(crate) fn change(&self, figure: &Figure) -> Option<f64> {
        Some(figure.ratio()? / self.ratios.get(&figure.name)?)
    }

    /// The figures that became much worse, and the ratios of the baseline that nobody measured.
    pub(crate) fn regressions(&self, figures: &[Figure]) -> Vec<String> {
        let worse = figures
            .iter()
            .filter(|figure| self.change(figure).is_some_and(|change| change > WORSE))
            .map(|figure| format!("more than {WORSE} x its baseline: {figure}"));
        let measured = |name: &String| figures.iter().any(|figure| figure.name == *name);
        let missing = self.ratios.keys().filter(|name| !measured(name));
        worse.chain(missing.map(|name| format!("of the baseline, not measured: {name}"))).collect()
    }
}

/// This machine, in a few words.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpus = proc_text("/proc/cpuinfo".as_ref()).unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    format!("{cores} cores, {}, Linux {kernel}", model.map_or("unknown processor", |(_, name)| name))
}
