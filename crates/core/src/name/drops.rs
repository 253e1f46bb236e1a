//! The sets in which a gateway counts by link, and so by network, foremost what it stopped: the names by which whoever desires and
//! whoever reads them agree, and the reasons by which reports tell of them.

/// The source is none of the network's.
pub const SPOOFED: &str = "spoofed";
/// To where, or from where, or by what protocol nothing may go.
pub const BARRED: &str = "barred";
/// Only an error answers it: nobody has that address, or no hop is left. What is more than a rate went unanswered.
pub const ERRORS: &str = "errors";
/// One connection more than the network's share.
pub const SHARES: &str = "shares";

/// More than it may send in a second.
pub const BANDWIDTH_SENT: &str = "bandwidth_sent";
/// More than it may get in a second: of this set alone the link is the one by which a packet would have left.
pub const BANDWIDTH_RECEIVED: &str = "bandwidth_received";

/// What it was answered over IPv4: not stopped, but counted alike, since a link's own counters know no families.
pub const ANSWERED: &str = "answered";

/// Each set of what was stopped, with its reason.
pub const ALL: [(&str, &str); 6] = [
    (SPOOFED, "spoofed"),
    (BARRED, "barred"),
    (ERRORS, "refused"),
    (SHARES, "share"),
    (BANDWIDTH_SENT, "bandwidth_sent"),
    (BANDWIDTH_RECEIVED, "bandwidth_received"),
];
