//! Bridges, and routes over several next hops: what the world around nodes has and no node of a farm.
//!
//! Owns: making a bridge, putting cables into it, and such routes by it, by a few netlink messages in the calling thread's
//! namespace. Must not be used inside a node.

use std::io;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use sixfold_core::mac::Mac;
use sixfold_core::name::{IfName, ROUTE_PROTOCOL};
use sixfold_core::state::METRIC;

/// Why a bridge could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// No conversation with the kernel.
    #[error("cannot use a netlink socket")]
    Socket(#[from] io::Error),
    /// The kernel refused.
    #[error("cannot {action} {link}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// With which link.
        link: IfName,
        /// Why not.
        #[source]
        errno: Errno,
    },
}

impl BridgeError {
    /// The kernel's reason, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Socket(error) => error.raw_os_error().map(Errno::from_raw),
            Self::Refused { errno, .. } => Some(*errno),
        }
    }
}

/// Makes a bridge that forwards at once, and sets it up.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn make(name: IfName, mac: Mac, mtu: u16) -> Result<(), BridgeError> {
    let mut talk = Talk::open()?;
    let shape = vec![InfoBridge::ForwardDelay(0), InfoBridge::MulticastSnooping(false)];
    let mut message = named(name);
    message.attributes.extend([
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Mtu(mtu.into()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(shape)),
        ]),
    ]);
    let refused = |action| move |errno| BridgeError::Refused { action, link: name, errno };
    let make = RouteNetlinkMessage::NewLink(message);
    talk.ask(make, NLM_F_CREATE | NLM_F_EXCL)?.map_err(refused("make the bridge"))?;
    let mut up = named(name);
    (up.header.flags, up.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    talk.ask(RouteNetlinkMessage::SetLink(up), 0)?.map_err(refused("set up the bridge"))
}

/// Puts cables into a bridge.
///
/// # Errors
/// The kernel's refusal of the first that it refuses.
pub(crate) fn join(bridge: IfName, ports: &[IfName]) -> Result<(), BridgeError> {
    let refused = |link| move |errno| BridgeError::Refused { action: "put into its bridge", link, errno };
    let index = if_nametoindex(bridge.as_str()).map_err(refused(bridge))?;
    let mut talk = Talk::open()?;
    for port in ports {
        let mut message = named(*port);
        message.attributes.push(LinkAttribute::Controller(index));
        talk.ask(RouteNetlinkMessage::SetLink(message), 0)?.map_err(refused(*port))?;
    }
    Ok(())
}

/// Spreads what is for a prefix over routers on a bridge, in the place of the route that is there.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn spread(bridge: IfName, prefix: Ipv6Net, routers: &[Ipv6Addr]) -> Result<(), BridgeError> {
    let refused = |errno| BridgeError::Refused { action: "spread a route over", link: bridge, errno };
    let index = if_nametoindex(bridge.as_str()).map_err(refused)?;
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = prefix.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    message.header.kind = RouteType::Unicast;
    let hops = routers.iter().map(|router| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop.attributes = vec![RouteAttribute::Gateway(RouteAddress::from(*router))];
        hop
    });
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(prefix.network())),
        RouteAttribute::Priority(METRIC),
        RouteAttribute::MultiPath(hops.collect()),
    ];
    let set = RouteNetlinkMessage::NewRoute(message);
    Talk::open()?.ask(set, NLM_F_CREATE | NLM_F_REPLACE)?.map_err(refused)
}

fn named(name: IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
    message
}

/// One question at a time.
struct Talk(Socket);

impl Talk {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self(socket))
    }

    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Result<(), Errno>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let (answer, _) = self.0.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(match answer.payload {
            NetlinkPayload::Error(error) => {
                error.code.map_or(Ok(()), |code| Err(Errno::from_raw(-code.get())))
            }
            _ => Ok(()),
        })
    }
}
