//! Somebody else's text as it may be shown to a person: nothing in it reaches a terminal but as letters, and it is no
//! longer than a line.
//!
//! Owns: escaping and cutting. Must not import anything of ours. What a file, a snapshot or a file's name says goes
//! through here before it stands in an error, a log or a status.

/// Characters of a text that are shown; a longer one is cut.
pub const LONGEST: usize = 80;

/// A text that cannot do anything to a terminal: control characters and the like are written `\u{1b}`; quotes stay.
///
/// ```
/// use sixfold_core::shown::plain;
/// assert_eq!(plain("a \"red\" \u{1b}[31m"), "a \"red\" \\u{1b}[31m");
/// ```
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => plain.push(character),
            other => plain.extend(other.escape_debug()),
        }
    }
    plain
}

/// The same of several lines, which stay lines.
#[must_use]
pub fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// The beginning of a text, no longer than [`LONGEST`] characters, as it is.
#[must_use]
pub fn cut(text: &str) -> String {
    cut_to(text, LONGEST)
}

/// The beginning of a text, no longer than so many characters, as it is.
#[must_use]
pub fn cut_to(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_moves_a_cursor() {
        let hostile = "a\u{1b}]0;title\u{7}\r\u{8}\u{9b}2J\u{202e}\u{2028}\u{0}b\u{7f}\tc";
        let shown = plain(hostile);
        assert!(shown.chars().all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{2028}'), "{shown:?}");
        assert!(shown.starts_with("a\\u{1b}]0;title\\u{7}\\r\\u{8}"), "{shown}");
        assert_eq!(plain_lines("one\n\u{1b}two\n"), "one\n\\u{1b}two\n");
        assert_eq!(plain("b\u{e9}\u{e9} 'x' \"y\" \\"), "b\u{e9}\u{e9} 'x' \"y\" \\");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut(&"\u{e9}".repeat(80)), "\u{e9}".repeat(80));
        assert_eq!(cut(&"\u{e9}".repeat(81)), format!("{}...", "\u{e9}".repeat(80)));
        assert_eq!(cut_to("abc", 2), "ab...");
    }
}
