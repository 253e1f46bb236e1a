//! The agent's files: the feed, the two slots, the keys, the status and the lock.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::{Farm, Registry, Shared, agent, ground, node, places};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use sixfold_agent::disk::append;
use sixfold_agent::feed::{Feed as _, FeedError, FileFeed};
use sixfold_agent::keys::{KeyStore, KeyStoreError, peek};
use sixfold_agent::run::{Agent, RunError};
use sixfold_agent::store::Store;
use sixfold_core::id::Revision;
use sixfold_core::limit;
use sixfold_core::model::{ResourceKey, Snapshot};
use sixfold_kernel::Keys as _;

/// A user without privilege.
const NOBODY: u32 = 65534;

fn snapshot(revision: u64) -> Snapshot {
    let mut registry = Registry::of_first_farm();
    registry.revision = revision;
    registry.snapshot(&node("ant"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn put(path: &Path, text: &str) {
    let aside = path.with_extension("aside");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, path).unwrap();
}

#[test]
fn a_torn_slot_falls_back_to_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.load().received.is_none());
    store.save(&snapshot(1).into()).unwrap();
    store.save(&snapshot(2).into()).unwrap();
    let newest = dir.path().join("snapshot.b");
    let whole = fs::read(&newest).unwrap();
    let revision = |store: &Store| store.load().received.map(|found| found.snapshot.revision);
    assert_eq!(revision(&store), Some(Revision(2)));
    for keep in [0, 1, 40, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&newest, &whole[..keep]).unwrap();
        assert_eq!(revision(&store), Some(Revision(1)), "{keep} bytes left");
        assert_eq!(store.load().damaged.len(), 1);
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&newest, &flipped).unwrap();
    assert_eq!(revision(&store), Some(Revision(1)));
    assert!(store.load().damaged[0].to_string().contains("checksum"));
}

#[test]
fn a_save_never_touches_the_newest_good_slot() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let [a, b] = ["snapshot.a", "snapshot.b"].map(|name| dir.path().join(name));
    store.save(&snapshot(1).into()).unwrap();
    for revision in 2..6 {
        let before = [fs::read(&a).unwrap(), fs::read(&b).unwrap_or_default()];
        store.save(&snapshot(revision).into()).unwrap();
        let changed = [fs::read(&a).unwrap() != before[0], fs::read(&b).unwrap() != before[1]];
        assert_eq!(changed, if revision % 2 == 0 { [false, true] } else { [true, false] });
    }
    fs::write(&a, "torn").unwrap(); // the newest: now b is
    let good = fs::read(&b).unwrap();
    store.save(&snapshot(9).into()).unwrap();
    assert_eq!(fs::read(&b).unwrap(), good);
    assert_eq!(store.load().received.unwrap().snapshot.revision, Revision(9));
    assert_eq!((mode(&a), mode(&b)), (0o600, 0o600));
}

/// A slot that was found good is not understood again; its bytes are compared with its checksum each time.
#[test]
fn a_slot_that_was_good_counts_only_while_its_bytes_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["snapshot.a", "snapshot.b"].map(|name| dir.path().join(name));
    Store::open(dir.path()).unwrap().save(&snapshot(1).into()).unwrap();
    Store::open(dir.path()).unwrap().save(&snapshot(2).into()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.save(&snapshot(3).into()).unwrap(); // found b good, which an earlier store wrote, and wrote a
    let mut flipped = fs::read(&a).unwrap();
    *flipped.last_mut().unwrap() ^= 1; // its first line is as it was
    fs::write(&a, &flipped).unwrap();
    let good = fs::read(&b).unwrap();
    store.save(&snapshot(4).into()).unwrap();
    assert_eq!(fs::read(&b).unwrap(), good, "the only good one stays");
    assert_ne!(fs::read(&a).unwrap(), flipped, "the damaged one goes");
    assert_eq!(store.load().received.unwrap().snapshot.revision, Revision(4));
    // Known by its bytes, not by its place: swapped, the newer is still the newer.
    let (of_a, of_b) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(&a, &of_b).unwrap();
    fs::write(&b, &of_a).unwrap();
    store.save(&snapshot(5).into()).unwrap();
    assert_eq!(fs::read(&b).unwrap(), of_a);
    assert_eq!(store.load().received.unwrap().snapshot.revision, Revision(5));
}

