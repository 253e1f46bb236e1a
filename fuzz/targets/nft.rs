//! Rules, sets and elements of nftables, as bytes: ours changed, and others.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sixfold_fuzz::{bytes_of, firewalls};
use sixfold_kernel::nft;

static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let firewalls = firewalls();
    let rules = firewalls.iter().flat_map(|firewall| firewall.chains.values()).flat_map(|chain| &chain.rules);
    let different: BTreeSet<Vec<u8>> = rules.map(nft::encode).collect();
    different.into_iter().collect()
});

fuzz_target!(|data: &[u8]| {
    sixfold_kernel::raw::nft(data);
    let bytes = bytes_of(&GOOD, data);
    // What was read is written as something that reads the same.
    let rule = nft::decode(&bytes, &[]);
    assert_eq!(nft::decode(&nft::encode(&rule), &[]), rule);
});
