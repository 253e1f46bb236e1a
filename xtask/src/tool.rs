//! Starts a program of the system and tells plainly when it is missing or fails.

use std::io;
use std::process::{Command, Stdio};

/// Where Debian keeps programs that a plain user's PATH may lack (depmod, modprobe).
const SYSTEM_FOLDERS: &str = ":/usr/local/sbin:/usr/sbin:/sbin";

/// Runs `command` to its end.
///
/// # Errors
/// It is not there, or it failed.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let status =
        with_system_path(command).stdin(Stdio::null()).status().map_err(|error| missing(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} failed: {status}", name(command))))
    }
}

/// Runs `command` to its end and returns what it wrote.
///
/// # Errors
/// It is not there, or it failed; with what it said.
pub(crate) fn output(command: &mut Command) -> io::Result<String> {
    let output =
        with_system_path(command).stdin(Stdio::null()).output().map_err(|error| missing(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{} failed: {said}", name(command))))
}

/// Lets `command` be found in, and itself find, the system's folders.
pub(crate) fn with_system_path(command: &mut Command) -> &mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", path + SYSTEM_FOLDERS)
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn missing(command: &Command, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{} cannot be started ({error}): `cargo xtask test` installs it", name(command)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_cure() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(error.starts_with("no-such-program-here cannot be started"), "{error}");
        assert!(error.ends_with("`cargo xtask test` installs it"), "{error}");
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = output(Command::new("sh").args(["-c", "echo sorry >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh failed: sorry");
        assert!(run(Command::new("sh").args(["-c", "exit 3"])).is_err());
        assert_eq!(output(Command::new("sh").args(["-c", "echo yes"])).unwrap(), "yes\n");
    }
}
