//! The size rules: files, functions, parameters, folders, and tests per line of `core`.
//!
//! All of them look at production code. Lines are code lines as `source` counts them; a function's run from its
//! signature to its closing brace; the receiver is not a parameter. A file `x.rs` beside a folder `x/` that holds more
//! than tests is that folder's front page and counts there.

use super::finding::{Finding, Weight};
use super::source::Source;
use std::collections::{BTreeMap, BTreeSet};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Two bounds: what lies over `warn` is told, what lies over `fail` fails.
struct Bound {
    warn: usize,
    fail: usize,
}

const FILE_LINES: Bound = Bound { warn: 350, fail: 500 };
const FUNCTION_LINES: Bound = Bound { warn: 50, fail: 70 };
const PARAMETERS: Bound = Bound { warn: 4, fail: 6 };
const FOLDER_FILES: Bound = Bound { warn: 12, fail: 15 };
/// Test lines per hundred production lines in `core`: under the first is told, under the second fails.
const CORE_TESTS_PERCENT: (usize, usize) = (100, 70);

impl Bound {
    fn weigh(&self, size: usize) -> Option<Weight> {
        match size {
            size if size > self.fail => Some(Weight::Failure),
            size if size > self.warn => Some(Weight::Warning),
            _ => None,
        }
    }

    fn finding(
        &self,
        (path, line): (&str, usize),
        what: (String, usize),
        hint: &'static str,
    ) -> Option<Finding> {
        let (subject, size) = what;
        let what = format!("{subject}: {size} (told over {}, refused over {})", self.warn, self.fail);
        self.weigh(size).map(|weight| Finding::failure(path, line, what, hint).weighing(weight))
    }
}

/// Lines of a file.
pub(crate) fn file(source: &Source) -> Vec<Finding> {
    let what = ("production lines in the file".to_owned(), source.production_lines());
    FILE_LINES.finding((&source.path, 1), what, "split it by what changes together").into_iter().collect()
}

/// Length and parameters of every production function.
pub(crate) fn functions(source: &Source) -> Vec<Finding> {
    measured(source)
        .into_iter()
        .flat_map(|function| {
            let at = (source.path.as_str(), function.line);
            let lines = (format!("lines in fn {}", function.name), function.lines);
            let parameters = (format!("parameters of fn {}", function.name), function.parameters);
            [
                FUNCTION_LINES.finding(at, lines, "name its parts as functions"),
                PARAMETERS.finding(at, parameters, "a struct with named fields reads better"),
            ]
        })
        .flatten()
        .collect()
}

/// Files directly in each source folder; `paths` are all Rust files of the workspace.
pub(crate) fn folders(paths: &[String]) -> Vec<Finding> {
    let production: Vec<&String> = paths.iter().filter(|path| !super::source::is_test_path(path)).collect();
    let folders: BTreeSet<&str> =
        production.iter().filter_map(|path| path.rsplit_once('/')).map(|(folder, _)| folder).collect();
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    for path in production {
        let front_of = path.strip_suffix(".rs").filter(|folder| folders.contains(folder));
        let folder = front_of.or(path.rsplit_once('/').map(|(folder, _)| folder)).unwrap_or(".");
        *files.entry(folder).or_default() += 1;
    }
    let hint = "group the files that change together in a folder";
    files
        .into_iter()
        .filter_map(|(folder, count)| {
            FOLDER_FILES.finding((folder, 1), ("files in the folder".to_owned(), count), hint)
        })
        .collect()
}

/// Test lines per production line over all of `core`.
pub(crate) fn core_tests(sources: &[Source]) -> Option<Finding> {
    let core = || sources.iter().filter(|source| source.path.starts_with("crates/core/"));
    let production: usize = core().map(Source::production_lines).sum();
    let tests: usize = core().map(Source::test_lines).sum();
    let percent = (tests * 100).checked_div(production)?;
    let (warn, fail) = CORE_TESTS_PERCENT;
    let weight = match percent {
        percent if percent < fail => Weight::Failure,
        percent if percent < warn => Weight::Warning,
        _ => return None,
    };
    let what = format!(
        "{tests} test lines for {production} production lines in core: {percent} % (told under {warn} %, refused under {fail} %)"
    );
    Some(
        Finding::failure("crates/core", 1, what, "core is pure: test it by tables and properties")
            .weighing(weight),
    )
}

/// The one-line summary: medians of files and functions.
pub(crate) fn summary(sources: &[Source]) -> String {
    let files = sources.iter().filter(|source| !source.is_test_file()).map(Source::production_lines);
    let functions = sources.iter().flat_map(measured).map(|function| function.lines);
    let (files, functions) = (sorted(files), sorted(functions));
    format!(
        "{} files, median {} production lines; {} functions, median {} lines",
        files.len(),
        median(&files),
        functions.len(),
        median(&functions)
    )
}

fn sorted(sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sizes: Vec<usize> = sizes.collect();
    sizes.sort_unstable();
    sizes
}

fn median(sizes: &[usize]) -> usize {
    sizes.get(sizes.len() / 2).copied().unwrap_or_default()
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
    parameters: usize,
}

struct Functions<'source> {
    source: &'source Source,
    found: Vec<Function>,
}

