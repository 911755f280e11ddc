//! `ixgbectl stats --copies`.

use std::fmt::Write;

use control::{AccountAction, Client, Copies, Direction, QueueCopies};
use serde::Serialize;

use crate::{cli::CopiesAction, output::Output};

#[derive(Serialize)]
struct PortCopies {
    port: u32,
    #[serde(flatten)]
    copies: Copies,
}

#[derive(Serialize)]
struct AllCopies<'a> {
    ports: &'a [PortCopies],
}

/// Shows the account of copies of `ports`. Where none is kept, one begins.
pub(crate) fn run(
    client: &mut Client,
    ports: &[u32],
    action: CopiesAction,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for port in ports {
        client.select(Some(*port).filter(|port| *port != 0));
        let mut copies = client.copies(match action {
            CopiesAction::Show => None,
            CopiesAction::Restart => Some(AccountAction::Start),
            CopiesAction::Stop => Some(AccountAction::Stop),
        })?;
        if action == CopiesAction::Show && !copies.running {
            copies = client.copies(Some(AccountAction::Start))?;
        }
        all.push(PortCopies {
            port: *port,
            copies,
        });
    }
    match all.as_slice() {
        [PortCopies { copies, .. }] => output.print(copies, || table(copies)),
        several => output.print(&AllCopies { ports: several }, || {
            let tables = several
                .iter()
                .map(|PortCopies { port, copies }| format!("port {port}\n{}", table(copies)));
            tables.collect::<Vec<_>>().join("\n")
        }),
    }
}

fn table(copies: &Copies) -> String {
    let Copies {
        running,
        nanoseconds,
        queues,
        interrupts,
        placed,
    } = copies;
    let seconds = nanoseconds / 1_000_000_000;
    let tenths = nanoseconds / 100_000_000 % 10;
    let mut text = match (running, nanoseconds) {
        (true, 0) => "the account of copies begins now; ask again to see it\n".to_owned(),
        (true, _) => format!("account of copies, kept for {seconds}.{tenths} s\n"),
        (false, 0) => "no account of copies is kept\n".to_owned(),
        (false, _) => format!("account of copies, kept for {seconds}.{tenths} s, ended\n"),
    };
    if !queues.is_empty() {
        text.push_str(
            "direction queue       frames    frame bytes          moved         copied  \
             copies/byte     ring bytes  descriptors  doorbells  refused\n",
        );
    }
    for queue in queues {
        let QueueCopies {
            direction,
            queue: number,
            frames,
            frame_bytes,
            moved,
            copied,
            ring,
            fetched,
            doorbells,
            refused,
        } = queue;
        let direction = match direction {
            Direction::Receive => "receive",
            Direction::Transmit => "transmit",
        };
        let ratio = queue
            .copies_per_byte()
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{direction:<9} {number:>5} {frames:>12} {frame_bytes:>14} {moved:>14} {copied:>14} {ratio:>12} {ring:>14} \
             {fetched:>12} {doorbells:>10} {refused:>8}"
        );
    }
    if *running || !queues.is_empty() {
        let _ = writeln!(text, "interrupts {interrupts}");
    }
    if *placed > 0 {
        let _ = writeln!(text, "bytes placed directly {placed}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_a_line_with_its_copies_per_byte() {
        let copies = Copies {
            running: true,
            nanoseconds: 2_300_000_000,
            queues: vec![QueueCopies {
                direction: Direction::Receive,
                queue: 3,
                frames: 2,
                frame_bytes: 3000,
                moved: 3000,
                copied: 1500,
                ring: 64,
                fetched: 2,
                doorbells: 1,
                refused: 0,
            }],
            interrupts: 7,
            placed: 0,
        };

        let text = table(&copies);

        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "account of copies, kept for 2.3 s");
        let line: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(
            line,
            [
                "receive", "3", "2", "3000", "3000", "1500", "1.500", "64", "2", "1", "0"
            ]
        );
        assert_eq!(lines[3], "interrupts 7");
    }
}
