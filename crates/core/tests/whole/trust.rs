//! Keys, statements and the check of what a registry sends.

mod admit;
mod dossier;
mod going_on;
mod keys;
mod lies;
mod parts;
mod realm;
mod statements;
