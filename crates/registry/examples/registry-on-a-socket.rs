//! A registry's service behind a Unix socket, for tests that end it at any moment: a line for a request, a line back.
//!
//! ```text
//! registry-on-a-socket STORE SOCKET
//!   put KEY TENANT/NAME VERSION SLOT NODES     ->  {"revision": ..., "grants": [...]}  or  failed: ...
//!   remove KEY TENANT/NAME VERSION             ->  the same
//! ```
//!
//! Owns: nothing. The requests are those that `tests/registry` makes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use sixfold_core::limit::PREFIXES_PER_TENANT;
use sixfold_core::model::{ExitDraft, NetworkDraft};
use sixfold_registry::service::{Op, Request, Said, Service, SystemClock};
use sixfold_registry::store::Sqlite;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let [store, socket] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "STORE SOCKET")?;
    let store = Sqlite::open(Path::new(&store))?;
    let (service, _) = Service::start(Box::new(store), None, Box::new(SystemClock), PREFIXES_PER_TENANT)?;
    let listener = UnixListener::bind(socket)?;
    for stream in listener.incoming() {
        let (service, stream) = (service.clone(), stream?);
        // Who hangs up is done.
        std::thread::spawn(move || drop(serve(&service, stream)));
    }
    Ok(())
}

fn serve(service: &Service, stream: UnixStream) -> Result<(), Failure> {
    let mut answers = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let answer = match service.ask(request(&line?)?) {
            Ok(done) => serde_json::to_string(&done)?,
            Err(failed) => format!("failed: {failed}"),
        };
        writeln!(answers, "{answer}")?;
    }
    Ok(())
}

fn request(line: &str) -> Result<Request, Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    let [verb, key, network, version, rest @ ..] = &words[..] else { return Err("no request".into()) };
    let said = Said { version: version.parse()?, body: line.as_bytes().into() };
    let id: sixfold_core::id::NetworkId = network.parse()?;
    let who = id.tenant.as_str().parse()?;
    let op = match (*verb, rest) {
        ("put", [slot, nodes]) => {
            let nodes: Result<_, _> = nodes.split(',').map(str::parse).collect();
            let exit = ExitDraft { farm: "alpha".parse()?, prefix: None, slot: slot.parse()? };
            let (workloads, exposures) = (Vec::new(), Vec::new());
            Op::PutNetwork { said, network: NetworkDraft { id, nodes: nodes?, exit, workloads, exposures } }
        }
        ("remove", []) => Op::RemoveNetwork { said, network: id },
        _ => return Err("no such request".into()),
    };
    Ok(Request { who, key: Some(key.parse()?), op, confirmed: None })
}
