//! `sixfold key`: what it prints, what it leaves on disk, and what `openssl` says of that.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sixfold_core::trust::{Chain, Role, Rotation, Signed, SigningKey, VerifyingKey};
use tempfile::TempDir;

/// A home of its own, with the keys of a person in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(".config/sixfold").join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = super::command(args);
        command.env("HOME", self.0.path()).env_remove("XDG_CONFIG_HOME").output().unwrap()
    }

    /// What was printed by a run that exits with `code`, with words for what is drawn by lot.
    #[track_caller]
    fn printed(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        let text = (out + &err).replace(self.0.path().to_str().unwrap(), "HOME");
        for name in self.files() {
            let secret = fs::read_to_string(self.path(&name)).unwrap();
            let body = secret.lines().nth(1).filter(|_| name.contains(".pem")).unwrap_or("no private key");
            assert!(!text.contains(body), "a private key was printed");
        }
        text
    }

    /// The same, with the id and the public key of one key as words.
    fn told(&self, args: &[&str]) -> String {
        let shown = self.shown("tenant");
        let text = self.printed(args, 0);
        text.replace(shown["id"].as_str().unwrap(), "ID")
            .replace(shown["public_key"].as_str().unwrap(), "KEY")
    }

    fn shown(&self, role: &str) -> serde_json::Value {
        let text = String::from_utf8(self.run(&["key", "show", role, "--json"]).stdout).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["keys"][0].clone()
    }

    fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn key(&self, name: &str) -> SigningKey {
        SigningKey::from_pem(&fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Runs `openssl`, which the tests install.
#[track_caller]
fn openssl(args: &[&str]) -> Vec<u8> {
    let output =
        Command::new("openssl").args(args).output().expect("openssl is installed by `cargo xtask test`");
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_key_is_made_once_and_shown_without_its_secret() {
    let home = Home::new();
    insta::assert_snapshot!("key-none", home.printed(&["key", "show"], 0));
    let made = home.run(&["key", "new", "tenant"]);
    assert!(made.status.success());
    assert_eq!(made.stdout, home.run(&["key", "show", "tenant"]).stdout);
    assert_eq!(home.files(), ["tenant.pem"]);
    assert_eq!((mode(&home.path("tenant.pem")), mode(&home.path(""))), (0o600, 0o700));
    insta::assert_snapshot!("key-show", home.told(&["key", "show"]));
    insta::assert_snapshot!("key-show-json", home.told(&["key", "show", "--json"]));
    let key = home.key("tenant.pem").verifying();
    assert_eq!(home.shown("tenant")["id"], key.id(Role::Tenant).as_str());
    assert_eq!(home.shown("tenant")["public_key"], key.to_string());

    let before = fs::read(home.path("tenant.pem")).unwrap();
    insta::assert_snapshot!("key-taken", home.printed(&["key", "new", "tenant"], 1));
    assert_eq!(fs::read(home.path("tenant.pem")).unwrap(), before);
    insta::assert_snapshot!("key-missing", home.printed(&["key", "show", "farmer"], 3));
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let home = Home::new();
    assert!(home.run(&["key", "new", "tenant"]).status.success());
    let file = home.path("tenant.pem");
    let public = openssl(&["pkey", "-in", file.to_str().unwrap(), "-pubout"]);
    let public = VerifyingKey::from_pem(&String::from_utf8(public).unwrap()).unwrap();
    assert_eq!(home.shown("tenant")["public_key"], public.to_string());
    assert_eq!(
        openssl(&["pkey", "-in", file.to_str().unwrap()]),
        fs::read(&file).unwrap(),
        "it writes the same"
    );

    let theirs = home.path("node.pem");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", theirs.to_str().unwrap()]);
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = home.printed(&["key", "show", "node", "--file", theirs.to_str().unwrap()], 0);
    assert!(shown.contains(home.key("node.pem").verifying().id(Role::Node).as_str()), "{shown}");
}

#[test]
fn an_id_stays_when_its_key_is_replaced() {
    let home = Home::new();
    assert!(home.run(&["key", "new", "tenant"]).status.success());
    let first = home.key("tenant.pem");
    let id = home.shown("tenant")["id"].clone();
    for _ in 0..2 {
        assert!(home.run(&["key", "rotate", "tenant"]).status.success());
    }
    assert_eq!(home.files(), ["tenant.1.pem", "tenant.2.pem", "tenant.pem", "tenant.rotations.json"]);
    insta::assert_snapshot!("key-rotated", home.told(&["key", "show"]));
    assert_eq!(home.shown("tenant")["id"], id);
    assert_eq!(*home.key("tenant.1.pem").seed(), *first.seed());
    let names = ["tenant.1.pem", "tenant.2.pem", "tenant.pem"];
    assert!(names.iter().all(|name| mode(&home.path(name)) == 0o600));
    let rotations: Vec<Signed> =
        serde_json::from_slice(&fs::read(home.path("tenant.rotations.json")).unwrap()).unwrap();
    let chain = Chain::read(&rotations).unwrap();
    assert_eq!(chain.owner().id.as_str(), id);
    assert_eq!(names.map(|name| Some(home.key(name).verifying())), [0, 1, 2].map(|at| chain.key(at)));

    // The signature is one that `openssl` verifies, over what the decision record says is signed.
    let signed = &rotations[0];
    assert_eq!(signed.open::<Rotation>().unwrap().next, home.key("tenant.2.pem").verifying());
    let at = |name: &str| home.0.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("message"), [b"sixfold/v1/rotation\0", &signed.body[..]].concat()).unwrap();
    fs::write(at("signature"), signed.signature.0).unwrap();
    fs::write(at("public.pem"), first.verifying().to_pem()).unwrap();
    let (key, signature, message) = (at("public.pem"), at("signature"), at("message"));
    openssl(&[
        "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", &key, "-sigfile", &signature, "-in", &message,
    ]);
}

/// Wherever a replacement is cut short, the next command finds a whole key, and no key is lost.
#[test]
fn a_replacement_that_was_cut_short_is_finished() {
    let home = Home::new();
    assert!(home.run(&["key", "new", "tenant"]).status.success());
    let (first, second) = (home.key("tenant.pem"), SigningKey::from_seed(&[2; 32]));
    let write = |name: &str, text: &str| {
        fs::write(home.path(name), text).unwrap();
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    // Cut after the next key was put aside: it is still the first one, and the next replacement takes that one.
    write("tenant.pem.next", &second.to_pem());
    assert_eq!(home.shown("tenant")["public_key"], first.verifying().to_string());
    insta::assert_snapshot!("key-unfinished", home.printed(&["key", "new", "tenant"], 1));
    assert!(home.run(&["key", "rotate", "tenant"]).status.success());
    assert_eq!(home.shown("tenant")["public_key"], second.verifying().to_string());

    // Cut after the rotation was written, before and after the old key got its other name.
    let third = SigningKey::from_seed(&[3; 32]);
    let owner = first.verifying().owner(Role::Tenant);
    let rotation = Signed::new(&Rotation { owner, sequence: 2, next: third.verifying() }, &second);
    let rotations = home.path("tenant.rotations.json");
    let mut all: Vec<Signed> = serde_json::from_slice(&fs::read(&rotations).unwrap()).unwrap();
    all.push(rotation);
    for linked in [false, true] {
        write("tenant.pem", &second.to_pem());
        write("tenant.pem.next", &third.to_pem());
        fs::write(&rotations, serde_json::to_vec(&all).unwrap()).unwrap();
        if !linked {
            let _ = fs::remove_file(home.path("tenant.2.pem"));
        }
        assert_eq!(home.shown("tenant")["public_key"], third.verifying().to_string(), "linked: {linked}");
        assert_eq!(*home.key("tenant.2.pem").seed(), *second.seed());
        assert_eq!(home.files(), ["tenant.1.pem", "tenant.2.pem", "tenant.pem", "tenant.rotations.json"]);
    }
}

#[test]
fn what_is_no_key_is_refused_with_a_hint() {
    let home = Home::new();
    assert!(home.run(&["key", "new", "tenant"]).status.success());
    let at = |name: &str| home.path(name).to_str().unwrap().to_owned();
    let copy = |name: &str, text: &str, mode: u32| {
        fs::write(home.path(name), text).unwrap();
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let good = fs::read_to_string(home.path("tenant.pem")).unwrap();
    copy("open.pem", &good, 0o640);
    copy("text.pem", "hello\n", 0o600);
    copy("torn.pem", &good.replace("MC4C", "MC4D"), 0o600);
    copy("other.pem", &good, 0o600);
    let rotation = |role, next: u8| {
        let (first, next) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[next; 32]));
        let owner = first.verifying().owner(role);
        vec![Signed::new(&Rotation { owner, sequence: 1, next: next.verifying() }, &first)]
    };
    let chain = serde_json::to_string(&rotation(Role::Tenant, 2)).unwrap();
    fs::write(home.path("other.rotations.json"), chain).unwrap();
    copy("broken.pem", &good, 0o600);
    fs::write(home.path("broken.rotations.json"), "[1]").unwrap();
    std::os::unix::fs::symlink(home.path("tenant.pem"), home.path("link.pem")).unwrap();
    let show = |name: &str, code| home.printed(&["key", "show", "tenant", "--file", &at(name)], code);
    let told = [
        show("open.pem", 1),
        show("text.pem", 1),
        show("torn.pem", 1),
        show("other.pem", 1),
        show("broken.pem", 1),
        show("link.pem", 3),
        show("", 3),
        home.printed(&["key", "rotate", "tenant", "--file", &at("none.pem")], 3),
        home.printed(&["key", "new", "tenant", "--file", ".."], 2),
    ];
    insta::assert_snapshot!("key-refused", told.join("\n"));
    let no_home =
        super::command(&["key", "show", "tenant"]).env_remove("HOME").env_remove("XDG_CONFIG_HOME").output();
    assert_eq!(no_home.unwrap().status.code(), Some(2));
}
