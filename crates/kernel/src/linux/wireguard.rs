//! The kernel's own WireGuard by generic netlink. No message ever replaces a device's peers: only the one it names.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::ParseableParametrized as _;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlHeader, GenlMessage};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardDeviceFlags, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::name::IfName;
use sixfold_core::state::{Device, Endpoint, Peer, PeerKey};
use zeroize::Zeroizing;

use crate::rtnl::{CHANGE, DUMP};
use crate::session::{Session, age};
use crate::socket::{Refusal, Socket, SocketError};
use crate::tunnel::{Held, endpoint};
use crate::wire;

/// Allowed prefixes in one message: at 40 bytes each a message stays under the 64 kB that an attribute can hold.
const PREFIXES_PER_MESSAGE: usize = 1000;

/// Number of the family `wireguard`, which the kernel loads if it can; refused with `ENOENT` where there is none.
pub(super) fn family(socket: &mut Socket) -> Result<u16, SocketError> {
    let name = GenlCtrlAttrs::FamilyName("wireguard".to_owned());
    let question = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] });
    let answer = socket.ask(wire::request(question, CHANGE))?;
    let found = wire::messages(&answer).find_map(|message| {
        let (_, id) =
            wire::attributes(message.payload, 4).find(|(kind, value)| *kind == 1 && value.len() == 2)?;
        wire::short(id)
    });
    found.ok_or(SocketError::Refused(Refusal { errno: nix::errno::Errno::ENOENT, words: None }))
}

/// A device with its peers.
pub(super) fn get(socket: &mut Socket, family: u16, link: &IfName) -> Result<Held, SocketError> {
    let mut held = Held::default();
    let (mut public_key, mut listen_port, mut fwmark) = (None, 0, 0);
    dump(socket, family, link, |attribute| match attribute {
        WireguardAttribute::PublicKey(key) => public_key = Some(PublicKey::from_bytes(key)),
        WireguardAttribute::ListenPort(port) => listen_port = port,
        WireguardAttribute::Fwmark(mark) => fwmark = mark,
        WireguardAttribute::Peers(peers) => {
            peers.into_iter().for_each(|peer| read_peer(&mut held, link, peer))
        }
        _ => {}
    })?;
    held.device = public_key.map(|public_key| Device { public_key, listen_port, fwmark });
    Ok(held)
}

/// What a device counted of its peers.
pub(super) fn sessions(
    socket: &mut Socket,
    family: u16,
    link: &IfName,
) -> Result<BTreeMap<PublicKey, Session>, SocketError> {
    let mut sessions = BTreeMap::new();
    dump(socket, family, link, |attribute| {
        if let WireguardAttribute::Peers(peers) = attribute {
            peers.into_iter().for_each(|peer| read_session(&mut sessions, peer));
        }
    })?;
    Ok(sessions)
}

/// Each attribute that the kernel tells of a device, in as many messages as it takes.
fn dump(
    socket: &mut Socket,
    family: u16,
    link: &IfName,
    mut take: impl FnMut(WireguardAttribute),
) -> Result<(), SocketError> {
    // The kernel tells private keys too.
    let answer =
        Zeroizing::new(socket.dump(request(family, WireguardCmd::GetDevice, vec![named(link)], DUMP))?);
    for message in wire::messages(&answer).filter(|message| message.kind == family) {
        let header = GenlHeader { cmd: 0, version: 1 };
        let payload = message.payload.get(4..).unwrap_or_default();
        if let Ok(message) = WireguardMessage::parse_with_param(payload, header) {
            message.attributes.into_iter().for_each(&mut take);
        }
    }
    Ok(())
}

/// A peer that comes again, with the rest of its prefixes, has its numbers in the first.
fn read_session(sessions: &mut BTreeMap<PublicKey, Session>, peer: WireguardPeer) {
    let (mut key, mut session) = (None, Session::default());
    for attribute in peer.0 {
        match attribute {
            WireguardPeerAttribute::PublicKey(bytes) => key = Some(PublicKey::from_bytes(bytes)),
            WireguardPeerAttribute::LastHandshake(at) => {
                session.handshake_age = u64::try_from(at.seconds).ok().map(Duration::from_secs).and_then(age);
            }
            WireguardPeerAttribute::RxBytes(bytes) => session.rx_bytes = bytes,
            WireguardPeerAttribute::TxBytes(bytes) => session.tx_bytes = bytes,
            _ => {}
        }
    }
    if let Some(key) = key {
        sessions.entry(key).or_insert(session);
    }
}

