//! NICs of the host's that are moved to where they serve, and back.
//!
//! ```text
//! host: eth2 ──note──▶ eth2, marked ──move──▶ gw-1-1: pub-1-1, marked ──return──▶ host: eth2, as it was
//!                          ▲                        │ the namespace ends
//!                          └── return ── pub-1-1 ◀──┘ the kernel gives a NIC back by the name that it has then
//! ```
//!
//! How it was at home is noted on the link itself, in its alias, before anything else is done to it: the alias goes along wherever
//! the link goes, so that whatever was cut short can be told from what is there. The note is taken away last.
//!
//! Owns: that note, and the two moves. Must not decide where a NIC is to be.

use std::os::fd::AsRawFd as _;

use netlink_packet_route::link::LinkAttribute;
use nix::errno::Errno;
use sixfold_core::name::IfName;
use sixfold_core::state::{Home, Link, Netns};

use super::apply::Run;
use super::links::HOLDS_ITS_PORTS;
use crate::ApplyError;
use crate::rtnl::address;
use crate::rtnl::link::{self, RawLink};

/// What a note begins with.
const MARK: &str = "sixfold nic=";

/// What is noted on a NIC before it leaves home.
fn note(nic: &IfName, home: &Home) -> String {
    let mac = home.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string());
    let up = if home.up { "up" } else { "down" };
    format!("{MARK}{nic} mac={mac} mtu={} {up} alias={}", home.mtu, home.alias)
}

/// The NIC that a link is by its alias, and how it was at home.
pub(super) fn read(alias: &str) -> Option<(IfName, Home)> {
    let (nic, rest) = alias.strip_prefix(MARK)?.split_once(" mac=")?;
    let (mac, rest) = rest.split_once(" mtu=")?;
    let (mtu, rest) = rest.split_once(' ')?;
    let (up, alias) = rest.split_once(" alias=")?;
    let mac = if mac == "-" { None } else { Some(mac.parse().ok()?) };
    let up = match up {
        "up" => true,
        "down" => false,
        _ => return None,
    };
    let home = Home { mac, mtu: mtu.parse().ok()?, up, alias: alias.to_owned() };
    Some((IfName::try_from(nic).ok()?, home))
}

/// Whether a link bears such a note.
pub(super) fn is_marked(link: &RawLink) -> bool {
    link.alias.as_deref().and_then(read).is_some()
}

