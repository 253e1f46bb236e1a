//! The service is ended at each step of a commit: what was answered is there, what is asked again is done once.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sixfold_registry::service::Done;

use crate::process::{Process, ask, connect, furnished, proven};

/// Asks a service that ends at a step. Returns what it answered before, and whether it ended.
fn cut_at(step: usize, store: &Path, requests: &[&str], told: &Path) -> (Vec<Option<Done>>, bool) {
    let mut process = Process::start(store, Some(step), Some(told));
    let socket = process.socket().to_owned();
    let stream = {
        let process = std::cell::RefCell::new(&mut process);
        connect(&socket, || process.borrow_mut().ended().is_some())
    };
    let mut answers = Vec::new();
    if let Some(stream) = stream {
        let mut stream = BufReader::new(stream);
        for request in requests {
            answers.push(ask(&mut stream, request).map(Result::unwrap));
        }
        let missing = answers.iter().any(Option::is_none);
        // The last step is reached after the answer may have been sent: give it the moment that it takes.
        for _ in 0..if missing { 5000 } else { 50 } {
            if process.ended().is_some() {
                return (answers, true);
            }
            sleep(Duration::from_millis(1));
        }
        assert!(!missing, "no answer and no end");
        return (answers, false);
    }
    assert!(process.ended().is_some(), "it neither listened nor ended");
    (vec![None; requests.len()], true)
}

/// What comes of the same requests when nobody ends anything.
fn retried(store: &Path, requests: &[&str]) -> Vec<Done> {
    let process = Process::start(store, None, None);
    let mut stream = BufReader::new(connect(process.socket(), || false).unwrap());
    requests.iter().map(|request| ask(&mut stream, request).unwrap().unwrap()).collect()
}

fn survives(prepare: impl Fn(&Path), requests: &[&str], expected_grants: usize) {
    let mut steps = Vec::new();
    for step in 1.. {
        assert!(step < 100, "a request has fewer steps");
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("registry.db");
        let told = dir.path().join("steps");
        prepare(&store);
        let (answered, ended) = cut_at(step, &store, requests, &told);
        if ended {
            proven(&store);
        }
        let again = retried(&store, requests);
        for (first, second) in answered.iter().zip(&again) {
            if let Some(first) = first {
                assert_eq!(first, second, "step {step}: the same key, another answer");
            }
        }
        assert_eq!(retried(&store, requests), again, "step {step}");
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
    let requests = ["put one acme/web 1 1 n1,n2", "put two acme/web 2 1 n2", "remove three acme/web 3"];
    survives(|store| furnished(store, 3), &requests[..1], 3);
    survives(|store| furnished(store, 3), &requests, 0);
}

#[test]
fn a_new_store_that_is_cut_anywhere_is_a_store() {
    let mut steps = 0;
    for step in 1..100 {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("registry.db");
        let (_, ended) = cut_at(step, &store, &[], &dir.path().join("steps"));
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