/// A peer whose prefixes do not fit one message comes again in the next, with the rest of them and nothing else.
fn read_peer(held: &mut Held, link: &IfName, peer: WireguardPeer) {
    let (mut key, mut address, mut handshake, mut keepalive_secs) = (None, None, None, 0);
    let mut preshared = false;
    let mut prefixes = Vec::new();
    for attribute in peer.0 {
        match attribute {
            WireguardPeerAttribute::PublicKey(bytes) => key = Some(PublicKey::from_bytes(bytes)),
            WireguardPeerAttribute::Endpoint(at) => address = Some(at),
            WireguardPeerAttribute::PersistentKeepalive(secs) => keepalive_secs = secs,
            WireguardPeerAttribute::PresharedKey(key) => preshared = key != [0; 32],
            WireguardPeerAttribute::LastHandshake(at) => {
                handshake = u64::try_from(at.seconds).ok().map(Duration::from_secs);
            }
            WireguardPeerAttribute::AllowedIps(list) => prefixes.extend(list.iter().filter_map(read_prefix)),
            _ => {}
        }
    }
    let Some(public_key) = key else { return };
    let fresh = || Peer {
        endpoint: endpoint(address, handshake),
        allowed_ips: Default::default(),
        // The kernel takes an address from its owner alone: none is ever desired of it.
        accepted_ips: Default::default(),
        keepalive_secs,
        preshared,
    };
    let peer = held.peers.entry(PeerKey { link: *link, public_key }).or_insert_with(fresh);
    peer.allowed_ips.extend(prefixes);
}

fn read_prefix(allowed: &WireguardAllowedIp) -> Option<IpNet> {
    let (mut address, mut length) = (None, None);
    for attribute in &allowed.0 {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(found) => address = Some(*found),
            WireguardAllowedIpAttr::Cidr(found) => length = Some(*found),
            _ => {}
        }
    }
    IpNet::new(address?, length?).ok()
}

/// Gives a device its key, and a port if one is told; and takes a mark off it, of which none is ever desired.
pub(super) fn set_device(family: u16, link: &IfName, key: &PrivateKey, port: Option<u16>) -> Vec<u8> {
    let mut attributes = vec![named(link), WireguardAttribute::PrivateKey(*key.as_bytes())];
    attributes.push(WireguardAttribute::Fwmark(0));
    attributes.extend(port.map(WireguardAttribute::ListenPort));
    request(family, WireguardCmd::SetDevice, attributes, CHANGE)
}

/// Has a device listen on a port; 0: any.
pub(super) fn set_port(family: u16, link: &IfName, port: u16) -> Vec<u8> {
    let attributes = vec![named(link), WireguardAttribute::ListenPort(port)];
    request(family, WireguardCmd::SetDevice, attributes, CHANGE)
}

/// Takes key and peers from a device that stays.
pub(super) fn clear(family: u16, link: &IfName) -> Vec<u8> {
    let attributes = vec![
        named(link),
        WireguardAttribute::Flags(WireguardDeviceFlags::ReplacePeers),
        WireguardAttribute::PrivateKey([0; 32]),
    ];
    request(family, WireguardCmd::SetDevice, attributes, CHANGE)
}

