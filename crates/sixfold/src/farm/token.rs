//! `sixfold farm token`: by which one machine may join.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sixfold_core::limit;
use sixfold_core::trust::{Role, Token};

use super::own;
use crate::caller::{RegistryArgs, nonce};
use crate::failed::Failed;
use crate::output;

/// The longest that a token may wait: what a registry takes, less a day for clocks that differ.
const LONGEST: Duration = Duration::from_secs(limit::TOKEN_SECS_MAX - 24 * 60 * 60);

/// Print a token by which one machine may join your farm
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Print a token by which one machine may join your farm.\n\n\
    It says which farm, which registry and by which key that is known, and it is signed; nothing in it is secret for longer than it \
    is good: until one machine has used it, or until it expires. It is all that is printed.",
    after_long_help = "Examples:\n  sixfold farm token\n  sixfold farm token --expires 7d\n  \
        ssh ant sixfold node join $(sixfold farm token --expires 10m)"
)]
pub(super) struct Args {
    /// How long it is good: a number and s, m, h or d; 31d at most
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    expires: Duration,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time like 90s, 10m, 1h or 7d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let time = Duration::from_secs(count.saturating_mul(unit));
    if time.is_zero() || time > LONGEST { Err("a token is good for 1s to 31d".to_owned()) } else { Ok(time) }
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Farmer)?;
    // A token for a farm that is not there would fail on the machine, far from who can mend it.
    let farm = own(&mut caller)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failed::environment)?;
    let token = Token {
        farm: farm.id().clone(),
        registry: caller.url().address().to_owned(),
        registry_key: caller.url().key(),
        nonce: nonce()?,
        expires: (now + args.expires).as_secs(),
    };
    output::print(&format!("{}\n", Token::write(&caller.sign(&token))))
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        let secs = |text| duration(text).map(|time| time.as_secs());
        assert_eq!([secs("90s"), secs("10m"), secs("1h"), secs("31d")], [90, 600, 3600, 2_678_400].map(Ok));
        for text in ["", "1", "h", "1w", "-1h", "1.5h", "0s", "32d", "99999999999999999999d", "1\u{e9}"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