fn measured(source: &Source) -> Vec<Function> {
    let mut functions = Functions { source, found: Vec::new() };
    functions.visit_file(&source.tree);
    functions.found
}

impl Functions<'_> {
    fn take(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.ident.span().start().line;
        if self.source.is_test(line) {
            return;
        }
        // Spans of two tokens cannot be joined on stable: the signature's lines and the body's, less the shared one.
        let body = block.brace_token.span.join();
        let shared = usize::from(signature.span().end().line == body.start().line);
        let lines = self.source.code_lines_in(signature.span()) + self.source.code_lines_in(body) - shared;
        let parameters =
            signature.inputs.iter().filter(|input| matches!(input, syn::FnArg::Typed(_))).count();
        self.found.push(Function { name: signature.ident.to_string(), line, lines, parameters });
    }
}

impl<'tree> Visit<'tree> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'tree syn::ItemFn) {
        self.take(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'tree syn::ImplItemFn) {
        self.take(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'tree syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.take(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::parse(path, text).unwrap()
    }

    fn weights(findings: &[Finding]) -> Vec<Weight> {
        findings.iter().map(|finding| finding.weight).collect()
    }

    fn function_of(lines: usize) -> Source {
        source("a.rs", &format!("//! D.\nfn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2)))
    }

    #[test]
    fn a_file_is_told_over_350_lines_and_refused_over_500() {
        let of = |lines: usize| file(&source("a.rs", &"const A: u8 = 1;\n".repeat(lines)));
        assert_eq!(weights(&of(350)), []);
        assert_eq!(weights(&of(351)), [Weight::Warning]);
        assert_eq!(weights(&of(500)), [Weight::Warning]);
        assert_eq!(weights(&of(501)), [Weight::Failure]);
    }

    #[test]
    fn a_function_is_told_over_50_lines_and_refused_over_70() {
        assert_eq!(weights(&functions(&function_of(50))), []);
        assert_eq!(weights(&functions(&function_of(51))), [Weight::Warning]);
        assert_eq!(weights(&functions(&function_of(71))), [Weight::Failure]);
    }

    #[test]
    fn a_long_test_function_is_left_to_its_author() {
        let body = "b();\n".repeat(80);
        let text = format!("//! D.\n#[cfg(test)]\nmod tests {{\nfn a() {{\n{body}}}\n}}\n");
        assert_eq!(functions(&source("a.rs", &text)), []);
    }

    #[test]
    fn a_signature_over_lines_counts_with_its_body() {
        let text = "//! D.\nimpl A {\n    fn a(\n        &self,\n        b: u8,\n    ) -> u8 {\n        b\n    }\n}\n";
        let found = measured(&source("a.rs", text));
        assert_eq!((found[0].lines, found[0].parameters), (6, 1));
    }

    #[test]
    fn parameters_are_told_over_4_and_refused_over_6_without_the_receiver() {
        let of = |count: usize| {
            let list: Vec<String> = (0..count).map(|n| format!("a{n}: u8")).collect();
            functions(&source(
                "a.rs",
                &format!("//! D.\ntrait T {{ fn a(&self, {}) {{}} }}\n", list.join(", ")),
            ))
        };
        assert_eq!(weights(&of(4)), []);
        assert_eq!(weights(&of(5)), [Weight::Warning]);
        assert_eq!(weights(&of(7)), [Weight::Failure]);
    }

    #[test]
    fn a_folder_is_told_over_12_files_and_refused_over_15() {
        let of = |count: usize| {
            let paths: Vec<String> = (0..count).map(|n| format!("crates/core/src/f{n}.rs")).collect();
            weights(&folders(&paths))
        };
        assert_eq!(of(12), []);
        assert_eq!(of(13), [Weight::Warning]);
        assert_eq!(of(16), [Weight::Failure]);
    }

    #[test]
    fn a_front_page_counts_in_its_folder_and_tests_do_not_count() {
        let mut paths: Vec<String> = (0..12).map(|n| format!("c/src/f{n}.rs")).collect();
        paths.extend(
            ["c/src/plan.rs", "c/src/plan/diff.rs", "c/src/tests.rs", "c/tests/x.rs"].map(str::to_owned),
        );
        assert_eq!(folders(&paths), []);
        paths.extend(["c/src/mesh.rs", "c/src/mesh/tests.rs"].map(str::to_owned));
        assert_eq!(weights(&folders(&paths)), [Weight::Warning]);
    }

    #[test]
    fn core_is_tested_line_for_line() {
        let of = |tests: usize| {
            let production = source("crates/core/src/a.rs", &"const A: u8 = 1;\n".repeat(100));
            let test = source("crates/core/tests/a.rs", &"const A: u8 = 1;\n".repeat(tests));
            core_tests(&[production, test]).map(|finding| finding.weight)
        };
        assert_eq!(of(100), None);
        assert_eq!(of(99), Some(Weight::Warning));
        assert_eq!(of(69), Some(Weight::Failure));
        assert_eq!(core_tests(&[]), None);
    }

    #[test]
    fn the_summary_tells_the_medians() {
        let sources = [function_of(3), function_of(9), function_of(5)];
        assert_eq!(summary(&sources), "3 files, median 5 production lines; 3 functions, median 5 lines");
    }
}
