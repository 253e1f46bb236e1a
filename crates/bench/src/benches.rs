//! The table of benches. Adding one is adding a row, and a module that runs ours and its reference in turn.

mod agents;
mod change;
mod gateway;
mod memory;
mod packets;
mod registry;
mod resources;
mod routes;
mod state;
mod tunnel;

pub(crate) use self::agents::be_the_registry;
pub(crate) use self::gateway::{EXITS, be_driven};
use crate::Setting;
use crate::failed::Failed;
use crate::figure::Figure;

/// Something whose cost is measured.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    /// What it measures, in a line.
    pub(crate) about: &'static str,
    pub(crate) run: fn(Setting) -> Result<Vec<Figure>, Failed>,
}

/// Every bench, in the order in which they run.
pub(crate) const ALL: [Bench; 17] = [
    Bench {
        name: "routes",
        about: "a gateway's routes from nothing and unchanged, against ip -batch and BIRD",
        run: routes::run,
    },
    Bench {
        name: "resources",
        about: "a node's resources built and torn down, against ip -batch, nft -f and wg setconf",
        run: resources::run,
    },
    Bench {
        name: "filter",
        about: "what a gateway's firewall costs for each packet, at 1 network and at 4,096",
        run: packets::filter,
    },
    Bench {
        name: "forwarding",
        about: "what a gateway costs for each packet to random destinations, at 1 route to 65,536",
        run: packets::forwarding,
    },
    Bench {
        name: "state",
        about: "what a node of 4,096 resources shall be and what is left to do there, against reading its snapshot",
        run: state::run,
    },
    Bench {
        name: "change",
        about: "one workload more on a full node, from snapshot to empty second plan, against looking",
        run: change::workload,
    },
    Bench {
        name: "change-full",
        about: "the same of one network more at a full gateway",
        run: change::network,
    },
    Bench {
        name: "gateway",
        about: "a gateway of 4,096 exit points built, changed, moved and torn down: times, messages, others' waits, memory",
        run: gateway::run,
    },
    Bench {
        name: "gateway-whole",
        about: "the same gateway built and torn down, against ip -batch, nft -f and wg setconf",
        run: gateway::by_programs,
    },
    Bench {
        name: "memory",
        about: "what an agent of 256 resources keeps in memory, against its snapshot",
        run: memory::usual,
    },
    Bench { name: "memory-full", about: "the same of an agent of 4,096 resources", run: memory::full },
    Bench {
        name: "registry",
        about: "durable allocations by the registry's service, against bare SQLite; a full /48's memory and changes",
        run: registry::run,
    },
    Bench {
        name: "agents",
        about: "a thousand agents that hold feeds: a change that touches ten of them, from its sending to their empty plans",
        run: agents::run,
    },
    Bench {
        name: "siege",
        about: "what honest clients of the registry wait beside two thousand connections that dribble, and without them",
        run: agents::siege::run,
    },
    Bench {
        name: "tunnel",
        about: "streams and small packets through the tunnel, against the bare cable and others' tunnels",
        run: tunnel::run,
    },
    Bench {
        name: "tunnel-devices",
        about: "500 devices in one tunnel process: memory, threads, processors while idle, and ten of them busy",
        run: tunnel::devices::run,
    },
    Bench {
        name: "tunnel-peers",
        about: "a device of 5,000 peers, of which 1,000 shake hands at once beside a stream, against wireguard-go",
        run: tunnel::peers::run,
    },
];
