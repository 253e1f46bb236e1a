//! Which module of `core` may use which, and what `kernel` may use of `core`, read from the paths in the code.
//!
//! Paths are found in the tokens, so those inside macros count too: `crate::x`, `crate::{x, y}`, `super::x` and
//! `sixfold_core::x`. Tests may reach further than what they test, so they are passed over. So is `lib.rs`, which only
//! names the modules.

use super::finding::Finding;
use super::source::{Source, Token};

/// A module of `core` and the modules it may use, besides itself and the ground.
struct Row {
    module: &'static str,
    may_use: &'static [&'static str],
}

/// What every module may use.
const GROUND: [&str; 6] = ["id", "key", "name", "limit", "mac", "shown"];

/// The direction table of ARCHITECTURE.md, from the ground up.
const ROWS: [Row; 16] = [
    Row { module: "addr", may_use: &[] },
    Row { module: "tenure", may_use: &[] },
    Row { module: "state", may_use: &[] },
    Row { module: "model", may_use: &["addr", "tenure"] },
    Row { module: "spec", may_use: &["addr", "model"] },
    Row { module: "trust", may_use: &["addr", "tenure", "model"] },
    Row { module: "place", may_use: &["addr", "model", "state"] },
    Row { module: "allocate", may_use: &["addr", "model", "state", "place"] },
    Row { module: "zone", may_use: &["addr", "model", "state"] },
    Row { module: "mesh", may_use: &["addr", "model", "state", "place"] },
    Row { module: "gossip", may_use: &["addr", "tenure", "model", "mesh"] },
    Row { module: "check", may_use: &["addr", "model", "state", "place", "allocate", "mesh", "zone"] },
    Row { module: "trial", may_use: &["addr", "model", "state", "place", "allocate", "check"] },
    Row { module: "reach", may_use: &["addr", "model", "state", "place", "mesh"] },
    Row {
        module: "desire",
        may_use: &["addr", "tenure", "model", "state", "place", "mesh", "gossip", "zone"],
    },
    Row { module: "plan", may_use: &["state"] },
];

/// What `kernel` may use of `core`: states and names, never what a person declared.
const KERNEL_MAY_USE: [&str; 7] = ["state", "plan", "name", "id", "key", "limit", "mac"];

/// Packages that only the binary and the registry itself may name.
const REGISTRY_IS_FAR_FROM: [&str; 3] = ["crates/agent/", "crates/dns/", "crates/lab/"];

/// Checks the paths written in one file.
pub(crate) fn edges(source: &Source) -> Vec<Finding> {
    let tokens = source.production_tokens();
    let path = source.path.as_str();
    let mut found = Vec::new();
    if let Some(inside) = path.strip_prefix("crates/core/src/").filter(|inside| *inside != "lib.rs") {
        found.extend(inside_core(path, inside, &tokens));
    }
    if path.starts_with("crates/kernel/") {
        found
            .extend(uses_of("sixfold_core", &tokens).into_iter().filter_map(|used| kernel_edge(path, &used)));
    }
    if REGISTRY_IS_FAR_FROM.iter().any(|far| path.starts_with(far)) {
        let hint = "speak to it over the api";
        let named = tokens.iter().filter(|token| token.text == "sixfold_registry");
        found.extend(
            named.map(|t| Finding::failure(path, t.line, "uses the registry's code".to_owned(), hint)),
        );
    }
    found
}

/// A name reached through a root: `crate::NAME`.
struct Used {
    name: String,
    line: usize,
}

fn kernel_edge(path: &str, used: &Used) -> Option<Finding> {
    if KERNEL_MAY_USE.contains(&used.name.as_str()) {
        return None;
    }
    let hint = "kernel knows states, plans and names only";
    Some(Finding::failure(path, used.line, format!("kernel uses `sixfold_core::{}`", used.name), hint))
}

