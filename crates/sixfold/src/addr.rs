//! `sixfold addr`: everything that derives from an allocation, a slot, an index or a workload number.
//!
//! Owns: choosing what to show. What derives is core's `addr`; how a row reads is `addr/rows.rs`.

mod rows;

use clap::builder::NonEmptyStringValueParser;
use ipnet::Ipv6Net;
use sixfold_core::addr::{self, Allocation, AllocationError, Gateway, PrefixIndex, Resource, Workload};
use sixfold_core::id::{AllocationNumber, ExitSlot, WorkloadNumber};

use self::rows::Section;
use crate::failed::{Failed, Kind};
use crate::{Done, output};

/// Show everything that derives from an allocation, a slot or an index
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show everything that derives from an allocation, a slot or an index.\n\n\
    A farm's allocation is a /29 to a /48. A shorter one is carved into /48s; a /48 has 15 exit slots, each a /52 that \
    the upstream router sends to the gateway holding it; a slot has 4,096 indices, each a /64 of one network resource. \
    Names and addresses follow from these numbers alone, so nothing needs to be asked: this command reads no file and \
    no kernel.\n\n\
    With --json: of a shorter prefix carving; of a /48 allocation, slots and upstream_routes; with --slot gateway, indices, \
    upstream_routes and upstream_routes_ecmp; with --index resource, exit_point, gateway, and workload if one is named. In each what the table shows, \
    by the words of its first column.",
    after_long_help = "Examples:\n  sixfold addr 2001:db8::/32\n  sixfold addr 2001:db8:a::/48\n  \
    sixfold addr 2001:db8:a::/48 --slot 1\n  sixfold addr 2001:db8:a::/48 --index 1abc --workload 2"
)]
pub(crate) struct Args {
    /// An IPv6 prefix, /29 to /48
    #[arg(value_name = "PREFIX")]
    prefix: Ipv6Net,

    /// Number of the /48, as the registry gave it; names end in it
    #[arg(long, value_name = "N", default_value = "1")]
    number: AllocationNumber,

    /// One exit slot, 1 to 15
    #[arg(long, value_name = "X", conflicts_with = "index")]
    slot: Option<ExitSlot>,

    /// One prefix index: four lowercase hex digits, 1000 to feff
    #[arg(long, value_name = "NIB", value_parser = index())]
    index: Option<PrefixIndex>,

    /// One workload of the resource with --index, 2 to 254
    #[arg(long, value_name = "K", requires = "index")]
    workload: Option<WorkloadNumber>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The same words as everywhere else, rather than clap's for a type it does not know.
fn index() -> impl clap::builder::TypedValueParser<Value = PrefixIndex> {
    use clap::builder::TypedValueParser as _;
    NonEmptyStringValueParser::new().try_map(|text| text.parse::<PrefixIndex>())
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let sections = sections(args)?;
    if args.json {
        output::print_json(&rows::document(&sections))?;
    } else {
        output::print(&rows::text(&sections))?;
    }
    Ok(Done::Yes)
}

fn sections(args: &Args) -> Result<Vec<Section>, Failed> {
    let carving = addr::carve(args.prefix).map_err(refused)?;
    if args.prefix.prefix_len() < 48 {
        if args.slot.is_some() || args.index.is_some() {
            let what = format!("{} is several /48s: a slot or an index is of one of them", args.prefix);
            let first = carving.allocations().next();
            return Err(
                Failed::new(Kind::Usage, what).hint(first.map(|first| format!("name one, as {first}")))
            );
        }
        return Ok(vec![rows::carving(&carving)]);
    }
    let allocation = Allocation::new(args.prefix, args.number).map_err(refused)?;
    if let Some(index) = args.index {
        let resource = Resource::derive(&allocation, index);
        let mut sections = vec![rows::resource(&resource, index), rows::exit_point(&resource)];
        sections.extend(
            args.workload.map(|number| rows::workload(&Workload::derive(&allocation, index, number))),
        );
        sections.push(rows::gateway(&Gateway::derive(&allocation, index.slot())));
        return Ok(sections);
    }
    if let Some(slot) = args.slot {
        let gateway = Gateway::derive(&allocation, slot);
        return Ok(vec![
            rows::gateway(&gateway),
            rows::indices(slot),
            rows::routes(&allocation, [slot]),
            rows::routes_ecmp(&allocation, slot),
        ]);
    }
    Ok(vec![
        rows::allocation(&allocation),
        rows::slots(&allocation),
        rows::routes(&allocation, ExitSlot::all()),
    ])
}

fn refused(error: AllocationError) -> Failed {
    let hint = error.hint();
    Failed::refused(error).hint(Some(hint))
}
