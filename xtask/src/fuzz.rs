//! `fuzz`: builds every target of `fuzz/` once and runs each for a while, several at a time; a finding fails, with its
//! input and how to try that again.
//!
//! Without a sanitizer: those need an unstable compiler, and what the targets reach of ours has no unsafe block. What is
//! looked for are panics (overflows and broken assertions among them), inputs that take too long, and too much memory.
//! What libFuzzer learns stays under `target/fuzz`, so that the next run begins where this one ended.

use crate::test::packages::{self, Ground, tools};
use crate::tool;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Seconds for one input: the slowest take well under one on a busy machine.
const INPUT_SECS: u32 = 20;
/// Megabytes of one target's process.
const MEMORY_MB: u32 = 1024;
/// Bytes of an input: the longest a fuzzer makes up of any use.
const INPUT_BYTES: u32 = 8192;
/// Lines of a failed target's log that are shown: what a panic says stands above its backtrace.
const LINES: usize = 120;

/// What to fuzz, and for how long.
#[derive(clap::Args)]
pub(crate) struct Request {
    /// Only these targets [default: every one in fuzz/Cargo.toml]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Try this one input, as a finding tells
    #[arg(long, value_name = "FILE", requires = "targets")]
    input: Option<PathBuf>,
}

/// Runs the targets; true when none found anything.
///
/// # Errors
/// Something could not be built, started or read.
pub(crate) fn run(root: &Path, request: &Request) -> io::Result<bool> {
    packages::prepare(root, &[Ground::CargoFuzz].into(), &mut io::stdout())?;
    let manifest = root.join("fuzz/Cargo.toml");
    let all = names(&fs::read_to_string(&manifest)?)?;
    if let Some(unknown) = request.targets.iter().find(|target| !all.contains(target)) {
        return Err(io::Error::other(format!("no target {unknown}; there are: {}", all.join(", "))));
    }
    let targets = if request.targets.is_empty() { all } else { request.targets.clone() };
    tool::run(Command::new("cargo").args(["fmt", "--manifest-path"]).arg(&manifest).args(["--", "--check"]))?;
    let work = Work { dir: root.join("target/fuzz") };
    tool::run(&mut work.build(root))?;
    if let Some(input) = &request.input {
        let tried = targets.iter().map(|target| work.command(target).arg(input).status());
        return Ok(tried.collect::<io::Result<Vec<_>>>()?.iter().all(|status| status.success()));
    }
    let together = std::thread::available_parallelism().map_or(1, usize::from);
    let mut well = true;
    for some in targets.chunks(together) {
        let started = some.iter().map(|target| work.start(target, request.seconds));
        for running in started.collect::<io::Result<Vec<_>>>()? {
            well &= running.finish(Duration::from_secs(u64::from(request.seconds)))?;
        }
    }
    Ok(well)
}

/// The targets that a manifest names.
fn names(manifest: &str) -> io::Result<Vec<String>> {
    let table: toml::Table = manifest.parse().map_err(io::Error::other)?;
    let bins = table.get("bin").and_then(toml::Value::as_array);
    let names = bins.into_iter().flatten().filter_map(|bin| bin.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

/// Where everything about fuzzing lies.
struct Work {
    dir: PathBuf,
}

impl Work {
    fn build(&self, root: &Path) -> Command {
        let mut cargo = Command::new(tools(root).join("bin/cargo-fuzz"));
        cargo.args(["fuzz", "build", "--sanitizer", "none", "--fuzz-dir", "fuzz"]);
        packages::settle(root, &mut cargo).env("CARGO_TARGET_DIR", &self.dir).current_dir(root);
        cargo
    }

    /// A target's program: cargo-fuzz builds for a named machine, which is this one.
    fn command(&self, target: &str) -> Command {
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut command = Command::new(self.dir.join(triple).join("release").join(target));
        command.args([format!("-timeout={INPUT_SECS}"), format!("-rss_limit_mb={MEMORY_MB}")]);
        command.stdin(Stdio::null());
        command
    }

    fn start(&self, target: &str, seconds: u32) -> io::Result<Running> {
        let (corpus, found) = (self.dir.join("corpus").join(target), self.dir.join("found").join(target));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&found)?;
        let log = self.dir.join(format!("{target}.log"));
        let mut command = self.command(target);
        command.arg(&corpus).args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={INPUT_BYTES}"),
            format!("-artifact_prefix={}/", found.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        let child = command.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        Ok(Running { target: target.to_owned(), child, log, start: Instant::now() })
    }
}

/// A target at work.
struct Running {
    target: String,
    child: Child,
    log: PathBuf,
    start: Instant,
}

impl Running {
    /// Waits for the end, for not much longer than was asked for; true if there was an end and nothing was found.
    fn finish(mut self, asked: Duration) -> io::Result<bool> {
        let patience = asked + Duration::from_secs(u64::from(INPUT_SECS) * 3);
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break Some(status),
                None if self.start.elapsed() > patience => {
                    self.child.kill()?;
                    self.child.wait()?;
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(200)),
            }
        };
        let log = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let told = Told::of(&log);
        let well = status.is_some_and(|status| status.success()) && told.inputs > 0;
        println!(
            "fuzz: {:<9} {} inputs, {} MB at most{}",
            self.target,
            told.inputs,
            told.memory_mb,
            verdict(well)
        );
        if !well {
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(LINES)..].join("\n"));
            if status.is_none() {
                println!("it did not end in time");
            }
            if let Some(input) = &told.found {
                println!("to try it again: cargo xtask fuzz {} --input {input}", self.target);
            }
        }
        Ok(well)
    }
}

const fn verdict(well: bool) -> &'static str {
    if well { "" } else { ": FOUND SOMETHING" }
}

/// What libFuzzer says at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    inputs: u64,
    memory_mb: u64,
    found: Option<String>,
}

impl Told {
    fn of(log: &str) -> Self {
        let number = |name: &str| {
            let value = log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            value.and_then(|value| value.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
        };
        let written =
            log.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
        Self {
            inputs: number("number_of_executed_units"),
            memory_mb: number("peak_rss_mb"),
            found: written.map(|path| path.trim().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_manifest_is_run_and_has_a_file() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let all = names(&fs::read_to_string(dir.join("Cargo.toml")).unwrap()).unwrap();
        let mut files: Vec<String> = fs::read_dir(dir.join("targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        let mut sorted = all.clone();
        sorted.sort();
        assert_eq!(sorted, files);
    }

    #[test]
    fn the_end_of_a_run_is_read() {
        let log = "#2 INITED\n==7== ERROR: libFuzzer: deadly signal\nartifact_prefix='x/'; Test unit written to x/crash-1\n\
                   stat::number_of_executed_units: 1234\nstat::peak_rss_mb:              57\n";
        let told = Told { inputs: 1234, memory_mb: 57, found: Some("x/crash-1".to_owned()) };
        assert_eq!(Told::of(log), told);
        assert_eq!(Told::of(""), Told::default());
    }
}
