//! Attacks on the real binary: it says no, stays alive, serves an honest client next, and keeps its size.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use moltbot_testkit::client::{Client, Connect, unique};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::Gateway;
use moltbot_testkit::raw::{self, HttpAnswer, RawFrame, RawSocket};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// How much larger an attacked process may be, in bytes.
const GROWTH: usize = 30 * 1024 * 1024;

/// A gateway under attack.
struct House {
    gateway: Gateway,
    home: Home,
    _model: ScriptedModel,
    /// Its size before the first attack.
    before: usize,
}

impl House {
    fn open() -> Self {
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        let gateway = Gateway::start(PROGRAM, &home);
        let mut house = Self { gateway, home, _model: model, before: 0 };
        house.require_service("nothing yet"); // what is paid once is paid before it is measured
        house.before = house.resident();
        house
    }

    fn port(&self) -> u16 {
        self.gateway.port()
    }

    fn token(&self) -> &str {
        self.gateway.token()
    }

    fn sign_in(&self) -> RawSocket {
        RawSocket::sign_in(self.port(), self.token())
    }

    /// Demands that the process lives and that an honest client completes a chat.
    fn require_service(&mut self, after: &str) {
        assert!(self.gateway.is_running(), "{after} ended it:\n{}", self.gateway.printed());
        let text = unique("honest");
        let chat = block_on(async {
            let client = self.gateway.connect().open().await;
            let mut client = client.unwrap_or_else(|error| panic!("no sign-in after {after}: {error:?}"));
            client.chat("main", &text).await
        });
        assert_eq!((chat.state.as_str(), chat.text), ("final", echo_of(&text)), "after {after}");
    }

    /// Demands that the attacks cost no memory that lasts.
    fn require_size(&self) {
        let now = self.resident();
        assert!(now < self.before + GROWTH, "{} bytes became {now}", self.before);
    }

    /// Its resident memory, in bytes.
    #[expect(clippy::disallowed_methods, reason = "the kernel tells of processes in files")]
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
        raw::http(self.port(), method, path, headers, body)
    }

    /// The same with the token.
    fn signed_http(&self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
        let bearer = format!("Bearer {}", self.token());
        self.http(method, path, &[more, &[("authorization", bearer.as_str())]].concat(), body)
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn every_hostile_handshake_ends_as_its_file_says() {
    let mut house = House::open();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/tests/hostile/connect");
    let attacks = moltbot_testkit::hostile::attacks(&folder);
    assert!(attacks.len() >= 36, "{} attacks", attacks.len());
    for attack in attacks {
        attack.play(house.port(), house.token());
        house.require_service(&attack.name);
    }
    house.require_size();
}

type Attack = fn(&mut RawSocket);

/// The frames that no honest peer sends, with the code of the close frame; nothing when the connection may end
/// before it was read.
const FRAMES: [(&str, Option<u16>, Attack); 7] = [
    ("a gigabyte declared", Some(1009), |socket| socket.declare(1, 1 << 30).unwrap()),
    ("a million fragments", None, |socket| {
        socket.give_up_writing_after(Duration::from_secs(5));
        let fragments = [0x00, 0x80, 0, 0, 0, 0].repeat(1000);
        let began = socket.frame(false, 1, b"");
        drop(began.and_then(|()| (0..1000).try_for_each(|_| socket.bytes(&fragments))));
    }),
    ("an unknown opcode", Some(1002), |socket| socket.frame(true, 3, b"x").unwrap()),
    ("a frame without a mask", Some(1002), |socket| socket.bytes(&[0x81, 0x02, b'{', b'}']).unwrap()),
    ("a reserved bit", Some(1002), |socket| socket.bytes(&[0xc1, 0x80, 0, 0, 0, 0]).unwrap()),
    ("binary", Some(1003), |socket| socket.frame(true, 2, b"{}").unwrap()),
    ("text that is not UTF-8", Some(1007), |socket| socket.frame(true, 1, &[0xff, 0xfe]).unwrap()),
];

#[test]
fn frames_that_no_honest_peer_sends_end_their_connection_alone() {
    let mut house = House::open();
    let bystander = block_on_client(&house);
    for (name, code, attack) in FRAMES {
        let sockets = [("a stranger", RawSocket::open(house.port())), ("a client", house.sign_in())];
        for (who, mut socket) in sockets {
            attack(&mut socket);
            match (socket.end(), code) {
                (RawFrame::Close(found, reason), Some(code)) => {
                    assert_eq!(found, Some(code), "{name} from {who}: {reason}");
                }
                (RawFrame::Close(Some(1009), _) | RawFrame::Gone, None) => {}
                (end, _) => panic!("{name} from {who} ended with {end:?}"),
            }
        }
        house.require_service(name);
    }
    let (runtime, client) = bystander;
    assert!(runtime.block_on(client.call("health", json!({}))).is_ok(), "another client was cut off");
    house.require_size();
}

/// A client that stays connected.
fn block_on_client(house: &House) -> (tokio::runtime::Runtime, Client) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = runtime.block_on(house.gateway.connect().open()).unwrap();
    (runtime, client)
}

