//! The picture as an SVG document.
//!
//! Owns: places and strokes. Must not choose words.
//!
//! Each node is a column, all of one width, so nothing can meet but what is meant to. A network is a line behind the
//! columns at a height of its own, with a chip on it in each column it has something in.

use std::fmt::Write as _;

use super::picture::{Picture, Place, Site};

/// All lengths in pixels. A character of the largest text is at most so wide.
const CHARACTER: usize = 8;
const LINE: usize = 17;
const PAD: usize = 12;
const GAP: usize = 36;
const MARGIN: usize = 20;
const INTERNET_HEIGHT: usize = LINE + PAD;
const SEGMENT_HEIGHT: usize = 24;
const COLUMN_MIN: usize = 170;

const STYLE: &str = "\
:root{color-scheme:light dark}
text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1b1f24}
.b{font-weight:600}
.c{text-anchor:middle}
.m{fill:#57606a}
.page{fill:#ffffff}
.site{fill:none;stroke:#8c959f;stroke-dasharray:5 4}
.box,.node{fill:#f6f8fa;stroke:#57606a}
.wire{stroke:#57606a;stroke-width:1.5}
.lane{stroke-width:3}
.chip{fill-opacity:.16;stroke-width:1.5}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.m{fill:#9aa4af}.page{fill:#0d1117}.box,.node{fill:#161b22;stroke:#9aa4af}
.site{stroke:#6e7681}.wire{stroke:#9aa4af}.chip{fill-opacity:.3}}
";

/// Where things are.
struct Layout {
    column: usize,
    router_y: usize,
    segment_y: usize,
    node_y: usize,
    /// The top of each network's chips, and their height.
    lanes: Vec<(usize, usize)>,
    node_end: usize,
    width: usize,
    height: usize,
}

/// A box.
#[derive(Clone, Copy)]
struct Area {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

pub(super) fn render(picture: &Picture) -> String {
    let layout = Layout::of(picture);
    let mut text = layout.opening();
    let internet = Area { x: MARGIN, y: MARGIN, width: layout.width - 2 * MARGIN, height: INTERNET_HEIGHT };
    rect(&mut text, "box", internet);
    lines(&mut text, internet, &["Internet".to_owned()]);
    let mut at = 0;
    let mut ends = vec![None; picture.networks.len()];
    let (mut wires, mut sites) = (String::new(), String::new());
    for site in &picture.sites {
        wired(&mut wires, &mut sites, (site, &layout, at));
        for (node, column) in site.nodes.iter().zip(at..) {
            let middle = layout.middle(column);
            for (end, _) in ends.iter_mut().zip(&node.members).filter(|(_, member)| member.is_some()) {
                let (first, _) = end.unwrap_or((middle, middle));
                *end = Some((first, middle));
            }
            placed(&mut sites, (picture, node), (&layout, column));
        }
        at += columns(site);
    }
    text.push_str(&wires);
    for ((ends, network), (y, height)) in ends.iter().zip(&picture.networks).zip(&layout.lanes) {
        if let Some((from, to)) = ends {
            let (y, colour) = (y + height / 2, network.colour);
            let _ = writeln!(text, r#"<path class="lane" stroke="{colour}" d="M{from} {y}H{to}"/>"#);
        }
    }
    text.push_str(&sites);
    text.push_str("</svg>\n");
    text
}

impl Layout {
    fn of(picture: &Picture) -> Self {
        let columns: usize = picture.sites.iter().map(columns).sum();
        let column = picture.widest() * CHARACTER + 4 * PAD;
        let column = column.max(COLUMN_MIN);
        let router_y = MARGIN + INTERNET_HEIGHT + GAP + PAD;
        let router_lines = picture.sites.iter().map(|site| site.router.len()).max().unwrap_or(0);
        let segment_y = router_y + box_height(router_lines) + GAP;
        let node_y = segment_y + SEGMENT_HEIGHT + GAP;
        let nodes = || picture.sites.iter().flat_map(|site| &site.nodes);
        let head = nodes().map(|node| node.lines.len() + 1).max().unwrap_or(0);
        let mut y = node_y + box_height(head);
        let mut lanes = Vec::new();
        for at in 0..picture.networks.len() {
            let most = nodes().filter_map(|node| Some(node.members[at].as_ref()?.len())).max().unwrap_or(0);
            lanes.push((y, box_height(most + 1)));
            y += box_height(most + 1) + PAD;
        }
        let width = 2 * MARGIN + columns * column + columns.saturating_sub(1) * GAP + 2 * PAD;
        let height = y + PAD + LINE + MARGIN;
        Self { column, router_y, segment_y, node_y, lanes, node_end: y, width, height }
    }

    fn x(&self, column: usize) -> usize {
        MARGIN + PAD + column * (self.column + GAP)
    }

    fn middle(&self, column: usize) -> usize {
        self.x(column) + self.column / 2
    }

    fn opening(&self) -> String {
        let Self { width, height, .. } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>Topology</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n"
        )
    }
}

impl Picture {
    /// Characters of the longest text that must fit a column.
    fn widest(&self) -> usize {
        let nodes = self.sites.iter().flat_map(|site| &site.nodes);
        let of_nodes = nodes.flat_map(|node| {
            std::iter::once(&node.name).chain(&node.lines).chain(node.members.iter().flatten().flatten())
        });
        let of_networks = self.networks.iter().map(|network| &network.name);
        let of_sites = self.sites.iter().flat_map(|site| &site.router);
        let inside = of_nodes.chain(of_networks).chain(of_sites).map(|text| text.chars().count());
        // A title has all the columns of its site, and the gaps between.
        let titles = self.sites.iter().map(|site| site.title.chars().count().div_ceil(columns(site)));
        inside.chain(titles).max().unwrap_or(0)
    }
}

/// How many columns a site has: one at least, for its router.
fn columns(site: &Site) -> usize {
    site.nodes.len().max(1)
}

fn box_height(lines: usize) -> usize {
    lines * LINE + PAD
}

/// A site's frame, router and segment, and the wires between.
fn wired(wires: &mut String, text: &mut String, (site, layout, at): (&Site, &Layout, usize)) {
    let last = at + columns(site) - 1;
    let (left, right) = (layout.x(at), layout.x(last) + layout.column);
    let middle = (left + right) / 2;
    let top = layout.router_y - PAD;
    let bottom = layout.node_end + PAD + LINE;
    let frame = Area { x: left - PAD, y: top, width: right - left + 2 * PAD, height: bottom - top };
    rect(wires, "site", frame);
    let title_y = bottom - 6;
    let _ = writeln!(text, r#"<text class="m c" x="{middle}" y="{title_y}">{}</text>"#, escape(&site.title));
    wire(wires, middle, (MARGIN + INTERNET_HEIGHT, layout.segment_y));
    let router = Area {
        x: middle - layout.column / 2,
        y: layout.router_y,
        width: layout.column,
        height: layout.segment_y - layout.router_y - GAP,
    };
    rect(text, "box", router);
    lines(text, router, &site.router);
    let segment = Area { x: left, y: layout.segment_y, width: right - left, height: SEGMENT_HEIGHT };
    rect(text, "box", segment);
    let segment_y = layout.segment_y + LINE;
    let _ =
        writeln!(text, r#"<text class="m c" x="{middle}" y="{segment_y}">{}</text>"#, escape(&site.segment));
    for column in at..at + site.nodes.len() {
        wire(wires, layout.middle(column), (layout.segment_y + SEGMENT_HEIGHT, layout.node_y));
    }
}

/// A node's column, with a chip for each network that is there.
fn placed(text: &mut String, (picture, node): (&Picture, &Place), (layout, column): (&Layout, usize)) {
    let x = layout.x(column);
    let whole = Area { x, y: layout.node_y, width: layout.column, height: layout.node_end - layout.node_y };
    rect(text, "node", whole);
    let head: Vec<_> = std::iter::once(node.name.clone()).chain(node.lines.iter().cloned()).collect();
    lines(text, whole, &head);
    for (at, network) in picture.networks.iter().enumerate() {
        let Some(member) = &node.members[at] else { continue };
        let (y, height) = layout.lanes[at];
        let chip = Area { x: x + PAD, y, width: layout.column - 2 * PAD, height };
        let colour = network.colour;
        // Stubs to both sides, so that the line is seen to end in the chip and not behind the node.
        let middle = y + height / 2;
        let _ = writeln!(
            text,
            r#"<path class="lane" stroke="{colour}" d="{}"/>"#,
            stubs(picture, (at, node), (x, layout.column, middle))
        );
        let Area { x, y, width, height } = chip;
        let _ = writeln!(
            text,
            r#"<rect class="chip" fill="{colour}" stroke="{colour}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>"#
        );
        let words: Vec<_> = std::iter::once(network.name.clone()).chain(member.iter().cloned()).collect();
        lines(text, chip, &words);
    }
}

/// From a chip to the edges of its node, on those sides where the network goes on.
fn stubs(picture: &Picture, (at, node): (usize, &Place), (x, width, y): (usize, usize, usize)) -> String {
    let nodes = picture.sites.iter().flat_map(|site| &site.nodes);
    let members: Vec<_> = nodes.filter(|node| node.members[at].is_some()).collect();
    let is = |other: Option<&&Place>| other.is_some_and(|other| std::ptr::eq(*other, node));
    let mut path = String::new();
    if !is(members.first()) {
        let _ = write!(path, "M{x} {y}h{PAD}");
    }
    if !is(members.last()) {
        let _ = write!(path, "M{} {y}h{PAD}", x + width - PAD);
    }
    path
}

fn rect(text: &mut String, class: &str, Area { x, y, width, height }: Area) {
    let _ =
        writeln!(text, r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>"#);
}

fn wire(text: &mut String, x: usize, (from, to): (usize, usize)) {
    let _ = writeln!(text, r#"<path class="wire" d="M{x} {from}V{to}"/>"#);
}

/// Lines in the middle of an area from its top, the first in bold.
fn lines(text: &mut String, area: Area, words: &[String]) {
    let x = area.x + area.width / 2;
    for (at, line) in words.iter().enumerate() {
        let y = area.y + PAD / 2 + at * LINE + LINE - 4;
        let class = if at == 0 { "b c" } else { "c" };
        let _ = writeln!(text, r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#, escape(line));
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
