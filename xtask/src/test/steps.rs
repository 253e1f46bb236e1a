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

/// Every step.
pub(crate) const TABLE: [Step; 6] = [
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
        name: "units, properties, goldens; kernel conformance",
        level: 1,
        command: &["cargo", "test", "--workspace", "--locked", "--no-fail-fast"],
        deep: &["--", "--include-ignored"],
        grounds: &[Ground::Oracles],
    },
    Step {
        name: "the stock kernel boots and has WireGuard",
        level: 4,
        command: &[
            "xtask",
            "vm",
            "--modules",
            "wireguard",
            "--",
            "sh",
            "-c",
            "ip link add wg0 type wireguard && wg show wg0",
        ],
        deep: &[],
        grounds: &[Ground::Oracles, Ground::StockKernel],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_runs_from_the_cheapest_level_up() {
        assert!(TABLE.is_sorted_by_key(|step| step.level));
    }

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_program() {
        for (at, step) in TABLE.iter().enumerate() {
            assert!(!step.command.is_empty(), "{}", step.name);
            assert!(TABLE[..at].iter().all(|other| other.name != step.name), "{}", step.name);
        }
    }
}
