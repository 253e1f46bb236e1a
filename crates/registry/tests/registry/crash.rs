//! The registry is ended at each step of a commit: what was answered is there, what is asked again is done once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sixfold_api::resource::Done;
use sixfold_registry::run::store_in;

use crate::process::{Asked, Process, Tenant, address, furnished, proven};

/// How long a registry has to end at its step, once it was asked everything.
const ENDS: Duration = Duration::from_secs(30);

/// Asks a registry that ends at a step. Returns what it answered before, and whether it ended.
fn cut_at(step: usize, dir: &Path, requests: &[Asked], told: &Path) -> (Vec<Option<Done>>, bool) {
    let address = address();
    let mut process = Process::start(dir, address, Some((step, told)));
    if !process.listens() {
        assert!(process.ended().is_some(), "it neither listened nor ended");
        return (vec![None; requests.len()], true);
    }
    let mut tenant = Tenant::new(1, address);
    let answers: Vec<Option<Done>> = requests.iter().map(|asked| tenant.ask(asked).ok()).collect();
    let missing = answers.iter().any(Option::is_none);
    // The last step is reached after the answer may have been sent: give it the moment that it takes.
    let has_ended = process.ends_within(if missing { ENDS } else { Duration::from_millis(50) });
    assert!(has_ended || !missing, "no answer and no end");
    (answers, has_ended)
}

/// What comes of the same requests when nobody ends anything.
fn retried(dir: &Path, requests: &[Asked]) -> Vec<Done> {
    let address = address();
    let _process = Process::start(dir, address, None);
    let mut tenant = Tenant::new(1, address);
    requests.iter().map(|asked| tenant.insist(asked).0.unwrap()).collect()
}

fn survives(nodes: usize, requests: &[Asked], expected_grants: usize) {
    let mut steps = Vec::new();
    for step in 1.. {
        assert!(step < 100, "a request has fewer steps");
        let dir = tempfile::tempdir().unwrap();
        let (store, told) = (store_in(dir.path()), dir.path().join("steps"));
        furnished(&store, nodes);
        let (answered, ended) = cut_at(step, dir.path(), requests, &told);
        if ended {
            proven(&store);
        }
        let again = retried(dir.path(), requests);
        for (first, second) in answered.iter().zip(&again) {
            if let Some(first) = first {
                assert_eq!(first, second, "step {step}: the same key, another answer");
            }
        }
        assert_eq!(retried(dir.path(), requests), again, "step {step}");
        assert_eq!(proven(&store).live, expected_grants, "step {step}: none twice and none leaked");
        steps = fs::read_to_string(told).unwrap_or_default().lines().map(str::to_owned).collect();
        if !ended {
            break;
        }
    }
    println!("ended at each of {} steps: {}", steps.len(), steps.join(", "));
    assert!(steps.len() >= 11 * requests.len(), "{steps:?}");
}

#[test]
fn a_commit_that_is_cut_anywhere_is_done_or_not_and_once() {
    let asked = |key: &str, version, nodes: Option<&[&str]>| Asked {
        key: key.to_owned(),
        name: "web".to_owned(),
        version,
        nodes: nodes.map(|nodes| nodes.iter().map(|node| (*node).to_owned()).collect()),
    };
    let requests =
        [asked("one", 1, Some(&["n1", "n2"])), asked("two", 2, Some(&["n2"])), asked("three", 3, None)];
    survives(3, &requests[..1], 3);
    survives(3, &requests, 0);
}

#[test]
fn a_new_store_that_is_cut_anywhere_is_a_store() {
    let mut steps = 0;
    for step in 1..100 {
        let dir = tempfile::tempdir().unwrap();
        let store = store_in(dir.path());
        let (_, ended) = cut_at(step, dir.path(), &[], &dir.path().join("steps"));
        if !ended {
            break;
        }
        steps = step;
        furnished(&store, 2);
        assert_eq!(proven(&store).allocations, 1);
    }
    println!("a new store was cut at {steps} steps");
    assert!(steps >= 8);
}
