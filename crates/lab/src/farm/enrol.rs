//! How a farm comes to be, and becomes another: what its owners type, in which order.
//!
//! ```text
//! registry run ─▶ key new, farm invite, farm create ─▶ farm token, node join, agent ─▶ farm apply ─▶ key new, network apply
//! ```
//!
//! Owns: these commands. Nothing is granted or told to a node in any other way.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use sixfold_core::id::TenantId;
use sixfold_core::model::{Node, Reach};

use super::declared::{Say, Text};
use super::granted::Granted;
use super::held::Tenures;
use super::people::{FILES, Person};
use super::{FarmError, Process, Running, Service, named};
use crate::node::Door;
use crate::world::{self, Outside, REGISTRY};

/// By which name everybody reaches the registry: `.example` is nobody's (RFC 2606).
const NAME: &str = "registry.example";
/// Where its key and its store are.
const DIR: &str = "/run/lab/registry";
/// Its operator's key, which it makes.
const OPERATOR: &str = "/run/lab/registry/operator.pem";
/// Where it says what it does, and by which URL it is reached.
pub(crate) const LOG: &str = "/run/lab/log/registry";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

impl Running {
    /// Starts the registry, where it was or anew.
    pub(super) fn start_registry(&mut self, tell: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        let words = ["registry", "run", "--dir", DIR, "--name", NAME];
        tell(&format!("registry$ sixfold {}", words.join(" ")));
        let door = Door { keeper: None, netns: Some(REGISTRY.to_owned()) };
        // What an earlier one said is not to be taken for what this one does.
        drop(fs::remove_file(LOG));
        self.services.started(&Process::Registry, Instant::now());
        self.processes.start(&Process::Registry.name(), &door, (&words, Path::new(LOG)))?;
        let began = Instant::now();
        loop {
            let said = fs::read_to_string(LOG).unwrap_or_default();
            if let Some(url) = said.lines().find_map(|line| line.strip_prefix("reached by ")) {
                url.clone_into(&mut self.url);
                return Ok(());
            }
            self.all_run()?;
            if began.elapsed() > PATIENCE {
                return Err(FarmError::Silent { said });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has all that is declared come to be.
    pub(super) fn enrol(&mut self, tell: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        let declared = self.declared.clone();
        for (id, text) in &declared.farms {
            let Some(farm) = declared.world.farm(id) else { continue };
            let farmer = self.owner("farmer", id.as_str(), tell)?;
            let invitation = self.invite(farm.allocations(), tell)?;
            write(text)?;
            farmer.types(&["farm", "create", &text.name, "--invitation", &invitation], tell)?;
            for node in farm.nodes().values() {
                self.join(&farmer, node, tell)?;
            }
            if !farm.slots().is_empty() {
                farmer.types(&["farm", "apply", &text.name, "--yes"], tell)?;
            }
        }
        for (id, text) in &declared.networks {
            self.say(&Say::Network(id.clone(), text.clone()), None, tell)?;
        }
        self.learn()
    }

    /// Has the registry's operator invite whoever has these prefixes; the invitation.
    fn invite(&self, prefixes: &[Ipv6Net], tell: &mut dyn FnMut(&str)) -> Result<String, FarmError> {
        let prefixes: Vec<String> = prefixes.iter().map(Ipv6Net::to_string).collect();
        let mut words = vec!["farm", "invite"];
        words.extend(prefixes.iter().map(String::as_str));
        words.extend(["--key", OPERATOR]);
        Ok(Person::operator(OPERATOR, &self.url).types(&words, tell)?.trim().to_owned())
    }

    /// Has an owner say something, and mean it where one node loses up to so many resources.
    pub(super) fn say(
        &mut self,
        say: &Say,
        confirm_removal: Option<u32>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), FarmError> {
        let limit = confirm_removal.map(|limit| limit.to_string());
        let meant = limit.iter().flat_map(|limit| ["--confirm-removal", limit]);
        let meant: Vec<&str> = ["--yes"].into_iter().chain(meant).collect();
        match say {
            Say::Farm(id, text) => {
                write(text)?;
                let farmer = self.owner("farmer", id.as_str(), tell)?;
                farmer.types(&[&["farm", "apply", &text.name][..], &meant].concat(), tell)?;
            }
            Say::Network(id, text) => {
                write(text)?;
                let tenant = self.owner("tenant", id.tenant.as_str(), tell)?;
                tenant.types(&[&["network", "apply", &text.name][..], &meant].concat(), tell)?;
            }
            Say::Deleted(id) => {
                let tenant = self.owner("tenant", id.tenant.as_str(), tell)?;
                tenant.types(&[&["network", "delete", id.name.as_str()][..], &meant].concat(), tell)?;
            }
        }
        Ok(())
    }

    /// Reads from the registry what it granted, and makes what is around the nodes follow.
    pub(super) fn learn(&mut self) -> Result<(), FarmError> {
        let mut granted = Granted::default();
        for farm in self.declared.farms.keys() {
            let shown = self.known("farmer", farm.as_str()).asks(&["farm", "show", "--json"])?;
            granted.farm(&shown)?;
        }
        let mut tenants: Vec<&TenantId> = self.declared.networks.keys().map(|id| &id.tenant).collect();
        tenants.dedup();
        for tenant in tenants {
            let shown = self.known("tenant", tenant.as_str()).asks(&["network", "list", "--json"])?;
            granted.tenant(tenant, &shown)?;
        }
        let before = self.there();
        (self.ids, self.ledger) = granted.named();
        self.by_id = named::by_id((&self.declared.world, &self.ledger), &self.ids)?;
        self.held = (Tenures::new(), self.declared.world.clone());
        self.hold();
        self.drawn = world::draw(&self.declared.world, &self.ledger);
        Ok(world::build::rebuild(&self.there(), &before)?)
    }

    /// An owner whose key is there.
    fn known(&self, role: &str, name: &str) -> Person {
        Person::owner(role, name, &self.url)
    }

    /// An owner, with a key that is made if there is none.
    fn owner(&self, role: &str, name: &str, tell: &mut dyn FnMut(&str)) -> Result<Person, FarmError> {
        let person = self.known(role, name);
        if let Some(key) = person.key().filter(|key| !key.exists()) {
            let folder = key.parent().unwrap_or(Path::new(FILES));
            fs::create_dir_all(folder).map_err(cannot(folder))?;
            person.types(&["key", "new", role, "--file", &key.display().to_string()], tell)?;
        }
        Ok(person)
    }

    /// Has a machine join its farm, and starts what runs on it.
    fn join(&mut self, farmer: &Person, node: &Node, tell: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        let Some(seat) = self.seats.get(node.id()) else { return Ok(()) };
        let token = farmer.types(&["farm", "token"], tell)?;
        let mut words = vec!["node".to_owned(), "join".to_owned(), token.trim().to_owned()];
        if let Reach::Public { address, address_v4 } = node.reach() {
            words.extend(address.iter().flat_map(|net| ["--address".to_owned(), net.to_string()]));
            words.extend(address_v4.iter().flat_map(|net| ["--address-v4".to_owned(), net.to_string()]));
        }
        words.extend(["--state".to_owned(), super::STATE.to_owned()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Person::at(node.id().as_str(), seat.keeper).types(&words, tell)?;
        let process = Process::Of { service: Service::Agent, node: node.id().clone() };
        self.start_service(&process, tell)
    }
}

/// Makes the owners' folder, and has the registry's name mean its two addresses for all that is started from here on.
pub(super) fn prepare(outside: &Outside) -> Result<(), FarmError> {
    let (path, hosts) = (PathBuf::from("/run/lab/hosts"), Path::new("/etc/hosts"));
    let before = match fs::read_to_string(hosts) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(hosts)(error)),
        read => read.unwrap_or_default(),
    };
    let lines = format!("{} {NAME}\n{} {NAME}\n", outside.registry, outside.registry_v4);
    fs::create_dir_all(FILES).and_then(|()| fs::write(&path, before + &lines)).map_err(cannot(&path))?;
    let (bind, none) = (nix::mount::MsFlags::MS_BIND, None::<&str>);
    nix::mount::mount(Some(&path), hosts, none, bind, none).map_err(|errno| cannot(hosts)(errno.into()))
}

/// Puts a file where its owner finds it.
fn write(text: &Text) -> Result<(), FarmError> {
    let path = Path::new(FILES).join(&text.name);
    let folder = path.parent().unwrap_or(Path::new(FILES));
    fs::create_dir_all(folder).and_then(|()| fs::write(&path, &text.text)).map_err(cannot(&path))
}

fn cannot(path: &Path) -> impl FnOnce(io::Error) -> FarmError {
    let path = path.to_owned();
    |source| FarmError::Write { path, source }
}
