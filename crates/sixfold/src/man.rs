//! `sixfold man`: a manual page for each command.
//!
//! ```text
//! definitions ──▶ name, synopsis, description, arguments, options, commands    as --help
//!      └────────▶ paragraphs after the help, `Title:` and what is under it ──▶ a section each
//!                 those of `sixfold` itself are on every page that has none of that title
//! ```
//!
//! Owns: the order of sections. Must not say what `--help` does not: both have one source.

mod roff;

use std::fs;
use std::path::PathBuf;

use clap::{Arg, Command};

use self::roff::Roff;
use crate::failed::Failed;
use crate::{Done, output};

/// Write a manual page for each command into a folder
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  sixfold man /usr/local/share/man/man1\n  sixfold man . && man ./sixfold-plan.1"
)]
pub(crate) struct Args {
    /// Folder for the pages; made if need be
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args, command: Command) -> Result<Done, Failed> {
    fs::create_dir_all(&args.dir).map_err(|error| Failed::cannot("make", &args.dir, error))?;
    let pages = pages(command);
    for (name, page) in &pages {
        let path = args.dir.join(name);
        fs::write(&path, page).map_err(|error| Failed::cannot("write", &path, error))?;
    }
    output::print(&format!("{} pages in {}\n", pages.len(), args.dir.display()))?;
    Ok(Done::Yes)
}

/// File name and text of every page.
fn pages(command: Command) -> Vec<(String, String)> {
    let mut root = command.disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(&root, None, &root, &mut pages);
    pages
}

fn collect(command: &Command, parent: Option<&Command>, root: &Command, pages: &mut Vec<(String, String)>) {
    pages.push((format!("{}.1", title(command)), page(command, parent, root)));
    seen(command).for_each(|sub| collect(sub, Some(command), root, pages));
}

fn page(command: &Command, parent: Option<&Command>, root: &Command) -> String {
    let version = root.get_version().unwrap_or_default();
    let mut page = Roff::page(&title(command), &format!("{} {version}", root.get_name()), "Sixfold");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.section("Name");
    page.text(&format!("{} - {about}", title(command)));
    page.section("Synopsis");
    let usage = command.clone().render_usage().to_string();
    page.verbatim(usage.trim_start_matches("Usage: ").lines().map(str::trim));
    page.section("Description");
    let description = command.get_long_about().map_or(about, ToString::to_string);
    for (at, paragraph) in description.split("\n\n").enumerate() {
        if at > 0 {
            page.paragraph();
        }
        page.text(paragraph);
    }
    write_arguments(&mut page, command);
    if seen(command).next().is_some() {
        page.section("Commands");
    }
    for sub in seen(command) {
        page.term(&format!("{}(1)", title(sub)));
        page.text(&sub.get_about().map(ToString::to_string).unwrap_or_default());
    }
    write_sections(&mut page, command, root);
    write_see_also(&mut page, command, parent);
    page.into_text()
}

/// Under the headings of `--help`, in its order.
fn write_arguments(page: &mut Roff, command: &Command) {
    let heading = |arg: &Arg| match arg.get_help_heading() {
        Some(heading) => heading.to_owned(),
        None if arg.is_positional() => "Arguments".to_owned(),
        None => "Options".to_owned(),
    };
    let args: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let mut headings = vec!["Arguments".to_owned(), "Options".to_owned()];
    for arg in &args {
        if !headings.contains(&heading(arg)) {
            headings.push(heading(arg));
        }
    }
    for title in headings {
        let mut under = args.iter().filter(|arg| heading(arg) == title).peekable();
        if under.peek().is_some() {
            page.section(&title);
        }
        under.for_each(|arg| write_argument(page, arg));
    }
}

fn write_argument(page: &mut Roff, arg: &Arg) {
    page.term(&term(arg));
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    page.text(&help);
    if !arg.get_num_args().is_some_and(|number| number.takes_values()) {
        return;
    }
    let values = arg.get_possible_values();
    let explained = values.iter().any(|value| value.get_help().is_some());
    for value in values.iter().filter(|_| explained) {
        let about = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
        page.own_line(&format!("{}{about}", value.get_name()));
    }
    if !explained && !values.is_empty() {
        let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        page.own_line(&format!("[possible values: {}]", names.join(", ")));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() {
        page.own_line(&format!("[default: {}]", defaults.join(" ")));
    }
}

/// `-o, --output <FILE>`.
fn term(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    if arg.get_num_args().is_none_or(|number| !number.takes_values()) {
        return flags.join(", ");
    }
    let names = arg.get_value_names().unwrap_or_default();
    let optional = arg.is_positional() && !arg.is_required_set();
    let (open, close) = if optional { ('[', ']') } else { ('<', '>') };
    let values: Vec<String> = names.iter().map(|name| format!("{open}{name}{close}")).collect();
    format!("{} {}", flags.join(", "), values.join(" ")).trim().to_owned()
}

fn write_sections(page: &mut Roff, command: &Command, root: &Command) {
    let own = sections(command);
    let missing = sections(root).into_iter().filter(|(title, _)| own.iter().all(|(has, _)| has != title));
    // What to type is an example of its own command.
    let missing = missing.filter(|(title, _)| title != "Examples").collect::<Vec<_>>();
    for (title, body) in own.iter().chain(&missing) {
        page.section(title);
        for run in body.chunk_by(|one, next| one.starts_with("  ") == next.starts_with("  ")) {
            match run[0].strip_prefix("  ") {
                Some(_) => page.verbatim(run.iter().map(|line| line.trim_start())),
                None => page.text(&run.join("\n")),
            }
        }
    }
}

/// The paragraphs after a command's help: title, and the lines under it.
fn sections(command: &Command) -> Vec<(String, Vec<String>)> {
    let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let sections = text.split("\n\n").filter_map(|paragraph| paragraph.split_once(':'));
    let lines = |body: &str| body.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    sections.map(|(title, body)| (title.to_owned(), lines(body))).collect()
}

fn write_see_also(page: &mut Roff, command: &Command, parent: Option<&Command>) {
    let siblings = parent.into_iter().flat_map(seen).filter(|other| other.get_name() != command.get_name());
    let pages = parent.into_iter().chain(seen(command)).chain(siblings);
    let pages = pages.map(|other| format!("{}(1)", title(other)));
    let all: Vec<String> = pages.chain(["ip(8)", "nft(8)", "wg(8)"].map(str::to_owned)).collect();
    page.section("See also");
    page.text(&all.join(",\n"));
}

/// `sixfold-lab-run`.
fn title(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// The subcommands that a person is meant to see.
fn seen(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command_that_a_person_sees() {
        let names: Vec<String> = pages(crate::command()).into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"sixfold.1".to_owned()) && names.contains(&"sixfold-lab-run.1".to_owned()));
        assert!(!names.iter().any(|name| name.contains("inner") || name.contains("help")), "{names:?}");
    }

    #[test]
    fn what_follows_the_help_becomes_sections() {
        let command = Command::new("a").after_long_help("Examples:\n  a b\n  c\n\nNote: that\nis all");
        let wanted = [("Examples", vec!["  a b", "  c"]), ("Note", vec![" that", "is all"])];
        let wanted = wanted
            .map(|(title, body)| (title.to_owned(), body.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(sections(&command), wanted);
    }
}
