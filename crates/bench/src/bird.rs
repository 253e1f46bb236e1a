//! BIRD as somebody who keeps routes in a kernel: started in a namespace, told of routes by its configuration.

use std::fmt::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sixfold_core::state::Nexthop;

use crate::failed::Failed;
use crate::ground::{Process, await_file, run, write};

const CONFIGURATION: &str = "/run/bird.conf";
const ROUTES: &str = "/run/bird.routes";
const CONTROL: &str = "/run/bird.ctl";
/// It has every route in the kernel within that, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running one.
#[derive(Debug)]
pub(crate) struct Bird {
    netns: &'static str,
    _process: Process,
}

impl Bird {
    /// Starts it without routes.
    pub(crate) fn start(netns: &'static str) -> Result<Self, Failed> {
        let text = format!(
            "router id 192.0.2.1;\nprotocol device {{ scan time 600; }}\n\
            protocol kernel {{ scan time 600; ipv6 {{ import none; export all; }}; }}\n\
            protocol static {{ ipv6;\ninclude \"{ROUTES}\";\n}}\n"
        );
        write(Path::new(CONFIGURATION), &text)?;
        write(Path::new(ROUTES), "")?;
        let arguments = ["netns", "exec", netns, "bird", "-f", "-c", CONFIGURATION, "-s", CONTROL];
        let process = Process::start("ip", &arguments)?;
        await_file(Path::new(CONTROL))?;
        let started = Instant::now();
        // The socket's file is there before anybody listens.
        while let Err(failed) = run(&format!("birdc -s {CONTROL} show status")) {
            if started.elapsed() > PATIENCE {
                return Err(failed);
            }
            sleep(Duration::from_millis(10));
        }
        Ok(Self { netns, _process: process })
    }

    /// Tells it of so many /64s, over these nexthops in turn; how long until the kernel has them.
    pub(crate) fn configure(&self, count: usize, nexthops: &[Nexthop]) -> Result<Duration, Failed> {
        let mut text = String::new();
        for (number, Nexthop { gateway, link }) in (0..count).zip(nexthops.iter().cycle()) {
            // `onlink`: of a link without an address it believes nothing else. Writing to a String cannot fail.
            let _ = writeln!(text, "route 2001:db8:b:{number:x}::/64 via {gateway}%'{link}' onlink;");
        }
        write(Path::new(ROUTES), &text)?;
        let others = self.entries()? - self.count()?;
        let started = Instant::now();
        run(&format!("birdc -s {CONTROL} configure"))?;
        let mut took = started.elapsed();
        // Counted, not listed: what the kernel says of 65,536 routes takes longer than making them.
        while self.entries()? != others + count {
            if started.elapsed() > PATIENCE {
                return Err(Failed::meaningless(
                    "BIRD",
                    format!("it has {} of {count} routes", self.count()?),
                ));
            }
            sleep(Duration::from_millis(1));
            took = started.elapsed();
        }
        match self.count()? {
            had if had == count => Ok(took),
            had => Err(Failed::meaningless("BIRD", format!("it has {had} of {count} routes"))),
        }
    }

    fn count(&self) -> Result<usize, Failed> {
        Ok(run(&format!("ip -n {} -6 route show proto bird", self.netns))?.lines().count())
    }

    /// All IPv6 routes of the namespace, whoever's: the fourth of the kernel's figures, in hexadecimal.
    fn entries(&self) -> Result<usize, Failed> {
        let text = run(&format!("ip netns exec {} cat /proc/net/rt6_stats", self.netns))?;
        let entries = text.split_whitespace().nth(3).and_then(|word| usize::from_str_radix(word, 16).ok());
        entries.ok_or_else(|| Failed::meaningless("/proc/net/rt6_stats", text))
    }
}
