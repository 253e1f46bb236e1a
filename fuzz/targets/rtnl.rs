//! Answers of rtnetlink: links, addresses, neighbours, nexthops, routes, ids of namespaces.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sixfold_kernel::raw::rtnl(data));
