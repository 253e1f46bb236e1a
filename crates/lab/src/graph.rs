//! The topology of a world as a picture: SVG for people, Mermaid for pages that draw it themselves.
//!
//! Owns: what is in the picture and where. Must not need anything but the model: nothing is granted or running yet.
//!
//! ```text
//!   Internet ─┬─ upstream ── segment ─┬─ node ┐
//!             │                       └─ node ├─ networks, each a coloured line through the nodes it is on
//!             └─ NAT ── home network ─── node ┘
//! ```

mod mermaid;
mod picture;
mod svg;
#[cfg(test)]
mod tests;

use sixfold_core::model::World;

use picture::Picture;

/// The topology as a Mermaid flowchart.
#[must_use]
pub fn mermaid(world: &World) -> String {
    mermaid::render(&Picture::of(world))
}

/// The topology as an SVG document, to be read on light and on dark pages.
#[must_use]
pub fn svg(world: &World) -> String {
    svg::render(&Picture::of(world))
}
