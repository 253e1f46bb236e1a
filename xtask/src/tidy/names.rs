//! The naming rules: no function that hides its verb, no file or module that is named after nothing.
//! Tests are held to them as well.

use super::finding::Finding;
use super::source::Source;
use syn::visit::{self, Visit};

/// Prefixes that say less than the verb after them.
const PREFIXES: [&str; 4] = ["ensure_", "handle_", "process_", "do_"];

/// Names that would fit any module, so say nothing of theirs.
const MODULES: [&str; 9] =
    ["utils", "helpers", "common", "misc", "shared", "manager", "context", "info", "data"];

/// Names of functions and of modules written in the file.
pub(crate) fn items(source: &Source) -> Vec<Finding> {
    let mut names = Names { path: &source.path, found: Vec::new() };
    names.visit_file(&source.tree);
    names.found
}

/// Names in a file's own path.
pub(crate) fn path(path: &str) -> Vec<Finding> {
    path.trim_end_matches(".rs")
        .split('/')
        .filter(|part| MODULES.contains(part))
        .map(|part| refused_module(path, 1, part))
        .collect()
}

fn refused_module(path: &str, line: usize, name: &str) -> Finding {
    Finding::failure(path, line, format!("`{name}` as a module's name"), "name it after what it owns")
}

struct Names<'source> {
    path: &'source str,
    found: Vec<Finding>,
}

impl<'tree> Visit<'tree> for Names<'_> {
    fn visit_signature(&mut self, signature: &'tree syn::Signature) {
        let (name, line) = (signature.ident.to_string(), signature.ident.span().start().line);
        if let Some(prefix) = PREFIXES.into_iter().find(|prefix| name.starts_with(prefix)) {
            let what = format!("fn {name} begins with `{prefix}`");
            self.found.push(Finding::failure(
                self.path,
                line,
                what,
                "say what it does with a verb of its own",
            ));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_mod(&mut self, module: &'tree syn::ItemMod) {
        let name = module.ident.to_string();
        if MODULES.contains(&name.as_str()) {
            self.found.push(refused_module(self.path, module.ident.span().start().line, &name));
        }
        visit::visit_item_mod(self, module);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let source = Source::parse("crates/core/src/a.rs", text).unwrap();
        items(&source).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn empty_prefixes_are_refused_on_functions_methods_and_tests() {
        assert_eq!(lines("//! D.\nfn ensure_link() {}\nfn document() {}\n"), [2]);
        assert_eq!(lines("//! D.\nimpl A {\n    fn do_it(&self) {}\n}\n"), [3]);
        assert_eq!(lines("//! D.\ntrait A {\n    fn handle_event(&self);\n}\n"), [3]);
        assert_eq!(lines("//! D.\n#[cfg(test)]\nmod tests {\n    fn process_all() {}\n}\n"), [4]);
    }

    #[test]
    fn empty_module_names_are_refused() {
        assert_eq!(lines("//! D.\nmod utils;\nmod information;\nmod shared {}\n"), [2, 4]);
    }

    #[test]
    fn a_file_or_folder_may_not_bear_such_a_name() {
        assert_eq!(path("crates/core/src/context.rs").len(), 1);
        assert_eq!(path("crates/common/src/lib.rs").len(), 1);
        assert_eq!(path("crates/core/src/state/route.rs"), []);
    }
}
