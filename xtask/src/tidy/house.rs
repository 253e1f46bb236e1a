//! The house rules that hold in any file: it opens with its purpose, nothing is unwrapped outside tests, unsafe code has
//! two homes, what configures a node starts no process, nothing is left half done, and no one's home folder is written down.

use super::finding::Finding;
use super::source::{Source, Token, is_test_path};

/// The two modules that may hold unsafe code, and the parts of the tunnel's.
const UNSAFE_HOMES: [&str; 4] = [
    "crates/kernel/src/sys.rs",
    "crates/tunnel/src/sys.rs",
    "crates/tunnel/src/sys/inbox.rs",
    "crates/tunnel/src/sys/outbox.rs",
];

/// The crates that do all by the kernel's own interfaces.
const WITHOUT_PROCESSES: [&str; 4] =
    ["crates/core/src/", "crates/kernel/src/", "crates/agent/src/", "crates/tunnel/src/"];

/// A word that stands for "later"; split, so that this file does not hold it.
const LATER: &str = concat!("FIX", "ME");

/// Folders of one person's machine; split for the same reason.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// The file's first line says what it owns.
pub(crate) fn opening(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    let hint = "say what it owns and what it must not do";
    vec![Finding::failure(&source.path, 1, "the file does not open with `//!`".to_owned(), hint)]
}

/// Words that may not stand in the code.
pub(crate) fn words(source: &Source) -> Vec<Finding> {
    let tokens = &source.tokens;
    let words = (0..tokens.len()).filter_map(|at| word(source, &tokens[at], tokens.get(at + 1)));
    words.chain(processes(source)).collect()
}

/// Where a crate that configures takes `Command` of `std::process`, by its path, in a list or with all else.
fn processes(source: &Source) -> Vec<Finding> {
    if !WITHOUT_PROCESSES.iter().any(|home| source.path.starts_with(home)) {
        return Vec::new();
    }
    let texts: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
    let takes = |at: &usize| match &texts[*at..] {
        ["process", ":", ":", "Command" | "*", ..] => true,
        ["process", ":", ":", "{", rest @ ..] => {
            rest.iter().take_while(|text| **text != "}").any(|text| *text == "Command")
        }
        _ => false,
    };
    let lines = (0..texts.len()).filter(takes).map(|at| source.tokens[at].line);
    let finding = |line| {
        let hint = "ask the kernel, by netlink or its files";
        Finding::failure(&source.path, line, "a process is started".to_owned(), hint)
    };
    lines.filter(|line| !source.is_test(*line)).map(finding).collect()
}

fn word(source: &Source, token: &Token, next: Option<&Token>) -> Option<Finding> {
    let test = source.is_test(token.line);
    let is_macro = next.is_some_and(|next| next.text == "!");
    let (what, hint) = match token.text.as_str() {
        "unwrap" if !test => {
            ("`unwrap` outside tests", "return the error, or `expect` the invariant that holds")
        }
        "unsafe" if !test && !UNSAFE_HOMES.contains(&source.path.as_str()) => {
            ("`unsafe` outside its two homes", "use nix, or move it to `sys.rs` of kernel or tunnel")
        }
        "todo" | "unimplemented" if is_macro => ("work left undone", "finish it, or leave it out"),
        _ => return None,
    };
    Some(Finding::failure(&source.path, token.line, what.to_owned(), hint))
}

/// Text that may not stand in any file of the project, Rust or not.
pub(crate) fn text(path: &str, text: &str) -> Vec<Finding> {
    let finding = |line: usize, what: String, hint| Finding::failure(path, line + 1, what, hint);
    let mut found = Vec::new();
    for (line, words) in text.lines().enumerate() {
        if words.contains(LATER) {
            found.push(finding(line, format!("`{LATER}` left in"), "mend it now"));
        }
        if let Some(home) = HOMES.into_iter().find(|home| words.contains(home)) {
            found.push(finding(
                line,
                format!("a path under `{home}`"),
                "a file of the project names no one's machine",
            ));
        }
    }
    found
}

