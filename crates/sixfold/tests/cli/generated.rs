//! What is generated from the definitions of `--help`: completions, by the shells themselves, and manual pages, by the
//! strictest reader of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{printed, sixfold};

/// What bash offers for the last of some words.
fn bash_offers(script: &Path, words: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let ask = format!(
        "source '{}' && complete -p sixfold >/dev/null && COMP_WORDS=({}) && COMP_CWORD={} && \
         _sixfold sixfold '{last}' '{before}' && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        quoted.join(" "),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("sixfold.bash");
    fs::write(&script, printed(&["completions", "bash"], 0)).unwrap();
    let lab = bash_offers(&script, &["sixfold", "lab", ""]);
    for verb in ["run", "up", "apply", "exec", "probe", "graph"] {
        assert!(lab.contains(&verb.to_owned()), "{verb} is not in {lab:?}");
    }
    for hidden in ["inner", "keep", "enter", "probe-serve", "counters"] {
        assert!(!lab.contains(&hidden.to_owned()), "{hidden} is in {lab:?}");
    }
    assert_eq!(bash_offers(&script, &["sixfold", "pl"]), ["plan"]);
    assert_eq!(bash_offers(&script, &["sixfold", "plan", "--ex"]), ["--exit-code"]);
    assert_eq!(bash_offers(&script, &["sixfold", "plan", "--observed", "k"]), ["kernel"]);
    assert_eq!(bash_offers(&script, &["sixfold", "tunnel", "sh"]), ["show"]);
}

#[test]
fn zsh_and_fish_read_their_scripts() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, check) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let script = dir.path().join(shell);
        fs::write(&script, printed(&["completions", shell], 0)).unwrap();
        let output = Command::new(check).arg("-n").arg(&script).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.is_empty(), "{shell}: {told}");
    }
    let fish = format!("source {}; complete -C 'sixfold lab '", dir.path().join("fish").display());
    let output =
        Command::new("fish").args(["--no-config", "-c", &fish]).env("HOME", dir.path()).output().unwrap();
    let offers = String::from_utf8(output.stdout).unwrap();
    assert!(offers.lines().any(|line| line.starts_with("graph\t")), "{offers}");
    assert!(!offers.contains("probe-serve"), "{offers}");
}

/// The words of every command that has a page, from its file name on.
fn commands(pages: &Path) -> Vec<Vec<String>> {
    let names = fs::read_dir(pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    names
        .map(|name| name.strip_suffix(".1").unwrap().split('-').skip(1).map(str::to_owned).collect())
        .collect()
}

/// A page as a person reads it, in lines as long as they come.
fn read_page(page: &Path) -> String {
    let output = Command::new("mandoc").args(["-T", "utf8", "-O", "width=500"]).arg(page).output().unwrap();
    let mut text = String::new();
    for character in String::from_utf8(output.stdout).unwrap().chars() {
        match character {
            '\u{8}' => drop(text.pop()), // bold is a letter, a step back, and the letter again
            other => text.push(other),
        }
    }
    text
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Each paragraph of a help text that a page must have too: all but the line of usage.
fn paragraphs(help: &str) -> Vec<String> {
    let blocks = help.split("\n\n").filter(|block| !block.trim_start().starts_with("Usage:"));
    blocks.flat_map(|block| block.lines().map(words)).filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_page_is_clean_and_has_what_help_has() {
    let dir = tempfile::tempdir().unwrap();
    let told = printed(&["man", dir.path().to_str().unwrap()], 0);
    let commands = commands(dir.path());
    assert!(told.starts_with(&format!("{} pages in ", commands.len())), "{told}");
    assert!(commands.len() >= 16, "{commands:?}");
    for command in commands {
        let page = dir.path().join(
            ["sixfold".to_owned()].into_iter().chain(command.clone()).collect::<Vec<_>>().join("-") + ".1",
        );
        // No date: the same program gives the same page.
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        let lint = String::from_utf8(lint.stdout).unwrap();
        let faults: Vec<&str> = lint.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(faults.is_empty(), "{faults:?}");

        let text = read_page(&page);
        let heads: BTreeSet<&str> =
            text.lines().filter(|line| line.starts_with(char::is_uppercase)).collect();
        for head in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXAMPLES",
            "EXIT CODES",
            "ENVIRONMENT",
            "FILES",
            "SEE ALSO",
        ] {
            assert!(heads.contains(head), "{} has no {head}: {heads:?}", page.display());
        }
        // In lines as long as the page's, where a list of commands is one of pages.
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("--help");
        let help = String::from_utf8(sixfold(&args).stdout).unwrap();
        let (text, start) = (words(&text).to_lowercase(), help.find("\nCommands:\n"));
        let listed = start.map_or(0..0, |at| at..at + 1 + help[at + 1..].find("\n\n").unwrap());
        let help = [&help[..listed.start], &help[listed.end..]].concat();
        for line in paragraphs(&help) {
            let line = line.trim_start_matches("- ").trim_end_matches(':').to_lowercase();
            // A summary is what the page of the same name shows anyway.
            if line != "possible values" && !line.starts_with("print help") {
                assert!(text.contains(&line), "{} lacks {line:?}", page.display());
            }
        }
    }
}

#[test]
fn pages_that_cannot_be_written_are_told_with_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let told = printed(&["man", file.join("in").to_str().unwrap()], 3);
    assert!(told.starts_with(&format!("error: cannot make {}/in\ncaused by: ", file.display())), "{told}");
}
