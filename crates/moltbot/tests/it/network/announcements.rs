//! What the real binary announces on a network, as somebody hears it who is on that network: 127.0.0.5 stands for an address
//! of it, and loopback's own group for the network's.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use serde_json::json;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};
use socket2::{Domain, Protocol, Socket, Type};

use super::{ADDRESS, PROGRAM, home, require_no_start, text, tls};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const SERVICE: &str = "_moltbot-gw._tcp.local";

/// Somebody on the network.
struct Neighbour(UdpSocket);

impl Neighbour {
    #[expect(clippy::disallowed_methods, reason = "a stand-in for another machine")]
    fn listening() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddrV4::new(GROUP, 5353).into()).unwrap();
        let own = ADDRESS.parse().unwrap();
        socket.join_multicast_v4(&GROUP, &own).unwrap();
        socket.set_multicast_if_v4(&own).unwrap();
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self(socket)
    }

    /// The next answer about the gateway on that port, if there is one in time.
    fn hear(&self, port: u16, patience: Duration) -> Option<Vec<u8>> {
        let (end, mut buffer) = (Instant::now() + patience, [0; 9000]);
        while Instant::now() < end {
            let Ok(length) = self.0.recv(&mut buffer) else { continue };
            let bytes = &buffer[..length];
            let Ok(packet) = Packet::parse(bytes) else { continue };
            let is_it = |record: &ResourceRecord<'_>| matches!(&record.rdata, RData::SRV(place) if place.port == port);
            if packet.has_flags(PacketFlag::RESPONSE) && packet.answers.iter().any(is_it) {
                return Some(bytes.to_vec());
            }
        }
        None
    }

    fn ask(&self, name: &str, kind: TYPE) {
        let mut packet = Packet::new_query(0);
        let (kind, class) = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
        packet.questions.push(Question::new(Name::new(name).unwrap(), kind, class, false));
        self.0.send_to(&packet.build_bytes_vec().unwrap(), SocketAddrV4::new(GROUP, 5353)).unwrap();
    }
}

/// A home that is reached on [`ADDRESS`] over TLS, and announced there.
fn announced(model: &ScriptedModel) -> Home {
    let home = home(model, tls);
    home.change_config(|config| config["discovery"] = json!({"mdns": {"mode": "minimal"}}));
    home
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn p03_minimal_tells_the_port_and_the_fingerprint_and_nothing_of_the_machine() {
    let model = ScriptedModel::echo();
    let home = announced(&model);
    let neighbour = Neighbour::listening();
    let mut gateway = Gateway::start(PROGRAM, &home);
    let heard = neighbour.hear(home.port(), PATIENCE).expect("it is announced");
    let printed = text(&run(PROGRAM, &home, &["gateway", "fingerprint"]));
    let fingerprint = printed.trim().replace(':', "").to_lowercase();
    let own = format!("moltbot-{}", fingerprint.get(..16).unwrap());
    let packet = Packet::parse(&heard).unwrap();
    let told: Vec<String> = packet.answers.iter().map(shown).collect();
    let port = home.port();
    assert_eq!(
        told,
        [
            format!("_services._dns-sd._udp.local is {SERVICE}"),
            format!("{SERVICE} is {own}.{SERVICE}"),
            format!("{own}.{SERVICE} is at {own}.local:{port}"),
            format!("{own}.{SERVICE} says gatewayPort={port} gatewayTls=1 gatewayTlsSha256={fingerprint}"),
            format!("{own}.local is {ADDRESS}"),
        ]
    );
    assert!(packet.questions.is_empty() && packet.additional_records.is_empty());
    let text = String::from_utf8_lossy(&heard).into_owned();
    #[expect(clippy::disallowed_methods, reason = "the kernel tells its name in a file")]
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for secret in ["/", env!("CARGO_PKG_VERSION"), host.trim(), "ssh", "root", gateway.token()] {
        assert!(!text.contains(secret), "{secret} is told: {text}");
    }

    // Whoever comes later asks, for any of it. There is one answer, however often they ask.
    neighbour.hear(port, Duration::from_secs(3));
    for (name, kind) in [(SERVICE, TYPE::PTR), (&format!("{own}.local"), TYPE::A)] {
        (0..200).for_each(|_| neighbour.ask(name, kind));
        assert!(neighbour.hear(port, PATIENCE).is_some(), "{name}");
        assert!(neighbour.hear(port, Duration::from_millis(700)).is_none(), "{name} is answered once");
        neighbour.hear(port, Duration::from_secs(2));
    }
    neighbour.ask("_ssh._tcp.local", TYPE::PTR);
    assert!(neighbour.hear(port, Duration::from_secs(2)).is_none(), "nothing else is known here");
    gateway.terminate();
    let gone = neighbour.hear(port, PATIENCE).expect("it says that it is gone");
    assert!(Packet::parse(&gone).unwrap().answers.iter().all(|record| record.ttl == 0));
    let book = text_of_book(&home);
    assert_eq!(book.matches("\"gateway.announce\"").count(), 1, "{book}");
    assert!(book.contains(&fingerprint) && book.contains(&format!("{ADDRESS}:{port}")), "{book}");
}

fn text_of_book(home: &Home) -> String {
    text(&run(PROGRAM, home, &["ledger", "search", "--action", "gateway.announce", "--json"]))
}

/// A record as a sentence.
fn shown(record: &ResourceRecord<'_>) -> String {
    let name = &record.name;
    match &record.rdata {
        RData::PTR(pointer) => format!("{name} is {}", pointer.0),
        RData::SRV(place) => format!("{name} is at {}:{}", place.target, place.port),
        RData::A(address) => format!("{name} is {}", Ipv4Addr::from(address.address)),
        RData::TXT(text) => {
            let said = text.iter_raw().map(|(key, value)| {
                let part = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                format!("{}={}", part(key), value.map(part).unwrap_or_default())
            });
            format!("{name} says {}", said.collect::<Vec<_>>().join(" "))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn p03_full_is_refused_when_the_config_is_read_and_minimal_without_tls_when_it_starts() {
    let model = ScriptedModel::echo();
    let home = announced(&model);
    home.change_config(|config| config["discovery"]["mdns"]["mode"] = json!("full"));
    let refused = run(PROGRAM, &home, &["config", "validate"]);
    let told = text(&refused);
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("discovery.mdns.mode") && told.contains("paths, names and other ports"), "{told}");
    require_no_start(&home, 78, &["discovery.mdns.mode", "not accepted"]);
    let plain = super::home(&model, |gateway| gateway["dangerouslyAllowPlaintextBind"] = json!(true));
    plain.change_config(|config| config["discovery"] = json!({"mdns": {"mode": "minimal"}}));
    require_no_start(&plain, 78, &["discovery.mdns.mode", "gateway.tls.enabled"]);
}
