//! The examples are good, whatever is changed in a file is answered and not panicked at, and what is left out is filled in.

use proptest::prelude::*;

use super::*;
use crate::id::{Label, NodeId};
use crate::model::{Attachment, Family, Reach};

const FARM: &str = include_str!("../../../../examples/first-farm/farm.toml");
const ACME: &str = include_str!("../../../../examples/first-farm/acme.toml");

fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn node(text: &str) -> NodeId {
    text.parse().unwrap()
}

#[test]
fn the_first_farm_is_good() {
    let globex = include_str!("../../../../examples/first-farm/globex.toml");
    let files = named(&[("farm.toml", FARM), ("acme.toml", ACME), ("globex.toml", globex)]);
    let world = parse_all(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let (farm, cat) = world.node(&node("cat")).unwrap();
    assert!(cat.is_hidden() && cat.speaks(Family::Ipv4) && !cat.speaks(Family::Ipv6));
    assert_eq!((farm.nodes().len(), farm.slots().len(), world.networks().len()), (3, 2, 2));
    let acme = world.network(&"acme/web".parse().unwrap()).unwrap();
    assert_eq!((acme.nodes().len(), acme.workloads().len(), acme.exposures().len()), (3, 3, 1));
    let slots: Vec<_> = world.networks().values().map(|network| network.exit().slot.get()).collect();
    assert_eq!(slots, [1, 1], "one slot is used, by both");
    assert_eq!(farm.slot(acme.exit().key()).unwrap().holder(), &node("ant"));
}

#[test]
fn the_two_farms_are_good() {
    let files = named(&[
        ("alpha.toml", include_str!("../../../../examples/two-farms/alpha.toml")),
        ("beta.toml", include_str!("../../../../examples/two-farms/beta.toml")),
        ("acme.toml", include_str!("../../../../examples/two-farms/acme.toml")),
        ("globex.toml", include_str!("../../../../examples/two-farms/globex.toml")),
    ]);
    let world = parse_all(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let across = world.network(&"acme/span".parse().unwrap()).unwrap();
    let farms: std::collections::BTreeSet<_> =
        across.nodes().iter().map(|id| world.node(id).unwrap().0.id().as_str()).collect();
    assert_eq!(farms.into_iter().collect::<Vec<_>>(), ["alpha", "beta"]);
    let hidden = across.nodes().iter().filter(|id| world.node(id).unwrap().1.is_hidden()).count();
    assert_eq!((hidden, across.exit().farm.as_str()), (2, "alpha"));
}

#[test]
fn what_is_left_out_is_filled_in() {
    let farm = "farm = \"f\"\nallocations = [\"2001:db8:a::/48\"]\n[[node]]\nname = \"n\"\nreach = \"public\"\n\
                address_v4 = \"203.0.113.9/24\"\n[[node]]\nname = \"h\"\nreach = \"hidden\"\n\
                [[slot]]\nslot = 3\nholders = [\"n\"]\n";
    let network = "tenant = \"t\"\nnetwork = \"w\"\nnodes = [\"n\", \"h\"]\nexit = { farm = \"f\", slot = 3 }\n\
                   [[workload]]\nname = \"a\"\nnode = \"n\"\n[[workload]]\nname = \"b\"\nnode = \"n\"\nnumber = 3\n\
                   [[workload]]\nname = \"c\"\nnode = \"h\"\n[[workload]]\nname = \"d\"\nnode = \"n\"\n";
    let world = parse_all(&named(&[("f", farm), ("w", network)])).unwrap();
    let (farm, n) = world.node(&node("n")).unwrap();
    assert_eq!((n.nic().as_str(), n.mtu(), farm.host_firewall()), ("eth0", 1500, false));
    assert_eq!(farm.upstream().next_hop.to_string(), "fe80::1");
    assert_eq!((n.reachable(Family::Ipv6), n.speaks(Family::Ipv6)), (None, false));
    let hidden = Reach::Hidden { families: [Family::Ipv4].into() };
    assert_eq!(farm.node(&node("h")).unwrap().reach(), &hidden);
    let network = world.network(&"t/w".parse().unwrap()).unwrap();
    assert_eq!(network.exit().prefix.to_string(), "2001:db8:a::/48");
    let numbers: Vec<_> = network.workloads().iter().map(|w| (w.name.to_string(), w.number.get())).collect();
    assert_eq!(numbers, [("a", 2), ("b", 3), ("c", 2), ("d", 4)].map(|(name, k)| (name.to_owned(), k)));
    assert!(network.workloads().iter().all(|w| w.attachment == Attachment::Namespace));
    assert_eq!(network.workloads_on(&node("n")).count(), 3);
    assert!(network.workload(&Label::try_from("d").unwrap()).is_some());
}

#[test]
fn a_shape_error_has_its_column() {
    let error = parse_farm("farm = \"f\"\n  colour = 1\n", "f.toml").unwrap_err();
    assert_eq!(error.to_string(), "f.toml:2:3: unknown field `colour`");
}

#[test]
fn nobody_is_close_to_everybody() {
    let known = ["name", "node", "number"];
    assert_eq!(error::nearest("nane", &known), Some("name"));
    assert_eq!(error::nearest("numbr", &known), Some("number"));
    assert_eq!(error::nearest("colour", &known), None);
    assert_eq!(error::nearest("", &known), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to one file, the answer is a world or problems whose lines are in the file.
    #[test]
    fn a_damaged_file_is_answered(at in 0..1200_usize, cut in 0..40_usize, with in "[ -~\n\u{e9}\u{1b}]{0,6}", which: bool) {
        let mut texts = [FARM.to_owned(), ACME.to_owned()];
        let text = &mut texts[usize::from(which)];
        let (from, to) = (at.min(text.len()), (at + cut).min(text.len()));
        prop_assume!(text.is_char_boundary(from) && text.is_char_boundary(to));
        text.replace_range(from..to, &with);
        let files = [("farm.toml", &*texts[0]), ("acme.toml", &*texts[1])];
        if let Err(problems) = parse_all(&named(&files)) {
            prop_assert!(problems.len() > 0);
            for problem in &problems {
                let text = files.iter().find(|(name, _)| *name == problem.file).unwrap().1;
                prop_assert!((1..=text.lines().count() + 1).contains(&problem.line), "{problem}");
                prop_assert!(!problem.hint.is_empty() && !problem.to_string().contains('\u{1b}'), "{problem}");
            }
        }
    }
}
