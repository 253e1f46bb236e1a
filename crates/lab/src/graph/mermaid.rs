//! The picture as a Mermaid flowchart: what is wired in full lines, networks dotted in their colours.
//!
//! Owns: Mermaid's syntax. Must not choose words.

use std::fmt::Write as _;

use super::picture::Picture;

pub(super) fn render(picture: &Picture) -> String {
    let mut text = "flowchart TB\n  internet((\"Internet\"))\n".to_owned();
    let mut wires = 0;
    for (at, site) in picture.sites.iter().enumerate() {
        let _ = writeln!(text, "  subgraph site{at}[\"{}\"]", site.title);
        let _ = writeln!(text, "    router{at}[\"{}\"]", site.router.join("<br>"));
        let _ = writeln!(text, "    segment{at}[/\"{}\"/]", site.segment);
        for node in &site.nodes {
            let lines = std::iter::once(format!("<b>{}</b>", node.name)).chain(node.lines.iter().cloned());
            let here = picture.networks.iter().zip(&node.members);
            let here = here.filter_map(|(network, lines)| {
                Some(format!("{}: {}", network.name, lines.as_ref()?.join(", ")))
            });
            let label = lines.chain(here).collect::<Vec<_>>().join("<br>");
            let _ = writeln!(text, "    {}[\"{label}\"]", id(&node.name));
        }
        text.push_str("  end\n");
        let _ = writeln!(text, "  internet --- router{at} --- segment{at}");
        wires += 2;
        for node in &site.nodes {
            let _ = writeln!(text, "  segment{at} --- {}", id(&node.name));
            wires += 1;
        }
    }
    text.push_str(&overlays(picture, wires));
    text
}

/// From each network's exit to its other nodes. Mermaid numbers links in the order they are written.
fn overlays(picture: &Picture, wires: usize) -> String {
    let (mut text, mut links) = (String::new(), wires);
    for (at, network) in picture.networks.iter().enumerate() {
        let nodes = picture.sites.iter().flat_map(|site| &site.nodes);
        let others = nodes.filter(|node| node.members[at].is_some() && node.name != network.exit);
        let first = links;
        for node in others {
            let _ = writeln!(text, "  {} -.-|\"{}\"| {}", id(&network.exit), network.name, id(&node.name));
            links += 1;
        }
        if links > first {
            let numbers = (first..links).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
            let _ = writeln!(text, "  linkStyle {numbers} stroke:{},stroke-width:2px", network.colour);
        }
    }
    text
}

/// Nodes' names may be words of Mermaid's, such as `end`, and a hyphen may be read as a link; no name holds a `_`.
fn id(name: &str) -> String {
    format!("node_{}", name.replace('-', "_"))
}
