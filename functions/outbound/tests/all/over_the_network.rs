//! The network transport against a server on this machine: cuts, delays, redirects, long bodies.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use outbound::{
    BODY_BYTES_MAX, Client, Dice, Lost, NetworkSettings, Repeat, Request, Secrets, Transport,
};
use secrecy::SecretString;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};

type Calls = Arc<AtomicUsize>;

fn client() -> Client {
    let transport = Transport::network(&NetworkSettings::default()).unwrap();
    Client::new(transport, Secrets::new(), Dice::seeded(1))
}

async fn flaky(State(calls): State<Calls>) -> Response {
    match calls.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::BAD_GATEWAY.into_response(),
        1 => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response(),
        _ => "at last".into_response(),
    }
}

async fn serve() -> (String, Calls) {
    let calls = Calls::default();
    let router = Router::new()
        .route("/flaky", any(flaky))
        .route(
            "/moved",
            get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/echo")]) }),
        )
        .route("/long", get(|| async { vec![b'x'; BODY_BYTES_MAX + 1] }))
        .route("/full", get(|| async { vec![b'x'; BODY_BYTES_MAX] }))
        .route(
            "/echo",
            any(|headers: HeaderMap, body: String| async move {
                let word = |name: &str| {
                    headers
                        .get(name)
                        .map(|v| v.to_str().unwrap().to_owned())
                        .unwrap_or_default()
                };
                format!("{} {} {body}", word("user-agent"), word("authorization"))
            }),
        )
        .with_state(calls.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base, calls)
}

/// A server that reads each call, says `answer` and hangs up; counts the calls.
async fn serve_cut(answer: &'static [u8]) -> (String, Calls) {
    let calls = Calls::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let counted = calls.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut seen = [0_u8; 1024];
            if socket.read(&mut seen).await.unwrap_or(0) > 0 {
                counted.fetch_add(1, Ordering::SeqCst);
                let written = socket.write_all(answer).await;
                assert!(written.is_ok(), "{written:?}");
            }
        }
    });
    (base, calls)
}

#[tokio::test]
async fn headers_and_body_arrive() {
    let (base, _) = serve().await;
    let answer = client()
        .send(
            Request::post(&format!("{base}/echo"))
                .bearer(&SecretString::from("t0ken"))
                .form(&[("a", "1 2"), ("b", "&")]),
        )
        .await
        .unwrap();
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert_eq!(text, "slipway/0.1.0 Bearer t0ken a=1+2&b=%26");
}

#[tokio::test]
async fn idempotent_calls_are_repeated_and_others_are_not() {
    let (base, calls) = serve().await;
    let answer = client()
        .send(Request::get(&format!("{base}/flaky")))
        .await
        .unwrap();
    assert_eq!((answer.status(), calls.load(Ordering::SeqCst)), (200, 3));

    let (base, calls) = serve().await;
    let answer = client()
        .send(Request::post(&format!("{base}/flaky")))
        .await
        .unwrap();
    assert_eq!((answer.status(), calls.load(Ordering::SeqCst)), (502, 1));
    let answer = client()
        .send(Request::post(&format!("{base}/flaky")))
        .await
        .unwrap();
    assert_eq!(
        (answer.status(), calls.load(Ordering::SeqCst)),
        (200, 3),
        "429 is repeated"
    );
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (base, _) = serve().await;
    let answer = client()
        .send(Request::get(&format!("{base}/moved")))
        .await
        .unwrap();
    assert_eq!(
        (answer.status(), answer.header("location")),
        (302, Some("/echo"))
    );
}

#[tokio::test]
async fn bodies_are_capped() {
    let (base, _) = serve().await;
    let once = |path: &str| Request::get(&format!("{base}{path}")).repeat(Repeat::Never);
    let answer = client().send(once("/full")).await.unwrap();
    assert_eq!(answer.body().len(), BODY_BYTES_MAX);
    let failure = client().send(once("/long")).await.unwrap_err();
    assert_eq!(failure.lost(), Lost::Unknown);
    assert!(failure.to_string().contains("longer than"), "{failure}");
}

#[tokio::test]
async fn a_cut_after_sending_is_unknown_and_a_post_is_sent_once() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{\"a",
    ] {
        let (base, calls) = serve_cut(answer).await;
        let failure = client()
            .send(Request::post(&base).json(&1))
            .await
            .unwrap_err();
        assert_eq!(failure.lost(), Lost::Unknown, "{failure}");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
    let (base, calls) = serve_cut(b"").await;
    let request = Request::get(&base).deadline(Duration::from_secs(10));
    let failure = client().send(request).await.unwrap_err();
    assert_eq!(failure.lost(), Lost::Unknown);
    assert!(calls.load(Ordering::SeqCst) > 1, "a GET is tried again");
}

#[tokio::test]
async fn no_listener_is_refused() {
    // Bound and never listened on: nobody else can take the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}/x?secret=1", socket.local_addr().unwrap());
    let request = Request::post(&base).repeat(Repeat::Never);
    let failure = client().send(request).await.unwrap_err();
    assert_eq!(failure.lost(), Lost::Refused);
    let text = failure.to_string();
    assert!(
        text.starts_with("POST 127.0.0.1:") && text.contains("/x could not be sent"),
        "{text}"
    );
    assert!(!text.contains("secret=1"), "{text}");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let started = tokio::time::Instant::now();
    let request = Request::get(&base).deadline(Duration::from_millis(200));
    let failure = client().send(request).await.unwrap_err();
    assert_eq!(failure.lost(), Lost::Unknown);
    // Without a deadline the first try alone takes 10 s.
    let took = started.elapsed();
    assert!(took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn roots_must_be_certificates() {
    for pem in [
        &b"nothing"[..],
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let settings = NetworkSettings {
            roots_pem: Some(pem.to_vec()),
        };
        assert!(Transport::network(&settings).is_err());
    }
}
