//! Snapshots, the slots that keep them, and statuses: as JSON that somebody else wrote. One that is taken is made.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sixfold_agent::received::Received;
use sixfold_agent::store::{Store, decode};
use sixfold_core::model::Status;
use sixfold_fuzz::{bytes_of, converges, snapshots};

static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let bytes = |snapshot| serde_json::to_vec(&snapshot).expect("a snapshot's keys are all strings");
    snapshots().into_iter().map(bytes).collect()
});

static SLOTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder for a while");
    let store = Store::open(dir.path()).expect("it is ours");
    let slots = snapshots().into_iter().map(|snapshot| {
        store.save(&snapshot.into()).expect("it is ours");
        std::fs::read(dir.path().join("snapshot.a")).expect("it was saved")
    });
    slots.collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, change)) = data.split_first() else { return };
    match kind % 8 {
        0 => {
            let _ = decode::<Received>(Path::new("snapshot.a"), &bytes_of(&SLOTS, change));
        }
        1 => {
            let _ = serde_json::from_slice::<Status>(&bytes_of(&[], change));
        }
        _ => match Received::read(&bytes_of(&GOOD, change)) {
            Ok(received) => {
                assert!(received.unknown.len() <= 21 && received.unknown.iter().all(|line| is_plain(line)));
                converges(&received.snapshot);
            }
            Err(error) => {
                let said = error.to_string();
                assert!(is_plain(&said) && said.len() < 8192 && !error.hint().is_empty(), "{said:?}");
            }
        },
    }
});

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| !c.is_control())
}