fn inside_core(path: &str, inside: &str, tokens: &[Token]) -> Vec<Finding> {
    let own = module_path(inside);
    let Some(first) = own.first().filter(|module| is_known(module)) else {
        let hint = "give it a row in xtask/src/tidy/modules.rs and in ARCHITECTURE.md";
        return vec![Finding::failure(path, 1, format!("core's `{inside}` has no row in the table"), hint)];
    };
    uses_of("crate", tokens)
        .into_iter()
        .chain(above(&own, tokens))
        .filter(|used| used.name != *first)
        .filter_map(|used| core_edge(path, first, &used))
        .collect()
}

fn core_edge(path: &str, from: &str, used: &Used) -> Option<Finding> {
    let finding = |what: String, hint| Some(Finding::failure(path, used.line, what, hint));
    if !is_known(&used.name) {
        let what = format!("`{from}` uses `crate::{}`, which is no module", used.name);
        return finding(what, "name the module it comes from, so that the edge is seen");
    }
    if may_use(from, &used.name) {
        return None;
    }
    finding(format!("`{from}` uses `{}`", used.name), "turn the edge round, or move what is needed down")
}

fn is_known(module: &str) -> bool {
    GROUND.contains(&module) || ROWS.iter().any(|row| row.module == module)
}

fn may_use(from: &str, to: &str) -> bool {
    GROUND.contains(&to) || ROWS.iter().any(|row| row.module == from && row.may_use.contains(&to))
}

/// The module that a file under `src` is: `desire/gateway.rs` is `[desire, gateway]`.
fn module_path(inside: &str) -> Vec<String> {
    let parts = inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/');
    parts.map(str::to_owned).collect()
}

/// Every name used as `root::NAME` or in `root::{NAME, ..}`.
fn uses_of(root: &str, tokens: &[Token]) -> Vec<Used> {
    let starts = (0..tokens.len()).filter(|at| tokens[*at].text == root && !tokens[*at].literal);
    // `pub(crate)` is followed by `)`, so it never reaches a name.
    starts.filter_map(|at| after_colons(tokens, at + 1)).flat_map(|at| heads(tokens, at)).collect()
}

