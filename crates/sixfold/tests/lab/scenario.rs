//! Scenarios: what is done to a farm step by step, and how one that does not hold ends. That those of the examples hold is
//! seen where these are run.

use std::fs;

use serde_json::Value;

use crate::ground::{example, sixfold, words};

/// The first farm with other steps.
pub(crate) fn first_farm(steps: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["farm.toml", "acme.toml", "globex.toml"] {
        fs::copy(format!("{}/{name}", example("first-farm")), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("scenario.toml"), format!("steps = {steps:?}\n")).unwrap();
    folder
}

/// Every step of an example, as it is written, has held.
pub(crate) fn holds(report: &Value, name: &str) {
    let steps = report["scenario"].as_array().unwrap();
    let text = fs::read_to_string(format!("{}/scenario.toml", example(name))).unwrap();
    let written: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next()).collect();
    assert_eq!(steps.iter().map(|step| step["step"].as_str().unwrap()).collect::<Vec<_>>(), written);
    assert!(steps.iter().all(|step| step["held"] == true), "{steps:#?}");
    for step in steps {
        println!("{:>6} ms  {}", step["millis"], step["step"].as_str().unwrap());
    }
}

#[test]
fn a_step_that_does_not_hold_is_the_last_and_says_what_was_seen() {
    let steps = ["expect acme/web:front acme/web:store stop", "expect matrix"];
    let folder = first_farm(&steps);
    let output = sixfold(&["lab", "run", "--json", &folder.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["held"], false);
    let [step] = report["scenario"].as_array().unwrap().as_slice() else { panic!("{}", report["scenario"]) };
    assert_eq!((&step["step"], &step["held"]), (&Value::from(steps[0]), &Value::from(false)));
    let seen = "acme/web:front -> acme/web:store, ipv6 echo: 2 of 2 answered, 2 arrived";
    assert_eq!(step["seen"][0], seen);
    assert!(
        words(&output).contains(&format!("lab: step 1 of 2: {}: NOT held: {seen}", steps[0])),
        "{}",
        words(&output)
    );
}

#[test]
fn a_scenario_that_cannot_be_played_is_refused_before_anything_is_made() {
    let folder = first_farm(&["reboot dog", "wait-in-sync for ever"]);
    let output = sixfold(&["lab", "run", &folder.path().display().to_string()]);
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("scenario.toml:1: \"for\" is not how long\n    hint: known here: within"),
        "{said}"
    );
    assert!(!said.contains("lab: "), "{said}");
}
