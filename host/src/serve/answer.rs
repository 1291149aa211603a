//! Reading what is asked and answering it.

use axum::{
    body::{Body, Bytes, HttpBody as _, to_bytes},
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::{future::poll_fn, pin::Pin, time::Duration};
use tokio::time::timeout;

/// Longest that a request's body may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// What is read of a refused body, bytes.
const MAX_DRAIN: usize = 256 << 20;

/// Why there is no answer; JSON for the page, `{"error": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    /// A refusal for a reason that a person can read.
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.reason }).to_string();
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// `value` as JSON.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    let failed =
        |error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer cannot be written: {error}"));
    let body = serde_json::to_vec(value).map_err(failed)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The body of a request, `most` bytes at most.
///
/// # Errors
/// If it is larger, does not say its length, takes too long, or ends early.
pub async fn body(request: Request, most: usize) -> Result<Bytes, Refusal> {
    let expects = request.headers().contains_key(header::EXPECT);
    let body = request.into_body();
    let Some(length) = body.size_hint().exact() else {
        return Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "the body must come with a Content-Length"));
    };
    if length > most as u64 {
        // An other end that waits to be told to go on is not.
        if !expects {
            tokio::spawn(timeout(DEADLINE, drain(body)));
        }
        let reason = format!("the body has {length} bytes; at most {most} are taken here");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    match timeout(DEADLINE, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}"))),
        Err(_) => {
            let reason = format!("the request took over {} s", DEADLINE.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, reason))
        }
    }
}

/// Reads what nobody wants, so that the other end reads the answer before it finds the connection closed.
async fn drain(mut body: Body) {
    let mut left = MAX_DRAIN;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// Answers on a thread that may wait and compute.
///
/// # Errors
/// Those of `work`; also if it panics.
pub async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let failed = |error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer failed: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
