//! Listens on the loopback address, a thread a connection, and keeps other sites' pages out.

use super::http::{Connection, HttpError, Request, Response};
use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Connections at once; a browser opens six.
const MAX_CONNECTIONS: usize = 32;
/// Silence after which a connection ends.
const IDLE: Duration = Duration::from_secs(60);
/// What a page may do: nothing but what it brings itself, and talk to this server.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' blob: data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What answers requests.
pub trait Answer: Send + Sync + 'static {
    /// Bound for the body of a request to `path`, bytes.
    fn max_body(&self, path: &str) -> usize;

    /// The answer.
    fn answer(&self, request: &Request) -> Response;
}

/// A server on 127.0.0.1.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    port: u16,
    stop: Arc<AtomicBool>,
}

/// Ends a server from elsewhere.
#[derive(Debug, Clone)]
pub struct Stop {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Stop {
    /// Ends it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the one that waits for connections; if this fails, the listener has gone already.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Server {
    /// Takes `port` of the loopback address, or a free one for 0.
    ///
    /// # Errors
    /// If it is in use, or not for this user.
    pub fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, stop: Arc::default() })
    }

    /// Where the page is.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Ends the server.
    #[must_use]
    pub fn stopper(&self) -> Stop {
        Stop { port: self.port, stop: self.stop.clone() }
    }

    /// Serves until it is stopped. Connections that are open then end with the process.
    pub fn run(&self, answer: &Arc<impl Answer>) {
        let open = Arc::new(AtomicUsize::new(0));
        loop {
            let accepted = self.listener.accept();
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, most likely: others will end.
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            let place = Place::take(&open);
            let (answer, port) = (answer.clone(), self.port);
            let serve = move || {
                // An end that has gone needs no answer.
                let _ = serve(stream, &*answer, port, place.as_ref());
            };
            // Without a thread the connection closes, which its other end notices.
            let _ = thread::Builder::new().name("connection".into()).spawn(serve);
        }
    }
}

/// One of the connections that are served at once.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(open.clone());
        (open.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(stream: TcpStream, answer: &impl Answer, port: u16, place: Option<&Place>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(if place.is_some() { IDLE } else { Duration::from_millis(200) }))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut connection = Connection::new(&stream);
    if place.is_none() {
        return connection.refuse(&safe(Response::error(503, "too many connections at once: close some tabs")));
    }
    loop {
        let refused = match connection.request(|path| answer.max_body(path)) {
            Err(HttpError::Gone) => return Ok(()),
            Err(HttpError::Refused { status, reason }) => Response::error(status, &reason),
            Ok(request) => {
                let response = match check(&request, port) {
                    Ok(()) => answer.answer(&request),
                    Err(refused) => refused,
                };
                if connection.answer(&request, &safe(response))? {
                    continue;
                }
                return Ok(());
            }
        };
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        return connection.refuse(&safe(refused));
    }
}

/// The headers of every answer.
fn safe(response: Response) -> Response {
    response
        .with("Cache-Control", "no-store")
        .with("Content-Security-Policy", POLICY)
        .with("Cross-Origin-Resource-Policy", "same-origin")
        .with("Referrer-Policy", "no-referrer")
        .with("X-Content-Type-Options", "nosniff")
}

/// Keeps out pages of other sites: those that let their own name point here (DNS rebinding) by `Host`, those that send
/// requests across by `Origin` and `Sec-Fetch-Site`.
fn check(request: &Request, port: u16) -> Result<(), Response> {
    let header = |name| request.header(name).map_err(|error| Response::error(400, &error.to_string()));
    let own = |host: &str| {
        let (name, given) = host.rsplit_once(':').unwrap_or((host, "80"));
        ["127.0.0.1", "localhost"].iter().any(|own| own.eq_ignore_ascii_case(name)) && given == port.to_string()
    };
    if !header("host")?.is_some_and(own) {
        return Err(Response::error(403, &format!("this page is at http://127.0.0.1:{port}/ and nowhere else")));
    }
    let same = |origin: &str| origin.strip_prefix("http://").is_some_and(own);
    // A link on another site may lead to the page itself.
    let across = |site: &str| request.path != "/" && !["same-origin", "none"].contains(&site);
    if !header("origin")?.is_none_or(same) || header("sec-fetch-site")?.is_some_and(across) {
        return Err(Response::error(403, "pages of other sites may not ask here"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    struct Echo;

    impl Answer for Echo {
        fn max_body(&self, _: &str) -> usize {
            8
        }

        fn answer(&self, request: &Request) -> Response {
            Response::ok("text/plain", [request.path.as_bytes(), b" ", &request.body].concat())
        }
    }

    fn ask(port: u16, text: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_serves_its_own_page_alone_until_it_is_stopped() {
        let server = Server::bind(0).unwrap();
        let (port, stop) = (server.port, server.stopper());
        assert!(Server::bind(port).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse));
        let running = thread::spawn(move || server.run(&Arc::new(Echo)));
        let get = |path: &str, headers: &str| {
            ask(port, &format!("GET {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"))
        };
        let host = format!("Host: 127.0.0.1:{port}");
        let answer = get("/x", &host);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n/x "), "{answer}");
        assert!(answer.contains("frame-ancestors 'none'") && answer.contains("no-store"), "{answer}");
        for good in [
            format!("Host: LOCALHOST:{port}\r\nOrigin: http://localhost:{port}"),
            format!("{host}\r\nSec-Fetch-Site: same-origin"),
            format!("{host}\r\nSec-Fetch-Site: none"),
        ] {
            assert!(get("/x", &good).starts_with("HTTP/1.1 200 "), "{good}");
        }
        assert!(get("/", &format!("{host}\r\nSec-Fetch-Site: cross-site")).starts_with("HTTP/1.1 200 "));
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
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("{\"error\":"), "{bad}: {answer}");
        }
        assert!(get("/x", &format!("{host}\r\n{host}")).starts_with("HTTP/1.1 400 "));
        let long = format!("POST / HTTP/1.1\r\n{host}\r\nContent-Length: 9\r\nConnection: close\r\n\r\n");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(format!("{long}123456789").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        stop.stop();
        running.join().unwrap();
    }

    #[test]
    fn too_many_connections_are_told_so_and_room_comes_back() {
        let server = Server::bind(0).unwrap();
        let (port, stop) = (server.port, server.stopper());
        let running = thread::spawn(move || server.run(&Arc::new(Echo)));
        let request = format!("GET /x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        let open: Vec<TcpStream> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                assert_eq!(stream.read(&mut [0; 9]).unwrap(), 9);
                stream
            })
            .collect();
        let mut answer = [0; 12];
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503");
        drop(open);
        let again = || ask(port, &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        let served = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            again().starts_with("HTTP/1.1 200 ")
        });
        assert!(served);
        stop.stop();
        running.join().unwrap();
    }
}