#[test]
fn what_is_no_request_of_a_signed_in_client_is_answered_and_changes_nothing() {
    let mut house = House::open();
    let mut socket = house.sign_in();
    let connect = json!({"type": "req", "id": "2", "method": "connect", "params": {"auth": {"token": "x"}}});
    let deep = format!(r#"{{"type":"req","id":"6","method":"health","params":{}"#, "[".repeat(100_000));
    for (sent, id, message) in [
        ("garbage", "invalid", "invalid request frame: "),
        (connect.to_string().as_str(), "2", "connect is only valid as the first request"),
        (r#"{"type":"nonsense","id":"3","method":"health"}"#, "3", "invalid request frame: "),
        (r#"{"type":"req","id":"4","method":"no.such"}"#, "4", "unknown method: no.such"),
        (r#"{"type":"req","id":"5","method":"sessions.reset"}"#, "5", "missing scope: operator.admin"),
        (deep.as_str(), "invalid", "invalid request frame: "),
        (r#"{"type":"req","id":"7","method":"chat.send","params":7}"#, "7", "invalid chat.send params: "),
    ] {
        socket.text(sent).unwrap();
        let RawFrame::Text(answer) = socket.next_answer() else { panic!("no answer to {sent:.80}") };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["id"], &answer["ok"]), (&json!(id), &json!(false)), "{sent:.80}");
        let told = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(told.starts_with(message), "{sent:.80}: {told}");
    }
    house.require_service("no requests");
    house.require_size();
}

#[test]
fn a_head_that_comes_too_slowly_or_is_too_large_is_cut() {
    let mut house = House::open();
    let began = Instant::now();
    let mut silent = raw::dial(house.port());
    let mut slow = raw::dial(house.port());
    // One byte a second: each of them alone is in time, the head is not.
    let head = format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n", house.port());
    let written = head.bytes().take_while(|byte| {
        std::thread::sleep(Duration::from_secs(1));
        slow.write_all(&[*byte]).is_ok() && began.elapsed() < Duration::from_secs(12)
    });
    let written = written.count();
    assert!((4..11).contains(&written), "the slow head was cut after {written} s");
    let mut rest = Vec::new();
    drop(silent.read_to_end(&mut rest)); // reset or closed: either way it ends
    assert!(began.elapsed() < Duration::from_secs(14), "a silent peer kept its place");
    for filler in [10_000, 1_000_000] {
        let answer = house.http("GET", "/healthz", &[("x-filler", &"x".repeat(filler))], b"");
        assert!(matches!(answer.status, 431 | 0), "{filler} bytes: {}", answer.head);
    }
    let many = "x: y\r\n".repeat(1000);
    let request = format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n{many}\r\n", house.port());
    assert_eq!(raw::http_bytes(house.port(), request.as_bytes()).status, 431);
    house.require_service("heads");
    house.require_size();
}

#[test]
fn requests_of_foreign_pages_and_names_are_refused_before_anything_else() {
    let mut house = House::open();
    for (name, value, code) in [
        ("host", "evil.test", "host_refused"),
        ("host", "127.0.0.1.evil.test", "host_refused"),
        ("host", "localhost@evil.test", "host_refused"),
        ("origin", "http://evil.test", "origin_refused"),
        ("origin", "null", "origin_refused"),
        ("origin", "http://localhost:1", "origin_refused"),
        ("sec-fetch-site", "cross-site", "origin_refused"),
        ("sec-fetch-site", "same-site", "origin_refused"),
    ] {
        for path in ["/healthz", "/v1/chat/completions", "/none"] {
            let answer = house.signed_http("POST", path, &[(name, value)], b"{}");
            let told = (answer.status, answer.json()["error"]["code"].clone());
            assert_eq!(told, (403, json!(code)), "{name}: {value} {path}");
        }
        let refused = RawSocket::upgrade(house.port(), &[(name, value)]).err().map(|answer| answer.status);
        assert_eq!(refused, Some(403), "a WebSocket with {name}: {value}");
    }
    house.require_service("foreign pages");
}

/// A proxy on this machine speaks for somebody else: its device is not one of this machine, and its failures are
/// counted by its own address, whatever it says about others.
#[test]
fn forwarding_headers_make_nobody_local_and_nobody_new() {
    let mut house = House::open();
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
        let device = moltbot_testkit::client::Device::from_seed(9);
        let proof = moltbot_testkit::client::SignatureVersion::V3;
        let connect = house.gateway.connect().device(&device, proof).header(name, "127.0.0.1");
        let rejection = block_on(connect.open()).err().unwrap();
        assert_eq!(rejection.error.unwrap().code, moltbot_protocol::error::ErrorCode::NotPaired, "{name}");
    }
    house.require_service("forwarding headers");
    for n in 0..5 {
        let headers = [("authorization", "Bearer wrong"), ("x-forwarded-for", &format!("203.0.113.{n}"))];
        assert_eq!(house.http("GET", "/", &headers, b"").status, 401, "try {n}");
    }
    let headers = [("authorization", "Bearer wrong"), ("x-forwarded-for", "203.0.113.77")];
    assert_eq!(house.http("GET", "/", &headers, b"").status, 429);
}

/// Five failures, over whichever way and from whichever of this machine's own addresses, and none is heard for
/// a while: not by the other way either, and not with the right token.
#[test]
fn failures_are_counted_for_http_and_websocket_together() {
    let house = House::open();
    for n in 0..3 {
        let answer = house.http("POST", "/v1/chat/completions", &[("authorization", "Bearer wrong")], b"{}");
        assert_eq!(answer.status, 401, "try {n}");
    }
    for n in 0..2 {
        let rejection = block_on(Connect::to(house.port()).token("wrong").open()).err().unwrap();
        let code = rejection.error.unwrap().code;
        assert_eq!(code, moltbot_protocol::error::ErrorCode::InvalidRequest, "try {n}");
    }
    let answer = house.signed_http("GET", "/none", &[], b"");
    assert_eq!(answer.status, 429);
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&seconds), "{seconds} s");
    let rejection = block_on(house.gateway.connect().open()).err().unwrap();
    let error = rejection.error.unwrap();
    assert_eq!(error.code, moltbot_protocol::error::ErrorCode::RateLimited);
    assert!((1..=300_000).contains(&error.retry_after_ms.unwrap()), "{error:?}");
    assert_eq!(house.http("GET", "/healthz", &[], b"").status, 200, "who asks for a sign of life gets it");
}

