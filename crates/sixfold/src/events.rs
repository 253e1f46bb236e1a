//! `sixfold events`: what happened lately, to whom it concerns.

use sixfold_api::event::{Event, Events};
use sixfold_core::shown::plain;
use sixfold_core::trust::Role;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::caller::RegistryArgs;
use crate::failed::Failed;
use crate::{Done, output};

/// What is waited for news in one request: less than a client waits for any answer.
const WAIT_SECS: u64 = 20;

/// Say what happened lately: to your networks, your farm, this node
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Say what happened lately: to your networks, your farm, this node.\n\n\
    The registry keeps the last 8,192 events in its store, also when it starts again. It tells each key what concerns its owner: a \
    farmer the farm and its nodes, a tenant the networks, a node itself, the registry's operator all.\n\n\
    With --follow it waits for more, asks again for a while where the registry is away, and ends with code 0 once there is something to \
    tell that nobody reads. With --after the number of the last event that was read it goes on from there; that some of those \
    after it are kept no more is said on standard error.\n\n\
    With --json: one document a line: number, at_secs (since 1970), kind, farm, node, network, text.",
    after_long_help = "Examples:\n  sixfold events\n  sixfold events --follow --json | jq -c .kind\n  \
        sixfold events --key ~/.config/sixfold/tenant.pem"
)]
pub(crate) struct Args {
    /// Wait for more, until it is ended or its reader goes
    #[arg(long)]
    follow: bool,

    /// Only those after this one
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,

    /// Print a JSON document a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let mut caller = args.registry.call_as_any(&[Role::Farmer, Role::Tenant, Role::Admin, Role::Node])?;
    let mut after = args.after;
    // Without --follow once; with it until nobody reads any more.
    loop {
        let wait = if args.follow { WAIT_SECS } else { 0 };
        let told: Events = caller.get_again(&format!("/v1/events?after={after}&wait={wait}"))?;
        if told.missed && after > 0 {
            tracing::warn!(after, "there were more events, which the registry has forgotten");
        }
        let lines = told.events.iter().map(|event| line(event, args.json));
        let is_read = output::print_while_read(&lines.collect::<Result<String, _>>()?)?;
        after = told.next;
        if !args.follow || !is_read {
            return Ok(Done::Yes);
        }
    }
}

fn line(event: &Event, json: bool) -> Result<String, Failed> {
    if json {
        return Ok(serde_json::to_string(event).map_err(Failed::environment)? + "\n");
    }
    let what = &event.what;
    let about = [
        what.network.as_ref().map(|id| format!("network {id}")),
        what.node.as_ref().map(|id| format!("node {id}")),
        what.farm.as_ref().map(|id| format!("farm {id}")),
    ];
    let about: Vec<String> = about.into_iter().flatten().collect();
    let text = if what.text.is_empty() { String::new() } else { format!(": {}", plain(&what.text)) };
    Ok(format!("{:>6}  {}  {:<17} {}{text}\n", event.number, utc(event.at_secs), what.kind, about.join(", ")))
}

/// A time as RFC 3339 has it, in UTC, from seconds since 1970.
pub(crate) fn utc(secs: u64) -> String {
    let time = i64::try_from(secs).ok().and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok());
    // Past the year 9999 it has no such form.
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("@{secs}"))
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_those_that_date_tells() {
        for (secs, told) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "@18446744073709551615"),
            (1_795_286_772, "2026-11-21T18:46:12Z"),
        ] {
            assert_eq!(utc(secs), told);
        }
    }
}
