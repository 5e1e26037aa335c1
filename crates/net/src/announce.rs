//! Announces the gateway on local networks by multicast DNS (RFC 6762, RFC 6763), where a recorded permit says.
//!
//! Nothing goes anywhere but to the group 224.0.0.251, port 5353, on the networks of the permit, once a second on each at
//! most whatever is asked: nobody is answered alone, so nobody is made to hear what he has not asked for. The names are made
//! of the certificate's digest: they are unique without asking the network, and tell nothing of the machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use moltbot_policy::network::AnnouncePermit;
use moltbot_policy::{Recorded, Unrecorded};
use simple_dns::rdata::{A, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, ResourceRecord, SimpleDnsError};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::recording::{SharedBook, enter};

/// Where everybody listens who speaks multicast DNS.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// The kind of service, under which clients of this kind of gateway look for it.
const SERVICE: &str = "_moltbot-gw._tcp.local";
/// Where it is asked for all kinds.
const ALL_SERVICES: &str = "_services._dns-sd._udp.local";
/// How long names may be remembered, in seconds, and what leads to an address: the times of RFC 6762, section 10.
const LASTING: u32 = 4500;
const FLEETING: u32 = 120;
/// The least time between two datagrams on a network.
const PAUSE: Duration = Duration::from_secs(1);
/// How long others are given to ask the same before it is answered once.
const GATHER: Duration = Duration::from_millis(60);
/// Times that it is said without being asked, at the start.
const UNASKED: u8 = 2;
/// The largest datagram that is looked at: one of a network without jumbo frames.
const DATAGRAM: usize = 1500;

/// Why the gateway is not announced.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum AnnounceError {
    /// What would be told cannot be written.
    #[error("cannot write an announcement; set discovery.mdns.mode to \"off\"")]
    Form(#[from] SimpleDnsError),
    /// The network's group cannot be joined.
    #[error(
        "cannot announce on the network of {address}; set discovery.mdns.mode to \"off\", or correct that network"
    )]
    Join { address: Ipv4Addr, source: io::Error },
    /// The book could not be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// A gateway that is announced. When this is dropped nothing is said any more.
#[derive(Debug)]
pub struct Announcer {
    end: watch::Sender<bool>,
    voices: JoinSet<()>,
}

impl Announcer {
    /// Enters the permit into the book, and announces on each of its networks or on none. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the book cannot be written, or a network has no such group.
    pub async fn begin(permit: AnnouncePermit, book: &SharedBook) -> Result<Self, AnnounceError> {
        let permit = enter(permit, book).await?;
        let voices: Result<Vec<Voice>, AnnounceError> =
            permit.permit().addresses().iter().map(|address| Voice::of(*address, &permit)).collect();
        let (end, ended) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for voice in voices? {
            tasks.spawn(voice.speak(ended.clone()));
        }
        Ok(Self { end, voices: tasks })
    }

    /// Says on each network that the gateway is gone.
    pub async fn end(mut self) {
        if self.end.send(true).is_ok() {
            while self.voices.join_next().await.is_some() {}
        }
    }
}

/// The announcements on one network.
struct Voice {
    socket: UdpSocket,
    records: Vec<ResourceRecord<'static>>,
    /// All records, as they are said.
    here: Vec<u8>,
    /// That they do not count any more.
    gone: Vec<u8>,
}

impl Voice {
    fn of(address: Ipv4Addr, permit: &Recorded<AnnouncePermit>) -> Result<Self, AnnounceError> {
        let records = records(address, permit.permit())?;
        let here = datagram(&records)?;
        let ended = records.iter().cloned().map(|record| ResourceRecord { ttl: 0, ..record });
        let gone = datagram(&ended.collect::<Vec<_>>())?;
        let socket = join(address).map_err(|source| AnnounceError::Join { address, source })?;
        Ok(Self { socket, records, here, gone })
    }

    /// Says that the gateway is here, a few times and whenever it is asked for, until it is not.
    async fn speak(self, mut ended: watch::Receiver<bool>) {
        let mut buffer = vec![0; DATAGRAM];
        let (mut due, mut unasked) = (Some(Instant::now()), UNASKED);
        let mut earliest = Instant::now();
        loop {
            let waiting = due.unwrap_or(earliest);
            tokio::select! {
                _ = ended.changed() => break,
                () = sleep_until(waiting), if due.is_some() => {
                    self.say(&self.here).await;
                    unasked = unasked.saturating_sub(1);
                    earliest = waiting.max(Instant::now()) + PAUSE;
                    due = (unasked > 0).then_some(earliest);
                }
                heard = self.socket.recv_from(&mut buffer) => match heard {
                    // What is due already is not asked for again: a flood of questions has one answer, and is not looked at.
                    Ok(_) if due.is_some() => {}
                    Ok((length, from)) => {
                        let bytes = buffer.get(..length).unwrap_or_default();
                        if from.port() == PORT && asks(bytes, &self.records) {
                            due = Some(earliest.max(Instant::now() + GATHER));
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a question on the local network was not heard");
                        due = Some(earliest.max(Instant::now() + PAUSE));
                    }
                },
            }
        }
        self.say(&self.gone).await;
    }

    async fn say(&self, bytes: &[u8]) {
        if let Err(error) = self.socket.send_to(bytes, SocketAddrV4::new(GROUP, PORT)).await {
            tracing::warn!(%error, "the gateway could not be announced on the local network");
        }
    }
}

/// A socket of the group on the network of `address`, and of no other network.
#[expect(clippy::disallowed_methods, reason = "this is the door to the network, and the permit is recorded")]
fn join(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Every program that speaks multicast DNS shares that port.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(GROUP, PORT).into())?;
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4(&GROUP, &address)?;
    socket.set_multicast_if_v4(&address)?;
    socket.set_multicast_ttl_v4(255)?; // by this who hears it knows that no router passed it on
    UdpSocket::from_std(socket.into())
}

