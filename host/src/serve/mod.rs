//! A server for pages of this program on the loopback address: `axum`'s routes over `hyper`'s HTTP/1.1.
//!
//! A page's routes are an [`axum::Router`]; [`Server::run`] puts [`guard`] around them, which keeps other sites'
//! pages out, and bounds everything a connection may take. `hyper` is driven here rather than by `axum::serve`, which
//! bounds neither the number of connections nor the time of a request's head. One thread waits for all connections;
//! what computes does so on threads of its own ([`answer::compute`]).

pub mod answer;
mod guard;

use answer::Refusal;
use axum::{Router, http::StatusCode};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore},
};

/// Connections at once; a browser opens six.
const MAX_CONNECTIONS: usize = 32;
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Silence after which a connection ends, and the longest that a request's head may take.
const IDLE: Duration = Duration::from_secs(60);
/// The same for connections that are too many.
const IDLE_IF_BUSY: Duration = Duration::from_secs(2);

/// A server on 127.0.0.1.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    port: u16,
    stop: Stop,
}

/// Ends a server from any thread.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Notify>);

impl Stop {
    /// Ends it.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

impl Server {
    /// Takes `port` of the loopback address, or a free one for 0.
    ///
    /// # Errors
    /// If the port is in use, or not for this user.
    pub fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, stop: Stop::default() })
    }

    /// Where the page is.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Ends the server.
    #[must_use]
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves `pages` until it is stopped; connections and computations that are open then are abandoned.
    ///
    /// # Errors
    /// If the system refuses what waiting for connections takes.
    pub fn run(self, pages: Router) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_CONNECTIONS)
            .thread_name("answer")
            .build()?;
        let (listener, pages) = (self.listener, guard::guarded(pages, self.port));
        runtime.block_on(async {
            tokio::spawn(accept(tokio::net::TcpListener::from_std(listener)?, pages));
            self.stop.0.notified().await;
            io::Result::Ok(())
        })?;
        runtime.shutdown_background();
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener, pages: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let busy = guard::safe(Router::new().fallback(async || {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections at once: close some tabs")
    }));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: other connections will end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (pages, busy, place) = (pages.clone(), busy.clone(), places.clone().try_acquire_owned());
        tokio::spawn(async move {
            match &place {
                Ok(_) => serve(stream, pages, IDLE, true).await,
                Err(_) => serve(stream, busy, IDLE_IF_BUSY, false).await,
            }
            drop(place);
        });
    }
}

