//! What a request and a reply cost on the same kind of socket, when nobody does anything between.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{Measured, latency};

/// Bytes of a `REGION_READ` of four bytes, and of its reply.
const REQUEST: usize = 32;
const REPLY: usize = 36;

/// Serves one client: reads requests, writes replies. It polls, so that nobody has to be woken up.
pub fn serve(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen at {}", socket.display()))?;
    let (mut client, _) = listener.accept().context("cannot take the client")?;
    client.set_nonblocking(true)?;
    let mut request = [0; REQUEST];
    while read(&mut client, &mut request)? {
        client.write_all(&[0; REPLY])?;
    }
    Ok(())
}

/// One exchange after the other.
pub fn client(socket: &Path, time: Duration) -> Result<Measured> {
    let mut server = UnixStream::connect(socket)
        .with_context(|| format!("nobody echoes at {}", socket.display()))?;
    server.set_nonblocking(true)?;
    let mut reply = [0; REPLY];
    latency::median(time, || {
        let start = Instant::now();
        server.write_all(&[0; REQUEST])?;
        anyhow::ensure!(read(&mut server, &mut reply)?, "the echo server has gone");
        Ok(start.elapsed())
    })
}

/// Fills `buffer`, polling; false at the end of the stream.
fn read(from: &mut UnixStream, buffer: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(false),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
