//! A registry's store by hand: copied, proven, told; and what is said of one that is not sound, not there or not ours.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sixfold_core::limit::PREFIXES_PER_TENANT;
use sixfold_registry::service::{Service, SystemClock};
use sixfold_registry::store::Sqlite;

use super::printed;

/// A new registry's store.
fn store(path: &Path) {
    let (service, thread) = Service::start(
        Box::new(Sqlite::open(path).unwrap()),
        None,
        Box::new(SystemClock),
        PREFIXES_PER_TENANT,
    )
    .unwrap();
    drop(service);
    thread.join().unwrap();
}

#[test]
fn a_store_is_copied_proven_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (live, saved, restored) = (path("registry.db"), path("saved.db"), path("restored.db"));
    store(Path::new(&live));
    let open = Sqlite::open(Path::new(&live)).unwrap();
    let what = "revision 1, 0 allocations, 0 grants, 0 released ones, 1 documents, 0 answers\n";
    assert_eq!(
        printed(&["registry", "fsck", &live], 0),
        format!("{live}: sound; {what}"),
        "while it is in use"
    );
    assert_eq!(printed(&["registry", "backup", &saved, "--store", &live], 0), format!("{saved}: {what}"));
    drop(open);
    let mode = fs::metadata(&saved).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has the secret that prefixes are drawn with");
    assert_eq!(
        printed(&["registry", "restore", &saved, "--store", &restored], 0),
        format!("{restored}: {what}")
    );
    let told = printed(&["registry", "dump", &restored], 0);
    assert_eq!(told, printed(&["registry", "dump", &live], 0));
    assert_eq!(
        told,
        "{\"revision\":1}\n{\"document\":{\"kind\":\"secret\",\"name\":\"index\"},\"revision\":1,\"version\":1}\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&printed(&["registry", "fsck", &saved, "--json"], 0)).unwrap();
    assert_eq!((json["revision"].as_u64(), json["findings"].as_array().unwrap().len()), (Some(1), 0));
}

#[test]
fn what_is_not_sound_not_there_or_not_ours_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (broken, text, none, copy) = (path("broken.db"), path("notes.txt"), path("none.db"), path("copy.db"));
    store(Path::new(&broken));
    rusqlite::Connection::open(&broken).unwrap().execute_batch("DROP INDEX grants_one_in_force").unwrap();
    fs::write(&text, "these are notes, and no database at all: ".repeat(40)).unwrap();
    let runs: [(&[&str], i32); 7] = [
        (&["registry", "fsck", &broken], 1),
        (&["registry", "backup", &copy, "--store", &broken], 1),
        (&["registry", "backup", &text, "--store", &broken], 1),
        (&["registry", "restore", &text, "--store", &copy], 1),
        (&["registry", "fsck", &text], 1),
        (&["registry", "dump", &none], 3),
        (&["registry", "restore", &none, "--store", &copy], 3),
    ];
    let told: Vec<String> = runs.iter().map(|(args, code)| printed(args, *code)).collect();
    assert!(!Path::new(&copy).exists(), "what is not sound is not copied");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("unfinished")), "{names:?}");
    insta::assert_snapshot!(told.join("\n").replace(dir.path().to_str().unwrap(), "D"));
}
