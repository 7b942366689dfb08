//! Runs a function behind Lambda's Runtime API: logs, settings, routes, JSON for every error.
//! It knows nothing of what the routes do.

use crate::{ApiError, Reader, SettingsError, logs};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Method, StatusCode, Uri},
};
use std::{error::Error, process::ExitCode};

/// Lambda sets these; its runtime client panics without them.
const LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

/// Why a function ended. It ends only by an error; Lambda freezes or kills it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// Any other reason.
    pub fn other(reason: impl std::fmt::Display) -> Self {
        Self::Other(reason.to_string())
    }
}

impl From<Box<dyn Error + Send + Sync>> for StartError {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::other(error)
    }
}

/// Runs a function's `main`: starts the logs, hands the environment to `run`, which has to finish
/// the reader before anything else, and logs each mistake on a line of its own.
pub async fn main<F>(run: impl FnOnce(Reader) -> F) -> ExitCode
where
    F: Future<Output = Result<(), StartError>>,
{
    let mut reader = Reader::environment();
    logs::start(
        &reader
            .optional("RUST_LOG")
            .unwrap_or_else(|| "info".to_owned()),
    );
    for name in LAMBDA {
        // What is missing is told together with the mistakes that `run` finds.
        drop(reader.required(name));
    }
    match run(reader).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                tracing::error!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Serves HTTP events with `router` until Lambda ends the process.
///
/// # Errors
/// When the Runtime API goes away.
pub async fn serve(router: Router) -> Result<(), StartError> {
    Ok(lambda_http::run(router).await?)
}

/// `routes`, with a JSON answer to paths and methods it does not have.
pub fn router(routes: Router) -> Router {
    routes
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
}

async fn no_path(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

/// Reads a whole body of at most `limit` bytes. `lambda_http` has decoded base64 by then.
///
/// # Errors
/// 413 when it is longer; 400 when it ends early.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    to_bytes(body, limit).await.map_err(|error| {
        let too_long = error
            .source()
            .is_some_and(<dyn Error>::is::<http_body_util::LengthLimitError>);
        if too_long {
            ApiError::too_large(limit)
        } else {
            ApiError::malformed("the body was cut")
        }
    })
}
