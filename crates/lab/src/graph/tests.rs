//! Goldens of both pictures of both examples, and what no picture may be. `SIXFOLD_BLESS=1` writes the goldens anew.

use std::fs;
use std::path::Path;

use super::*;

const EXAMPLES: [&str; 2] = ["first-farm", "two-farms"];

fn example(name: &str) -> World {
    crate::files::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)).unwrap()
}

fn golden(name: &str, is: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/graph/golden").join(name);
    if std::env::var_os("SIXFOLD_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, is).unwrap();
    }
    assert_eq!(is, fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn pictures_of_the_examples() {
    for name in EXAMPLES {
        let world = example(name);
        golden(&format!("{name}.mmd"), &mermaid(&world));
        golden(&format!("{name}.svg"), &svg(&world));
    }
}

/// Every tag with its attributes, `true` for one that opens another.
fn tags(svg: &str) -> Vec<(String, String)> {
    let mut open = Vec::new();
    let mut tags = Vec::new();
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("every tag ends");
        assert!(!text.contains('>'), "{piece}");
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap().to_owned();
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else {
            if !tag.ends_with('/') {
                open.push(name.clone());
            }
            tags.push((name, tag.to_owned()));
        }
    }
    assert!(open.is_empty(), "{open:?}");
    tags
}

fn number(tag: &str, name: &str) -> i64 {
    let after = tag.split(&format!(" {name}=\"")).nth(1).unwrap_or_else(|| panic!("{name} in {tag}"));
    after.split('"').next().unwrap().parse().unwrap()
}

fn areas(svg: &str, class: &str) -> Vec<[i64; 4]> {
    let wanted = format!("class=\"{class}\"");
    let rects = tags(svg).into_iter().filter(|(name, tag)| name == "rect" && tag.contains(&wanted));
    rects
        .map(|(_, tag)| {
            let (x, y) = (number(&tag, "x"), number(&tag, "y"));
            [x, y, x + number(&tag, "width"), y + number(&tag, "height")]
        })
        .collect()
}

fn meet(a: &[i64; 4], b: &[i64; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

fn inside(a: &[i64; 4], b: &[i64; 4]) -> bool {
    b[0] <= a[0] && b[1] <= a[1] && a[2] <= b[2] && a[3] <= b[3]
}

#[test]
fn nothing_overlaps() {
    for name in EXAMPLES {
        let svg = svg(&example(name));
        for class in ["node", "chip", "box", "site"] {
            let areas = areas(&svg, class);
            assert!(areas.len() > 1, "{name} {class}");
            for (at, one) in areas.iter().enumerate() {
                assert!(areas[at + 1..].iter().all(|other| !meet(one, other)), "{name} {class} {one:?}");
            }
        }
        let (nodes, sites) = (areas(&svg, "node"), areas(&svg, "site"));
        let in_one = |area: &[i64; 4], others: &[[i64; 4]]| {
            others.iter().filter(|other| inside(area, other)).count() == 1
        };
        assert!(areas(&svg, "chip").iter().all(|chip| in_one(chip, &nodes)), "{name}");
        assert!(nodes.iter().all(|node| in_one(node, &sites)), "{name}");
        assert!(areas(&svg, "box").iter().all(|router| !nodes.iter().any(|node| meet(router, node))));
    }
}

#[test]
fn everything_is_within_the_page() {
    for name in EXAMPLES {
        let tags = tags(&svg(&example(name)));
        let (width, height) = (number(&tags[0].1, "width"), number(&tags[0].1, "height"));
        for (_, tag) in tags.iter().filter(|(name, _)| name == "text") {
            assert!(
                (0..width).contains(&number(tag, "x")) && (0..height).contains(&number(tag, "y")),
                "{tag}"
            );
        }
        for (_, tag) in tags.iter().filter(|(name, tag)| name == "rect" && tag.contains(" x=")) {
            assert!(number(tag, "x") + number(tag, "width") <= width, "{tag}");
            assert!(number(tag, "y") + number(tag, "height") <= height, "{tag}");
        }
    }
}

#[test]
fn every_name_is_in_both_pictures() {
    for name in EXAMPLES {
        let world = example(name);
        let pictures = [mermaid(&world), svg(&world)];
        let nodes = world.nodes().map(|(_, node)| node.id().to_string());
        let networks = world.networks().keys().map(ToString::to_string);
        let workloads = world.networks().values().flat_map(|network| network.workloads());
        let workloads = workloads.map(|workload| workload.name.to_string());
        for text in nodes.chain(networks).chain(workloads) {
            assert!(pictures.iter().all(|picture| picture.contains(&text)), "{name}: {text}");
        }
    }
}

#[test]
fn an_empty_world_is_drawn_too() {
    let world = World::default();
    assert_eq!(mermaid(&world), "flowchart TB\n  internet((\"Internet\"))\n");
    assert!(!tags(&svg(&world)).is_empty());
}