/// What is told of a gateway.
fn records(
    address: Ipv4Addr,
    permit: &AnnouncePermit,
) -> Result<Vec<ResourceRecord<'static>>, SimpleDnsError> {
    let fingerprint = permit.fingerprint();
    let own = format!("moltbot-{}", fingerprint.get(..16).unwrap_or(fingerprint));
    let name = |text: &str| Name::new(text).map(Name::into_owned);
    let (service, all) = (name(SERVICE)?, name(ALL_SERVICES)?);
    let (instance, host) = (name(&format!("{own}.{SERVICE}"))?, name(&format!("{own}.local"))?);
    let text = TXT::new()
        .with_string(&format!("gatewayPort={}", permit.port()))?
        .with_string("gatewayTls=1")?
        .with_string(&format!("gatewayTlsSha256={fingerprint}"))?
        .into_owned();
    let place = SRV { priority: 0, weight: 0, port: permit.port(), target: host.clone() };
    let record = |name: &Name<'static>, ttl, data| ResourceRecord::new(name.clone(), CLASS::IN, ttl, data);
    Ok(vec![
        record(&all, LASTING, RData::PTR(PTR(service.clone()))),
        record(&service, LASTING, RData::PTR(PTR(instance.clone()))),
        record(&instance, FLEETING, RData::SRV(place)).with_cache_flush(true),
        record(&instance, LASTING, RData::TXT(text)).with_cache_flush(true),
        // Not the only one: a machine may have another address on the same network.
        record(&host, FLEETING, RData::A(A { address: address.into() })),
    ])
}

fn datagram(records: &[ResourceRecord<'static>]) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet.answers = records.to_vec();
    packet.build_bytes_vec_compressed()
}

/// Whether a datagram asks for one of these records, and does not say that it knows it.
fn asks(bytes: &[u8], records: &[ResourceRecord<'_>]) -> bool {
    let Ok(packet) = Packet::parse(bytes) else { return false };
    if packet.has_flags(PacketFlag::RESPONSE) || packet.opcode() != OPCODE::StandardQuery {
        return false;
    }
    let is_known = |record: &ResourceRecord<'_>| {
        packet.answers.iter().any(|known| {
            known.name == record.name && known.rdata == record.rdata && known.ttl >= record.ttl / 2
        })
    };
    let is_asked = |record: &ResourceRecord<'_>| {
        packet.questions.iter().any(|question| {
            question.qname == record.name
                && record.match_qtype(question.qtype)
                && record.match_qclass(question.qclass)
        })
    };
    records.iter().any(|record| is_asked(record) && !is_known(record))
}

#[cfg(test)]
mod tests {
    use simple_dns::{QCLASS, QTYPE, Question, TYPE};

    use super::*;

    fn own() -> Vec<ResourceRecord<'static>> {
        let name = |text: &str| Name::new(text).unwrap().into_owned();
        let record = |text: &str, data| ResourceRecord::new(name(text), CLASS::IN, LASTING, data);
        vec![
            record(SERVICE, RData::PTR(PTR(name("moltbot-1._moltbot-gw._tcp.local")))),
            record("moltbot-1.local", RData::A(A { address: 1 })),
        ]
    }

    fn question(name: &'static str, kind: TYPE) -> Packet<'static> {
        let mut packet = Packet::new_query(0);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        packet
    }

    #[test]
    fn it_is_answered_what_is_asked_and_not_known() {
        let bytes = |packet: &Packet<'_>| packet.build_bytes_vec().unwrap();
        let pointer = question(SERVICE, TYPE::PTR);
        assert!(asks(&bytes(&pointer), &own()));
        assert!(asks(&bytes(&question("_MOLTBOT-GW._tcp.local", TYPE::PTR)), &own()));
        for (name, kind) in [
            (SERVICE, TYPE::SRV),
            ("_http._tcp.local", TYPE::PTR),
            ("moltbot-2.local", TYPE::A),
            ("moltbot-1.local", TYPE::AAAA),
        ] {
            assert!(!asks(&bytes(&question(name, kind)), &own()), "{name} {kind:?}");
        }
        let mut known = pointer.clone();
        known.answers = own();
        assert!(!asks(&bytes(&known), &own()), "who knows it already is not told");
        known.answers = own().into_iter().map(|record| ResourceRecord { ttl: 10, ..record }).collect();
        assert!(asks(&bytes(&known), &own()), "who knows it no longer is");
        let mut answer = pointer.clone();
        answer.set_flags(PacketFlag::RESPONSE);
        assert!(!asks(&bytes(&answer), &own()), "an answer is no question");
    }

    /// What strangers on the network send: cut at every length, and with every byte changed. No question, and no panic.
    #[test]
    fn what_is_broken_asks_for_nothing_new_and_breaks_nothing() {
        let mut packet = question(SERVICE, TYPE::PTR);
        packet.answers = own();
        let whole = packet.build_bytes_vec_compressed().unwrap();
        for end in 0..whole.len() {
            asks(&whole[..end], &own());
            for change in [0x01, 0x3f, 0x80, 0xc0, 0xff] {
                let mut broken = whole.clone();
                broken[end] ^= change;
                asks(&broken, &own());
                broken.extend_from_slice(&[0xc0, 0x0c].repeat(40));
                asks(&broken, &own());
            }
        }
        let mut many = vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        many.resize(DATAGRAM, 0xc0);
        assert!(!asks(&many, &own()));
        assert!(!asks(&[], &own()));
    }
}
