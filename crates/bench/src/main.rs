//! What things cost, each beside a reference that runs in turn with ours in the same minutes: `cargo xtask bench`.
//!
//! ```text
//! benches::ALL ─▶ run: rounds of ours and of the reference, in namespaces of their own ─▶ Figure ─▶ table or JSON
//! ```
//!
//! Owns: arguments and exit codes. Must not be a test: a figure is printed and compared with its aim, never asserted. What
//! it makes ends with it; it leaves the machine's own network alone.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: it prints")]

mod agent;
mod benches;
mod bird;
mod bystander;
mod failed;
mod farm;
mod figure;
mod generator;
mod ground;
mod machine;
mod report;
mod script;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use benches::{ALL, Bench};
use failed::Failed;
use figure::Figure;
use report::Report;

/// Rounds of each side, unless something else is asked for: a median and a spread that say something.
const ROUNDS: usize = 5;

/// Measure what things cost, each beside a reference
///
/// Run it by `cargo xtask bench`, which installs what the references are.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Which ones [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,

    /// How often each side runs
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    rounds: usize,

    /// Tiny sizes and one round: says whether the measuring works, not what things cost
    #[arg(long)]
    quick: bool,

    /// Exit points of the benches `gateway` and `gateway-whole`
    #[arg(long, value_name = "N", default_value_t = benches::EXITS, value_parser = clap::value_parser!(u16).range(2..=i64::from(benches::EXITS)))]
    exits: u16,

    /// Say what there is, and measure nothing
    #[arg(long)]
    list: bool,

    /// Be a process that a bench needs
    #[arg(long, hide = true, value_name = "WHAT")]
    part: Option<Part>,
}

/// What this program is started as by itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    Tunnel,
    Agent,
    Driven,
    Registry,
}

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// How often each side runs: at least once.
    pub(crate) rounds: usize,
    /// Tiny sizes.
    pub(crate) quick: bool,
    /// Exit points of the one gateway that is built.
    pub(crate) exits: u16,
}

impl Setting {
    /// A size: the real one, or the tiny one that only shows that the measuring works.
    pub(crate) fn size<T>(self, full: T, tiny: T) -> T {
        if self.quick { tiny } else { full }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (arguments.part, arguments.list) {
        (Some(Part::Tunnel), _) => ground::be_the_tunnel().map(|()| true),
        (Some(Part::Agent), _) => agent::be_the_agent().map(|()| true),
        (Some(Part::Driven), _) => benches::be_driven().map(|()| true),
        (Some(Part::Registry), _) => benches::be_the_registry().map(|()| true),
        (None, true) => {
            ALL.iter().for_each(|bench| println!("{:<12} {}", bench.name, bench.about));
            Ok(true)
        }
        (None, false) => run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        // What, is said already.
        Ok(false) => ExitCode::from(3),
        Err(failed) => {
            eprintln!("bench: {}", failed::chain(&failed));
            ExitCode::from(if matches!(failed, Failed::Unknown { .. }) { 2 } else { 3 })
        }
    }
}

/// Measures; false when something could not be.
fn run(arguments: &Arguments) -> Result<bool, Failed> {
    let chosen = choose(&arguments.names)?;
    let rounds = if arguments.quick { 1 } else { arguments.rounds.max(1) };
    let setting = Setting { rounds, quick: arguments.quick, exits: arguments.exits };
    ground::check()?;
    let before = machine::Machine::now()?;
    let (mut figures, mut whole) = (Vec::<Figure>::new(), true);
    for bench in chosen {
        eprintln!("bench: {}: {}", bench.name, bench.about);
        match (bench.run)(setting) {
            Ok(measured) => figures.extend(measured.into_iter().map(|figure| figure.of(bench.name))),
            // The others' figures are as good without it.
            Err(failed) => {
                eprintln!("bench: {}: {}", bench.name, failed::chain(&failed));
                whole = false;
            }
        }
    }
    let report = Report { setting, before, after: machine::Machine::now()?, figures };
    if arguments.json {
        println!("{}", report.json()?)
    } else {
        print!("{}", report.table())
    }
    Ok(whole)
}

fn choose(names: &[String]) -> Result<Vec<&'static Bench>, Failed> {
    let unknown = names.iter().find(|name| !ALL.iter().any(|bench| bench.name == **name));
    if let Some(name) = unknown {
        let known: Vec<&str> = ALL.iter().map(|bench| bench.name).collect();
        return Err(Failed::Unknown { name: name.clone(), known: known.join(", ") });
    }
    Ok(ALL.iter().filter(|bench| names.is_empty() || names.iter().any(|name| name == bench.name)).collect())
}