/// Serves one connection. An end that has gone, or is silent, needs no answer.
async fn serve(stream: TcpStream, pages: Router, idle: Duration, keep_alive: bool) {
    let _ = stream.set_nodelay(true);
    // An end that does not read what it asked for.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, IDLE.as_millis() as u32);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .keep_alive(keep_alive)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{extract::Request, routing::any};
    use std::{
        io::{Read as _, Write as _},
        net::{Shutdown, TcpStream},
        thread::{self, JoinHandle},
    };

    /// Echoes path and body, of 8 bytes at most; runs until `stop`.
    fn echo() -> (u16, Stop, JoinHandle<io::Result<()>>) {
        let answer = async |request: Request| {
            let path = request.uri().path().to_owned();
            let body = answer::body(request, 8).await?;
            Ok::<_, Refusal>([path.as_bytes(), b" ", &body].concat())
        };
        let server = Server::bind(0).unwrap();
        let (port, stop) = (server.port, server.stopper());
        assert!(Server::bind(port).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse));
        let pages = Router::new().route("/", any(answer)).route("/x", any(answer));
        (port, stop, thread::spawn(move || server.run(pages)))
    }

    fn ask(port: u16, text: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn status(answer: &str) -> u16 {
        answer.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap()
    }

    #[test]
    fn it_serves_its_own_page_alone_until_it_is_stopped() {
        let (port, stop, running) = echo();
        let get = |path: &str, headers: &str| {
            ask(port, &format!("GET {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"))
        };
        let host = format!("Host: 127.0.0.1:{port}");
        let answer = get("/x", &host);
        assert!(status(&answer) == 200 && answer.ends_with("\r\n\r\n/x "), "{answer}");
        assert!(answer.contains("frame-ancestors 'none'") && answer.contains("no-store"), "{answer}");
        for good in [
            format!("Host: LOCALHOST:{port}\r\nOrigin: http://localhost:{port}"),
            format!("{host}\r\nSec-Fetch-Site: same-origin"),
            format!("{host}\r\nSec-Fetch-Site: none"),
        ] {
            assert_eq!(status(&get("/x", &good)), 200, "{good}");
        }
        assert_eq!(status(&get("/", &format!("{host}\r\nSec-Fetch-Site: cross-site"))), 200);
        for bad in [
            String::from("A: b"),
            format!("Host: rebound.example:{port}"),
            format!("Host: 127.0.0.1.example:{port}"),
            format!("Host: 127.0.0.1:{}", port ^ 1),
            String::from("Host: 127.0.0.1"),
            format!("{host}\r\nOrigin: http://evil.example"),
            format!("{host}\r\nOrigin: https://127.0.0.1:{port}"),
            format!("{host}\r\nOrigin: null"),
            format!("{host}\r\nSec-Fetch-Site: cross-site"),
            format!("{host}\r\nSec-Fetch-Site: same-site"),
        ] {
            let answer = get("/x", &bad);
            assert!(status(&answer) == 403 && answer.contains("{\"error\":"), "{bad}: {answer}");
            assert_eq!(status(&get("/y", &bad)), 403, "{bad}, where there is nothing");
        }
        assert_eq!(status(&get("/x", &format!("{host}\r\n{host}"))), 400);
        assert_eq!(status(&get("http://other/x", &host)), 400);
        let answer = get("/y", &host);
        assert!(status(&answer) == 404 && answer.contains("there is nothing at /y"), "{answer}");
        stop.stop();
        running.join().unwrap().unwrap();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }

    #[test]
    fn requests_follow_each_other_and_large_or_bad_ones_are_refused() {
        let (port, stop, running) = echo();
        let host = format!("Host: 127.0.0.1:{port}");
        let post =
            |headers: &str, body: &str| ask(port, &format!("POST /x HTTP/1.1\r\n{host}\r\n{headers}\r\n\r\n{body}"));
        let answers = post(
            "Content-Length: 8\r\nExpect: 100-continue",
            &format!("12345678HEAD /x HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n"),
        );
        let parts: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
        assert!(parts[0].starts_with("100 ") && parts[1].ends_with("\r\n\r\n/x 12345678"), "{answers}");
        assert!(parts[2].starts_with("200 ") && parts[2].ends_with("\r\n\r\n"), "{answers}");
        // Also one that is larger than what lies between the two ends.
        for length in [9, 16 << 20] {
            let answer = post(&format!("Content-Length: {length}\r\nConnection: close"), &"1".repeat(length));
            assert!(status(&answer) == 413 && answer.contains("at most 8 are taken"), "{answer}");
        }
        for length in ["+1", "-1", "1 1", "99999999999999999999", "1\r\nContent-Length: 2"] {
            assert_eq!(status(&post(&format!("Content-Length: {length}"), "")), 400, "{length}");
        }
        assert_eq!(status(&post("Transfer-Encoding: chunked\r\nConnection: close", "0\r\n\r\n")), 411);
        assert_eq!(status(&post(&"A: b\r\n".repeat(65), "")), 431);
        assert_eq!(status(&ask(port, &format!("GET /{}", "a".repeat(MAX_HEAD)))), 431);
        assert_eq!(status(&ask(port, "nonsense\r\n\r\n")), 400);
        // One that goes in the middle of its body.
        let mut gone = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        gone.write_all(format!("POST /x HTTP/1.1\r\n{host}\r\nContent-Length: 8\r\n\r\n123").as_bytes()).unwrap();
        gone.shutdown(Shutdown::Both).unwrap();
        assert_eq!(status(&post("Content-Length: 1\r\nConnection: close", "1")), 200);
        stop.stop();
        running.join().unwrap().unwrap();
    }

    #[test]
    fn too_many_connections_are_told_so_and_room_comes_back() {
        let (port, stop, running) = echo();
        let request = format!("GET /x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        let open: Vec<TcpStream> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                assert_eq!(stream.read(&mut [0; 9]).unwrap(), 9);
                stream
            })
            .collect();
        let answer = ask(port, &request);
        assert!(status(&answer) == 503 && answer.contains("close some tabs"), "{answer}");
        drop(open);
        let again = || ask(port, &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        let served = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            status(&again()) == 200
        });
        assert!(served);
        stop.stop();
        running.join().unwrap().unwrap();
    }
}
