//! What the tunnel process is told and what it tells: both protocols, memos, packets, datagrams.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sixfold_tunnel::control::parse_command;
use sixfold_tunnel::device::{Datagram, Device, Endpoint};
use sixfold_tunnel::inner::parse_inner;
use sixfold_tunnel::limiter::Limiter;
use sixfold_tunnel::memo;
use sixfold_tunnel::status::DeviceStatus;
use sixfold_tunnel::uapi::{Request, parse_request};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    match kind % 7 {
        0 => drop(parse_request(&text)),
        6 => drop(memo::read(&text)),
        1 => drop(parse_command(&text)),
        2 => drop(DeviceStatus::default().read(&text)),
        3 => sixfold_kernel::raw::tunnel(&text),
        4 => {
            if let Some(header) = parse_inner(data) {
                assert!(header.length <= data.len());
            }
        }
        _ => device(data),
    }
});

/// A device of a configuration, then packets and datagrams, each with its length before it.
fn device(data: &[u8]) {
    let (mut device, mut actions) = (Device::new(51820, 1420, Limiter::default()), Vec::new());
    let (text, mut rest) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    let now = Duration::from_secs(1000);
    if let Ok(Request::Set(set)) = parse_request(&String::from_utf8_lossy(text))
        && device.check(&set).is_ok()
    {
        let _ = device.configure(set, now);
    }
    while let [way, length, tail @ ..] = rest {
        let (packet, after) = tail.split_at(usize::from(*length).min(tail.len()));
        if way % 2 == 0 {
            device.packet_from_tun(packet.into(), now, &mut actions);
        } else {
            let from: std::net::SocketAddr = ([192, 0, 2, 1], 7).into();
            device.datagram_from_udp(Datagram::new(packet, Endpoint::from(from)), now, &mut actions);
        }
        device.tick(now, &mut actions);
        rest = after;
    }
    let _ = device.state(now, now);
}
