//! Frames on a segment: answers of neighbours, and words of nodes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sixfold_kernel::raw::segment(data));
