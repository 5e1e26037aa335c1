//! Measures a release build of moltbot through its real binary, on loopback, with a scripted model.
//!
//! `moltbot-bench [--budgets] [--json] BINARY`: prints medians beside what this machine does without moltbot, in the
//! same run, so that two machines can be compared by ratio. With `--budgets` it measures only what has a budget, and
//! fails when one is exceeded.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program of the tests that prints its measurements")]

mod figures;
mod gateway;
mod idle;
mod rate;
mod turns;
mod wire;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use figures::{Figure, Limit};

/// What any measurement may end with.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Arguments {
    budgets_only: bool,
    json: bool,
    binary: PathBuf,
}

fn arguments() -> Outcome<Arguments> {
    let mut parsed = Arguments { budgets_only: false, json: false, binary: PathBuf::new() };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--budgets" => parsed.budgets_only = true,
            "--json" => parsed.json = true,
            path => parsed.binary = std::path::absolute(path)?,
        }
    }
    if parsed.binary.as_os_str().is_empty() {
        return Err("usage: moltbot-bench [--budgets] [--json] BINARY".into());
    }
    Ok(parsed)
}

async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    let mut figures =
        vec![Figure::new("binary size", "MB", gateway::size(&arguments.binary)?, Limit::AtMost(20.0))];
    eprint_step("cold starts");
    figures.extend(gateway::cold_starts(&arguments.binary, 11).await?);
    eprint_step("idle memory");
    figures.extend(idle::resident(&arguments.binary).await?);
    eprint_step("idle connections");
    figures.push(idle::connections(&arguments.binary, 5_000).await?);
    if !arguments.budgets_only {
        eprint_step("requests per second");
        figures.extend(rate::requests(&arguments.binary).await?);
        eprint_step("durable turns");
        figures.extend(turns::durable(&arguments.binary, 200).await?);
    }
    Ok(figures)
}

#[expect(clippy::print_stderr, reason = "progress goes beside the measurements")]
fn eprint_step(step: &str) {
    eprintln!("measuring {step}");
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = arguments().and_then(|arguments| {
        let figures = runtime?.block_on(measure(&arguments))?;
        Ok((arguments, figures))
    });
    match outcome {
        Ok((arguments, figures)) => report(&arguments, &figures),
        Err(error) => {
            println!("bench failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments, figures: &[Figure]) -> ExitCode {
    if arguments.json {
        println!("{}", figures::json(figures));
    } else {
        figures.iter().for_each(|figure| println!("{figure}"));
    }
    let over: Vec<&Figure> = figures.iter().filter(|figure| !figure.within()).collect();
    for figure in &over {
        println!("over its budget: {figure}");
    }
    if over.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
