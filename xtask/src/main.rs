//! Chores in Rust: `cargo xtask tidy`. Arguments and exit codes only; each chore is a module.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: it prints")]

mod bench;
mod fuzz;
mod mutants;
mod package;
mod test;
mod tidy;
mod tool;
mod vm;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check sizes, directions, names and house rules, from the text alone
    Tidy,
    /// Install what the tests need, run every level of them, and sum up
    Test(test::Request),
    /// Measure what things cost, each beside a reference
    Bench(bench::Request),
    /// Feed everything that reads other people's bytes with inputs made up for it
    Fuzz(fuzz::Request),
    /// Change the code of core in one place after the other, and count how often the tests notice
    Mutants(mutants::Request),
    /// Build a Debian package: the program, its manual, completions and services
    Package(package::Request),
    /// Run a command on Debian's stock kernel, in a machine that is thrown away
    Vm(vm::Request),
}

fn main() -> ExitCode {
    let root = workspace_root();
    let outcome = match Arguments::parse().chore {
        Chore::Tidy => tidy::run(&root).map(code),
        Chore::Test(request) => test::run(&root, &request).map(code),
        Chore::Bench(request) => bench::run(&root, &request).map(code),
        Chore::Fuzz(request) => fuzz::run(&root, &request).map(code),
        Chore::Mutants(request) => mutants::run(&root, &request).map(code),
        Chore::Package(request) => package::run(&root, &request).map(code),
        Chore::Vm(request) => vm::run(&root, &request).map(ExitCode::from),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::from(3)
    })
}

fn code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// The folder above this package, as it stood when this program was built.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_else(|| PathBuf::from("."))
}
