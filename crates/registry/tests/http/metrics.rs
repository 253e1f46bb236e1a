//! What the registry tells an operator that it counts, after some requests of each kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use sixfold_api::problem::Kind;
use sixfold_api::version::Version;
use sixfold_registry::http::{Metrics, router};
use sixfold_registry::store::Memory;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Running;
use super::flow::{
    FARMER, NODES, TENANT, delegation, farm, live, network, node, node_statement, put, refused, send, token,
};

async fn told(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// Each value by its name and labels. Each name has a help, a kind, and the form that names have.
fn values(text: &str) -> BTreeMap<String, f64> {
    let (mut name, mut kind, mut values) = (String::new(), String::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (of, help) = rest.split_once(' ').expect("a name and a help");
            assert!(of.starts_with("sixfold_registry_") && help.ends_with('.'), "{line}");
            name = of.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (of, is) = rest.split_once(' ').expect("a name and a kind");
            assert_eq!((of, is == "counter"), (&*name, name.ends_with("_total")), "{line}");
            kind = is.to_owned();
        } else {
            let (of, value) = line.rsplit_once(' ').expect("a name and a value");
            let of_histogram = ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"));
            let bare = of.split('{').next().unwrap_or_default();
            let is_its = bare == name || kind == "histogram" && of_histogram.iter().any(|it| it == bare);
            assert!(is_its, "{line} after {name}");
            assert!(values.insert(of.to_owned(), value.parse().unwrap()).is_none(), "{line} twice");
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_was_asked_written_and_refused_and_of_nobody() {
    let (desk, stop) = Running::desk(Box::new(Memory::default()), true);
    let running = Running::listen("[::1]:0", (router(&desk), Arc::clone(&desk) as _), stop);
    let counts = Arc::clone(&running.counts);
    let metrics = Metrics::bind("127.0.0.1:0".parse().unwrap(), counts, Arc::downgrade(&desk)).unwrap();
    let address = metrics.address().unwrap();
    tokio::spawn(metrics.serve());
    let (mut farmer, mut tenant) = (running.client(Some(FARMER)), running.client(Some(TENANT)));
    send(&mut farmer, &format!("/v1/farms/{}", farm()), &put(&delegation(1, false), FARMER)).await.unwrap();
    for (at, seed) in (0_u8..).zip(NODES) {
        let mut joins = put(&node_statement(seed), seed);
        joins.token = Some(token(at, FARMER));
        let path = format!("/v1/nodes/{}", node(seed));
        send(&mut running.client(Some(seed)), &path, &joins).await.unwrap();
    }
    send(&mut farmer, &format!("/v1/farms/{}", farm()), &put(&delegation(2, true), FARMER)).await.unwrap();
    let path = format!("/v1/networks/{}", network());
    send(&mut tenant, &path, &put(&live(1, &NODES), TENANT)).await.unwrap();
    let refusal = send(&mut farmer, &path, &put(&live(2, &NODES), TENANT)).await;
    assert_eq!(refused(refusal), Kind::Forbidden);
    let mut stranger = running.client(None);
    stranger.get::<Version>("/v1/version").await.unwrap();

    let text = told(address).await;
    let values = values(&text);
    let is = |name: &str, value: f64| assert_eq!(values.get(name), Some(&value), "{name} in\n{text}");
    is("sixfold_registry_requests_total{verb=\"put\",object=\"farm\",status=\"200\"}", 2.0);
    is("sixfold_registry_requests_total{verb=\"put\",object=\"node\",status=\"200\"}", 2.0);
    is("sixfold_registry_requests_total{verb=\"put\",object=\"network\",status=\"200\"}", 1.0);
    is("sixfold_registry_requests_total{verb=\"put\",object=\"network\",status=\"403\"}", 1.0);
    is("sixfold_registry_requests_total{verb=\"read\",object=\"service\",status=\"200\"}", 1.0);
    for reason in ["rate", "busy", "quota"] {
        is(&format!("sixfold_registry_rejected_requests_total{{reason=\"{reason}\"}}"), 0.0);
    }
    is("sixfold_registry_grants{state=\"live\"}", 3.0);
    is("sixfold_registry_grants{state=\"released\"}", 0.0);
    is("sixfold_registry_objects{object=\"node\"}", 2.0);
    is("sixfold_registry_commit_duration_seconds_count", 5.0);
    is("sixfold_registry_commit_duration_seconds_bucket{le=\"+Inf\"}", 5.0);
    is("sixfold_registry_commit_failures_total", 0.0);
    is("sixfold_registry_queue_requests", 0.0);
    is("sixfold_registry_feeds", 0.0);
    is("sixfold_registry_writing", 1.0);
    assert!(values["sixfold_registry_stored_bytes"] > 1000.0, "{text}");
    for name in [farm().to_string(), node(NODES[0]).to_string(), network().to_string()] {
        assert!(!text.contains(&name), "{name} in\n{text}");
    }
}