#[test]
fn an_older_revision_and_another_node_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = Shared::new();
    drop(agent(dir.path(), &kernel, [snapshot(5)]).round().unwrap().clone());
    // The next agent knows what was seen from disk.
    let mut second = agent(dir.path(), &kernel, [snapshot(4)]);
    let status = second.round().unwrap();
    assert_eq!(status.revision, Revision(5));
    assert!(status.failures[0].contains("revision 4: revision 5 has been seen"), "{:?}", status.failures);
    drop(second);
    let mut registry = Registry::of_first_farm();
    registry.revision = 6;
    let mut third = agent(dir.path(), &kernel, [registry.snapshot(&node("bee"))]);
    let status = third.round().unwrap();
    assert_eq!(status.node, node("ant"));
    assert!(status.failures[0].contains("refused a snapshot of node bee: this is node ant"));
}

#[test]
fn a_field_that_this_version_does_not_know_is_left_aside() {
    fn extend(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                map.values_mut().for_each(extend);
                // Maps whose keys are values (an exit's index) or tags (a seat, a reach) have no room for a field.
                let is_record = map.keys().all(|key| key.len() > 4 || ["id", "mtu", "nic"].contains(&&**key));
                if is_record && !map.is_empty() && !map.contains_key("public") && !map.contains_key("hidden")
                {
                    map.insert("of-a-later-version".into(), serde_json::json!({ "x": [1] }));
                }
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(extend),
            _ => {}
        }
    }
    let known = snapshot(1);
    let mut json = serde_json::to_value(&known).unwrap();
    extend(&mut json);
    assert!(json.to_string().matches("of-a-later-version").count() > 10);
    assert_eq!(serde_json::from_value::<Snapshot>(json).unwrap(), known);
}

#[test]
fn a_file_replaced_by_rename_is_noticed_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.json");
    let mut feed = FileFeed::new(&path);
    assert!(feed.next().unwrap().is_none(), "absent is no error");
    put(&path, &serde_json::to_string(&snapshot(3)).unwrap());
    let ready =
        poll(&mut [PollFd::new(feed.wake().unwrap(), PollFlags::POLLIN)], PollTimeout::from(1000_u16));
    assert_eq!(ready, Ok(1));
    assert!(feed.stirred());
    put(&dir.path().join("status.json"), "somebody else's");
    assert!(!feed.stirred(), "another file of the folder is not about this feed");
    assert_eq!(feed.next().unwrap().unwrap().snapshot.revision, Revision(3));
    assert!(feed.next().unwrap().is_none());
    put(&path, "{ half");
    assert!(matches!(feed.next(), Err(FeedError::Content { .. })));
    assert!(feed.next().unwrap().is_none(), "said once");
    fs::File::create(&path).unwrap().set_len(limit::SNAPSHOT_BYTES_MAX as u64 + 1).unwrap();
    assert!(matches!(feed.next(), Err(FeedError::TooLarge { .. })));
}

#[test]
fn a_folder_that_comes_later_is_watched_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later/snapshot.json");
    let mut feed = FileFeed::new(&path);
    assert!(feed.wake().is_none() && feed.next().unwrap().is_none());
    fs::create_dir(path.parent().unwrap()).unwrap();
    put(&path, &serde_json::to_string(&snapshot(1)).unwrap());
    assert!(feed.next().unwrap().is_some() && feed.wake().is_some());
}

#[test]
fn a_broken_feed_leaves_the_last_good_snapshot_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (path, kernel) = (dir.path().join("feed.json"), Shared::new());
    let open = || Agent::open(places(dir.path()), kernel.clone(), FileFeed::new(&path), ground).unwrap();
    assert!(open().round().is_none(), "nothing yet: it waits");
    put(&path, &serde_json::to_string(&snapshot(1)).unwrap());
    let mut first = open();
    assert!(first.round().unwrap().in_sync);
    put(&path, "not JSON");
    let status = first.round().unwrap();
    assert!(status.in_sync && status.revision == Revision(1));
    assert!(status.failures[0].contains("is no snapshot"), "{:?}", status.failures);
    drop(first);
    fs::remove_file(&path).unwrap();
    let status = open().round().unwrap().clone();
    assert!(status.in_sync && status.operations == 0 && status.failures.is_empty());
}

