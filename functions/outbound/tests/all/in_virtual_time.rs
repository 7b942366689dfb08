//! The client over an in-process service, with the clock under control.

use bytes::Bytes;
use outbound::{Client, DEADLINE_MAX, Dice, Lost, NotSent, Request, Secrets, Transport};
use secrecy::SecretString;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tower::service_fn;

fn answer(status: u16, body: &str) -> http::Response<Bytes> {
    http::Response::builder()
        .status(status)
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

fn client(transport: Transport, secrets: &Secrets) -> Client {
    Client::new(transport, secrets.clone(), Dice::seeded(3))
}

#[tokio::test(start_paused = true)]
async fn a_dead_service_is_given_up_inside_the_deadline() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let transport = Transport::service(service_fn(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Err::<http::Response<Bytes>, _>(NotSent) }
    }));
    let started = Instant::now();
    let failure = client(transport, &Secrets::new())
        .send(Request::post("http://x/"))
        .await;
    assert_eq!(failure.unwrap_err().lost(), Lost::Refused);
    assert!(calls.load(Ordering::SeqCst) > 3);
    assert!(started.elapsed() <= DEADLINE_MAX, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_is_tried_again_and_never_past_the_deadline() {
    let transport = Transport::service(service_fn(|_| async {
        sleep(Duration::from_hours(1)).await;
        Ok::<_, Infallible>(answer(200, ""))
    }));
    let started = Instant::now();
    let failure = client(transport, &Secrets::new())
        .send(Request::get("http://x/"))
        .await;
    assert_eq!(failure.unwrap_err().lost(), Lost::Unknown);
    assert!(started.elapsed() <= DEADLINE_MAX, "{:?}", started.elapsed());
    assert!(
        started.elapsed() >= Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_when_it_fits() {
    for (seconds, tries) in [(7, 2), (3600, 1)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let transport = Transport::service(service_fn(move |_| {
            let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let mut busy = answer(429, "");
                busy.headers_mut().insert("retry-after", seconds.into());
                Ok::<_, Infallible>(if first { busy } else { answer(200, "") })
            }
        }));
        let started = Instant::now();
        client(transport, &Secrets::new())
            .send(Request::post("http://x/"))
            .await
            .unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), tries);
        assert!(tries == 1 || started.elapsed() >= Duration::from_secs(7));
    }
}

#[tokio::test]
async fn complaints_and_failures_hold_no_secret() {
    let secrets = Secrets::new();
    let token = "abcdefghijklmnopqrstuvwxyz";
    secrets.add(&SecretString::from(token));
    let quoting = Transport::service(service_fn(|_| async {
        Ok::<_, Infallible>(answer(403, "limit for token 'abcdefghijkl' reached\nsorry"))
    }));
    let got = client(quoting, &secrets)
        .send(Request::get("http://x/y?z=1"))
        .await
        .unwrap();
    let text = std::str::from_utf8(got.body()).unwrap();
    assert_eq!(
        got.complaint(text).to_string(),
        "GET x/y answered 403: limit for token '[redacted]' reached sorry"
    );
    let odd = got.json::<u32>().unwrap_err().to_string();
    assert!(
        odd.contains("not as expected") && !odd.contains("abcdefgh"),
        "{odd}"
    );

    let breaking = Transport::service(service_fn(|_| async {
        Err::<http::Response<Bytes>, _>("broke with abcdefghijklmnopqrstuvwxyz inside")
    }));
    let request = Request::post("http://x/").bearer(&SecretString::from(token));
    let failure = client(breaking, &secrets).send(request).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "POST x/ got no answer: broke with [redacted] inside"
    );
}
