//! A scraper's connection: one request, one response, and the end.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a connection may last, from its first moment to its last.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a request's head, at most.
const LONGEST_HEAD: usize = 8 << 10;
/// Header lines of a request, at most.
const MOST_HEADERS: usize = 64;
/// Bytes that are thrown away after the head, at most: a client that sends more is cut off.
const MOST_BEHIND: usize = 64 << 10;

/// The type of the text, with its version.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The client's side of the socket, which does not block.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn end(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// What a connection is doing.
#[derive(Debug)]
enum State {
    /// The head of the request comes.
    Reading(Vec<u8>),
    /// The response goes.
    Writing {
        head: String,
        body: Arc<str>,
        done: usize,
    },
    /// It has gone. What the client still sends is thrown away until it closes: to close first would take the response
    /// away from it.
    Ending { left: usize },
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// That there is something to read.
    ToRead,
    /// That there is room to write.
    ToWrite,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    GoesOn,
    Over,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    deadline: Instant,
    state: State,
}

impl Connection {
    pub(super) fn new(socket: Socket, now: Instant) -> Self {
        Self {
            socket,
            deadline: now + PATIENCE,
            state: State::Reading(Vec::new()),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) const fn waiting(&self) -> Waiting {
        match self.state {
            State::Reading(_) | State::Ending { .. } => Waiting::ToRead,
            State::Writing { .. } => Waiting::ToWrite,
        }
    }

    /// Does what can be done now. `metrics` makes the text, when it is wanted.
    pub(super) fn advance(&mut self, metrics: impl FnOnce() -> Arc<str>) -> Outcome {
        match self.try_advance(metrics) {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Outcome::GoesOn,
            Err(error) if error.kind() == ErrorKind::Interrupted => Outcome::GoesOn,
            // It is gone.
            Err(_) => Outcome::Over,
        }
    }

    fn try_advance(&mut self, metrics: impl FnOnce() -> Arc<str>) -> io::Result<Outcome> {
        if let State::Reading(head) = &mut self.state {
            let mut bytes = [0; 4096];
            let room = LONGEST_HEAD.saturating_sub(head.len()).min(bytes.len());
            let read = self.socket.read(&mut bytes[..room])?;
            if read == 0 {
                return Ok(Outcome::Over);
            }
            head.extend_from_slice(&bytes[..read]);
            let Some(asked) = ask(head) else {
                return Ok(Outcome::GoesOn);
            };
            let (head, body) = response(asked, metrics);
            let done = 0;
            self.state = State::Writing { head, body, done };
        }
        if let State::Writing { head, body, done } = &mut self.state {
            let parts = [head.as_bytes(), body.as_bytes()];
            while let Some(rest) = rest(parts, *done) {
                *done += self.socket.write(rest)?;
            }
            self.socket.end()?;
            self.state = State::Ending { left: MOST_BEHIND };
        }
        if let State::Ending { left } = &mut self.state {
            let mut bytes = [0; 4096];
            loop {
                let read = self.socket.read(&mut bytes)?;
                if read == 0 || read > *left {
                    return Ok(Outcome::Over);
                }
                *left -= read;
            }
        }
        Ok(Outcome::GoesOn)
    }
}

/// What is left of the first part that is not done; `None` if all is.
fn rest(parts: [&[u8]; 2], done: usize) -> Option<&[u8]> {
    let [first, second] = parts;
    let rest = match first.get(done..) {
        Some(rest) if !rest.is_empty() => rest,
        _ => second.get(done.saturating_sub(first.len())..)?,
    };
    (!rest.is_empty()).then_some(rest)
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The metrics, or of their response the head alone.
    Metrics { head_alone: bool },
    /// The way to them.
    Root { head_alone: bool },
    /// Something else.
    Unknown { head_alone: bool },
    /// By a method that is not there.
    Method,
    /// With more than is read of a head.
    TooLong,
    /// It is no request.
    Broken,
}

/// What the head of a request asks for; `None` as long as there is more of it to come.
fn ask(head: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if head.len() < LONGEST_HEAD => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(Asked::TooLong);
        }
        Err(_) => return Some(Asked::Broken),
    }
    let head_alone = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Some(Asked::Method),
    };
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    Some(match path {
        "/metrics" => Asked::Metrics { head_alone },
        "/" => Asked::Root { head_alone },
        _ => Asked::Unknown { head_alone },
    })
}

/// The response: its head, and its body.
fn response(asked: Asked, metrics: impl FnOnce() -> Arc<str>) -> (String, Arc<str>) {
    let told = |status, text: &str| (status, PLAIN, "", Arc::from(text));
    let (status, kind, more, body) = match asked {
        Asked::Metrics { .. } => ("200 OK", OPEN_METRICS, "", metrics()),
        Asked::Root { .. } => told("200 OK", "vfio-user-ixgbe: the metrics are at /metrics\n"),
        Asked::Unknown { .. } => told("404 Not Found", "there is /metrics\n"),
        Asked::Method => (
            "405 Method Not Allowed",
            PLAIN,
            "Allow: GET, HEAD\r\n",
            "GET and HEAD are served\n".into(),
        ),
        Asked::TooLong => told(
            "431 Request Header Fields Too Large",
            "the request is too long\n",
        ),
        Asked::Broken => told("400 Bad Request", "this is no request\n"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
        body.len()
    );
    let head_alone = matches!(
        asked,
        Asked::Metrics { head_alone: true }
            | Asked::Root { head_alone: true }
            | Asked::Unknown { head_alone: true }
    );
    (head, if head_alone { "".into() } else { body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> Option<Asked> {
        ask(head.as_bytes())
    }

    #[test]
    fn a_request_is_waited_for_until_its_head_is_whole() {
        let whole = "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";

        let cut = (0..whole.len()).filter(|at| asked(&whole[..*at]).is_some());

        assert_eq!(cut.count(), 0);
        assert_eq!(asked(whole), Some(Asked::Metrics { head_alone: false }));
    }

    #[test]
    fn what_is_no_request_or_has_no_end_is_refused() {
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(LONGEST_HEAD));
        let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));

        assert_eq!(asked("\u{1}\u{2}\r\n\r\n"), Some(Asked::Broken));
        assert_eq!(asked(&endless), Some(Asked::TooLong));
        assert_eq!(asked(&headers), Some(Asked::TooLong));
        assert_eq!(asked("POST /metrics HTTP/1.1\r\n\r\n"), Some(Asked::Method));
    }

    #[test]
    fn the_head_alone_has_the_length_of_what_it_leaves_out() {
        let (head, body) = response(Asked::Metrics { head_alone: true }, || "12345".into());

        assert!(head.contains("Content-Length: 5\r\n"), "{head}");
        assert_eq!(&*body, "");
    }

    #[test]
    fn the_rest_goes_on_in_the_second_part() {
        let parts: [&[u8]; 2] = [b"ab", b"cd"];

        let rests: Vec<_> = (0..=4).map(|done| rest(parts, done)).collect();

        let expected: [Option<&[u8]>; 5] = [Some(b"ab"), Some(b"b"), Some(b"cd"), Some(b"d"), None];
        assert_eq!(rests, expected);
    }
}