/// Anybody on this machine may speak from any of its own addresses: they are one source.
#[test]
fn failures_from_all_addresses_of_this_machine_are_counted_together() {
    let house = House::open();
    let ask = |address: &str, token: &str| {
        let mut stream = dial_from(address, house.port())?;
        let head = format!("GET /none HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.get(9..12).map(str::to_owned)
    };
    for n in 2..7 {
        assert_eq!(ask(&format!("127.0.0.{n}"), "wrong").as_deref(), Some("401"), "from 127.0.0.{n}");
    }
    for address in ["127.0.0.1", "127.0.0.9", "127.200.1.1"] {
        assert_eq!(ask(address, house.token()).as_deref(), Some("429"), "from {address}");
    }
}

/// A connection to the gateway from one of this machine's loopback addresses.
#[expect(clippy::disallowed_methods, reason = "a peer of the tests, to a gateway on loopback")]
fn dial_from(address: &str, port: u16) -> Option<std::net::TcpStream> {
    block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().ok()?;
        socket.bind(std::net::SocketAddr::new(address.parse().ok()?, 0)).ok()?;
        let stream = socket.connect((std::net::Ipv4Addr::LOCALHOST, port).into()).await.ok()?;
        let stream = stream.into_std().ok()?;
        stream.set_nonblocking(false).ok()?;
        Some(stream)
    })
}

