//! As much of HTTP/1.1 as one page on the loopback address needs. `httparse` reads the head of a request; a body comes
//! with its length, and everything has a bound.
//!
//! Design decision: no server crate. `tiny_http` was last released in 2022 and bounds neither the head nor the time of a
//! request; the asynchronous servers bring fifty crates for a page that one person looks at.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// From the first byte of a request to its last.
const DEADLINE: Duration = Duration::from_secs(30);
/// What is read of a refused body, so that the other end reads the answer before it finds the connection closed.
const MAX_DRAIN: u64 = 256 << 20;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// Names in lower case, in their order.
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    keep_alive: bool,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The other end has gone, or is silent.
    #[error("the connection ended")]
    Gone,
    /// It is none that can be answered otherwise than so.
    #[error("{reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// For a person.
        reason: String,
    },
}

impl HttpError {
    fn refused(status: u16, reason: impl Into<String>) -> Self {
        Self::Refused { status, reason: reason.into() }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Response {
    /// 200 with a body.
    #[must_use]
    pub fn ok(kind: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, kind, body, headers: Vec::new() }
    }

    /// 200 with JSON.
    #[must_use]
    pub fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::ok("application/json", body),
            Err(error) => Self::error(500, &format!("the answer cannot be written: {error}")),
        }
    }

    /// An error as JSON, `{"error": "..."}`.
    #[must_use]
    pub fn error(status: u16, reason: &str) -> Self {
        let body = serde_json::json!({ "error": reason }).to_string().into_bytes();
        Self { status, ..Self::ok("application/json", body) }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Request {
    /// The value of a header; `None` if it is missing. `name` in lower case.
    ///
    /// # Errors
    /// If it is there more than once.
    pub fn header(&self, name: &str) -> Result<Option<&str>, HttpError> {
        single(&self.headers, name)
    }
}

fn single<'a>(headers: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, HttpError> {
    let mut values = headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(HttpError::refused(400, format!("the header {name} is there twice"))),
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// What was read and not yet used.
    buffer: Vec<u8>,
}

impl<S: Read + Write> Connection<S> {
    /// A connection that nothing was read from.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The next request. `max_body`: the bound for the body of a request to this path.
    ///
    /// # Errors
    /// If there is none, or no good one; after that the connection is of no further use.
    pub fn request(&mut self, max_body: impl Fn(&str) -> usize) -> Result<Request, HttpError> {
        let mut start = None;
        let (mut request, length) = loop {
            if let Some((request, head)) = parse(&self.buffer)? {
                let length = body_length(&request)?;
                self.buffer.drain(..head);
                break (request, length);
            }
            if self.buffer.len() >= MAX_HEAD {
                return Err(HttpError::refused(431, format!("the head of the request is over {MAX_HEAD} bytes")));
            }
            self.more(&mut start)?;
        };
        let bound = max_body(&request.path);
        if length > bound {
            let reason = format!("the body has {length} bytes; at most {bound} are taken here");
            return Err(HttpError::refused(413, reason));
        }
        if request.header("expect")?.is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| HttpError::Gone)?;
        }
        while self.buffer.len() < length {
            self.more(&mut start)?;
        }
        request.body = self.buffer.drain(..length).collect();
        Ok(request)
    }

    /// Reads once. `start`: when the request's first byte came.
    fn more(&mut self, start: &mut Option<Instant>) -> Result<(), HttpError> {
        let mut part = [0; 16 << 10];
        let count = loop {
            match self.stream.read(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) | Ok(0) => return Err(HttpError::Gone),
                Ok(count) => break count,
            }
        };
        self.buffer.extend_from_slice(&part[..count]);
        if start.get_or_insert_with(Instant::now).elapsed() > DEADLINE {
            return Err(HttpError::refused(408, format!("the request took over {} s", DEADLINE.as_secs())));
        }
        Ok(())
    }

    /// Answers `request`. Returns whether another may follow.
    ///
    /// # Errors
    /// If the other end has gone.
    pub fn answer(&mut self, request: &Request, response: &Response) -> io::Result<bool> {
        self.send(response, request.method == "HEAD", request.keep_alive)?;
        Ok(request.keep_alive)
    }

    /// Answers what was no good request; the connection ends.
    ///
    /// # Errors
    /// If the other end has gone.
    pub fn refuse(&mut self, response: &Response) -> io::Result<()> {
        self.send(response, false, false)?;
        io::copy(&mut (&mut self.stream).take(MAX_DRAIN), &mut io::sink())?;
        Ok(())
    }

    fn send(&mut self, response: &Response, head_only: bool, keep_alive: bool) -> io::Result<()> {
        let Response { status, kind, body, headers } = response;
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: {connection}\r\n",
            phrase(*status),
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = (head + "\r\n").into_bytes();
        if !head_only {
            bytes.extend_from_slice(body);
        }
        self.stream.write_all(&bytes)?;
        self.stream.flush()
    }
}

