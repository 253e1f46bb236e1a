//! Tables in plain text.
//!
//! Owns: widths and symbols. Must not judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sixfold_core::model::Family;
use sixfold_core::reach::{Party, Traffic, Verdict};

use crate::matrix::CellResult;

/// Nothing is expected.
const NOTHING: char = '.';

/// Rows under their heads, numbers to the right. Nothing, if there are no rows.
pub(super) fn columns<const N: usize>(heads: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let heads = heads.map(str::to_owned);
    let numbers: [bool; N] =
        std::array::from_fn(|at| rows.iter().all(|row| row[at].parse::<u64>().is_ok() || row[at] == "?"));
    let lines: Vec<_> = std::iter::once(heads).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0));
    for line in lines {
        let mut row = String::new();
        for at in 0..N {
            let (cell, width) = (&line[at], widths[at]);
            let _ =
                if numbers[at] { write!(row, "{cell:>width$}  ") } else { write!(row, "{cell:<width$}  ") };
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

/// The matrix: senders down, receivers across. Nothing, if there are no cells.
pub(super) fn matrix(cells: &[CellResult]) -> String {
    if cells.is_empty() {
        return String::new();
    }
    let parties: BTreeSet<&Party> =
        cells.iter().flat_map(|result| [&result.cell.from, &result.cell.to]).collect();
    let kinds: BTreeSet<Traffic> = cells.iter().map(|result| result.cell.traffic).collect();
    let families: BTreeSet<Family> = cells.iter().map(|result| result.cell.family).collect();
    let symbols: BTreeMap<_, _> = cells
        .iter()
        .map(|result| {
            let cell = &result.cell;
            ((&cell.from, &cell.to, cell.family, cell.traffic), symbol(result))
        })
        .collect();
    let cell = |from: &Party, to: &Party| {
        let of = |family: Family| kinds.iter().map(move |kind| (family, *kind));
        let group = |family: &Family| {
            of(*family).map(|(family, kind)| *symbols.get(&(from, to, family, kind)).unwrap_or(&NOTHING))
        };
        let groups = families.iter().map(|family| group(family).collect::<String>());
        groups.collect::<Vec<_>>().join(" ")
    };
    let text = grid(&Vec::from_iter(parties), cell);
    format!("{text}{}", legend(&families, &kinds))
}

fn grid(parties: &[&Party], cell: impl Fn(&Party, &Party) -> String) -> String {
    let names: Vec<_> =
        parties.iter().enumerate().map(|(at, party)| format!("{:>2} {party}", at + 1)).collect();
    let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let width = parties.first().map_or(0, |party| cell(party, party).chars().count());
    let mut text = format!("{:<name_width$}", "from \\ to");
    for at in 1..=parties.len() {
        let _ = write!(text, "  {at:<width$}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    for (name, from) in names.iter().zip(parties) {
        let _ = write!(text, "{name:<name_width$}");
        for to in parties {
            let symbols = if from == to { String::new() } else { cell(from, to) };
            let _ = write!(text, "  {symbols:<width$}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn legend(families: &BTreeSet<Family>, kinds: &BTreeSet<Traffic>) -> String {
    let families = families.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then ");
    let kinds = kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let symbols = format!("+ passes  - is stopped  ! not as expected  {NOTHING} nothing is expected");
    format!("{families}; of each {kinds}.  {symbols}\n")
}

fn symbol(result: &CellResult) -> char {
    match (&result.cell.verdict, result.held) {
        (_, false) => '!',
        (Verdict::Passes, true) => '+',
        (Verdict::Stopped(_), true) => '-',
    }
}
