//! A disk that is full: what cannot be written is refused with a clear word, reading goes on, and so does writing once
//! there is room.

use std::fs;

use sixfold_registry::fsck::fsck_unsigned;
use sixfold_registry::service::Failed;
use sixfold_registry::store::Sqlite;

use crate::disk::{fill, on_a_small_disk};
use crate::ground::{Hands, Registry, network, put_network};

#[test]
fn a_full_disk_refuses_writes_and_nothing_else_and_recovers() {
    on_a_small_disk(4096, |dir| {
        let path = dir.join("registry.db");
        let registry = Registry::open(&path, &Hands::at(1)).furnish(4);
        registry.ask("acme", "first", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
        let ballast = dir.join("ballast");
        for round in 1..=3 {
            fill(&ballast);
            // A log that is written over has some room of its own: it is used up first.
            let mut done = 0;
            let failed = (0..5000).find_map(|at| {
                let op = put_network(1, network(&format!("t{round}/n{at}"), 1, [1]));
                let failed = registry.ask(&format!("t{round}"), &format!("k{at}"), op).err()?;
                done = at;
                Some(failed)
            });
            let failed = failed.expect("a full disk is noticed");
            assert!(matches!(failed, Failed::DiskFull), "{failed:?}");
            assert_eq!(
                failed.to_string(),
                "the registry's disk is full: nothing is written, and reading goes on"
            );
            assert_eq!(failed.hint(), "make room on the registry's disk, and ask again with the same key");
            let seen = registry.service.read(|state| state.snapshot(&"n1".parse().unwrap()).unwrap());
            assert_eq!(seen.networks.len(), registry.service.read(|state| state.world().networks().len()));
            let op = || put_network(1, network(&format!("t{round}/n{done}"), 1, [1]));
            let again = registry.ask(&format!("t{round}"), &format!("k{done}"), op());
            assert!(matches!(again, Err(Failed::DiskFull)), "{again:?}");
            let probed = || registry.service.probe().unwrap().blocking_recv().unwrap();
            assert!(matches!(probed(), Err(Failed::DiskFull)));
            fs::remove_file(&ballast).unwrap();
            probed().unwrap();
            let written = registry.ask(&format!("t{round}"), &format!("k{done}"), op()).unwrap();
            assert_eq!(written.grants.len(), 2);
            println!("round {round}: full after {done} more commits, and writing again");
        }
        let grants = registry.service.read(|state| state.ledger().grants().clone());
        registry.end();
        let proven = fsck_unsigned(&Sqlite::open_to_read(&path).unwrap()).unwrap();
        assert_eq!((proven.findings, proven.live), (Vec::new(), grants.len()));
    });
}
