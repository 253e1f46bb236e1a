//! The same of an agent that a registry feeds: what it keeps of that, and counts, is written between other effects.
//!
//! Owns: one node, taken off everything again and again but for its place in the farm, and built from what the registry
//! shows.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use sixfold_core::model::Status;

use crate::dump::Dump;
use crate::place::{Place, SIXFOLD};
use crate::walk::{in_time, is_killed, settle, succeeded, words};

/// It may hold no slot: all that it is follows from what others say.
const NODE: &str = "cat";

/// A node of the lab, with the registry of the lab.
pub(crate) struct Fed {
    place: Place,
    /// The effects of a build that nobody disturbed.
    pub(crate) effects: Vec<String>,
    /// What it comes to, and the files that are kept then.
    whole: (Dump, BTreeSet<String>),
}

impl Fed {
    pub(crate) fn start() -> Self {
        let place = Place::start();
        // Whatever the lab's own agents built.
        succeeded(&agent(&place, &["--remove"], ("SIXFOLD_LOG", "warn")));
        let log = place.folder.path().join("effects").display().to_string();
        succeeded(&agent(&place, &["--once"], ("SIXFOLD_EFFECTS", &log)));
        let effects = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
        let whole = settle(|| state(&place));
        let fed = Self { place, effects, whole };
        let kinds = ["boot", "proofs.", "/keys/"];
        let lacks = kinds.iter().find(|kind| !fed.effects.iter().any(|effect| effect.contains(*kind)));
        assert!(lacks.is_none(), "no effect on {lacks:?} in {:#?}", fed.effects);
        fed
    }

    /// The places at which a file is written, from 1.
    pub(crate) fn files(&self) -> Vec<usize> {
        let files = self.effects.iter().enumerate().filter(|(_, effect)| effect.starts_with("file "));
        files.map(|(at, _)| at + 1).collect()
    }

    /// Cuts a build after its k-th effect; what does not hold once the next agent was there.
    pub(crate) fn cut(&self, k: usize) -> Vec<String> {
        succeeded(&agent(&self.place, &["--remove"], ("SIXFOLD_LOG", "warn")));
        let mut why = Vec::new();
        let ended = agent(&self.place, &["--once"], ("SIXFOLD_CUT", &k.to_string()));
        if !is_killed(&ended) {
            why.push(format!("it was not cut: {}", words(&ended)));
        }
        let after = agent(&self.place, &["--once"], ("SIXFOLD_LOG", "warn"));
        if !after.status.success() {
            why.push(format!("the agent after it does not succeed: {}", words(&after)));
            return why;
        }
        let (is, files) = in_time(&self.whole, || state(&self.place));
        why.extend(self.whole.0.differences(&is));
        why.extend(self.whole.1.symmetric_difference(&files).map(|file| format!("files differ in {file}")));
        let effect = &self.effects[k - 1];
        why.into_iter().map(|line| format!("cut after effect {k} ({effect}): {line}")).collect()
    }
}

/// The kernel's part of the node, with the agent's files.
fn state(place: &Place) -> (Dump, BTreeSet<String>) {
    let text = fs::read(place.path(NODE, "run/fed/status.json")).unwrap();
    let status: Status = serde_json::from_slice(&text).unwrap();
    let devices: Vec<_> = status.devices.into_iter().map(|device| (NODE.to_owned(), device)).collect();
    let found = place.run(NODE, &[], &["find", "/run/sixfold/state", "/run/fed", "-printf", "%M %p\n"]);
    succeeded(&found);
    let files = String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect();
    (Dump::of(place, NODE, &devices).kernel(), files)
}

fn agent(place: &Place, what: &[&str], variable: (&str, &str)) -> Output {
    let places = ["--state", "/run/sixfold/state", "--run", "/run/fed"];
    let tunnel = ["--tunnel", "/run/sixfold/tunnel.sock"];
    let words = [&[SIXFOLD, "agent"], what, &places, &tunnel].concat();
    place.run(NODE, &[variable, ("SIXFOLD_KEY", "/run/sixfold/etc/node.pem")], &words)
}
