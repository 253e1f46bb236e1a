//! The few words of man(7) that a page needs, and what must be escaped in them.
//!
//! Owns: that no text is taken for a macro, and that what a person copies from a page is what was written.

/// A page as it grows.
#[derive(Debug, Default)]
pub(super) struct Roff(String);

impl Roff {
    /// The head of a page of section 1. It has no date: the same program gives the same page.
    pub(super) fn page(title: &str, source: &str, manual: &str) -> Self {
        let mut page = Self::default();
        page.0 +=
            &format!(".TH \"{}\" 1 \"\" \"{}\" \"{}\"\n", escaped(title), escaped(source), escaped(manual));
        page.0 += ".nh\n.ad l\n"; // a name or an option that is broken cannot be copied
        page
    }

    pub(super) fn section(&mut self, title: &str) {
        self.0 += &format!(".SH \"{}\"\n", escaped(&title.to_uppercase()));
    }

    /// Begins another paragraph.
    pub(super) fn paragraph(&mut self) {
        self.0 += ".PP\n";
    }

    /// A term; what is written next stands under it.
    pub(super) fn term(&mut self, term: &str) {
        self.0 += &format!(".TP\n\\fB{}\\fR\n", escaped(term));
    }

    /// Lines that are filled.
    pub(super) fn text(&mut self, text: &str) {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| self.line(line));
    }

    /// A line that stands alone.
    pub(super) fn own_line(&mut self, line: &str) {
        self.0 += ".br\n";
        self.line(line);
    }

    /// Lines that are kept as they are.
    pub(super) fn verbatim<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.0 += ".nf\n";
        lines.into_iter().for_each(|line| self.line(line));
        self.0 += ".fi\n";
    }

    fn line(&mut self, line: &str) {
        // A line that begins so would be a macro's.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        self.0 += &format!("{guard}{}\n", escaped(line));
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Characters that would be typeset as others, or begin an escape.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '\'' => out += "\\(aq",
            '"' => out += "\\(dq",
            '`' => out += "\\(ga",
            '~' => out += "\\(ti",
            '^' => out += "\\(ha",
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Roff;

    #[test]
    fn no_text_is_a_macro_or_an_escape() {
        let mut page = Roff::default();
        page.text(".TH a\n'b' `c` \\n ~/d --e \"f\" ^");
        let wanted = "\\&.TH a\n\\&\\(aqb\\(aq \\(gac\\(ga \\en \\(ti/d \\-\\-e \\(dqf\\(dq \\(ha\n";
        assert_eq!(page.into_text(), wanted);
    }
}