#[test]
fn keys_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys");
    let mut keys = KeyStore::open(&folder).unwrap();
    let resource = ResourceKey { number: "1".parse().unwrap(), index: "1abc".parse().unwrap() };
    let public = keys.provide(resource).unwrap();
    let file = folder.join("1abc-1");
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    assert_eq!(fs::metadata(&file).unwrap().len(), 32);
    assert_eq!(KeyStore::open(&folder).unwrap().provide(resource).unwrap(), public, "kept");
    assert_eq!(keys.private_key(&public).unwrap().public(), public);
    assert!(!format!("{keys:?}").contains(&format!("{:?}", fs::read(&file).unwrap())));
    fs::write(&file, [1; 33]).unwrap();
    let refused = KeyStore::open(&folder).unwrap().provide(resource);
    assert!(matches!(refused, Err(KeyStoreError::Length { .. })));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = KeyStore::open(&folder).unwrap_err();
    assert!(matches!(&refused, KeyStoreError::Open { mode: 0o755, .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("chmod 0700"));
}

#[test]
fn a_key_that_is_a_link_to_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, [1; 32]).unwrap();
    let mut keys = KeyStore::open(&dir.path().join("keys")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.path().join("keys/1abc-1")).unwrap();
    let resource = ResourceKey { number: "1".parse().unwrap(), index: "1abc".parse().unwrap() };
    assert!(matches!(keys.provide(resource), Err(KeyStoreError::Disk(_))));
}

#[test]
fn what_is_somebody_elses_is_no_place_for_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys");
    let mut keys = KeyStore::open(&folder).unwrap();
    let resource = ResourceKey { number: "1".parse().unwrap(), index: "1abc".parse().unwrap() };
    keys.provide(resource).unwrap();
    let give = |path: &std::path::Path| {
        std::os::unix::fs::chown(path, Some(NOBODY), None)
            .expect("to give a file away, this test needs root");
    };
    give(&folder.join("1abc-1"));
    let refused = KeyStore::open(&folder).unwrap().provide(resource).unwrap_err();
    assert!(matches!(&refused, KeyStoreError::Owner { uid: NOBODY, .. }), "{refused}");
    give(&folder);
    assert!(matches!(KeyStore::open(&folder), Err(KeyStoreError::Owner { uid: NOBODY, .. })));
}

#[test]
fn a_key_put_aside_is_kept_for_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys");
    let mut keys = KeyStore::open(&folder).unwrap();
    let [gone, stays] = ["1abc", "1abd"]
        .map(|index| ResourceKey { number: "1".parse().unwrap(), index: index.parse().unwrap() });
    let public = [gone, stays].map(|resource| keys.provide(resource).unwrap());
    let (then, hour) = (SystemTime::now() + Duration::from_hours(9), Duration::from_hours(1));
    keys.retire(gone, then).unwrap();
    assert_eq!(keys.kept().unwrap(), [stays].into());
    assert!(keys.private_key(&public[0]).is_none(), "it is in use no more");
    keys.expire(then + 23 * hour).unwrap();
    keys.expire(then - hour).unwrap();
    assert_eq!(peek(&folder, gone).unwrap(), Some(public[0]), "a dry run says what a pass would do");
    assert_eq!(keys.provide(gone).unwrap(), public[0], "taken back");
    keys.expire(then + 48 * hour).unwrap();
    assert_eq!(keys.kept().unwrap(), [gone, stays].into(), "one in use is for ever");

    keys.retire(gone, then).unwrap();
    keys.retire(gone, then).unwrap();
    keys.expire(then + 25 * hour).unwrap();
    assert_eq!(peek(&folder, gone).unwrap(), None);
    assert_ne!(keys.provide(gone).unwrap(), public[0]);
    keys.retire(gone, then).unwrap();
    fs::write(folder.join("1abe-1.new"), [0; 9]).unwrap();
    keys.expire(then).unwrap();
    assert!(!folder.join("1abe-1.new").exists(), "whoever was making it is gone");
    fs::write(folder.join("1abe-1.new"), [0; 9]).unwrap();
    fs::write(folder.join("letter"), "somebody else's").unwrap();
    keys.clear().unwrap();
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["letter"]);
}