/// Every name reached by climbing out of the file's top module with `super`.
fn above(own: &[String], tokens: &[Token]) -> Vec<Used> {
    let mut found = Vec::new();
    let mut nested = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "mod" if tokens.get(at + 2).is_some_and(|token| token.text == "{") => nested.push(depth),
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                nested.retain(|outer| *outer < depth);
            }
            "super" => {
                let (levels, next) = climb(tokens, at);
                if levels == own.len() + nested.len() {
                    found.extend(heads(tokens, next));
                }
                at = next;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Counts `super::super::` from `at`: the number of levels, and where the path goes on.
fn climb(tokens: &[Token], mut at: usize) -> (usize, usize) {
    let mut levels = 0;
    while tokens.get(at).is_some_and(|token| token.text == "super") {
        levels += 1;
        match after_colons(tokens, at + 1) {
            Some(next) => at = next,
            None => return (levels, at + 1),
        }
    }
    (levels, at)
}

fn after_colons(tokens: &[Token], at: usize) -> Option<usize> {
    let colon = |at: usize| tokens.get(at).is_some_and(|token| token.text == ":");
    (colon(at) && colon(at + 1)).then_some(at + 2)
}

/// The first name of a path, or of each branch of a use tree, that begins at `at`.
fn heads(tokens: &[Token], at: usize) -> Vec<Used> {
    let used = |token: &Token| Used { name: token.text.clone(), line: token.line };
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![used(first)];
    }
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for pair in tokens[at..].windows(2) {
        depth += usize::from(pair[0].text == "{");
        depth -= usize::from(pair[0].text == "}");
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].text.as_str(), "{" | ",") && pair[1].text != "}" {
            found.push(used(&pair[1]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, &format!("//! D.\n{text}")).unwrap();
        edges(&source).into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    const NONE: [String; 0] = [];

    #[test]
    fn allowed_edges_pass() {
        assert_eq!(
            whats(
                "crates/core/src/plan/diff.rs",
                "use crate::state::Route;\nuse crate::{id::NodeId, limit};\n"
            ),
            NONE
        );
        assert_eq!(
            whats("crates/core/src/desire/gateway.rs", "use crate::model::farm;\nuse super::firewall;\n"),
            NONE
        );
        assert_eq!(
            whats("crates/core/src/spec/farm.rs", "pub(crate) fn a(b: crate::model::Farm) {}\n"),
            NONE
        );
    }

    #[test]
    fn plan_knows_only_states() {
        for module in ["model", "spec", "desire", "addr"] {
            let told = whats("crates/core/src/plan.rs", &format!("use crate::{module}::X;\n"));
            assert_eq!(told, [format!("2: `plan` uses `{module}`")]);
        }
    }

    #[test]
    fn desire_does_not_know_what_exists_nor_who_reaches_whom() {
        for module in ["plan", "reach", "check", "spec"] {
            let told =
                whats("crates/core/src/desire/mod.rs", &format!("fn a() {{ crate::{module}::b() }}\n"));
            assert_eq!(told, [format!("2: `desire` uses `{module}`")]);
        }
        assert_eq!(
            whats("crates/core/src/reach.rs", "use crate::desire::X;\n"),
            ["2: `reach` uses `desire`"]
        );
    }

    #[test]
    fn every_branch_of_a_use_tree_is_seen() {
        let text = "use crate::{\n    state::{link, plan},\n    spec::Farm,\n    desire,\n};\n";
        assert_eq!(
            whats("crates/core/src/plan/op.rs", text),
            ["4: `plan` uses `spec`", "5: `plan` uses `desire`"]
        );
    }

    #[test]
    fn super_is_followed_out_of_the_file_and_of_inline_modules() {
        assert_eq!(
            whats("crates/core/src/plan/op.rs", "use super::super::model::X;\n"),
            ["2: `plan` uses `model`"]
        );
        assert_eq!(
            whats("crates/core/src/plan.rs", "use super::{spec::X, state};\n"),
            ["2: `plan` uses `spec`"]
        );
        assert_eq!(whats("crates/core/src/plan/op.rs", "use super::model::X;\n"), NONE);
        let nested = "mod inner {\n    use super::super::model::X;\n}\nuse super::addr::Y;\n";
        assert_eq!(
            whats("crates/core/src/plan.rs", nested),
            ["3: `plan` uses `model`", "5: `plan` uses `addr`"]
        );
    }

    #[test]
    fn paths_inside_macros_count() {
        assert_eq!(
            whats("crates/core/src/addr/index.rs", "fn a() { vec![crate::model::X] }\n"),
            ["2: `addr` uses `model`"]
        );
    }

    #[test]
    fn the_crate_root_is_no_way_round() {
        let told = whats("crates/core/src/plan.rs", "use crate::Farm;\n");
        assert_eq!(told, ["2: `plan` uses `crate::Farm`, which is no module"]);
    }

    #[test]
    fn a_module_without_a_row_is_told() {
        assert_eq!(whats("crates/core/src/extra.rs", ""), ["1: core's `extra.rs` has no row in the table"]);
    }

    #[test]
    fn tests_may_reach_further() {
        assert_eq!(
            whats("crates/core/src/plan.rs", "#[cfg(test)]\nmod tests {\n    use crate::desire::X;\n}\n"),
            NONE
        );
        assert_eq!(whats("crates/core/src/plan/tests.rs", "use crate::desire::X;\n"), NONE);
    }

    #[test]
    fn kernel_knows_states_plans_and_names() {
        assert_eq!(whats("crates/kernel/src/a.rs", "use sixfold_core::{state::X, plan, mac};\n"), NONE);
        assert_eq!(
            whats("crates/kernel/src/a.rs", "use sixfold_core::model::X;\n"),
            ["2: kernel uses `sixfold_core::model`"]
        );
    }

    #[test]
    fn agent_and_lab_are_far_from_the_registry() {
        assert_eq!(
            whats("crates/lab/src/a.rs", "use sixfold_registry::X;\n"),
            ["2: uses the registry's code"]
        );
        assert_eq!(whats("crates/sixfold/src/main.rs", "use sixfold_registry::X;\n"), NONE);
    }
}
