//! Farm and network files: whatever they say, the answer is a world or problems that a person can find and mend.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sixfold_core::spec;
use sixfold_fuzz::{bytes_of, examples};

static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    examples()
        .iter()
        .flat_map(|text| text.split("\n#====\n").map(|file| file.into()).collect::<Vec<_>>())
        .collect()
});

fuzz_target!(|data: &[u8]| {
    let name = "a.toml";
    let text = match spec::text_of(bytes_of(&GOOD, data), name) {
        Ok(text) => text,
        Err(error) => {
            assert!(error.line > 0 && error.column > 0 && is_plain(&error.to_string()), "{error}");
            return;
        }
    };
    let lines = text.split('\n').count();
    if let Err(problems) = spec::parse_all(&[(name.to_owned(), text)]) {
        assert!(problems.len() > 0);
        for problem in &problems {
            assert!((1..=lines).contains(&problem.line) && !problem.hint.is_empty(), "{problem}");
            let said = problem.to_string();
            assert!(is_plain(&said) && said.len() < 4096, "{said:?}");
        }
    }
});

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || !c.is_control())
}
