//! A function's pool, driven with real processes: this test binary starts itself once more as
//! a bootstrap that speaks the Runtime API over a plain socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::clock::Clock;
use crate::function::{Function, FunctionConfig, InvokeError};
use crate::nursery::Nursery;
use crate::process::{Launcher, Program, Value};
use crate::runtime_api::FunctionError;
use crate::tap::{KillPoint, Side};
use crate::taps::Taps;

const SELF: &str = "function_tests::an_event_is_answered_by_a_process_that_stays";

pub(crate) struct World {
    pub(crate) function: Function,
    launcher: Arc<Launcher>,
    dir: tempfile::TempDir,
}

pub(crate) fn world(concurrency_max: usize, timeout: Duration, taps: Option<Taps>) -> World {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let nursery = Nursery::new(&state).unwrap();
    let launcher = Arc::new(Launcher::new(nursery, dir.path().to_path_buf(), taps));
    let program = Program {
        name: "echo".to_owned(),
        path: std::env::current_exe().unwrap(),
        args: ["--exact", SELF, "--nocapture"].map(str::to_owned).to_vec(),
        env: vec![("DEVSTACK_TEST_BOOTSTRAP".to_owned(), Value::plain("1"))],
    };
    let config = FunctionConfig {
        program,
        concurrency_max,
        timeout,
    };
    let function = Function::new(config, Arc::clone(&launcher), Clock::system());
    World {
        function,
        launcher,
        dir,
    }
}

