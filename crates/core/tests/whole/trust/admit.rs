//! What an honest registry sends is admitted whole: signed, shown and judged, a world is the snapshot that it was.

use proptest::prelude::*;
use sixfold_core::trust::{Proofs, Seen, admit};

use super::realm::any_realm;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_an_honest_registry_sends_is_the_snapshot_it_would_have_made(realm in any_realm()) {
        for node in realm.farm.nodes() {
            let proofs = realm.proofs(&node);
            let bytes = serde_json::to_vec(&proofs).unwrap();
            let (read, unknown) = Proofs::read(&bytes).unwrap();
            prop_assert_eq!((&read, unknown.len()), (&proofs, 0));
            let admitted = admit(&read, &realm.pins(&node), &Seen::default(), &node);
            prop_assert_eq!(&admitted.refusals, &vec![]);
            let snapshot = admitted.snapshot.clone().unwrap();
            prop_assert_eq!(&snapshot, &realm.farm.snapshot(&node));
            prop_assert_eq!(snapshot.faults(), []);

            // The same again is no news, with what was seen kept on disk in between.
            let kept: Seen = serde_json::from_slice(&serde_json::to_vec(&admitted.seen).unwrap()).unwrap();
            prop_assert_eq!(&kept, &admitted.seen);
            prop_assert_eq!(admit(&proofs, &realm.pins(&node), &kept, &node), admitted);
        }
    }
}
