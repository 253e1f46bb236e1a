//! What is desired of every namespace: the addressing table case by case, nothing beyond it, and everything closed.

mod addresses;
mod closed;
mod moving;
mod provided;
mod second;
