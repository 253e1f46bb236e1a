//! The pure path: validate, place, allocate, check, desire, plan. What is valid is made out of nothing and taken away
//! again, by plans that leave nothing to do.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use sixfold_core::model::Snapshot;
use sixfold_fuzz::{Farm, converges, examples, text_of};

static GOOD: LazyLock<Vec<String>> = LazyLock::new(examples);

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(farm) = Farm::read(&text_of(&GOOD, data)) else { return Corpus::Keep };
    for snapshot in farm.snapshots() {
        assert_eq!(snapshot.faults(), [], "what the registry says contradicts itself");
        let bytes = serde_json::to_vec(&snapshot).expect("a snapshot's keys are all strings");
        assert_eq!(
            Snapshot::read(&bytes),
            Ok((snapshot.clone(), Vec::new())),
            "it does not read as it was written"
        );
        converges(&snapshot);
    }
    Corpus::Keep
});
