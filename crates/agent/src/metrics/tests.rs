//! What is told, byte by byte, and to whom.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use sixfold_core::state::Backend;
use sixfold_kernel::tunnel::{Totals, TunnelError};

use super::*;
use crate::exits::gossip::Words;
use crate::status::{Counts, of_waiting};

fn figures(in_sync: bool) -> Arc<Figures> {
    let figures = Arc::new(Figures::default());
    let node = "ant".parse().expect("a name");
    let counts = Counts { passes: 3, operations: 12 };
    let status = Status { in_sync, revision: Revision(7), ..of_waiting((&node, Backend::Tunnel), counts) };
    let sums = Sums { peers: 4, alive: 2, silent: 1, rx_bytes: 100, tx_bytes: 200 };
    let left = usize::from(!in_sync);
    let flow = Flow {
        networks: 2,
        sent: Counter { packets: 3, bytes: 300 },
        received: Counter { packets: 5, bytes: 500 },
        drops: [("spoofed", 7)].into(),
    };
    let took = Duration::from_millis(5);
    figures.measured(Measured {
        status: &status,
        left,
        took,
        sums,
        flow: &flow,
        leaving: &flow,
        said: Words { newer: 1, known: 20, older: 3, refused: 4, astray: 5, said: 60 },
    });
    figures.lives(Instant::now());
    figures
}

/// Each line is a comment of a metric or a value, every value has its two comments, and every name its form.
fn assert_form(text: &str) {
    let mut told = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            let parts = ["sixfold_agent_", "sixfold_gateway_", "sixfold_local_v4_", "sixfold_tunnel_"];
            assert!(parts.iter().any(|part| name.starts_with(part)), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            told = name;
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert_eq!(name.split('{').next(), Some(told), "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        }
    }
}

#[test]
fn every_value_has_its_help_and_names_nobody() {
    let text = figures(true).text();
    assert_form(&text);
    for line in [
        "sixfold_agent_in_sync 1",
        "sixfold_agent_revision 7",
        "sixfold_agent_passes_total 3",
        "sixfold_agent_pass_duration_seconds 0.005",
        "sixfold_agent_peers_silent 1",
        "sixfold_agent_words_heard_total{outcome=\"refused\"} 4",
        "sixfold_agent_words_said_total 60",
        "sixfold_agent_wireguard_sent_bytes_total 200",
        "sixfold_gateway_networks 2",
        "sixfold_local_v4_networks 2",
        "sixfold_gateway_packets_total{direction=\"out\"} 3",
        "sixfold_gateway_bytes_total{direction=\"in\"} 500",
        "sixfold_gateway_dropped_packets_total{reason=\"spoofed\"} 7",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("ant"), "no node is named");
    assert_eq!(Figures::default().text(), "");
}

#[test]
fn the_tunnels_drops_are_told_by_reason_and_its_absence_too() {
    let (drops, lacking) = ([("no-peer".to_owned(), 5)].into(), [("uso".to_owned(), 1)].into());
    let totals = Totals { devices: 2, drops, lacking, ..Totals::default() };
    let text = of_tunnel(&Ok(totals));
    assert_form(&text);
    assert!(text.contains("\nsixfold_tunnel_dropped_packets_total{reason=\"no-peer\"} 5\n"), "{text}");
    assert!(text.contains("\nsixfold_tunnel_devices_lacking{what=\"uso\"} 1\n"), "{text}");
    let text = of_tunnel(&Err(TunnelError::Malformed));
    assert_form(&text);
    assert!(text.ends_with("sixfold_tunnel_up 0\n"), "{text}");
}

#[test]
fn an_agent_that_hangs_is_neither_well_nor_ready() {
    let figures = figures(true);
    let now = Instant::now();
    assert_eq!(figures.readiness(now), Ok("in sync at revision 7".to_owned()));
    let late = now + ROUND_MAX + Duration::from_secs(1);
    assert!(figures.health(late).is_err() && figures.readiness(late).is_err());
    assert_eq!(Figures::default().readiness(now), Err("the agent has not gone round yet".to_owned()));
    let begun = Figures::default();
    begun.lives(now);
    assert!(begun.health(now).is_ok());
    assert_eq!(begun.readiness(now), Err("there has been no snapshot yet".to_owned()));
}

fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers, and ends");
    answer
}

#[test]
fn whoever_asks_is_answered_and_who_does_not_speak_keeps_nobody_away() {
    let metrics = Metrics::bind("127.0.0.1:0".parse().expect("an address"), figures(false), None);
    let metrics = metrics.expect("it is free");
    let address = metrics.address().expect("it is bound");
    metrics.serve().expect("there are threads");
    // Connected, and silent.
    let _silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let get = |path: &str| ask(address, &format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n"));
    let text = get("/metrics");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    assert_form(body);
    assert!(get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    let unready = get("/readyz");
    assert!(unready.starts_with("HTTP/1.1 503 "), "{unready}");
    assert!(unready.ends_with("not in sync at revision 7: 1 operations are left to do\n"), "{unready}");
    assert!(get("/").starts_with("HTTP/1.1 404 "));
    assert!(ask(address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert_eq!(ask(address, &"x".repeat(REQUEST_LONG)), "");
}

/// As long as what is read of a request, and not its end.
const REQUEST_LONG: usize = 4096;

#[test]
fn an_address_that_others_reach_is_refused() {
    let all = "[::]:0".parse().expect("an address");
    let error = Metrics::bind(all, Arc::default(), None).expect_err("it is told in the clear");
    assert!(error.to_string().contains("others reach this address"), "{error}");
}
