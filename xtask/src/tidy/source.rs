//! One Rust file as the rules see it: its tokens, its syntax tree, and what each of its lines is.
//!
//! A line is *code* when a token stands on it: blank lines, comments and documentation do not count. It is *test* when
//! it lies in an item under `#[cfg(test)]`, or when the whole file is a test (`tests.rs`, or under a `tests` folder).
//! Knows no rule.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A parsed Rust file.
pub(crate) struct Source {
    /// Path from the root of the workspace, with `/` between its parts.
    pub(crate) path: String,
    /// The text as it stands on disk.
    pub(crate) text: String,
    /// The syntax tree.
    pub(crate) tree: syn::File,
    /// Every token outside documentation, in order, groups opened.
    pub(crate) tokens: Vec<Token>,
    kinds: Vec<Kind>,
}

/// One token of the flattened stream; a delimiter is a token of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The token's text: `crate`, `:`, `{`.
    pub(crate) text: String,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Whether it is a literal: the words inside a string are not code.
    pub(crate) literal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    code: bool,
    test: bool,
}

impl Source {
    /// Reads `text` as the file at `path`.
    ///
    /// # Errors
    /// What the parser said, with the line, when the text is not Rust.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, (usize, String)> {
        let at = |error: syn::Error| (error.span().start().line, error.to_string());
        let tree = syn::parse_file(text).map_err(at)?;
        let stream: TokenStream = text
            .parse()
            .map_err(|error: proc_macro2::LexError| (error.span().start().line, error.to_string()))?;
        let test_file = is_test_path(path) || tree.attrs.iter().any(is_cfg_test);
        let mut kinds = vec![Kind { code: false, test: test_file }; text.lines().count() + 2];
        let mut tokens = Vec::new();
        flatten(stream, &mut kinds, &mut tokens);
        let mut spans = TestSpans(Vec::new());
        spans.visit_file(&tree);
        for (first, last) in spans.0 {
            kinds[first..=last].iter_mut().for_each(|kind| kind.test = true);
        }
        Ok(Self { path: path.to_owned(), text: text.to_owned(), tree, tokens, kinds })
    }

    /// Whether the line (from 1) belongs to a test.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.kinds.get(line).is_some_and(|kind| kind.test)
    }

    /// Whether the whole file is a test.
    pub(crate) fn is_test_file(&self) -> bool {
        self.is_test(1)
    }

    /// The number of code lines outside tests.
    pub(crate) fn production_lines(&self) -> usize {
        self.kinds.iter().filter(|kind| kind.code && !kind.test).count()
    }

    /// The number of code lines in tests.
    pub(crate) fn test_lines(&self) -> usize {
        self.kinds.iter().filter(|kind| kind.code && kind.test).count()
    }

    /// The number of code lines from the first to the last line of `span`.
    pub(crate) fn code_lines_in(&self, span: Span) -> usize {
        let (first, last) = (span.start().line, span.end().line);
        self.kinds[first..=last].iter().filter(|kind| kind.code).count()
    }

    /// The tokens outside tests.
    pub(crate) fn production_tokens(&self) -> Vec<Token> {
        self.tokens.iter().filter(|token| !self.is_test(token.line)).cloned().collect()
    }
}

/// Whether a path (from the workspace root) names a test file.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.split('/').any(|part| part == "tests" || part == "benches")
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
}

/// First and last lines of every item under `#[cfg(test)]`.
struct TestSpans(Vec<(usize, usize)>);

impl TestSpans {
    fn take(&mut self, attributes: &[syn::Attribute], span: Span) -> bool {
        let test = attributes.iter().any(is_cfg_test);
        if test {
            let first = attributes.iter().map(|attribute| attribute.span().start().line).min();
            self.0.push((first.unwrap_or(span.start().line), span.end().line));
        }
        test
    }
}

impl<'tree> Visit<'tree> for TestSpans {
    fn visit_item(&mut self, item: &'tree syn::Item) {
        let attributes = match item {
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Macro(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Static(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Trait(item) => &item.attrs,
            syn::Item::Type(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !self.take(attributes, item.span()) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'tree syn::ImplItemFn) {
        self.take(&item.attrs, item.span());
    }
}

/// Walks the stream, marks the lines that hold code and notes every token; documentation is passed over.
fn flatten(stream: TokenStream, kinds: &mut [Kind], out: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        let doc = doc_length(&trees[at..]);
        if doc > 0 {
            at += doc;
            continue;
        }
        match &trees[at] {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                mark(group.span_open(), kinds);
                note(open, group.span_open(), out);
                flatten(group.stream(), kinds, out);
                mark(group.span_close(), kinds);
                note(close, group.span_close(), out);
            }
            leaf => {
                mark(leaf.span(), kinds);
                let literal = matches!(leaf, TokenTree::Literal(_));
                out.push(Token { text: leaf.to_string(), line: leaf.span().start().line, literal });
            }
        }
        at += 1;
    }
}

/// How many trees a documentation attribute takes at the head of `trees`: `#[doc ..]` is two, `#![doc ..]` three.
fn doc_length(trees: &[TokenTree]) -> usize {
    let punct =
        |at: usize, wanted: char| matches!(trees.get(at), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    let doc = |at: usize| match trees.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc")
        }
        _ => false,
    };
    match (punct(0, '#'), punct(1, '!')) {
        (true, true) if doc(2) => 3,
        (true, false) if doc(1) => 2,
        _ => 0,
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::None => ("", ""),
    }
}

fn note(text: &str, span: Span, out: &mut Vec<Token>) {
    out.push(Token { text: text.to_owned(), line: span.start().line, literal: false });
}

fn mark(span: Span, kinds: &mut [Kind]) {
    kinds[span.start().line..=span.end().line].iter_mut().for_each(|kind| kind.code = true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (usize, usize) {
        let source = Source::parse("crates/core/src/x.rs", text).unwrap();
        (source.production_lines(), source.test_lines())
    }

    #[test]
    fn comments_blanks_and_documentation_are_not_code() {
        assert_eq!(
            lines("//! Doc.\n\n/// Doc.\n/// More.\nfn a() {\n    // why\n    /* long\n */\n}\n"),
            (2, 0)
        );
    }

    #[test]
    fn a_test_module_counts_as_test_with_its_attribute() {
        assert_eq!(lines("//! D.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n"), (1, 4));
    }

    #[test]
    fn other_conditions_are_production() {
        assert_eq!(lines("//! D.\n#[cfg(unix)]\nmod x {\n}\n"), (3, 0));
    }

    #[test]
    fn a_test_only_method_is_test() {
        assert_eq!(lines("//! D.\nstruct A;\nimpl A {\n    #[cfg(test)]\n    fn b() {}\n}\n"), (3, 2));
    }

    #[test]
    fn a_file_of_tests_is_test_throughout() {
        for path in ["crates/core/src/plan/tests.rs", "crates/core/tests/convergence.rs"] {
            let source = Source::parse(path, "//! D.\nfn a() {}\n").unwrap();
            assert_eq!((source.production_lines(), source.test_lines()), (0, 1), "{path}");
            assert!(source.is_test_file(), "{path}");
        }
    }

    #[test]
    fn a_string_over_lines_is_code() {
        assert_eq!(lines("//! D.\nconst A: &str = \"a\n\nb\";\n"), (3, 0));
    }

    #[test]
    fn what_is_not_rust_is_told_with_its_line() {
        assert_eq!(Source::parse("x.rs", "//! D.\nfn {").err().map(|(line, _)| line), Some(2));
    }
}
