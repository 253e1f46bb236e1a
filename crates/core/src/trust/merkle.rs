//! One signature for many leaves: the hash tree of RFC 6962, 2.1, with its domain separation of leaves and inner nodes.
//!
//! Owns: roots, paths and checking a path. Must not know what a leaf says.

use sha2::{Digest as _, Sha256};

use super::key::Digest;

/// Hash of a leaf: SHA-256 of a zero byte and the leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

fn inner_hash(left: Digest, right: Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root over some leaves' hashes, and for each leaf the path to it, from the leaf up.
#[must_use]
pub fn paths(leaves: &[Digest]) -> (Digest, Vec<Vec<Digest>>) {
    match leaves {
        [] => (Digest(Sha256::digest([]).into()), Vec::new()),
        [leaf] => (*leaf, vec![Vec::new()]),
        _ => {
            // The largest power of two that is smaller than the count.
            let half = leaves.len().next_power_of_two() / 2;
            let (left, mut all) = paths(&leaves[..half]);
            let (right, others) = paths(&leaves[half..]);
            all.iter_mut().for_each(|path| path.push(right));
            all.extend(others.into_iter().map(|mut path| {
                path.push(left);
                path
            }));
            (inner_hash(left, right), all)
        }
    }
}

/// Whether a leaf is the one at `index` of `size` under this root (RFC 9162, 2.1.3.2). A path with one step too many or
/// too few is refused.
#[must_use]
pub fn verify_path(leaf: Digest, (index, size): (u64, u64), path: &[Digest], root: Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for step in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            hash = inner_hash(*step, hash);
            while at % 2 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = inner_hash(hash, *step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == root
}
