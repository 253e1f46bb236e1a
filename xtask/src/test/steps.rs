//! The table of steps, in the order in which they run. Adding a step is adding a row.

use super::packages::Ground;

/// One command of the test run.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// What it shows.
    pub(crate) name: &'static str,
    /// Its level; the table runs from the cheapest to the dearest.
    pub(crate) level: u8,
    /// Program and arguments; `xtask` is this program. Run at the root of the workspace.
    pub(crate) command: &'static [&'static str],
    /// Arguments that `--deep` adds.
    pub(crate) deep: &'static [&'static str],
    /// What must be there before it runs.
    pub(crate) grounds: &'static [Ground],
}

/// What a farm needs of the stock kernel, which loads nothing by itself in the guest.
const STOCK_MODULES: &str = "tun,veth,macvlan,bridge,wireguard,nf_tables,nft_fib_inet,nft_fib_ipv4,nft_fib_ipv6,nft_ct,nft_limit,nft_nat,nft_chain_nat,nft_connlimit,nft_reject_inet";

/// Every step. What tests of levels 2 and 3 print are figures, which are shown of those that pass too.
pub(crate) const TABLE: [Step; 10] = [
    Step { name: "sizes, directions, names", level: 0, command: &["xtask", "tidy"], deep: &[], grounds: &[] },
    Step {
        name: "formatting",
        level: 0,
        command: &["cargo", "fmt", "--all", "--", "--check"],
        deep: &[],
        grounds: &[],
    },
    Step {
        name: "lints",
        level: 0,
        command: &["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        deep: &[],
        grounds: &[],
    },
    Step {
        name: "licences, sources, duplicates",
        level: 0,
        command: &["cargo", "deny", "--locked", "check", "licenses", "bans", "sources"],
        deep: &[],
        grounds: &[Ground::CargoDeny],
    },
    Step {
        name: "units, properties, goldens",
        level: 1,
        command: &[
            "cargo",
            "test",
            "--locked",
            "--no-fail-fast",
            "-p",
            "sixfold-core",
            "-p",
            "sixfold-agent",
            "-p",
            "xtask",
        ],
        deep: &["--", "--include-ignored"],
        grounds: &[Ground::Oracles],
    },
    Step {
        name: "inputs made up for every reader of other people's bytes",
        level: 1,
        command: &["xtask", "fuzz"],
        deep: &["--seconds", "600"],
        grounds: &[Ground::CargoFuzz],
    },
    Step {
        name: "the kernel, the tunnel, the probes, the measuring and the registry, in namespaces",
        level: 2,
        command: &[
            "cargo",
            "test",
            "--locked",
            "--no-fail-fast",
            "-p",
            "sixfold-kernel",
            "-p",
            "sixfold-tunnel",
            "-p",
            "sixfold-lab",
            "-p",
            "sixfold-bench",
            "-p",
            "sixfold-api",
            "-p",
            "sixfold-registry",
            "--",
            "--show-output",
        ],
        deep: &["--include-ignored"],
        grounds: &[Ground::Oracles, Ground::Bird],
    },
    Step {
        name: "whole nodes and farms, real processes and packets",
        level: 3,
        command: &["cargo", "test", "--locked", "--no-fail-fast", "-p", "sixfold", "--", "--show-output"],
        deep: &["--include-ignored"],
        grounds: &[Ground::Oracles, Ground::Schemathesis],
    },
    Step {
        name: "the program for the stock kernel",
        level: 4,
        command: &["cargo", "build", "--locked", "-p", "sixfold"],
        deep: &[],
        grounds: &[],
    },
    Step {
        name: "the first farm on the stock kernel, by its WireGuard and by the tunnel",
        level: 4,
        command: &[
            "xtask",
            "vm",
            "--modules",
            STOCK_MODULES,
            "--timeout-secs",
            "300",
            "--",
            "target/debug/sixfold",
            "lab",
            "run",
            "examples/first-farm",
            "--wireguard",
            "bee=tunnel",
        ],
        deep: &[],
        grounds: &[Ground::Oracles, Ground::StockKernel],
    },
];

/// What `--deep` runs after all others: it builds and runs the tests of `core` hundreds of times.
pub(crate) const LAST_OF_DEEP: Step = Step {
    name: "changes of the code that the tests must notice",
    level: 1,
    command: &["xtask", "mutants"],
    deep: &[],
    grounds: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_runs_from_the_cheapest_level_up() {
        assert!(TABLE.is_sorted_by_key(|step| step.level));
    }

    #[test]
    fn no_command_has_two_divides_between_arguments_and_those_of_its_own_program() {
        for step in TABLE.iter().filter(|step| step.command[0] == "cargo") {
            let divides = step.command.iter().chain(step.deep).filter(|word| **word == "--").count();
            assert!(divides <= 1, "{}", step.name);
        }
    }

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_program() {
        for (at, step) in TABLE.iter().enumerate() {
            assert!(!step.command.is_empty(), "{}", step.name);
            assert!(TABLE[..at].iter().all(|other| other.name != step.name), "{}", step.name);
        }
    }
}
