//! A folder of bare repositories over HTTP, as GitHub serves them: whoever wants may read, and
//! one token may push. The work is done by Git's own `http-backend`.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::stage::SYSTEM_PATH;

struct Door {
    repositories: PathBuf,
    /// The only `Authorization` that may push.
    pusher: String,
}

/// Serves the folder as long as the test's runtime lives; gives the address.
pub(crate) async fn serve(repositories: PathBuf, token: &str) -> String {
    let pusher = STANDARD.encode(format!("x-access-token:{token}"));
    let door = Arc::new(Door {
        repositories,
        pusher: format!("Basic {pusher}"),
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(door);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn answer(
    State(door): State<Arc<Door>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = uri.query().unwrap_or_default();
    let pushes = uri.path().ends_with("/git-receive-pack") || query.contains("git-receive-pack");
    if pushes {
        let Some(shown) = headers.get(header::AUTHORIZATION) else {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"GitHub\"")];
            return (StatusCode::UNAUTHORIZED, ask).into_response();
        };
        if *shown != door.pusher {
            return (StatusCode::FORBIDDEN, "Write access not granted.").into_response();
        }
    }
    let of = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let mut backend = Command::new("git");
    backend
        .arg("http-backend")
        .env_clear()
        .env("PATH", SYSTEM_PATH)
        .env("GIT_PROJECT_ROOT", &door.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", of(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", of(header::CONTENT_ENCODING));
    if pushes {
        backend.env("REMOTE_USER", "pusher");
    }
    cgi(backend, &body).await
}

/// Gives a body to a CGI program, and its answer as a response.
async fn cgi(mut program: Command, body: &[u8]) -> Response {
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = program.spawn().unwrap();
    let mut input = program.stdin.take().expect("it is piped");
    input.write_all(body).await.unwrap();
    drop(input);
    let output = program.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, content) = output.split_at(end.expect("headers end") + 4);
    let mut response = content.to_vec().into_response();
    for line in String::from_utf8_lossy(head).lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => {
                let code = status.split(' ').next().unwrap_or_default();
                *response.status_mut() = code.parse().unwrap();
            }
            Some(("Content-Type", kind)) => {
                let kind = kind.parse().unwrap();
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            Some(_) | None => {}
        }
    }
    response
}
