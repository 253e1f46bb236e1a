//! A whole registry as a process, for tests that end it at any moment: `registry-process DIR ADDRESS:PORT`.
//!
//! Owns: nothing. Its key is one that the tests know, so that they can pin it.

use std::path::PathBuf;

use sixfold_core::limit::PREFIXES_PER_TENANT;
use sixfold_core::trust::SigningKey;
use sixfold_registry::run::{Config, start};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [dir, listen] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "DIR ADDRESS:PORT")?;
    let config = Config {
        dir: PathBuf::from(dir),
        listen: vec![listen.parse()?],
        metrics: None,
        key: SigningKey::from_seed(&[0xf0; 32]),
        admin: None,
        is_open: true,
        quota: PREFIXES_PER_TENANT,
    };
    Ok(start(config)?.serve(|| {})?)
}
