//! Sysctls by their path below `/proc/sys`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::IfName;

/// A path below `/proc/sys`, such as `net/ipv6/conf/all/forwarding`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SysctlName(pub String);

impl fmt::Display for SysctlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Settings that are off on every link of ours, by their paths below `conf/LINK`. A link that answers for others' addresses
/// draws their traffic, and one without IPv6 takes none of our addresses.
const OFF: [&str; 3] = [
    "net/ipv4/conf/default/proxy_arp",
    "net/ipv6/conf/default/disable_ipv6",
    "net/ipv6/conf/default/proxy_ndp",
];

impl SysctlName {
    /// A setting of one link: `family` is `ipv4` or `ipv6`.
    #[must_use]
    pub fn of_link(family: &str, link: &IfName, setting: &str) -> Self {
        Self(format!("net/{family}/conf/{link}/{setting}"))
    }

    /// If this is a setting of one link: the link, and the same setting of links that come.
    #[must_use]
    pub fn link(&self) -> Option<(IfName, Self)> {
        let mut parts = self.0.split('/');
        let (net, family, conf) = (parts.next()?, parts.next()?, parts.next()?);
        let (link, setting) = (parts.next()?, parts.next()?);
        if conf != "conf" || ["all", "default"].contains(&link) || parts.next().is_some() {
            return None;
        }
        let default = Self([net, family, conf, "default", setting].join("/"));
        Some((IfName::try_from(link).ok()?, default))
    }

    /// Whether links of ours have this (a setting of links that come) off, whatever their namespace's default.
    #[must_use]
    pub fn is_off_on_links(&self) -> bool {
        OFF.contains(&self.0.as_str())
    }
}

/// Every sysctl that an observation of a namespace of ours reads. One that the kernel lacks is absent from the state.
///
/// `default` counts more than `all`: links of ours are made after it is set, and inherit it when they enter the
/// namespace. A new namespace's IPv4 values are a copy of the host's, so none is assumed. Of a link's own settings an
/// observation tells those that are other than its namespace's default, or on where links of ours have them off.
pub const OURS: [&str; 22] = [
    "net/bridge/bridge-nf-call-arptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_notify",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/send_redirects",
    "net/ipv4/conf/default/accept_redirects",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/conf/default/send_redirects",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/accept_ra",
    "net/ipv6/conf/all/accept_redirects",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/ndisc_notify",
    "net/ipv6/conf/default/accept_dad",
    "net/ipv6/conf/default/accept_ra",
    "net/ipv6/conf/default/accept_redirects",
    "net/ipv6/conf/default/addr_gen_mode",
    "net/ipv6/conf/default/autoconf",
    "net/ipv6/conf/default/forwarding",
];
