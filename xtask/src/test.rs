//! `test`: says what it needs and why, installs what is missing, runs every step of the table, and sums up.
//!
//! Every step runs, whatever became of those before it, and its output is passed on as it comes. The last line stands
//! alone: `N passed, N failed`. A step that has no tests of its own (formatting, lints) counts as one. A missing ground
//! is a failure, never a skip.

pub(crate) mod packages;
mod steps;
mod tally;

use packages::Ground;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use steps::{LAST_OF_DEEP, Step, TABLE};
use tally::Tally;

/// Cases of each property under `--deep`; proptest's own default is 256.
const DEEP_CASES: &str = "10000";

/// Which steps to run.
#[derive(clap::Args)]
pub(crate) struct Request {
    /// Only this level: 0 text and lints, 1 pure, 2 namespaces, 3 whole farms, 4 the stock kernel [default: all]
    #[arg(long, value_name = "N")]
    level: Option<u8>,
    /// Many more cases of every property, the tests that take long, and changes of the code that tests must notice
    #[arg(long)]
    deep: bool,
}

/// Runs the steps; true when nothing failed.
///
/// # Errors
/// The output could not be written, or this program's own path is not known.
pub(crate) fn run(root: &Path, request: &Request) -> io::Result<bool> {
    let last = request.deep.then_some(&LAST_OF_DEEP);
    let wanted = |step: &&Step| request.level.is_none_or(|level| level == step.level);
    let steps: Vec<&Step> = TABLE.iter().chain(last).filter(wanted).collect();
    if steps.is_empty() {
        return Err(io::Error::other("there is no such level: `cargo xtask test --help` names them"));
    }
    let runner = Runner { root: root.to_owned(), own: std::env::current_exe()?, deep: request.deep };
    let grounds: BTreeSet<Ground> = steps.iter().flat_map(|step| step.grounds).copied().collect();
    let mut total = Tally::default();
    match packages::prepare(root, &grounds, &mut io::stdout()) {
        Ok(()) => total = runner.run_all(&steps)?,
        Err(error) => {
            println!("test: {error}");
            total.failed += 1;
        }
    }
    println!("{total}");
    Ok(total.failed == 0)
}

struct Runner {
    root: PathBuf,
    /// This program; asked for once, since a step may build it anew.
    own: PathBuf,
    deep: bool,
}

impl Runner {
    fn run_all(&self, steps: &[&Step]) -> io::Result<Tally> {
        let mut total = Tally::default();
        let mut told = Vec::new();
        for step in steps {
            println!("\n==> level {}: {} ({})", step.level, step.name, self.words(step).join(" "));
            let start = Instant::now();
            let tally = self.run_step(step)?;
            told.push(line_of(step, &tally, start.elapsed()));
            total += tally;
        }
        println!("\n{}", told.join("\n"));
        if total.ignored > 0 {
            println!("{} tests take long and run under --deep only", total.ignored);
        }
        Ok(total)
    }

    fn run_step(&self, step: &Step) -> io::Result<Tally> {
        let words = self.words(step);
        let mut command = match words[0] {
            "xtask" => Command::new(&self.own),
            program => Command::new(program),
        };
        command.args(&words[1..]);
        let child = self.settle(&mut command).stdout(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                println!("{}: {error}", words[0]);
                return Ok(Tally::of_check(false));
            }
        };
        let output = child.stdout.take().expect("the command was given a pipe");
        let counted = pass_on(BufReader::new(output))?;
        Ok(counted.closed(child.wait()?.success()))
    }

    fn words(&self, step: &Step) -> Vec<&'static str> {
        let deep = if self.deep { step.deep } else { &[] };
        step.command.iter().chain(deep).copied().collect()
    }

    /// Gives a child the environment that every step shares.
    fn settle<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        packages::settle(&self.root, command).current_dir(&self.root).stdin(Stdio::null());
        // A golden that differs is a failure here, never a new golden.
        command.env("INSTA_UPDATE", "no");
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            command.env("CARGO_TERM_COLOR", "never");
        }
        if self.deep {
            command.env("PROPTEST_CASES", DEEP_CASES);
            // Hours of our own code: a longer build is soon made up for. Failpoints and assertions stay.
            command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        }
        command
    }
}

/// Passes the output on, line by line, and counts the results in it.
fn pass_on(mut output: impl BufRead) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        // By the macro, so that a test of this very function does not print results that are counted again.
        print!("{text}");
        io::stdout().flush()?;
        tally.read(&text);
        line.clear();
    }
    Ok(tally)
}

fn line_of(step: &Step, tally: &Tally, took: Duration) -> String {
    let word = if tally.failed == 0 { "ok" } else { "FAILED" };
    format!("level {}  {:<70} {word:<7} {:>6.1} s  {tally}", step.level, step.name, took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(deep: bool) -> Runner {
        Runner { root: "/".into(), own: "xtask".into(), deep }
    }

    fn step(command: &'static [&'static str]) -> Step {
        Step { name: "a step", level: 0, command, deep: &["deeper"], grounds: &[] }
    }

    #[test]
    fn a_step_with_results_is_counted_by_them() {
        const SCRIPT: &str = "echo 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured'; echo other";
        let tally = runner(false).run_step(&step(&["sh", "-c", SCRIPT])).unwrap();
        assert_eq!(tally, Tally { passed: 3, failed: 0, ignored: 1 });
    }

    #[test]
    fn a_step_without_results_counts_as_one() {
        let run = |command| runner(false).run_step(&step(command)).unwrap();
        assert_eq!(run(&["true"]), Tally { passed: 1, failed: 0, ignored: 0 });
        assert_eq!(run(&["false"]), Tally { passed: 0, failed: 1, ignored: 0 });
        assert_eq!(run(&["no-such-program-here"]), Tally { passed: 0, failed: 1, ignored: 0 });
    }

    #[test]
    fn every_step_runs_after_a_failed_one() {
        let (bad, good) = (step(&["false"]), step(&["true"]));
        let total = runner(false).run_all(&[&bad, &good]).unwrap();
        assert_eq!(total.to_string(), "1 passed, 1 failed");
    }

    #[test]
    fn deep_adds_its_words_and_cases() {
        assert_eq!(runner(true).words(&step(&["a", "b"])), ["a", "b", "deeper"]);
        assert_eq!(runner(false).words(&step(&["a", "b"])), ["a", "b"]);
        let mut command = Command::new("a");
        runner(true).settle(&mut command);
        assert!(command.get_envs().any(|(name, value)| name == "PROPTEST_CASES" && value.is_some()));
    }
}