/// Makes or changes one peer: the first message replaces its prefixes, further ones add to them.
pub(super) fn set_peer(family: u16, key: &PeerKey, peer: &Peer) -> Vec<Vec<u8>> {
    let prefixes: Vec<WireguardAllowedIp> = peer.allowed_ips.iter().map(write_prefix).collect();
    let mut slices = prefixes.chunks(PREFIXES_PER_MESSAGE);
    let mut first = vec![
        WireguardPeerAttribute::PublicKey(*key.public_key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
        WireguardPeerAttribute::PersistentKeepalive(peer.keepalive_secs),
        // None is ever desired: zeroes take away whatever is there.
        WireguardPeerAttribute::PresharedKey([0; 32]),
    ];
    if let Endpoint::At(address) | Endpoint::Live(address) = peer.endpoint {
        first.push(WireguardPeerAttribute::Endpoint(address));
    }
    first.extend(slices.next().map(|slice| WireguardPeerAttribute::AllowedIps(slice.to_vec())));
    let mut messages = vec![one_peer(family, &key.link, first)];
    messages.extend(slices.map(|slice| {
        let more = vec![
            WireguardPeerAttribute::PublicKey(*key.public_key.as_bytes()),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
            WireguardPeerAttribute::AllowedIps(slice.to_vec()),
        ];
        one_peer(family, &key.link, more)
    }));
    messages
}

/// Removes one peer.
pub(super) fn del_peer(family: u16, key: &PeerKey) -> Vec<u8> {
    let peer = vec![
        WireguardPeerAttribute::PublicKey(*key.public_key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
    ];
    one_peer(family, &key.link, peer)
}

fn write_prefix(prefix: &IpNet) -> WireguardAllowedIp {
    let family = match prefix {
        IpNet::V4(_) => WireguardAddressFamily::Ipv4,
        IpNet::V6(_) => WireguardAddressFamily::Ipv6,
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(prefix.network()),
        WireguardAllowedIpAttr::Cidr(prefix.prefix_len()),
    ])
}

fn one_peer(family: u16, link: &IfName, peer: Vec<WireguardPeerAttribute>) -> Vec<u8> {
    let attributes = vec![named(link), WireguardAttribute::Peers(vec![WireguardPeer(peer)])];
    request(family, WireguardCmd::SetDevice, attributes, CHANGE)
}

fn named(link: &IfName) -> WireguardAttribute {
    WireguardAttribute::IfName(link.as_str().to_owned())
}

fn request(family: u16, cmd: WireguardCmd, attributes: Vec<WireguardAttribute>, flags: u16) -> Vec<u8> {
    let mut message = GenlMessage::from_payload(WireguardMessage { cmd, attributes });
    message.set_resolved_family_id(family);
    wire::request(message, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_wireguard::WireguardTimeSpec;

    /// The attributes of a message, read by the packet crate.
    fn read(bytes: &[u8]) -> Vec<WireguardAttribute> {
        let message = wire::messages(bytes).next().expect("one message");
        assert_eq!((message.kind, message.flags, bytes.len()), (0x21, CHANGE, bytes.len()));
        assert_eq!(message.payload[..2], [1, 1], "set a device, version 1");
        let header = GenlHeader { cmd: 1, version: 1 };
        WireguardMessage::parse_with_param(&message.payload[4..], header).expect("readable").attributes
    }

    fn only_peer(bytes: &[u8]) -> Vec<WireguardPeerAttribute> {
        let mut attributes = read(bytes);
        assert_eq!(attributes.len(), 2, "a name and peers, and nothing that replaces other peers");
        assert_eq!(attributes[0], WireguardAttribute::IfName("wg-1234-1".to_owned()));
        let Some(WireguardAttribute::Peers(mut peers)) = attributes.pop() else { panic!("no peers") };
        assert_eq!(peers.len(), 1);
        peers.remove(0).0
    }

    fn key() -> PeerKey {
        let link = IfName::try_from("wg-1234-1").expect("a name");
        PeerKey { link, public_key: PublicKey::from_bytes([3; 32]) }
    }

    #[test]
    fn a_peer_is_replaced_in_its_prefixes_and_no_other_is_touched() {
        let allowed_ips =
            ["2001:db8::/48".parse().expect("a prefix"), "10.1.0.0/16".parse().expect("a prefix")].into();
        let endpoint = Endpoint::At("192.0.2.1:51820".parse().expect("an address"));
        let messages = set_peer(
            0x21,
            &key(),
            &Peer {
                endpoint,
                allowed_ips,
                accepted_ips: Default::default(),
                keepalive_secs: 20,
                preshared: false,
            },
        );
        assert_eq!(messages.len(), 1);
        let attributes = only_peer(&messages[0]);
        assert!(attributes.contains(&WireguardPeerAttribute::PublicKey([3; 32])));
        assert!(attributes.contains(&WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps)));
        assert!(attributes.contains(&WireguardPeerAttribute::PersistentKeepalive(20)));
        let at = "192.0.2.1:51820".parse().expect("an address");
        assert!(attributes.contains(&WireguardPeerAttribute::Endpoint(at)));
        let Some(WireguardPeerAttribute::AllowedIps(list)) = attributes.last() else { panic!("no prefixes") };
        let read: Vec<_> = list.iter().filter_map(read_prefix).map(|prefix| prefix.to_string()).collect();
        assert_eq!(read, ["10.1.0.0/16", "2001:db8::/48"]);
    }

    #[test]
    fn a_peers_numbers_are_read_once_and_no_handshake_has_no_age() {
        let numbers = |seconds, bytes| {
            WireguardPeer(vec![
                WireguardPeerAttribute::PublicKey([3; 32]),
                WireguardPeerAttribute::LastHandshake(WireguardTimeSpec { seconds, nano_seconds: 1 }),
                WireguardPeerAttribute::RxBytes(bytes),
                WireguardPeerAttribute::TxBytes(bytes + 1),
            ])
        };
        let rest = WireguardPeer(vec![WireguardPeerAttribute::PublicKey([3; 32])]);
        let mut sessions = BTreeMap::new();
        [numbers(0, 7), rest].into_iter().for_each(|peer| read_session(&mut sessions, peer));
        let key = PublicKey::from_bytes([3; 32]);
        assert_eq!(sessions, [(key, Session { rx_bytes: 7, tx_bytes: 8, ..Session::default() })].into());
        let mut sessions = BTreeMap::new();
        read_session(&mut sessions, numbers(1, 7));
        assert!(sessions[&key].handshake_age.is_some_and(|age| age.as_secs() > 1_700_000_000));
    }

    #[test]
    fn an_unset_endpoint_is_not_spoken_of() {
        let peer = Peer {
            endpoint: Endpoint::Unset,
            allowed_ips: Default::default(),
            accepted_ips: Default::default(),
            keepalive_secs: 0,
            preshared: false,
        };
        let attributes = only_peer(&set_peer(0x21, &key(), &peer)[0]);
        assert!(!attributes.iter().any(|attribute| matches!(attribute, WireguardPeerAttribute::Endpoint(_))));
    }

    #[test]
    fn prefixes_that_do_not_fit_follow_and_only_add() {
        let allowed_ips =
            (0..2500).map(|n| format!("2001:db8:0:{n:x}::/64").parse().expect("a prefix")).collect();
        let peer = Peer {
            endpoint: Endpoint::Unset,
            allowed_ips,
            accepted_ips: Default::default(),
            keepalive_secs: 0,
            preshared: false,
        };
        let messages = set_peer(0x21, &key(), &peer);
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().all(|message| message.len() < 65_000));
        for more in &messages[1..] {
            assert!(only_peer(more).contains(&WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly)));
        }
    }

    #[test]
    fn a_port_is_told_only_when_it_is_to_change() {
        let secret = PrivateKey::from_bytes([9; 32]);
        let link = key().link;
        let silent = read(&set_device(0x21, &link, &secret, None));
        assert!(!silent.iter().any(|attribute| matches!(attribute, WireguardAttribute::ListenPort(_))));
        let told = read(&set_device(0x21, &link, &secret, Some(51820)));
        assert!(told.contains(&WireguardAttribute::ListenPort(51820)));
        assert!(told.contains(&WireguardAttribute::PrivateKey([9; 32])));
        assert!(silent.contains(&WireguardAttribute::Fwmark(0)), "a mark is taken off");
        let removed = only_peer(&del_peer(0x21, &key()));
        assert!(removed.contains(&WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe)));
    }
}
