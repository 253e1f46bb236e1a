//! The one difference there is: two ordered maps of the same type in, what must change out.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// One key on which desired and observed do not agree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a, K, V> {
    /// Desired and not there.
    Add(&'a K, &'a V),
    /// There, and other than desired.
    Alter { key: &'a K, observed: &'a V, desired: &'a V },
    /// There and not desired.
    Remove(&'a K, &'a V),
}

/// Compares two maps in one walk over both: what must go first, each in key order. `agrees(desired, observed)` says whether a value needs no change; equal ones
/// need none, and mostly all are equal.
pub(super) fn diff<'a, K: Ord, V: PartialEq>(
    desired: &'a BTreeMap<K, V>,
    observed: &'a BTreeMap<K, V>,
    agrees: impl Fn(&V, &V) -> bool,
) -> Vec<Change<'a, K, V>> {
    if desired == observed {
        return Vec::new();
    }
    let (mut removed, mut wanted) = (Vec::new(), Vec::new());
    let (mut ours, mut theirs) = (desired.iter().peekable(), observed.iter().peekable());
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((want, _)), Some((there, _))) => want.cmp(there),
        };
        let want = ours.next_if(|_| order.is_le());
        let there = theirs.next_if(|_| order.is_ge());
        match (want, there) {
            (Some((key, desired)), Some((_, observed))) if !agrees(desired, observed) => {
                wanted.push(Change::Alter { key, observed, desired });
            }
            (Some((key, value)), None) => wanted.push(Change::Add(key, value)),
            (None, Some((key, value))) => removed.push(Change::Remove(key, value)),
            _ => {}
        }
    }
    removed.append(&mut wanted);
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(u8, char)]) -> BTreeMap<u8, char> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn each_kind_of_change_is_told_apart() {
        let (desired, observed) =
            (map(&[(1, 'a'), (2, 'b'), (4, 'd')]), map(&[(1, 'a'), (2, 'x'), (3, 'c')]));
        let changes = diff(&desired, &observed, PartialEq::eq);
        assert_eq!(
            changes,
            [
                Change::Remove(&3, &'c'),
                Change::Alter { key: &2, observed: &'x', desired: &'b' },
                Change::Add(&4, &'d')
            ]
        );
    }

    #[test]
    fn a_value_that_agrees_is_no_change_even_if_it_is_not_equal() {
        let (desired, observed) = (map(&[(1, 'a')]), map(&[(1, 'A')]));
        assert!(diff(&desired, &observed, char::eq_ignore_ascii_case).is_empty());
    }
}
