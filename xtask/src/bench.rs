//! `bench`: brings what the references are, builds the program that measures, and becomes its caller.
//!
//! Owns: that it runs in release and finds its references. What is measured and how is `crates/bench`'s.

use crate::test::packages::{self, Ground};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What to measure: passed on as it is.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Request {
    /// Names of benches, --json, --rounds N, --quick, --list: `cargo xtask bench --help` tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Request {
    /// Whether anything is to be measured, and not only said.
    fn measures(&self) -> bool {
        !self.arguments.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h" | "--list"))
    }

    /// What it stands on; other tunnels take minutes to build, and only one bench is of them.
    fn grounds(&self) -> BTreeSet<Ground> {
        let mut names =
            self.arguments.iter().filter(|word| word.starts_with(|first: char| first.is_ascii_lowercase()));
        let mut grounds = BTreeSet::from([Ground::Oracles, Ground::Bird]);
        let is_all = names.clone().next().is_none();
        if is_all || names.any(|name| name == "tunnel") {
            grounds.insert(Ground::Tunnels);
        }
        grounds
    }
}

/// Runs it; true when everything could be measured.
///
/// # Errors
/// What could not be brought, or started.
pub(crate) fn run(root: &Path, request: &Request) -> io::Result<bool> {
    if request.measures() {
        // Said beside the result, which alone is to be on the output.
        packages::prepare(root, &request.grounds(), &mut io::stderr())?;
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "-p", "sixfold-bench"]).current_dir(root);
    if !packages::settle(root, &mut cargo).stdin(Stdio::null()).status()?.success() {
        return Err(io::Error::other("the program that measures does not build"));
    }
    let mut bench = Command::new(root.join("target/release/sixfold-bench"));
    bench.args(&request.arguments).current_dir(root);
    Ok(packages::settle(root, &mut bench).status()?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_measures_needs_its_references() {
        let measures = |words: &[&str]| {
            Request { arguments: words.iter().map(|word| (*word).to_owned()).collect() }.measures()
        };
        let tunnels = |words: &[&str]| {
            let request = Request { arguments: words.iter().map(|word| (*word).to_owned()).collect() };
            request.grounds().contains(&Ground::Tunnels)
        };
        assert!(tunnels(&[]) && tunnels(&["--rounds", "3"]) && tunnels(&["routes", "tunnel"]));
        assert!(!tunnels(&["routes", "--rounds", "3"]));
        assert!(measures(&[]) && measures(&["routes", "--json"]));
        assert!(!measures(&["--list"]) && !measures(&["-h"]) && !measures(&["routes", "--help"]));
    }
}
