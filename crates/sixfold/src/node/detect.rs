//! What a machine says of itself, so that nobody has to type it: its name, and the link and the families it sends by.
//!
//! Owns: reading `/proc`, whose files are those of the namespace that the process is in. What cannot be told is left to be
//! asked for.

use std::collections::BTreeSet;
use std::fs;

use sixfold_core::id::Label;
use sixfold_core::model::Family;
use sixfold_core::name::IfName;

/// Where a machine sends what is for nobody near.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WayOut {
    /// The link; IPv6's where the two differ.
    pub(super) nic: Option<IfName>,
    /// The families that have one.
    pub(super) families: BTreeSet<Family>,
}

impl WayOut {
    /// This machine's.
    pub(super) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::of(&read("/proc/net/ipv6_route"), &read("/proc/net/route"))
    }

    /// From the kernel's two tables of routes.
    fn of(routes: &str, routes_v4: &str) -> Self {
        // Destination, its length, source, its length, next hop, metric, references, uses, flags, link.
        let link = routes.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_default = words.first()?.bytes().all(|digit| digit == b'0') && *words.get(1)? == "00";
            let link = *words.get(9)?;
            (is_default && link != "lo").then_some(link)
        });
        // Link, destination, gateway, flags, references, uses, metric, mask, ...
        let link_v4 = routes_v4.lines().skip(1).find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (*words.get(1)? == "00000000" && *words.get(7)? == "00000000").then_some(words[0])
        });
        let families = [(Family::Ipv6, link), (Family::Ipv4, link_v4)];
        Self {
            nic: link.or(link_v4).and_then(|name| name.parse().ok()),
            families: families.into_iter().filter_map(|(family, link)| link.map(|_| family)).collect(),
        }
    }
}

/// The MTU of a link in bytes.
pub(super) fn mtu(nic: &IfName) -> Option<u16> {
    let read = |path: String| fs::read_to_string(path).ok()?.trim().parse().ok();
    // The first is the namespace's own, wherever /sys was mounted; a link without IPv6 has only the second.
    read(format!("/proc/sys/net/ipv6/conf/{nic}/mtu")).or_else(|| read(format!("/sys/class/net/{nic}/mtu")))
}

/// The machine's name: the first part of its host name.
pub(super) fn name() -> Option<Label> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    name.trim().split('.').next()?.to_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth1\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
    const V6: &str = "20010db8000000000000000000000000 40 00000000000000000000000000000000 00 \
        00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth1\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
        fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth2\n";
    const REFUSED: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
        00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";

    #[test]
    fn the_way_out_is_where_the_default_routes_lead() {
        let way = |nic: Option<&str>, families: &[Family]| WayOut {
            nic: nic.map(|nic| nic.parse().unwrap()),
            families: families.iter().copied().collect(),
        };
        assert_eq!(WayOut::of(V6, V4), way(Some("eth2"), &[Family::Ipv6, Family::Ipv4]));
        assert_eq!(WayOut::of(REFUSED, V4), way(Some("eth0"), &[Family::Ipv4]));
        assert_eq!(WayOut::of(&format!("{REFUSED}{V6}"), ""), way(Some("eth2"), &[Family::Ipv6]));
        assert_eq!(WayOut::of(REFUSED, "Iface\n"), way(None, &[]));
        assert_eq!(WayOut::of("00 00\n\n", "a\nb\n"), way(None, &[]));
    }
}
