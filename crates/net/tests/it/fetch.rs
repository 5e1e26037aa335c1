//! What a client sends, where it does not go, and what it makes of bad answers.

use std::error::Error;
use std::time::Duration;

use moltbot_net::{Client, EnvironmentProxy, FetchError, Method, Request, Response, Url};
use moltbot_policy::network::{Destination, Purpose, Reach};
use moltbot_testkit::skip::skip;
use secrecy::SecretString;

use crate::book::{book, decisions};
use crate::server::{Reply, Server, whole};

const PATIENCE: Duration = Duration::from_secs(20);

fn get(url: Url) -> Request {
    Request { method: Method::Get, url, headers: Vec::new(), body: None, idle: PATIENCE }
}

/// Opens a client for `base` and sends one request.
async fn fetch_as(base: &str, reach: Reach, request: Request) -> Result<Response, FetchError> {
    let (_folder, ledger) = book();
    let base = Url::parse(base).expect("a URL");
    let destination = Destination::parse(&base, reach).expect("a destination");
    let client = Client::new(Purpose::Provider, destination, ledger);
    client.open(&request.url, "agent main").await?.send(request).await
}

async fn fetch(server: &Server, request: Request) -> Result<Response, FetchError> {
    fetch_as(server.url("/").as_str(), Reach::Configured, request).await
}