async fn invoke(function: &Function, event: Json) -> Result<Json, InvokeError> {
    let answer = function.invoke(Bytes::from(event.to_string())).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// One request on a kept connection; gives the request id header and the body.
fn ask(stream: &mut BufReader<TcpStream>, head: &str, body: &str) -> (String, String) {
    let length = body.len();
    let request = format!("{head} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("lambda-runtime-aws-request-id: ") {
            id = value.trim().to_owned();
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (id, String::from_utf8(body).unwrap())
}

/// Obeys the events: echo, fail, die, hang.
fn bootstrap() {
    let api = std::env::var_os("AWS_LAMBDA_RUNTIME_API")
        .unwrap()
        .into_string()
        .unwrap();
    let stream = TcpStream::connect(api).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    let prefix = "/2018-06-01/runtime/invocation";
    for handled in 0_u32.. {
        let (id, event) = ask(&mut stream, &format!("GET {prefix}/next"), "");
        let event: Json = serde_json::from_str(&event).unwrap();
        // Through the front, the order is the request's body.
        let event = event["body"]
            .as_str()
            .map_or(event.clone(), |body| serde_json::from_str(body).unwrap());
        match event["do"].as_str().unwrap() {
            "echo" => {
                let answer = json!({ "pid": std::process::id(), "handled": handled });
                ask(
                    &mut stream,
                    &format!("POST {prefix}/{id}/response"),
                    &answer.to_string(),
                );
            }
            "fail" => {
                let error = json!({ "errorType": "Odd", "errorMessage": "as asked" });
                ask(
                    &mut stream,
                    &format!("POST {prefix}/{id}/error"),
                    &error.to_string(),
                );
            }
            "die" => panic!("last words"),
            "hang" => loop {
                std::thread::park();
            },
            other => panic!("what is {other}?"),
        }
    }
}

#[tokio::test]
async fn an_event_is_answered_by_a_process_that_stays() {
    if std::env::var_os("DEVSTACK_TEST_BOOTSTRAP").is_some() {
        return bootstrap();
    }
    let world = world(4, Duration::from_secs(20), None);
    let one = invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
    let two = invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
    assert_eq!((&one["pid"], &one["handled"]), (&two["pid"], &json!(0)));
    assert_eq!(two["handled"], 1);
    assert_eq!(world.function.starts(), 1);
    world.function.recycle();
    let three = invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
    assert_eq!(three["handled"], 0);
}

#[tokio::test]
async fn an_error_is_told_and_the_process_is_kept() {
    let world = world(4, Duration::from_secs(20), None);
    let error = invoke(&world.function, json!({ "do": "fail" }))
        .await
        .unwrap_err();
    let (error_type, message) = ("Odd".to_owned(), "as asked".to_owned());
    assert_eq!(
        error,
        InvokeError::Function(FunctionError {
            error_type,
            message
        })
    );
    let answer = invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
    assert_eq!(answer["handled"], 1);
}

#[tokio::test]
async fn a_death_is_told_with_its_last_words_and_replaced() {
    let world = world(1, Duration::from_secs(20), None);
    let error = invoke(&world.function, json!({ "do": "die" }))
        .await
        .unwrap_err();
    assert!(matches!(error, InvokeError::Died { .. }), "{error:?}");
    // The end of a process is told even while its words are still on their way.
    let path = world.dir.path().join("0000-echo.log");
    let log = || std::fs::read_to_string(&path).unwrap_or_default();
    let written = until(|| log().contains("last words")).await;
    assert!(written, "{}", log());
    invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
    assert_eq!(world.function.starts(), 2);
}

#[tokio::test]
async fn a_hanging_process_is_killed() {
    // The next process has to answer within it, on a busy machine.
    let limit = Duration::from_secs(10);
    let world = world(1, limit, None);
    let hangs = invoke(&world.function, json!({ "do": "hang" }));
    let (hung, was_at_work) = tokio::join!(hangs, until(|| world.function.is_at_work()));
    assert_eq!(hung.unwrap_err(), InvokeError::TimedOut(limit));
    assert!(was_at_work && !world.function.is_at_work());
    invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
}

#[tokio::test]
async fn over_the_limit_events_wait_for_a_process() {
    let world = world(2, Duration::from_secs(20), None);
    let all = (0..20).map(|_| invoke(&world.function, json!({ "do": "echo" })));
    for answer in futures_util::future::join_all(all).await {
        answer.unwrap();
    }
    assert!(
        world.function.starts() <= 2,
        "{} processes",
        world.function.starts()
    );
}

#[tokio::test]
async fn a_process_that_cannot_start_is_a_clear_error() {
    let world = world(1, Duration::from_secs(1), None);
    let program = Program {
        name: "none".to_owned(),
        path: "/nonexistent/bootstrap".into(),
        args: Vec::new(),
        env: Vec::new(),
    };
    let config = FunctionConfig {
        program,
        concurrency_max: 1,
        timeout: Duration::from_secs(1),
    };
    let function = Function::new(config, Arc::clone(&world.launcher), Clock::system());
    let error = invoke(&function, json!({})).await.unwrap_err();
    assert_eq!(
        error,
        InvokeError::Start(
            "cannot start /nonexistent/bootstrap: No such file or directory (os error 2)".into()
        )
    );
}

#[tokio::test]
async fn a_process_planned_to_die_at_its_start_does_and_the_next_lives() {
    let taps = Taps::new();
    taps.kill(
        "echo",
        1,
        KillPoint {
            turn: 0,
            side: Side::Before,
        },
    );
    let world = world(1, Duration::from_secs(20), Some(taps.clone()));
    let error = invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap_err();
    assert!(matches!(error, InvokeError::Died { .. }), "{error:?}");
    invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
    let killed: Vec<_> = taps.record().iter().map(|process| process.killed).collect();
    assert_eq!(killed, [true, false]);
}

#[tokio::test]
async fn no_process_outlives_its_nursery() {
    let world = world(1, Duration::from_secs(20), None);
    let answer = invoke(&world.function, json!({ "do": "echo" }))
        .await
        .unwrap();
    let pid = answer["pid"].to_string();
    // The function is kept, for it would kill its processes itself.
    world.launcher.close();
    // The kill is sent, and a process still has to be given time to die of it.
    assert!(until(|| !lives(&pid)).await, "{pid} lives");
    assert!(!world.dir.path().join("state").exists());
}

/// Whether this comes to be so, on a busy machine.
async fn until(is_so: impl Fn() -> bool) -> bool {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let comes = async {
        while !is_so() {
            looks.tick().await;
        }
    };
    let comes = tokio::time::timeout(Duration::from_secs(20), comes);
    comes.await.is_ok()
}

/// Whether a process runs; a dead one that nobody has waited for does not.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