#[test]
fn a_stranger_cannot_tell_a_route_from_none_and_a_client_can() {
    let mut house = House::open();
    let whoever = json!({"error": {"message": "Unauthorized", "type": "unauthorized"}});
    let wrong: [&[(&str, &str)]; 4] = [
        &[],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic bW9sdDpib3Q=")],
        &[("x-moltbot-token", "")],
    ];
    for headers in wrong {
        let paths = ["/v1/chat/completions", "/none", "/healthz/", "*"]; // a fifth failure would be one too many
        let answers = paths.map(|path| house.http("POST", path, headers, b"{}"));
        house.require_service("strangers"); // which forgives the failures
        for (path, answer) in paths.iter().zip(answers) {
            let status = answer.status;
            if *path == "*" {
                assert!(matches!(status, 400 | 401), "{status} for {path}");
            } else {
                assert_eq!((status, answer.json()), (401, whoever.clone()), "{path} {headers:?}");
            }
        }
    }
    assert_eq!(house.signed_http("POST", "/none", &[], b"{}").status, 404);
    let answer = house.signed_http("DELETE", "/v1/chat/completions", &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    house.require_service("routes");
}

#[test]
fn bodies_that_are_no_question_are_refused_with_what_is_wrong() {
    let mut house = House::open();
    let path = "/v1/chat/completions";
    let large = json!({"messages": [{"role": "user", "content": "x".repeat(1024 * 1024)}]}).to_string();
    let deep = format!(r#"{{"messages":{}"#, "[".repeat(200_000));
    let cases: [(&str, &[u8], u16); 8] = [
        ("nothing", b"", 400),
        ("no JSON", b"{\"messages\": [", 400),
        ("not UTF-8", b"{\"messages\": \"\xff\"}", 400),
        ("too deep", deep.as_bytes(), 400),
        ("another type", b"{\"messages\": 7}", 400),
        ("nobody speaks", b"{\"messages\": []}", 400),
        ("no user", b"{\"messages\": [{\"role\": \"system\", \"content\": \"x\"}]}", 400),
        ("too large", large.as_bytes(), 413),
    ];
    for (name, body, status) in cases {
        let answer = house.signed_http("POST", path, &[], body);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{name}");
        house.require_service(name);
    }
    // A stranger's body is not even read.
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-length: 1000000000\r\n\r\n",
        house.port()
    );
    assert_eq!(raw::http_bytes(house.port(), head.as_bytes()).status, 401);
    house.require_size();
    assert!(house.home.state_path().join("state.db").exists());
}
