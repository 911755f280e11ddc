//! QEMU's monitor (QMP): one JSON command, one JSON answer, events between.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Limit for one answer; QEMU answers at once unless it hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    events: Vec<Value>,
}

impl Qmp {
    /// Greets the monitor on the other end of `stream`.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        let writer = stream.try_clone().map_err(broken)?;
        stream
            .set_read_timeout(Some(ANSWER_LIMIT))
            .map_err(broken)?;
        let mut qmp = Self {
            reader: BufReader::new(stream),
            writer,
            events: Vec::new(),
        };
        let greeting = qmp.message()?;
        if greeting.get("QMP").is_none() {
            return Err(monitor(format!("greets with {greeting}")));
        }
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns what QEMU returns for it.
    ///
    /// # Errors
    /// QEMU refuses the command, or is gone.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.writer, "{line}").map_err(broken)?;
        loop {
            let mut message = self.message()?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let reason = error
                    .get("desc")
                    .and_then(Value::as_str)
                    .unwrap_or("no reason given");
                return Err(monitor(format!("refuses {command}: {reason}")));
            }
            self.events.push(message);
        }
    }

    /// The events that came with answers since the last call.
    pub fn take_events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    fn message(&mut self) -> Result<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err(monitor("is closed: QEMU has ended".to_owned())),
            Ok(_) => serde_json::from_str(&line)
                .map_err(|error| monitor(format!("says {line:?}: {error}"))),
            Err(error) => Err(broken(error)),
        }
    }
}

fn monitor(reason: String) -> Error {
    Error::Monitor {
        socket: "monitor",
        reason,
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn broken(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            monitor("is closed: QEMU has ended".to_owned())
        }
        _ => monitor(format!("does not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A monitor that says `turns`, each but the first when it hears a line, and then closes.
    fn monitor_that_says<const N: usize>(turns: [&'static str; N]) -> Result<Qmp> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut heard = BufReader::new(theirs.try_clone().unwrap());
            let mut writer = theirs;
            for turn in turns {
                writer.write_all(turn.as_bytes()).unwrap();
                heard.read_line(&mut String::new()).unwrap();
            }
        });
        Qmp::new(ours)
    }

    const GREETING: &str = "{\"QMP\":{}}\n";
    const DONE: &str = "{\"return\":{}}\n";

    #[test]
    fn events_before_an_answer_are_kept() {
        let answer = "{\"event\":\"RESET\"}\n{\"return\":{\"running\":true}}\n";
        let mut qmp = monitor_that_says([GREETING, DONE, answer]).unwrap();

        let status = qmp.execute("query-status", &json!({})).unwrap();

        assert_eq!(status, json!({"running": true}));
        assert_eq!(qmp.take_events(), [json!({"event": "RESET"})]);
    }

    #[test]
    fn a_refused_command_says_why() {
        let answer = "{\"error\":{\"class\":\"x\",\"desc\":\"not found\"}}\n";
        let mut qmp = monitor_that_says([GREETING, DONE, answer]).unwrap();

        let error = qmp.execute("nonsense", &json!({})).unwrap_err();

        assert!(
            error.to_string().contains("refuses nonsense: not found"),
            "{error}"
        );
    }

    #[test]
    fn a_monitor_that_closes_is_an_error() {
        let error = monitor_that_says([GREETING]).unwrap_err();

        assert!(error.to_string().contains("QEMU has ended"), "{error}");
    }
}
