//! A registry as a process, and people who type commands at it, each with a key of their own.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use sixfold_core::trust::{Role, SigningKey};

/// A registry on loopback, killed when the test is over, and a folder for everybody's files.
pub(crate) struct Ground {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) url: String,
    registry: Child,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that goes on; killed with this value.
pub(crate) struct Following {
    child: Child,
    said: Option<Receiver<String>>,
}

impl Following {
    /// The next line, once it comes.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.said.as_ref().unwrap().recv_timeout(PATIENCE).expect("it says something")
    }

    /// Reads no more of it.
    pub(crate) fn leave(&mut self) {
        self.said = None;
    }

    /// Its exit code, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::with(&["--open", "--admin", &key_of("operator").verifying().to_string()])
    }

    /// A registry with these arguments.
    pub(crate) fn with(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sixfold"));
        command.args(["registry", "run", "--listen", "[::1]:0", "--dir"]).arg(dir.path().join("registry"));
        command.args(args);
        command.env_remove("SIXFOLD_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut registry = command.spawn().unwrap();
        let lines = BufReader::new(registry.stdout.take().unwrap()).lines();
        let url =
            lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("reached by ")?.to_owned()));
        Self { dir, url: url.unwrap(), registry }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The key of somebody, made of their name if there is none yet: all ids and prefixes are the same each time. Its id.
    pub(crate) fn key(&self, role: Role, name: &str) -> String {
        let file = self.path(&format!("{name}.pem"));
        if !file.exists() {
            let pem = key_of(name).to_pem();
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            made.unwrap().write_all(pem.as_bytes()).unwrap();
        }
        let pem = fs::read_to_string(file).unwrap();
        SigningKey::from_pem(&pem).unwrap().verifying().id(role).to_string()
    }

    /// What somebody types.
    fn typed(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(sixfold());
        command.args(args).current_dir(top()).stdin(Stdio::null()).env_remove("SIXFOLD_LOG");
        command.env("SIXFOLD_REGISTRY", &self.url).env("SIXFOLD_KEY", self.path(&format!("{name}.pem")));
        command
    }

    /// What somebody types, and what comes of it.
    pub(crate) fn says(&self, name: &str, args: &[&str]) -> Said {
        run(&mut self.typed(name, args))
    }

    /// What somebody types and leaves running.
    pub(crate) fn follows(&self, name: &str, args: &[&str]) -> Following {
        let mut command = self.typed(name, args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (says, said) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It ends once nobody listens: then its reader has gone.
        thread::spawn(move || lines.map_while(Result::ok).all(|line| says.send(line).is_ok()));
        Following { child, said: Some(said) }
    }

    /// The same, which must end with this code; what it printed.
    #[track_caller]
    pub(crate) fn prints(&self, name: &str, args: &[&str], code: i32) -> String {
        let said = self.says(name, args);
        assert_eq!(said.code, Some(code), "{args:?}: {}{}", said.out, said.err);
        said.out + &said.err
    }

    #[track_caller]
    pub(crate) fn json(&self, name: &str, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.prints(name, args, 0)).unwrap()
    }

    /// A text with what is the same each time for ids, folders, times, and the prefixes and ports that a registry draws by lot.
    pub(crate) fn plain(&self, text: &str, ids: &[(&str, &str)]) -> String {
        let text = text.replace(self.dir.path().to_str().unwrap(), "DIR");
        let text = ids.iter().fold(text, |text, (id, name)| text.replace(id, &format!("<{name}>")));
        let words: Vec<&str> = text.split(' ').collect();
        let plain = (0..words.len()).map(|at| word(&words, at));
        plain.collect::<Vec<_>>().join(" ")
    }
}

/// A key that is made of a name.
pub(crate) fn key_of(name: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_seed(&seed)
}

/// One word of many, without time or lot.
fn word(words: &[&str], at: usize) -> String {
    let word = words[at];
    let next = |step: usize, wanted: &str| words.get(at + step).is_some_and(|next| next.starts_with(wanted));
    let time: String = word.chars().take_while(char::is_ascii_digit).collect();
    if next(1, "s") && next(2, "ago") {
        return "N".to_owned();
    }
    if time.len() == 13 {
        return word.replace(&time, "TIME");
    }
    // What the registry commits of itself, who holds a slot, comes when it comes.
    if at > 0 && words[at - 1].ends_with("revision") && !time.is_empty() {
        return word.replacen(&time, "N", 1);
    }
    if at > 0 && next(1, "of") && ["prefix", "grant"].iter().any(|before| words[at - 1].ends_with(before)) {
        return "LOT".to_owned();
    }
    if at > 0 && words[at - 1] == "ports" && word.contains('-') {
        return "LOT".to_owned();
    }
    let (start, end) = word.split_at(word.find('\n').unwrap_or(word.len()));
    match start.strip_prefix("2001:db8:a:").and_then(|rest| rest.split_once("::")) {
        Some((lot, rest)) if lot.len() == 4 && rest != "/52" => format!("2001:db8:a:LOT::{rest}{end}"),
        _ if start.starts_with("10.") => format!("10.LOT{end}"),
        _ => word.to_owned(),
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn sixfold() -> &'static str {
    env!("CARGO_BIN_EXE_sixfold")
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
