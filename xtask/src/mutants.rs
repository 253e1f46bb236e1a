//! `mutants`: changes the code of `core` in one place after the other, and counts how often the tests notice.
//!
//! Two rounds. The first asks the quick tests only, which notice nearly everything; the second asks every test of `core`
//! about what the first let through. What nobody noticed must stand in `docs/mutation.md` with the reason. Settings are
//! in `.cargo/mutants.toml`; all that is built and written lies under `target/mutants`.

mod outcome;

use outcome::{Explained, Outcome, Summary};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program that changes the code. Pinned, so that a new release cannot find more in an old commit.
const VERSION: &str = "27.1.0";

/// Tests that take longer than all others together; those that remain notice nearly as much.
const SLOW: [&str; 3] = ["a_slot_is_filled_to_the_last", "oracle::", "without::"];

/// Cases of each property in the first round.
const FEW_CASES: &str = "8";

/// What to change.
#[derive(clap::Args)]
pub(crate) struct Request {
    /// Only every n-th change, beginning with the k-th from 0: a fair sample
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Only this module of core, as of `plan` [default: those of .cargo/mutants.toml]
    #[arg(long, value_name = "MODULE")]
    module: Vec<String>,
    /// Only lines that are other than in that commit
    #[arg(long, value_name = "REVISION")]
    since: Option<String>,
}

/// Runs both rounds and sums up; true when enough was noticed and all that was not is explained.
///
/// # Errors
/// The program could not be built or run, or what it wrote could not be read.
pub(crate) fn run(root: &Path, request: &Request) -> io::Result<bool> {
    let work = root.join("target/mutants");
    fs::create_dir_all(&work)?;
    let rounds = Rounds { root, work: &work, program: obtain(root)? };
    let mut sample = request.sample();
    if let Some(revision) = &request.since {
        let file = work.join("since.diff");
        fs::write(&file, changed_since(root, revision)?)?;
        sample.extend(["--in-diff".to_owned(), file.display().to_string()]);
    }
    let first = rounds.round("first", &sample, &quickly())?;
    let survivors: Vec<&Outcome> = first.iter().filter(|outcome| outcome.is_missed()).collect();
    println!("{} of {} changes are left for every test of core", survivors.len(), first.len());
    let second = if survivors.is_empty() {
        Vec::new()
    } else {
        let named = survivors.iter().flat_map(|outcome| ["--re".to_owned(), outcome.pattern()]);
        rounds.round("second", &named.collect::<Vec<_>>(), &[])?
    };
    // The filter by name does not hold for fields that are left out: of these the second round tries more than it was asked.
    let asked = second.iter().filter(|outcome| survivors.iter().any(|survivor| survivor.names(outcome)));
    let outcomes = first.iter().filter(|outcome| !outcome.is_missed()).chain(asked);
    let explained = Explained::read(&fs::read_to_string(root.join("docs/mutation.md"))?);
    let summary = Summary::of(outcomes, &explained);
    println!("{summary}");
    Ok(summary.is_good())
}

/// What of core is other than in a commit.
fn changed_since(root: &Path, revision: &str) -> io::Result<Vec<u8>> {
    let mut git = Command::new("git");
    git.args(["diff", revision, "--", "crates/core/src"]).current_dir(root).stdin(Stdio::null());
    let output = git.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(io::Error::other(format!("git diff: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

impl Request {
    fn sample(&self) -> Vec<String> {
        let shard = self.shard.iter().flat_map(|shard| ["--shard".to_owned(), shard.clone()]);
        let of = |module: &String| ["--re".to_owned(), format!("^crates/core/src/{module}[./]")];
        shard.chain(self.module.iter().flat_map(of)).collect()
    }
}

/// Only the properties and examples of the whole path, without the slow ones.
fn quickly() -> Vec<String> {
    let target = ["--cargo-arg=--test", "--cargo-arg=whole", "--", "--"].map(str::to_owned);
    let skipped = SLOW.iter().flat_map(|name| ["--skip".to_owned(), (*name).to_owned()]);
    target.into_iter().chain(skipped).collect()
}

struct Rounds<'a> {
    root: &'a Path,
    work: &'a Path,
    program: PathBuf,
}

impl Rounds<'_> {
    fn round(&self, name: &str, sample: &[String], tests: &[String]) -> io::Result<Vec<Outcome>> {
        let output = self.work.join(name);
        if output.exists() {
            fs::remove_dir_all(&output)?;
        }
        fs::create_dir_all(&output)?;
        let mut command = Command::new(&self.program);
        command.args(["mutants", "--package", "sixfold-core", "--colors", "never", "--output"]).arg(&output);
        command.args(sample).args(tests).current_dir(self.root).stdin(Stdio::null());
        command.env("CARGO_TARGET_DIR", self.work.join("build")).env("TMPDIR", self.work);
        // A counterexample is enough, it need not be small; and a golden that differs is no new golden.
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env("INSTA_UPDATE", "no");
        match tests {
            [] => command.env_remove("PROPTEST_CASES"),
            _ => command.env("PROPTEST_CASES", FEW_CASES),
        };
        let status = command.status()?;
        let written = output.join("mutants.out/outcomes.json");
        // 2: something survived, 3: something took too long. Both are told by what is written.
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            return Err(io::Error::other(format!("cargo mutants: {status}; see {}", output.display())));
        }
        outcome::read(&fs::read_to_string(written)?)
    }
}

/// The program, built under `target/tools` where it is not there yet.
fn obtain(root: &Path) -> io::Result<PathBuf> {
    let tools = root.join("target/tools");
    let program = tools.join("bin/cargo-mutants");
    let version = Command::new(&program).arg("mutants").arg("--version").output();
    if version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim().ends_with(VERSION)) {
        return Ok(program);
    }
    println!("Built under target/tools first: cargo-mutants {VERSION} (two minutes).");
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "cargo-mutants", "--locked", "--version", VERSION, "--root"]).arg(tools);
    let status = cargo.stdin(Stdio::null()).status()?;
    if status.success() {
        Ok(program)
    } else {
        Err(io::Error::other(format!("cargo-mutants could not be built: {status}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_asks_quick_tests_and_a_sample_is_passed_on() {
        let words = quickly().join(" ");
        assert!(words.starts_with("--cargo-arg=--test --cargo-arg=whole -- -- --skip "), "{words}");
        let request = Request { shard: Some("1/8".to_owned()), module: vec!["plan".to_owned()], since: None };
        assert_eq!(request.sample(), ["--shard", "1/8", "--re", "^crates/core/src/plan[./]"]);
    }
}
