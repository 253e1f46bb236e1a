//! For tests: what a node of the first farm sees.

use sixfold_core::model::Snapshot;
use sixfold_core::spec::parse_all;
use sixfold_core::trial::Trial;

/// What a node sees with these of the example's files.
pub(crate) fn snapshot(files: &[&str], node: &str) -> Snapshot {
    let read = |name: &&str| {
        let path = format!("{}/../../examples/first-farm/{name}", env!("CARGO_MANIFEST_DIR"));
        ((*name).to_owned(), std::fs::read_to_string(path).expect("an example"))
    };
    let world = parse_all(&files.iter().map(read).collect::<Vec<_>>()).expect("the example is sound");
    let trial = Trial::new(world).expect("it has room");
    trial.snapshot(&node.parse().expect("a name")).expect("it has that node")
}
