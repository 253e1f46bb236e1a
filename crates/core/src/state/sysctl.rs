//! Sysctls by their path below `/proc/sys`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A path below `/proc/sys`, such as `net/ipv6/conf/all/forwarding`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SysctlName(pub String);

impl fmt::Display for SysctlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every sysctl that an observation of a namespace of ours reads. One that the kernel lacks is absent from the state.
///
/// `default` counts more than `all`: links of ours are made after it is set, and inherit it when they enter the
/// namespace. A new namespace's IPv4 values are a copy of the host's, so none is assumed.
pub const OURS: [&str; 20] = [
    "net/bridge/bridge-nf-call-arptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/send_redirects",
    "net/ipv4/conf/default/accept_redirects",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/conf/default/send_redirects",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/accept_ra",
    "net/ipv6/conf/all/accept_redirects",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/accept_dad",
    "net/ipv6/conf/default/accept_ra",
    "net/ipv6/conf/default/accept_redirects",
    "net/ipv6/conf/default/addr_gen_mode",
    "net/ipv6/conf/default/autoconf",
    "net/ipv6/conf/default/forwarding",
];
