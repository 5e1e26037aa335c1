//! Measures a release build of moltbot through its real binary, on loopback, with a scripted model.
//!
//! Prints medians beside what this machine does without moltbot, in the same run, and how that ratio changed against
//! the baseline of the repository. With `--budgets` it measures only what has a budget; a budget that is exceeded
//! fails every run. With `--compare`, a ratio worse than twice its baseline does, too.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program of the tests that prints its measurements")]

mod baseline;
mod benches;
mod gateway;
mod idle;
mod rate;
mod reference;
mod signed;
mod turns;
mod wire;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use baseline::Baseline;
use moltbot_testkit::figure::{self, Figure, Limit};

/// What any measurement may end with.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: moltbot-bench [--budgets] [--json] [--baseline FILE [--compare | --write]] \
    [--bench FILE]... BINARY";

#[derive(Default)]
struct Arguments {
    benches: Vec<PathBuf>,
    budgets_only: bool,
    json: bool,
    compare: bool,
    write: bool,
    baseline: Option<PathBuf>,
    binary: PathBuf,
}

fn arguments() -> Outcome<Arguments> {
    let mut parsed = Arguments::default();
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--baseline" => parsed.baseline = Some(given.next().ok_or(USAGE)?.into()),
            "--bench" => parsed.benches.push(given.next().ok_or(USAGE)?.into()),
            "--budgets" => parsed.budgets_only = true,
            "--compare" => parsed.compare = true,
            "--json" => parsed.json = true,
            "--write" => parsed.write = true,
            option if option.starts_with('-') => return Err(USAGE.into()),
            path => parsed.binary = std::path::absolute(path)?,
        }
    }
    let needs_baseline = parsed.compare || parsed.write;
    if parsed.binary.as_os_str().is_empty() || (needs_baseline && parsed.baseline.is_none()) {
        return Err(USAGE.into());
    }
    Ok(parsed)
}

async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    let binary = &arguments.binary;
    let times = if arguments.budgets_only { 1 } else { 3 };
    let mut figures = vec![Figure::new("binary size", "MB", gateway::size(binary)?, Limit::AtMost(20.0))];
    let mut processor = ProcessorTimes::default();
    processor.round(binary).await?;
    eprint_step("idle memory");
    figures.extend(idle::resident(binary, times).await?);
    processor.round(binary).await?;
    eprint_step("idle connections");
    figures.push(idle::connections(binary, 5_000, times).await?);
    if !arguments.budgets_only {
        eprint_step("requests per second");
        figures.extend(rate::requests(binary).await?);
    }
    eprint_step("durable turns");
    figures.extend(turns::durable(binary, 200).await?);
    processor.round(binary).await?;
    figures.extend(processor.least());
    for path in &arguments.benches {
        figures.extend(benches::figures(path)?);
    }
    Ok(figures)
}

/// What is measured in processor time, in rounds that are spread over the run. The round that took the least counts: what else
/// happens on the machine, or on the one below it, only adds, and for minutes at a time up to as much again.
#[derive(Default)]
struct ProcessorTimes {
    starts: Vec<Vec<Figure>>,
    sign_ins: Vec<Vec<Figure>>,
}

impl ProcessorTimes {
    async fn round(&mut self, binary: &Path) -> Outcome<()> {
        eprint_step("cold starts");
        self.starts.push(gateway::cold_starts(binary, 21).await?);
        eprint_step("sign-ins");
        self.sign_ins.push(signed::sign_ins(binary, 300).await?);
        Ok(())
    }

    fn least(self) -> impl Iterator<Item = Figure> {
        let processor_time = |round: &Vec<Figure>| {
            let figure = round.iter().find(|figure| figure.name.ends_with("CPU"));
            figure.map_or(f64::MAX, |figure| match figure.limit {
                Limit::Times(_) => figure.ratio().unwrap_or(f64::MAX),
                _ => figure.value,
            })
        };
        [self.starts, self.sign_ins].into_iter().flat_map(move |rounds| {
            rounds
                .into_iter()
                .min_by(|a, b| processor_time(a).total_cmp(&processor_time(b)))
                .unwrap_or_default()
        })
    }
}

#[expect(clippy::print_stderr, reason = "progress goes beside the measurements")]
fn eprint_step(step: &str) {
    eprintln!("measuring {step}");
}

fn main() -> ExitCode {
    let given: Vec<_> = std::env::args_os().skip(1).collect();
    if let [first, folder] = given.as_slice()
        && first == reference::FIRST_START
    {
        let outcome = reference::first_start(Path::new(folder));
        return if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = arguments().and_then(|arguments| {
        let figures = runtime?.block_on(measure(&arguments))?;
        report(&arguments, &figures)
    });
    match outcome {
        Ok(exit) => exit,
        Err(error) => {
            println!("bench failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments, figures: &[Figure]) -> Outcome<ExitCode> {
    let path = arguments.baseline.as_deref();
    if let Some(path) = path.filter(|_| arguments.write) {
        Baseline::of(figures).write(path)?;
    }
    let baseline = path.map(Baseline::read).transpose()?.unwrap_or_default();
    if arguments.json {
        println!("{}", figure::json(figures));
    } else {
        println!("{}", baseline::machine());
        for figure in figures {
            match baseline.change(figure) {
                Some(change) => println!("{figure}, {change:.2} of the baseline"),
                None => println!("{figure}"),
            }
        }
    }
    let over = figures.iter().filter(|figure| !figure.within());
    let mut failures: Vec<String> = over.map(|figure| format!("over its budget: {figure}")).collect();
    if arguments.compare {
        failures.extend(baseline.regressions(figures));
    }
    failures.iter().for_each(|failure| println!("{failure}"));
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