/// Everything that a person or a log may see of an error.
fn everything(error: &FetchError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_request_is_sent_as_it_is() {
    let server = Server::start(whole("200 OK", "content-type: text/plain\r\n", "hello")).await;
    let request = Request {
        method: Method::Post,
        url: server.url("/v1/chat/completions?a=b"),
        headers: vec![("authorization".into(), "Bearer secret".into())],
        body: Some("{}".into()),
        idle: PATIENCE,
    };
    let response = fetch(&server, request).await.expect("an answer");
    assert_eq!((response.status, response.content_type.as_deref()), (200, Some("text/plain")));
    assert_eq!(response.text(5).await.expect("the body"), "hello");
    let expected = format!(
        "POST /v1/chat/completions?a=b HTTP/1.1\r\nauthorization: Bearer secret\r\naccept: */*\r\nuser-agent: moltbot/{}\r\nhost: 127.0.0.1:{}\r\ncontent-length: 2\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        server.port
    );
    let sent = server.requests().concat();
    assert_eq!(sent.strip_suffix("{}").unwrap_or(&sent), expected);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an environment of its own needs a process of its own")]
fn a_proxy_in_the_environment_is_ignored() {
    let mut test = std::process::Command::new(std::env::current_exe().expect("this program"));
    test.args(["--exact", "fetch::a_request_is_sent_as_it_is"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        test.env(name, "http://127.0.0.1:9");
    }
    let ran = test.output().expect("the test runs");
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
async fn a_redirect_is_an_error_and_is_not_followed() {
    let elsewhere = Server::start(whole("200 OK", "", "stolen")).await;
    let location = format!("location: {}\r\n", elsewhere.url("/"));
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let server = Server::start(whole(status, &location, "")).await;
        let error = fetch(&server, get(server.url("/"))).await.expect_err(status);
        assert!(matches!(error, FetchError::Redirected { .. }), "{status}: {error}");
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn h05_a_client_goes_nowhere_but_to_its_destination() {
    let (server, other) =
        (Server::start(whole("200 OK", "", "")).await, Server::start(whole("200 OK", "", "")).await);
    let (_folder, ledger) = book();
    let destination = Destination::parse(&server.url("/"), Reach::Configured).expect("a destination");
    let client = Client::new(Purpose::Provider, destination, ledger);
    let elsewhere = other.url("/?key=secret");
    let unopened = client.open(&elsewhere, "agent main").await.expect_err("another port");
    let door = client.open(&server.url("/"), "agent main").await.expect("a door");
    let unsent = door.send(get(elsewhere)).await.expect_err("another port");
    for error in [unopened, unsent] {
        assert!(matches!(error, FetchError::Refused(_)), "{error}");
        assert!(!everything(&error).contains("secret"), "{error:?}");
    }
    assert_eq!(other.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn h01_h04_a_public_name_may_not_stand_for_an_address_of_this_machine_however_it_is_written() {
    let server = Server::start(whole("200 OK", "", "")).await;
    for host in [
        "localhost",
        "localhost.",
        "LocalHost",
        "127.0.0.1",
        "127.0.0.1.",
        "0x7f.1",
        "2130706433",
        "１２７.０.０.１",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
    ] {
        let url = Url::parse(&format!("https://{host}:{}/?key=secret", server.port)).expect("a URL");
        let error = fetch_as(url.as_str(), Reach::Public, get(url.clone())).await.expect_err(host);
        assert!(matches!(error, FetchError::Refused(_)), "{host}: {error:?}");
        assert!(!everything(&error).contains("secret"), "{host}: {error:?}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
    for host in ["localhost%00", "127.0.0.1%00.example.com", "local host", "a..b:x"] {
        assert!(Url::parse(&format!("https://{host}/")).is_err(), "{host} is no host");
    }
}

#[tokio::test]
async fn machine_credentials_and_clear_text_to_strangers_are_out_of_reach_even_when_configured() {
    for url in ["http://169.254.169.254/latest", "https://169.254.169.254/", "http://1.1.1.1/"] {
        let url = Url::parse(url).expect("a URL");
        let error = fetch_as(url.as_str(), Reach::Configured, get(url.clone())).await.expect_err("refused");
        assert!(matches!(error, FetchError::Refused(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_in_the_book_wherever_it_is_found() {
    let server = Server::start(whole("200 OK", "", "")).await;
    let (folder, ledger) = book();
    let url = |text: &str| Url::parse(text).expect("a URL");
    let client = |base: &str, reach| {
        let destination = Destination::parse(&url(base), reach).expect("a destination");
        Client::new(Purpose::Provider, destination, ledger.clone())
    };
    let (port, here) = (server.port, server.url("/?key=secret"));
    // Another place than the client's, before anything is opened.
    let elsewhere = url("http://192.0.2.1:9/?key=secret");
    let own = client(server.url("/").as_str(), Reach::Configured);
    own.open(&elsewhere, "agent main").await.expect_err("another place");
    // Another place, through a door that is open.
    let door = own.open(&here, "agent main").await.expect("a door");
    door.send(get(elsewhere)).await.expect_err("another place");
    // A literal address that may not be reached.
    let metadata = "https://169.254.169.254/";
    client(metadata, Reach::Configured).open(&url(metadata), "x").await.expect_err("metadata");
    // A public name that turns out to stand for this machine.
    let name = format!("https://localhost:{port}/?key=secret");
    let door = client(&name, Reach::Public).open(&url(&name), "x").await.expect("a door");
    door.send(get(url(&name))).await.expect_err("an address of this machine");
    let expected = [
        "refused 192.0.2.1:9 egress_refused".to_owned(),
        format!("allowed 127.0.0.1:{port}"),
        "refused 192.0.2.1:9 egress_refused".to_owned(),
        "refused 169.254.169.254:443 egress_refused".to_owned(),
        format!("allowed localhost:{port}"),
        format!("refused localhost:{port} egress_refused"),
    ];
    assert_eq!(decisions(&folder), expected);
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_sent() {
    let server = Server::start(whole("200 OK", "", "")).await;
    let (_folder, ledger) = book();
    let destination = Destination::parse(&server.url("/"), Reach::Configured).expect("a destination");
    let client = Client::new(Purpose::Provider, destination, ledger.clone());
    ledger.shutdown();
    let error = client.open(&server.url("/"), "agent main").await.expect_err("the book is closed");
    assert!(matches!(error, FetchError::Unrecorded(_)), "{error:?}");
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_keeps_to_its_size_and_must_be_whole() {
    let server = Server::start(whole("200 OK", "", "123456")).await;
    let response = fetch(&server, get(server.url("/"))).await.expect("an answer");
    assert!(matches!(response.text(5).await, Err(FetchError::TooLarge { max: 5, .. })));
    let cut = Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".into());
    let server = Server::start(cut).await;
    let response = fetch(&server, get(server.url("/"))).await.expect("an answer");
    assert!(matches!(response.text(100).await, Err(FetchError::Interrupted { .. })));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let idle = Duration::from_millis(50);
    let server = Server::start(Reply::Hang("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".into())).await;
    let response = fetch(&server, Request { idle, ..get(server.url("/")) }).await.expect("an answer");
    let error = response.text(100).await.expect_err("no second half");
    assert!(matches!(error, FetchError::Timeout { what: "sending its answer", .. }), "{error:?}");
    let server = Server::start(Reply::Hang(String::new())).await;
    let error = fetch(&server, Request { idle, ..get(server.url("/")) }).await.expect_err("no answer");
    assert!(matches!(error, FetchError::Timeout { what: "answering", .. }), "{error:?}");
}

#[tokio::test]
async fn the_wait_that_a_server_asks_for_is_understood_and_bounded() {
    for (header, expected) in [
        ("retry-after: 7\r\n", Some(Duration::from_secs(7))),
        ("retry-after: 1e9\r\n", Some(Duration::from_secs(60))),
        ("retry-after: -1\r\n", None),
        ("retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", None),
        (
            "date: Wed, 21 Oct 2015 07:27:48 GMT\r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            Some(Duration::from_secs(12)),
        ),
        ("date: Wed, 21 Oct 2015 07:29:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", None),
        ("date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: soon\r\n", None),
        ("", None),
    ] {
        let server = Server::start(whole("429 Too Many Requests", header, "")).await;
        let response = fetch(&server, get(server.url("/"))).await.expect("an answer");
        assert_eq!((response.status, response.retry_after), (429, expected), "{header}");
    }
}

#[tokio::test]
async fn errors_name_the_place_and_no_secret() {
    let server = Server::start(Reply::Bytes("garbage\r\n\r\n".into())).await;
    let headers = vec![("x-key".to_owned(), "secret\nvalue".into())];
    let request = Request { headers, ..get(server.url("/?key=secret")) };
    let bad_header = fetch(&server, request).await.expect_err("a line break in a header");
    assert!(matches!(bad_header, FetchError::Header { .. }), "{bad_header:?}");
    let headers = vec![("x-key".to_owned(), "secret".into())];
    let request = Request { headers, ..get(server.url("/?key=secret")) };
    let garbage = fetch(&server, request).await.expect_err("not HTTP");
    assert!(matches!(garbage, FetchError::Interrupted { .. }), "{garbage:?}");
    let url = Url::parse("http://127.0.0.1:9/?key=secret").expect("a URL");
    let absent =
        fetch_as(url.as_str(), Reach::Configured, get(url.clone())).await.expect_err("nothing there");
    assert!(matches!(absent, FetchError::Connect { .. }), "{absent:?}");
    let url = Url::parse("http://name.invalid/?key=secret").expect("a URL");
    let unknown =
        fetch_as(url.as_str(), Reach::Configured, get(url.clone())).await.expect_err("no such name");
    assert!(matches!(unknown, FetchError::Resolve { .. }), "{unknown:?}");
    for error in [bad_header, garbage, absent, unknown] {
        assert!(!everything(&error).contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_apart() {
    let server = Server::start(Reply::Interrupt("HTTP/1.1 400 Bad Request\r\n\r\n".into())).await;
    let url = Url::parse(&format!("https://127.0.0.1:{}/", server.port)).expect("a URL");
    match fetch_as(url.as_str(), Reach::Configured, get(url.clone())).await {
        Err(FetchError::Tls { .. }) => {}
        Err(FetchError::Client { .. }) => {
            skip("a_server_that_does_not_speak_tls_is_told_apart", "this machine has no CA certificates");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_door_serves_many_requests_over_one_line_of_the_book() {
    let server = Server::start(whole("200 OK", "", "again")).await;
    let (_folder, ledger) = book();
    let destination = Destination::parse(&server.url("/"), Reach::Configured).expect("a destination");
    let client = Client::new(Purpose::Provider, destination, ledger.clone());
    let door = client.open(&server.url("/"), "agent main").await.expect("a door");
    let flushes = ledger.flushes();
    for _ in 0..3 {
        let response = door.send(get(server.url("/again"))).await.expect("an answer");
        assert_eq!(response.text(5).await.expect("the body"), "again");
    }
    assert_eq!((server.requests().len(), ledger.flushes()), (3, flushes));
}

#[tokio::test]
async fn a_path_with_a_secret_is_asked_for_and_never_told() {
    let path = SecretString::from("/bot7:canary-in-a-path/getMe");
    for (reply, is_answer) in [
        (whole("200 OK", "", ""), true),
        (Reply::Bytes("garbage".into()), false),
        (whole("302 Found", "location: /elsewhere\r\n", ""), false),
    ] {
        let server = Server::start(reply).await;
        let (folder, ledger) = book();
        let base = server.url("/");
        let destination = Destination::parse(&base, Reach::Configured).expect("a destination");
        let client = Client::new(Purpose::Provider, destination, ledger);
        let door = client.open(&base, "channel").await.expect("a door");
        let answer = door.send_at(&path, get(base)).await;
        assert_eq!(answer.is_ok(), is_answer, "{answer:?}");
        assert!(server.requests().concat().starts_with("GET /bot7:canary-in-a-path/getMe HTTP/1.1\r\n"));
        let told = format!(
            "{} {door:?} {:?}",
            answer.err().map_or_else(String::new, |e| everything(&e)),
            decisions(&folder)
        );
        assert!(!told.contains("canary"), "{told}");
    }
}

/// Opens a client that goes through a proxy of the environment, and sends one request.
async fn through(proxy: &str, no_proxy: &str, base: &str) -> (Vec<String>, Result<u16, FetchError>) {
    let (folder, ledger) = book();
    let url = Url::parse(base).expect("a URL");
    let destination = Destination::parse(&url, Reach::Configured).expect("a destination");
    let proxy = EnvironmentProxy::parse(&SecretString::from(proxy), no_proxy).expect("a proxy");
    let client = Client::new(Purpose::Provider, destination, ledger).through(Some(&proxy));
    let sent = match client.open(&url, "agent main").await {
        Ok(door) => door.send(get(url)).await.map(|response| response.status),
        Err(error) => Err(error),
    };
    (decisions(&folder), sent)
}

#[tokio::test]
async fn tls_goes_through_the_proxy_of_the_environment_and_the_book_says_so() {
    let server = Server::start(whole("403 Forbidden", "", "")).await;
    let proxy = format!("http://user:pass%77ord-8Zr3@127.0.0.1:{}", server.port);
    // A name that does not exist: only the proxy could have looked it up.
    let (told, sent) = through(&proxy, "", "https://models.example.invalid/v1").await;
    let error = sent.expect_err("the proxy refuses");
    let requests = server.requests();
    assert!(requests[0].starts_with("CONNECT models.example.invalid:443 HTTP/1.1\r\n"), "{requests:?}");
    let credentials = requests[0].to_lowercase();
    assert!(credentials.contains("proxy-authorization: basic dxnlcjpwyxnzd29yzc04wniz"), "{requests:?}");
    assert_eq!(told, [format!("allowed models.example.invalid:443 via 127.0.0.1:{}", server.port)]);
    for secret in ["word-8Zr3", "dXNlcjpwYXNzd29yZC04WnIz"] {
        assert!(!everything(&error).contains(secret), "{}", everything(&error));
    }
}

#[tokio::test]
async fn what_is_in_clear_on_this_machine_or_excepted_goes_past_the_proxy() {
    let proxy = Server::start(whole("403 Forbidden", "", "")).await;
    let url = format!("127.0.0.1:{}", proxy.port);
    let own = Server::start(whole("200 OK", "", "")).await;
    let (told, sent) = through(&url, "", own.url("/").as_str()).await;
    assert_eq!((sent.expect("an answer"), told), (200, vec![format!("allowed 127.0.0.1:{}", own.port)]));
    for (no_proxy, base) in [
        ("", "https://127.0.0.1:9/"),
        ("", "https://localhost:9/"),
        (".invalid", "https://models.example.invalid/"),
        ("10.0.0.0/8", "https://10.255.255.1:9/"),
    ] {
        let connecting = through(&url, no_proxy, base);
        let tried = tokio::time::timeout(Duration::from_secs(2), connecting).await;
        assert!(
            tried.is_err() || tried.is_ok_and(|(told, sent)| sent.is_err() && !told[0].contains("via")),
            "{base}"
        );
    }
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
}

#[tokio::test]
async fn a_proxy_in_clear_that_is_not_in_the_owners_network_is_not_told_the_credentials() {
    let (_, sent) =
        through("http://user:secret@203.0.114.1:3128", "", "https://models.example.invalid/").await;
    assert!(matches!(sent, Err(FetchError::Refused(_))), "{sent:?}");
}
