//! The host's end of the agent's protocol (its other end, and the protocol, is `assets/agent.sh`).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::GuestError;
use crate::error::{Error, Result};

/// How long one look for an answer waits.
const LOOK: Duration = Duration::from_millis(50);
/// Most that a command may write; more is a mistake of the caller's.
const OUTPUT_LIMIT: usize = 64 << 20;
const BLOCK: usize = 4096;

/// What a command in the guest wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 128 + N for signal N.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From the request to the answer, as the host saw it.
    pub took: Duration,
}

#[derive(Debug)]
pub(super) struct Agent {
    stream: UnixStream,
    received: Vec<u8>,
    number: u32,
    begun: Instant,
}

impl Agent {
    pub(super) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(LOOK)).map_err(broken)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            number: 0,
            begun: Instant::now(),
        })
    }

    /// Whether the agent has said that it is there, since it was asked last.
    pub(super) fn ready(&mut self) -> Result<bool> {
        while let Some(line) = self.line()? {
            // What was said before a reset is void.
            if line.starts_with("ready ") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn begin(&mut self, command: &str, limit: Duration) -> Result<()> {
        self.number += 1;
        self.begun = Instant::now();
        let seconds = limit.as_secs().max(1);
        let line = format!("{} {seconds} {}\n", self.number, word(command));
        self.stream.write_all(line.as_bytes()).map_err(broken)
    }

    pub(super) fn begin_put(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.number += 1;
        self.begun = Instant::now();
        let blocks = content.len().div_ceil(BLOCK);
        let mut message =
            format!("put {} {blocks} {} {path}\n", self.number, content.len()).into_bytes();
        message.extend_from_slice(content);
        message.resize(message.len() + blocks * BLOCK - content.len(), 0);
        self.stream.write_all(&message).map_err(broken)
    }

    /// The answer to the last request, if it is complete.
    pub(super) fn answer(&mut self) -> Result<Option<Output>> {
        self.fill()?;
        let Some(end) = self.received.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let line =
            String::from_utf8_lossy(self.received.get(..end).unwrap_or_default()).into_owned();
        let header = Header::parse(&line).ok_or_else(|| GuestError::Agent(line.clone()))?;
        if header.number != self.number {
            return Err(GuestError::Agent(line).into());
        }
        let (first, second) = (end + 1, end + 1 + header.out);
        let Some(stdout) = self.received.get(first..second) else {
            return Ok(None);
        };
        let Some(stderr) = self.received.get(second..second + header.err) else {
            return Ok(None);
        };
        let output = Output {
            status: header.status,
            stdout: String::from_utf8_lossy(stdout).into_owned(),
            stderr: String::from_utf8_lossy(stderr).into_owned(),
            took: self.begun.elapsed(),
        };
        self.received.drain(..second + header.err);
        Ok(Some(output))
    }

    fn line(&mut self) -> Result<Option<String>> {
        self.fill()?;
        let Some(end) = self.received.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let line: Vec<u8> = self.received.drain(..=end).collect();
        Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
    }

    /// Takes what has come; waits [`LOOK`] for something to come.
    fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            // QEMU has closed its end and is about to go, which the caller sees for itself.
            Ok(0) => {
                thread::sleep(LOOK);
                Ok(())
            }
            Ok(count) => {
                self.received
                    .extend_from_slice(buffer.get(..count).unwrap_or_default());
                if self.received.len() > OUTPUT_LIMIT {
                    return Err(GuestError::Agent(format!("more than {OUTPUT_LIMIT} bytes")).into());
                }
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(broken(error)),
        }
    }
}

struct Header {
    number: u32,
    status: i32,
    out: usize,
    err: usize,
}

impl Header {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix("done ")?.split(' ');
        let header = Self {
            number: fields.next()?.parse().ok()?,
            status: fields.next()?.parse().ok()?,
            out: fields.next()?.parse().ok()?,
            err: fields.next()?.parse().ok()?,
        };
        (header.out <= OUTPUT_LIMIT && header.err <= OUTPUT_LIMIT).then_some(header)
    }
}

fn broken(source: io::Error) -> Error {
    Error::Start {
        what: "the exchange with the guest's agent".to_owned(),
        source,
    }
}

/// The command as one word for a shell's `printf %b`: what a shell reads as it stands, and else `\0` and three octal digits.
fn word(command: &str) -> String {
    let mut word = String::with_capacity(2 * command.len());
    for byte in command.bytes() {
        if byte.is_ascii_graphic() && byte != b'\\' {
            word.push(char::from(byte));
        } else {
            word.push_str(&format!("\\0{byte:03o}"));
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Seek;
    use std::process::Command;

    use super::*;

    fn file_with(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    /// An agent that says `bytes`.
    fn agent_that_says(bytes: &[u8]) -> (Agent, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        (Agent::new(ours).unwrap(), theirs)
    }

    #[test]
    fn a_shell_reads_a_command_as_it_was() {
        let command =
            "printf '%s\\n' \"$HOME\" \t*?~ `x` \\0101 \\c \r\u{e4}\u{20ac}\u{7f}0\n 7#;&|<>\n";

        let output = Command::new("sh")
            .args(["-c", "read -r word && printf %b \"$word\"", "sh"])
            .stdin(file_with(&format!("{}\n", word(command))))
            .output()
            .unwrap();

        assert_eq!(String::from_utf8(output.stdout).unwrap(), command);
        assert!(!word(command).contains(char::is_whitespace));
    }

    #[test]
    fn an_answer_carries_status_and_both_outputs() {
        let (mut agent, _guest) = agent_that_says(b"done 1 3 6 4\nout\nx\nerr\n");
        agent.begin("true", Duration::from_secs(1)).unwrap();

        let output = agent.answer().unwrap().unwrap();

        assert_eq!(
            (
                output.status,
                output.stdout.as_str(),
                output.stderr.as_str()
            ),
            (3, "out\nx\n", "err\n")
        );
    }

    #[test]
    fn an_answer_that_is_not_complete_is_waited_for() {
        let (mut agent, mut guest) = agent_that_says(b"done 1 0 6 0\nout");
        agent.begin("true", Duration::from_secs(1)).unwrap();

        assert_eq!(agent.answer().unwrap(), None);
        guest.write_all(b"put").unwrap();

        assert_eq!(agent.answer().unwrap().unwrap().stdout, "output");
    }

    #[test]
    fn an_answer_to_another_request_is_an_error() {
        let (mut agent, _guest) = agent_that_says(b"done 7 0 0 0\n");
        agent.begin("true", Duration::from_secs(1)).unwrap();

        assert!(agent.answer().unwrap_err().to_string().contains("done 7"));
    }

    #[test]
    fn a_file_is_padded_to_whole_blocks() {
        let (mut agent, mut guest) = agent_that_says(b"");
        agent.begin_put("/tmp/x", b"abc").unwrap();
        drop(agent);

        let mut sent = Vec::new();
        guest.read_to_end(&mut sent).unwrap();

        assert!(sent.starts_with(b"put 1 1 3 /tmp/x\nabc\0"));
        assert_eq!(sent.len(), 17 + BLOCK);
    }
}