#[test]
fn a_feed_that_is_a_pipe_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.json");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let refused = FileFeed::new(&path).next().unwrap_err();
    assert!(matches!(&refused, FeedError::Disk(_)), "{refused}");
    assert!(sixfold_agent::feed::read(dir.path()).is_err(), "nor is a folder one");
}

#[test]
fn the_status_holds_public_halves_only() {
    let farm = Farm::settled();
    let places = places(&farm.dir_of("ant"));
    let text = fs::read_to_string(places.status()).unwrap();
    let mut keys = KeyStore::open(&places.keys()).unwrap();
    for resource in keys.kept().unwrap() {
        let public = keys.provide(resource).unwrap();
        assert!(text.contains(&public.to_string()));
        let private = keys.private_key(&public).unwrap();
        let as_text = sixfold_core::key::PublicKey::from_bytes(*private.as_bytes()).to_string();
        assert!(!text.contains(&as_text));
    }
    assert_eq!(mode(&places.status()), 0o644);
}

#[test]
fn one_agent_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = agent(dir.path(), &Shared::new(), []);
    let second = Agent::open(places(dir.path()), Shared::new(), FileFeed::new(dir.path()), ground);
    assert!(matches!(second.err(), Some(RunError::Running { .. })));
    drop(first);
    drop(agent(dir.path(), &Shared::new(), []));
}

#[test]
fn nobody_else_can_take_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let lock = places(dir.path()).lock();
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    for above in [dir.path(), lock.parent().unwrap()] {
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    let opens = || {
        let by_nobody = std::process::Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "cat"])
            .arg(&lock)
            .status();
        by_nobody.expect("setpriv, and root to use it, are needed by this test").success()
    };
    assert!(opens(), "the ground: one of an older agent's is open to all");
    drop(agent(dir.path(), &Shared::new(), []));
    assert_eq!(mode(&lock), 0o600);
    assert!(!opens());
    fs::remove_file(&lock).unwrap();
    drop(agent(dir.path(), &Shared::new(), []));
    assert_eq!(mode(&lock), 0o600);
}

#[test]
fn a_snapshot_that_cannot_be_kept_is_used_and_kept_later() {
    let dir = tempfile::tempdir().unwrap();
    let state = places(dir.path()).state;
    let in_the_way = state.join("snapshot.b.new");
    fs::create_dir_all(&in_the_way).unwrap();
    let kernel = Shared::new();
    let mut agent = agent(dir.path(), &kernel, [snapshot(1), snapshot(2)]);
    let status = agent.round().unwrap();
    assert!(status.in_sync && status.revision == Revision(2));
    assert!(status.failures[0].contains("cannot keep the snapshot of revision 2"), "{:?}", status.failures);
    assert_eq!(Store::open(&state).unwrap().load().received.unwrap().snapshot.revision, Revision(1));
    fs::remove_dir(&in_the_way).unwrap();
    assert!(agent.round().unwrap().failures.is_empty());
    assert_eq!(Store::open(&state).unwrap().load().received.unwrap().snapshot.revision, Revision(2));
}

/// A line that was cut short would make the next one, added when there is room again, nobody's.
#[test]
fn what_does_not_fit_on_the_disk_leaves_no_half_and_is_told() {
    let whole = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("the test makes a mount namespace: it needs root");
        let (none, dir) = (None::<&str>, tempfile::tempdir().unwrap());
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("none"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=16k")).unwrap();
        let path = dir.path().join("log");
        append(&path, &[b'a'; 3000], 0o600).unwrap();
        let filled = fs::write(dir.path().join("other"), [0; 16 << 10]).unwrap_err();
        assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
        let refused = append(&path, &[b'b'; 3000], 0o600).unwrap_err();
        assert_eq!(refused.hint(), Some("the disk is full"));
        fs::read(&path).unwrap() == [b'a'; 3000]
    });
    assert!(whole.join().unwrap());

    let dir = tempfile::tempdir().unwrap();
    let in_the_way = places(dir.path()).state.join("ports.log");
    let mut agent = agent(dir.path(), &Shared::new(), [snapshot(1)]);
    fs::remove_file(&in_the_way).unwrap();
    fs::create_dir(&in_the_way).unwrap();
    let status = agent.round().unwrap();
    assert!(status.in_sync, "connectivity goes first");
    assert!(status.failures[0].contains("ports.log"), "{:?}", status.failures);
}