/// The request at the front of `bytes`, without its body, and the length of its head; `None` if more must be read.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpError::refused(431, format!("over {MAX_HEADERS} headers")));
        }
        Err(error) => return Err(HttpError::refused(400, format!("this is no HTTP request: {error}"))),
    };
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    if !target.starts_with('/') {
        return Err(HttpError::refused(400, "the address must be a path"));
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let text = |header: &httparse::Header<'_>| match std::str::from_utf8(header.value) {
        Ok(value) => Ok((header.name.to_ascii_lowercase(), value.trim().to_owned())),
        Err(_) => Err(HttpError::refused(400, format!("the header {} is no text", header.name))),
    };
    let headers = head.headers.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let asked = single(&headers, "connection")?.unwrap_or_default().to_ascii_lowercase();
    let keep_alive = if head.version == Some(0) { asked == "keep-alive" } else { asked != "close" };
    let request = Request { method: method.into(), path: path.into(), headers, body: Vec::new(), keep_alive };
    Ok(Some((request, length)))
}

fn body_length(request: &Request) -> Result<usize, HttpError> {
    if request.header("transfer-encoding")?.is_some() {
        return Err(HttpError::refused(411, "the body must come with a Content-Length"));
    }
    let Some(text) = request.header("content-length")? else { return Ok(0) };
    // `parse` alone would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(length) if digits => Ok(length),
        _ => Err(HttpError::refused(400, "the Content-Length is no number")),
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives what is to be read in pieces, and keeps what was written.
    struct Ends {
        input: Vec<u8>,
        piece: usize,
        output: Vec<u8>,
    }

    impl Read for Ends {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.piece.min(self.input.len()).min(out.len());
            out[..count].copy_from_slice(&self.input[..count]);
            self.input.drain(..count);
            Ok(count)
        }
    }

    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.output.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn connection(input: &[u8], piece: usize) -> Connection<Ends> {
        Connection::new(Ends { input: input.into(), piece, output: Vec::new() })
    }

    fn refusal(input: &str) -> u16 {
        match connection(input.as_bytes(), 1000).request(|_| 100) {
            Err(HttpError::Refused { status, .. }) => status,
            other => panic!("{input:?} gave {other:?}"),
        }
    }

    #[test]
    fn requests_follow_each_other_in_pieces_of_any_length() {
        let text = "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n\
                    abcGET /d HTTP/1.1\r\nCONNECTION: Close\r\n\r\nHEAD /e HTTP/1.0\r\n\r\n";
        for piece in 1..text.len() {
            let mut ends = connection(text.as_bytes(), piece);
            let request = ends.request(|path| path.len() + 1).unwrap();
            assert_eq!((&*request.method, &*request.path, &request.body[..]), ("POST", "/a", &b"abc"[..]));
            assert_eq!(request.header("host").unwrap(), Some("x"));
            assert!(ends.answer(&request, &Response::ok("text/plain", b"hi".to_vec())).unwrap());
            let written = String::from_utf8(std::mem::take(&mut ends.stream.output)).unwrap();
            let (first, second) = written.split_once("\r\n\r\n").unwrap();
            assert_eq!(first, "HTTP/1.1 100 Continue");
            assert!(
                second.starts_with("HTTP/1.1 200 OK\r\n")
                    && second.ends_with("Length: 2\r\nConnection: keep-alive\r\n\r\nhi")
            );
            let request = ends.request(|_| 0).unwrap();
            assert_eq!(request.path, "/d");
            assert!(!ends.answer(&request, &Response::error(404, "no \"d\"")).unwrap());
            assert!(ends.stream.output.ends_with(br#"{"error":"no \"d\""}"#));
            ends.stream.output.clear();
            let request = ends.request(|_| 0).unwrap();
            assert!(!ends.answer(&request, &Response::ok("text/plain", b"hi".to_vec())).unwrap(), "HTTP/1.0 closes");
            assert!(ends.stream.output.ends_with(b"\r\n\r\n"), "an answer to HEAD has no body");
            assert!(matches!(ends.request(|_| 0), Err(HttpError::Gone)));
        }
    }

    #[test]
    fn bad_requests_are_refused_with_their_status() {
        assert_eq!(refusal("nonsense\r\n\r\n"), 400);
        assert_eq!(refusal("GET http://other/ HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(refusal("GET / HTTP/1.1\r\nA: \u{1}\r\n\r\n"), 400);
        for length in ["+1", "-1", "", "1 1", "99999999999999999999"] {
            assert_eq!(refusal(&format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n")), 400, "{length}");
        }
        assert_eq!(refusal("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
        assert_eq!(refusal("POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n"), 413);
        assert_eq!(refusal("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 411);
        assert_eq!(refusal(&format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65))), 431);
        assert_eq!(refusal(&format!("GET /{}", "a".repeat(MAX_HEAD))), 431);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(start in 0..40_usize, bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            let mut text = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"[..start.min(38)].to_vec();
            text.extend(bytes);
            let mut ends = connection(&text, piece);
            while let Ok(request) = ends.request(|_| 64) {
                prop_assert!(request.body.len() <= 64 && request.path.starts_with('/'));
            }
        }
    }
}
