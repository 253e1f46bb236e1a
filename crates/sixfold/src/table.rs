//! Plain aligned tables: two spaces between columns and no frame, so that `awk` and people read them alike.

/// Renders rows under a head, each line indented by two; nothing for no rows. Cells are short and ASCII.
pub(crate) fn render(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    if rows.is_empty() {
        return String::new();
    }
    let head: Vec<String> = head.iter().map(|cell| cell.to_uppercase()).collect();
    let lines = || std::iter::once(&head).filter(|head| !head.is_empty()).chain(&rows);
    let columns = lines().map(Vec::len).max().unwrap_or(0);
    let width = |column| lines().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    lines().map(|line| render_line(line, &widths)).collect()
}

fn render_line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("  {cell:width$}"));
    format!("{}\n", padded.collect::<String>().trim_end())
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_blanks() {
        let rows = [["a", "", "x"], ["long", "b", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(render(&["k", "v", "n"], rows.clone()), "  K     V  N\n  a        x\n  long  b\n");
        assert_eq!(render(&[], rows), "  a        x\n  long  b\n");
        assert_eq!(render(&["k"], []), "");
    }
}
