//! The table as we write it, as nft shows it, and as we read it back. Needs root and nft.

#![allow(clippy::unwrap_used)] // a test's unwrap is its assertion

mod nft_ground;

use nft_ground::*;
use sixfold_kernel::nft::{self, NftSocket};

fn socket() -> NftSocket {
    NftSocket::open().unwrap()
}

#[test]
fn everything_is_read_back_as_it_was_written() {
    in_namespace(|| {
        let mut socket = socket();
        assert_eq!(nft::observe(&mut socket).unwrap(), None);
        bring(&mut socket, &everything());
        assert_eq!(nft::observe(&mut socket).unwrap(), Some(everything()));
        assert_eq!(ops(Some(&everything()), nft::observe(&mut socket).unwrap().as_ref()), []);
    });
}

#[test]
fn nft_lists_everything_as_a_person_would_write_it() {
    let listed = in_namespace(|| {
        bring(&mut socket(), &everything());
        nft("list ruleset")
    });
    insta::assert_snapshot!(listed);
}

/// nft's own bytes for its own listing are our bytes: what it loads, we read as the typed table.
#[test]
fn nft_writes_the_same_bytes() {
    in_namespace(|| {
        let mut socket = socket();
        bring(&mut socket, &everything());
        let listed = nft("list ruleset");
        nft("delete table inet sixfold");
        load(&listed);
        assert_eq!(nft("list ruleset"), listed);
        let theirs = nft::observe(&mut socket).unwrap().unwrap();
        let ours = everything();
        assert_eq!(theirs.sets, ours.sets);
        assert_eq!(theirs.elements, ours.elements);
        assert_eq!(theirs, ours);
    });
}
