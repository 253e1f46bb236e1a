//! What README tells for real machines, held against what a lab types: each person types the same, in the same order.

use std::fs;
use std::path::Path;

use crate::ground::{example, sixfold, words};

/// Who types what README has one block for: the registry's operator, a farmer, whoever is at a machine, a tenant.
const TYPISTS: [&[&str]; 4] = [&["registry"], &["alpha"], &["ant", "bee", "cat"], &["acme", "globex"]];

/// What README has besides: it changes nothing.
const READS: [&str; 6] = ["farm show", "network plan", "network show", "node list", "events", "trust show"];

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap()
}

/// The verbs of a line that begins with the program's name: `network apply`.
fn verbs(line: &str) -> Option<String> {
    let line = line.strip_prefix("sixfold ")?;
    let is_verb = |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase());
    let verbs: Vec<&str> = line.split_whitespace().take(2).take_while(is_verb).collect();
    Some(verbs.join(" "))
}

/// The verbs of each block of what README tells for real machines.
fn told() -> Vec<Vec<String>> {
    let readme = readme();
    let (_, section) = readme.split_once("\n## On real machines\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.map(|block| block.lines().filter_map(verbs).collect()).collect()
}

#[test]
fn what_readme_tells_for_real_machines_is_what_a_lab_types_in_the_same_order() {
    let output = sixfold(&["lab", "run", &example("first-farm"), "--no-probe"]);
    assert!(output.status.success(), "{}", words(&output));
    let said = String::from_utf8(output.stderr).unwrap();
    let typed = |who: &str| -> Vec<String> {
        let lines =
            said.lines().filter_map(|line| line.strip_prefix("lab: ")?.strip_prefix(who)?.strip_prefix("$ "));
        // A farmer makes a token for each machine.
        let mut typed: Vec<String> = lines.filter_map(verbs).collect();
        typed.dedup();
        typed
    };
    let told = told();
    assert_eq!(told.len(), TYPISTS.len(), "{told:?}");
    for (told, typists) in told.into_iter().zip(TYPISTS) {
        assert!(!told.is_empty());
        let told: Vec<String> = told.into_iter().filter(|verbs| !READS.contains(&verbs.as_str())).collect();
        for who in typists {
            assert_eq!(typed(who), told, "{who}: {said}");
        }
    }
}

#[test]
fn readme_names_the_file_that_each_service_reads_its_options_from() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../package/systemd");
    let (readme, mut services) = (readme(), 0);
    for file in fs::read_dir(units).unwrap().map(|file| file.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        let Some(options) = text.lines().find_map(|line| line.strip_prefix("EnvironmentFile=-")) else {
            continue;
        };
        services += 1;
        assert!(readme.contains(&format!("`{options}`")), "{options} of {}", file.display());
        assert!(
            text.lines().any(|line| line.starts_with("ExecStart=") && line.ends_with(" $OPTIONS")),
            "{text}"
        );
    }
    assert_eq!(services, 3);
}
