//! The pages that customers and the operator look at.
//! It must not know how a status comes about.

mod customer;
mod moment;
mod money;
mod operator;
mod origin;
mod reply;
mod steps;
mod story;
mod wait;
mod welcome;
mod words;

use crate::handler::Deps;
use axum::{
    Router,
    routing::{get, post},
};
use std::sync::Arc;

/// The pages' paths.
pub(crate) fn routes() -> Router<Arc<Deps>> {
    Router::new()
        .route("/", get(operator::operator))
        .route("/welcome", get(welcome::welcome))
        .route("/s/{link}", get(customer::show))
        .route("/s/{link}/now", get(customer::now))
        .route("/s/{link}/{command}", post(customer::command))
}