/// Whether a file other than Rust is one whose text is looked at; goldens and fixtures are what a machine wrote.
pub(crate) fn is_prose(path: &str) -> bool {
    [".md", ".toml", ".sh", "ci/run"].iter().any(|ending| path.ends_with(ending)) && !is_test_path(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let source = Source::parse(path, text).unwrap();
        opening(&source).into_iter().chain(words(&source)).map(|finding| finding.line).collect()
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        assert_eq!(found("crates/core/src/a.rs", "fn a() {}\n"), [1]);
        assert_eq!(found("crates/core/src/a.rs", "\n//! Late.\n"), [1]);
        assert_eq!(found("crates/core/src/a.rs", "//! A.\n"), Vec::<usize>::new());
    }

    #[test]
    fn unwrap_is_for_tests() {
        let text = "//! A.\nfn a() { b().unwrap(); c().unwrap_or(1); }\n#[cfg(test)]\nmod tests {\n fn t() { b().unwrap() }\n}\n";
        assert_eq!(found("crates/core/src/a.rs", text), [2]);
        assert_eq!(
            found("crates/core/src/a.rs", "//! A.\nconst A: &str = \"unwrap\"; // unwrap\n"),
            Vec::<usize>::new()
        );
        assert_eq!(found("crates/core/src/a.rs", "//! A.\nfn a() { x.map(Option::unwrap); }\n"), [2]);
    }

    #[test]
    fn unsafe_code_has_two_homes() {
        let text = "//! A.\nfn a() { unsafe { b() } }\n";
        assert_eq!(found("crates/kernel/src/link.rs", text), [2]);
        assert_eq!(found("crates/kernel/src/sys.rs", text), Vec::<usize>::new());
        assert_eq!(found("crates/kernel/tests/a.rs", text), Vec::<usize>::new());
    }

    #[test]
    fn what_configures_starts_no_process() {
        let text = "//! A.\nuse std::process::{self, Command};\nfn a() { std::process::Command::new(b); process::exit(1) }\n";
        for of in ["core", "kernel", "agent", "tunnel"] {
            assert_eq!(found(&format!("crates/{of}/src/a/b.rs"), text), [2, 3]);
            assert_eq!(found(&format!("crates/{of}/tests/a.rs"), text), Vec::<usize>::new());
        }
        assert_eq!(found("crates/lab/src/a.rs", text), Vec::<usize>::new());
        let other = "//! A.\nuse crate::control::Command;\nfn a() { Command::Ping; std::process::id() }\n";
        assert_eq!(found("crates/tunnel/src/a.rs", other), Vec::<usize>::new());
    }

    #[test]
    fn nothing_is_left_for_later_even_in_tests() {
        assert_eq!(
            found("crates/core/src/tests.rs", "//! A.\nfn a() { todo!() }\nfn todo() { todo() }\n"),
            [2]
        );
        assert_eq!(found("crates/core/src/a.rs", "//! A.\nfn a() { unimplemented!() }\n"), [2]);
        assert_eq!(text("a.md", &format!("a\n// {LATER} b\n")).len(), 1);
    }

    #[test]
    fn no_ones_home_is_written_down() {
        let lines: Vec<usize> =
            text("README.md", &format!("a\nb {}x/y\n", HOMES[0])).iter().map(|f| f.line).collect();
        assert_eq!(lines, [2]);
        assert_eq!(text("README.md", "/run/sixfold and ~/.cache\n"), []);
    }

    #[test]
    fn prose_is_read_and_fixtures_are_not() {
        assert!(is_prose("README.md") && is_prose(".ci/run") && is_prose("examples/first-farm/farm.toml"));
        assert!(!is_prose("crates/core/tests/vectors/a.toml") && !is_prose("Cargo.lock"));
    }
}
