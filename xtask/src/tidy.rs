//! `tidy`: the rules of size, direction, naming and house, read from the text alone.
//!
//! Walks the tree, gives each file to each rule and prints what they found, one line each, then the medians. Builds
//! nothing, changes nothing, and needs neither git nor network.

mod crates;
mod finding;
mod house;
mod modules;
mod names;
mod sizes;
mod source;

use finding::{Finding, Weight};
use source::Source;
use std::fs;
use std::io;
use std::path::Path;

/// A rule that looks at one Rust file.
type FileRule = fn(&Source) -> Vec<Finding>;

const FILE_RULES: [FileRule; 6] =
    [sizes::file, sizes::functions, names::items, house::opening, house::words, modules::edges];

/// Folders that hold no source of ours.
const PASSED_OVER: [&str; 4] = ["target", ".git", ".lab", "node_modules"];

/// Checks the workspace at `root` and prints every finding; true when none of them is a failure.
///
/// # Errors
/// A file or folder that cannot be read.
pub(crate) fn run(root: &Path) -> io::Result<bool> {
    let mut paths = Vec::new();
    walk(root, "", &mut paths)?;
    paths.sort();
    let (mut found, sources) = inspect(root, &paths)?;
    found.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    found.iter().for_each(|finding| println!("{finding}"));
    let failures = found.iter().filter(|finding| finding.weight == Weight::Failure).count();
    println!("tidy: {}; {failures} failures, {} warnings", sizes::summary(&sources), found.len() - failures);
    Ok(failures == 0)
}

fn inspect(root: &Path, paths: &[String]) -> io::Result<(Vec<Finding>, Vec<Source>)> {
    let rust: Vec<String> = paths.iter().filter(|path| path.ends_with(".rs")).cloned().collect();
    let mut found = sizes::folders(&rust);
    let mut sources = Vec::new();
    for path in paths.iter().filter(|path| path.ends_with(".rs") || house::is_prose(path)) {
        let text = fs::read_to_string(root.join(path))?;
        found.extend(house::text(path, &text));
        if let Some(folder) = crate_folder(path) {
            found.extend(crates::manifest(folder, path, &text));
        }
        if path.ends_with(".rs") {
            found.extend(names::path(path));
            match Source::parse(path, &text) {
                Ok(source) => sources.push(source),
                Err((line, what)) => found.push(Finding::failure(path, line, what, "this does not parse")),
            }
        }
    }
    found.extend(sources.iter().flat_map(|source| FILE_RULES.iter().flat_map(|rule| rule(source))));
    found.extend(sizes::core_tests(&sources));
    Ok((found, sources))
}

/// The crate whose manifest this is: `core` for `crates/core/Cargo.toml`.
fn crate_folder(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    Some(folder.strip_prefix("crates/").unwrap_or(folder))
}

fn walk(root: &Path, inside: &str, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(inside))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !PASSED_OVER.contains(&name.as_str()) {
            walk(root, &path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_belongs_to_its_crate() {
        assert_eq!(crate_folder("crates/core/Cargo.toml"), Some("core"));
        assert_eq!(crate_folder("xtask/Cargo.toml"), Some("xtask"));
        assert_eq!(crate_folder("Cargo.toml"), None);
    }

    #[test]
    fn every_rule_is_reached_through_the_walk() {
        let root = std::env::temp_dir().join(format!("xtask-tidy-{}", std::process::id()));
        let core = root.join("crates/core/src");
        fs::create_dir_all(&core).unwrap();
        fs::create_dir_all(root.join("target")).unwrap();
        fs::write(root.join("target/skipped.rs"), "not rust").unwrap();
        fs::write(root.join("crates/core/Cargo.toml"), "[dependencies]\nsixfold-agent = {}\n").unwrap();
        fs::write(core.join("plan.rs"), "use crate::model::X;\nfn do_it() { a.unwrap() }\n").unwrap();
        let mut paths = Vec::new();
        walk(&root, "", &mut paths).unwrap();
        paths.sort();
        let (found, sources) = inspect(&root, &paths).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(paths, ["crates/core/Cargo.toml", "crates/core/src/plan.rs"]);
        assert_eq!(sources.len(), 1);
        let mut whats: Vec<&str> =
            found.iter().map(|finding| finding.what.split(" (").next().unwrap()).collect();
        whats.sort_unstable();
        assert_eq!(
            whats,
            [
                "0 test lines for 2 production lines in core: 0 %",
                "`core` depends on `agent`",
                "`plan` uses `model`",
                "`unwrap` outside tests",
                "fn do_it begins with `do_`",
                "the file does not open with `//!`",
            ]
        );
    }
}
