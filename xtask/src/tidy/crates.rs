//! Which crate may depend on which, read from the manifests, and what `core` may be built from.
//! A crate without a row is a finding: its place is decided here first.

use super::finding::Finding;

/// One crate of ours and those of ours that it may depend on.
struct Row {
    folder: &'static str,
    may_use: &'static [&'static str],
}

/// The table of ARCHITECTURE.md. `sixfold` composes the others, so it may use all of them.
const ROWS: [Row; 12] = [
    Row { folder: "core", may_use: &[] },
    Row { folder: "kernel", may_use: &["core"] },
    Row { folder: "tunnel", may_use: &[] },
    Row { folder: "api", may_use: &["core"] },
    Row { folder: "registry", may_use: &["core", "api"] },
    Row { folder: "agent", may_use: &["core", "api", "kernel"] },
    Row { folder: "dns", may_use: &["core", "api"] },
    Row { folder: "lab", may_use: &["core", "api", "kernel"] },
    Row {
        folder: "sixfold",
        may_use: &["core", "kernel", "tunnel", "api", "registry", "agent", "dns", "lab"],
    },
    Row { folder: "bench", may_use: &["core", "api", "kernel", "tunnel", "agent", "registry"] },
    Row { folder: "xtask", may_use: &[] },
    Row { folder: "fuzz", may_use: &["core", "kernel", "tunnel", "agent"] },
];

/// Crates that read no clock, file, socket or random number: all that `core` may be built from.
const PURE: [&str; 15] = [
    "base64",
    "borsh",
    "ed25519-dalek",
    "hmac",
    "ipnet",
    "serde",
    "serde_ignored",
    "serde_json",
    "serde_path_to_error",
    "serde_spanned",
    "sha2",
    "thiserror",
    "toml",
    "x25519-dalek",
    "zeroize",
];

/// Crates that may not even be used by tests of the named crates: those are the registry's other side.
const NEVER: [(&str, &str); 3] = [("agent", "registry"), ("dns", "registry"), ("lab", "registry")];

/// One dependency line of a manifest.
struct Dependency {
    name: String,
    line: usize,
    for_tests: bool,
}

/// Checks the manifest of the crate in `folder` (`core`, `xtask`).
pub(crate) fn manifest(folder: &str, path: &str, text: &str) -> Vec<Finding> {
    let Some(row) = ROWS.iter().find(|row| row.folder == folder) else {
        let hint = "give it a row in xtask/src/tidy/crates.rs and in ARCHITECTURE.md";
        return vec![Finding::failure(path, 1, format!("crate `{folder}` has no row in the table"), hint)];
    };
    match dependencies(text) {
        Ok(all) => all.iter().filter_map(|dependency| judge(row, dependency, path)).collect(),
        Err(what) => vec![Finding::failure(path, 1, what, "mend the manifest")],
    }
}

fn judge(row: &Row, dependency: &Dependency, path: &str) -> Option<Finding> {
    let finding = |what: String, hint| Some(Finding::failure(path, dependency.line, what, hint));
    let Some(ours) = of_ours(&dependency.name) else {
        let impure =
            row.folder == "core" && !dependency.for_tests && !PURE.contains(&dependency.name.as_str());
        let hint = "core cannot do input or output: do it in another crate and pass the result in";
        return if impure { finding(format!("core depends on `{}`", dependency.name), hint) } else { None };
    };
    let refused =
        if dependency.for_tests { NEVER.contains(&(row.folder, ours)) } else { !row.may_use.contains(&ours) };
    let hint = "turn the edge round, or move what is needed down";
    if refused { finding(format!("`{}` depends on `{ours}`", row.folder), hint) } else { None }
}

fn of_ours(package: &str) -> Option<&str> {
    match package {
        "sixfold" | "xtask" => Some(package),
        _ => package.strip_prefix("sixfold-"),
    }
}

fn dependencies(text: &str) -> Result<Vec<Dependency>, String> {
    let document: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let mut found = Vec::new();
    collect(&document, text, &mut found);
    if let Some(targets) = document.get("target").and_then(toml::Value::as_table) {
        targets
            .values()
            .filter_map(toml::Value::as_table)
            .for_each(|target| collect(target, text, &mut found));
    }
    Ok(found)
}

fn collect(table: &toml::Table, text: &str, found: &mut Vec<Dependency>) {
    for (section, for_tests) in
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
    {
        let Some(entries) = table.get(section).and_then(toml::Value::as_table) else { continue };
        for (key, value) in entries {
            // A renamed dependency is judged by the package it really is.
            let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
            let line = text.lines().position(|line| line.trim_start().starts_with(key.as_str()));
            found.push(Dependency { name: package.to_owned(), line: line.unwrap_or(0) + 1, for_tests });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(folder: &str, text: &str) -> Vec<String> {
        manifest(folder, "Cargo.toml", text).into_iter().map(|f| format!("{}: {}", f.line, f.what)).collect()
    }

    #[test]
    fn allowed_edges_pass() {
        let none: [String; 0] = [];
        assert_eq!(
            whats(
                "agent",
                "[dependencies]\nsixfold-core.workspace = true\nsixfold-kernel = {}\nnix = \"1\"\n"
            ),
            none
        );
        assert_eq!(whats("sixfold", "[dependencies]\nsixfold-lab = {}\nsixfold-registry = {}\n"), none);
        assert_eq!(whats("kernel", "[dev-dependencies]\nsixfold-agent = {}\n"), none);
    }

    #[test]
    fn a_wrong_edge_is_told_with_its_line() {
        assert_eq!(whats("core", "[dependencies]\nsixfold-kernel = {}\n"), ["2: `core` depends on `kernel`"]);
        assert_eq!(
            whats("tunnel", "[dependencies]\na = 1\nsixfold-core = {}\n"),
            ["3: `tunnel` depends on `core`"]
        );
        assert_eq!(
            whats("lab", "[target.'cfg(unix)'.dependencies]\nsixfold-agent = {}\n"),
            ["2: `lab` depends on `agent`"]
        );
        assert_eq!(
            whats("agent", "[dev-dependencies]\nsixfold-registry = {}\n"),
            ["2: `agent` depends on `registry`"]
        );
    }

    #[test]
    fn a_renamed_edge_is_seen_through() {
        let text = "[dependencies]\nk = { package = \"sixfold-kernel\", path = \"..\" }\n";
        assert_eq!(whats("core", text), ["2: `core` depends on `kernel`"]);
    }

    #[test]
    fn core_is_built_from_pure_crates_and_tested_with_any() {
        let text = "[dependencies]\nserde = \"1\"\ntokio = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n";
        assert_eq!(whats("core", text), ["3: core depends on `tokio`"]);
    }

    #[test]
    fn a_crate_without_a_row_is_told() {
        assert_eq!(whats("extra", ""), ["1: crate `extra` has no row in the table"]);
    }
}