impl Run<'_> {
    /// Moves a NIC from the host's namespace to where it shall be, down.
    pub(super) fn take_nic(
        &mut self,
        netns: &Netns,
        (name, link): (&IfName, &Link),
        nic: &IfName,
    ) -> Result<(), ApplyError> {
        if self.linux.handles.get(netns)?.link(name)?.is_some() {
            return self.adopt(netns, name, link);
        }
        let raw = self.at_home(nic)?;
        if !is_marked(&raw) {
            let alias = raw.alias.clone().unwrap_or_default();
            let home = Home { mac: raw.mac, mtu: raw.mtu, up: raw.up, alias };
            self.change_nic(&Netns::Host, &raw, vec![LinkAttribute::IfAlias(note(nic, &home))], None)?;
        }
        let there = self.linux.handles.entrance(netns)?;
        let mut changes = vec![LinkAttribute::NetNsFd(there.fd().as_raw_fd())];
        changes.extend(differing(&raw, link.mac, link.mtu.map(u32::from)));
        changes.push(LinkAttribute::IfName(name.as_str().to_owned()));
        let moved = self.change_nic(&Netns::Host, &raw, changes, Some(false));
        if moved.is_err() {
            // If it has not left it is left as it was.
            self.give_up(nic);
        }
        moved
    }

    /// The NIC of that name in the host's namespace, if it can be taken from there.
    fn at_home(&mut self, nic: &IfName) -> Result<RawLink, ApplyError> {
        let host = self.linux.handles.get(&Netns::Host)?;
        let raw = host.link(nic)?.ok_or(ApplyError::NoLink { link: *nic })?;
        if let Some(master) = raw.master {
            let of = link::decode(&host.route.ask(link::get(master, None))?).pop();
            let of = of.map_or(*nic, |of| of.name);
            return Err(ApplyError::Port { link: *nic, kind: raw.port, of });
        }
        if raw.loopback || HOLDS_ITS_PORTS.contains(&raw.kind.as_str()) {
            return Err(ApplyError::Immovable { link: *nic, kind: raw.kind });
        }
        if address::is_reached(&host.route.dump(address::dump_on(raw.index))?, raw.index) {
            return Err(ApplyError::Addressed { link: *nic });
        }
        Ok(raw)
    }

    fn give_up(&mut self, nic: &IfName) {
        let Ok(Some(raw)) = self.linux.handles.get(&Netns::Host).map(|host| host.link(nic).ok().flatten())
        else {
            return;
        };
        if let Some((_, home)) = raw.alias.as_deref().and_then(read) {
            let outcome = self.return_nic(&Netns::Host, nic, (nic, Some(&home)));
            tracing::debug!(%nic, ?outcome, "the NIC stays at home");
        }
    }

    /// Moves a NIC home; one that is not there is home already.
    pub(super) fn return_nic(
        &mut self,
        netns: &Netns,
        name: &IfName,
        (nic, home): (&IfName, Option<&Home>),
    ) -> Result<(), ApplyError> {
        let Some(raw) = self.linux.handles.get(netns)?.link(name)? else { return Ok(()) };
        let noted = raw.alias.as_deref().and_then(read);
        if noted.is_none_or(|(noted, _)| noted != *nic) {
            return Ok(());
        }
        let host = self.linux.handles.entrance(&Netns::Host)?;
        let mut changes = Vec::new();
        if *netns != Netns::Host {
            changes.push(LinkAttribute::NetNsFd(host.fd().as_raw_fd()));
        }
        changes.extend(home.into_iter().flat_map(|home| differing(&raw, home.mac, Some(home.mtu))));
        changes.push(LinkAttribute::IfName(nic.as_str().to_owned()));
        let alias = home.map_or_else(String::new, |home| home.alias.clone());
        changes.push(LinkAttribute::IfAlias(alias));
        match self.change_nic(netns, &raw, changes, home.map(|home| home.up)) {
            Err(ApplyError::Refused(refusal)) if refusal.errno == Errno::EEXIST => {
                Err(ApplyError::NameTaken { link: *nic })
            }
            outcome => outcome,
        }
    }

    /// One request, which the kernel does in its own order: the move, address and MTU, the name, the alias, up or down.
    fn change_nic(
        &mut self,
        netns: &Netns,
        raw: &RawLink,
        changes: Vec<LinkAttribute>,
        up: Option<bool>,
    ) -> Result<(), ApplyError> {
        let request = link::change_at(raw.index, changes, up);
        let outcomes = self.linux.handles.again(netns)?.route.batch(&mut [request])?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map_err(Into::into))
    }
}

/// What differs: some drivers refuse to be told a hardware address, be it their own.
fn differing(
    raw: &RawLink,
    mac: Option<sixfold_core::mac::Mac>,
    mtu: Option<u32>,
) -> impl Iterator<Item = LinkAttribute> + use<> {
    let mac = mac.filter(|mac| raw.mac != Some(*mac)).map(|mac| LinkAttribute::Address(mac.0.to_vec()));
    let mtu = mtu.filter(|mtu| raw.mtu != *mtu).map(LinkAttribute::Mtu);
    mac.into_iter().chain(mtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_as_it_is_written_and_nothing_else_is_one() {
        let nic = IfName::try_from("enp1s0f0v3").unwrap();
        let mac = Some("52:54:00:12:34:56".parse().unwrap());
        for (mac, up, alias) in [(mac, true, ""), (None, false, "rack 3 alias= port 7")] {
            let home = Home { mac, mtu: 9000, up, alias: alias.to_owned() };
            assert_eq!(read(&note(&nic, &home)), Some((nic, home)));
        }
        let others = [
            "",
            "rack 3",
            "sixfold socket=host inode=1",
            "sixfold nic=eth1",
            "sixfold nic=a/b mac=- mtu=1500 up alias=",
            "sixfold nic=eth1 mac=x mtu=1500 up alias=",
            "sixfold nic=eth1 mac=- mtu=x up alias=",
            "sixfold nic=eth1 mac=- mtu=1500 or alias=",
        ];
        for other in others {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
