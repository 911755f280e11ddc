//! The loop: traffic, the front-end's messages, and sleep.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nic_driver::{Device, DriverError, device::DeviceError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vfio_user::Listener;
use vhost::vhost_user::{BackendReqHandler, VhostUserBackendReqHandlerMut};

use crate::{
    early_enable,
    message::{self, Arrival},
    polling::{Pauses, Polling},
    stack::{Settings, Stack},
};

/// Turns with traffic between two looks at the front-end's socket.
const TURNS: u32 = 64;
/// How often it is looked whether the rest of a message has come.
const REST: Duration = Duration::from_millis(10);
/// How long a front-end may leave answers unread before it counts as gone.
const UNREAD: Duration = Duration::from_secs(5);
/// How often a card that is gone is looked for.
const RETRY: Duration = Duration::from_millis(200);

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The card is not what it should be.
    #[error("the card cannot be used")]
    Card(#[from] DriverError),
    /// Waiting failed.
    #[error("the sockets cannot be waited for")]
    Wait(#[source] io::Error),
}

/// How the loop behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the stack is made of.
    pub settings: Settings,
    /// How long it polls before it sleeps.
    pub polling: Polling,
}

/// A front-end that is connected.
struct FrontEnd<D: Device> {
    handler: BackendReqHandler<Mutex<Stack<D>>>,
    socket: UnixStream,
}

/// A stack with its sockets.
pub struct Worker<'a, D: Device, C> {
    options: Options,
    stack: Arc<Mutex<Stack<D>>>,
    listener: &'a Listener,
    /// Becomes readable when the loop has to end.
    end: BorrowedFd<'a>,
    connect: C,
    front_end: Option<FrontEnd<D>>,
    /// When the front-end is listened to again, of whose message a part is there.
    rest: Option<Instant>,
    /// When the card is looked for again.
    retry: Option<Instant>,
    sleeps: u64,
}

impl<D: Device, C> std::fmt::Debug for Worker<'_, D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("options", &self.options)
            .field("connected", &self.front_end.is_some())
            .finish_non_exhaustive()
    }
}

impl<'a, D: Device, C: FnMut() -> Result<D, DeviceError>> Worker<'a, D, C> {
    /// A stack that `connect`s to a card and listens for a front-end.
    ///
    /// # Errors
    /// There is no card that can be used.
    pub fn new(
        options: Options,
        listener: &'a Listener,
        end: BorrowedFd<'a>,
        mut connect: C,
    ) -> Result<Self, WorkerError> {
        let mut stack = Stack::new(options.settings);
        stack.plug(connect().map_err(DriverError::from)?)?;
        Ok(Self {
            options,
            stack: Arc::new(Mutex::new(stack)),
            listener,
            end,
            connect,
            front_end: None,
            rest: None,
            retry: None,
            sleeps: 0,
        })
    }

    /// The stack, when the loop is not running.
    pub fn stack(&self) -> MutexGuard<'_, Stack<D>> {
        // Each message leaves the stack whole, and there is one thread.
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until the loop has to end.
    ///
    /// # Errors
    /// The card is there and cannot be used.
    pub fn run(&mut self) -> Result<(), WorkerError> {
        let mut pauses = Pauses::new(self.options.polling);
        let mut pause: Option<Instant> = None;
        let mut turns = 0_u32;
        loop {
            if self.traffic()? {
                if let Some(since) = pause.take() {
                    pauses.over(since.elapsed());
                }
                turns += 1;
                if turns < TURNS {
                    continue;
                }
                turns = 0;
                if self.serve(Duration::ZERO)? {
                    return Ok(());
                }
                continue;
            }
            turns = 0;
            let since = *pause.get_or_insert_with(Instant::now);
            if since.elapsed() < pauses.poll() && self.stack().is_running() {
                if self.serve(Duration::ZERO)? {
                    return Ok(());
                }
                continue;
            }
            // Whoever would wake us up has to be asked before the last look.
            let already = self.want_wakeups(true)?;
            let busy = already || self.traffic()?;
            let patience = if busy {
                Duration::ZERO
            } else {
                self.sleeps += 1;
                self.patience()
            };
            if self.serve(patience)? {
                return Ok(());
            }
            self.want_wakeups(false)?;
        }
    }

    /// How often the loop has gone to sleep, until an interrupt or a message.
    #[must_use]
    pub fn sleeps(&self) -> u64 {
        self.sleeps
    }

    fn traffic(&mut self) -> Result<bool, WorkerError> {
        let outcome = self.stack().turn();
        match outcome {
            Ok(worked) => Ok(worked),
            Err(error) => self.lost(error).map(|()| false),
        }
    }

    fn want_wakeups(&mut self, want: bool) -> Result<bool, WorkerError> {
        let outcome = self.stack().want_wakeups(want);
        match outcome {
            Ok(already) => Ok(already),
            Err(error) => self.lost(error).map(|()| false),
        }
    }

    /// The card is gone: it is looked for until it is back. The guest's rings wait.
    fn lost(&mut self, error: DriverError) -> Result<(), WorkerError> {
        let DriverError::Device(error) = error else {
            return Err(error.into());
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the card is gone; looking for it"
        );
        self.stack().unplug();
        self.retry = Some(Instant::now());
        Ok(())
    }

    /// How long to sleep.
    fn patience(&self) -> Duration {
        let retry = self
            .retry
            .map(|at| at.saturating_duration_since(Instant::now()));
        retry.unwrap_or(Duration::from_secs(1))
    }

    /// Waits at most for `patience`, and serves whoever has something to say. Returns whether the loop has to end.
    fn serve(&mut self, patience: Duration) -> Result<bool, WorkerError> {
        let stack = Arc::clone(&self.stack);
        let mut stack = stack.lock().unwrap_or_else(PoisonError::into_inner);
        let listening = match &self.front_end {
            Some(front_end) => front_end.socket.as_fd(),
            None => self.listener.as_fd(),
        };
        // A part of a message would wake us up again and again.
        let rest = self
            .rest
            .map(|at| at.saturating_duration_since(Instant::now()))
            .filter(|left| !left.is_zero());
        let (listening, patience) = match rest {
            Some(left) => (self.end, patience.min(left)),
            None => (listening, patience),
        };
        let mut fds = vec![self.end, listening];
        let (front, end, card) = {
            fds.extend(stack.kicks());
            let first_of_card = fds.len();
            fds.extend(stack.card_wakeups());
            let mut fds: Vec<_> = fds
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
                .collect();
            let patience = Timespec::try_from(patience).unwrap_or_default();
            match poll(&mut fds, Some(&patience)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(WorkerError::Wait(error.into())),
            }
            let came = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
            let card = (first_of_card..fds.len()).any(came);
            (came(1), came(0), card)
        };
        if end {
            return Ok(true);
        }
        // A loop that never sleeps hears of a card that is gone here alone.
        let served = if patience.is_zero() && !card {
            Ok(())
        } else {
            stack.take_note()
        };
        let gone = !stack.has_card() && self.retry.is_none();
        let torn = stack.ram.is_torn();
        drop(stack);
        if let Err(error) = served {
            self.lost(error)?;
        }
        if gone {
            self.retry = Some(Instant::now());
        }
        if torn {
            self.lose_front_end("its memory's file was truncated")?;
        } else if front {
            self.hear()?;
        }
        self.find_card()?;
        Ok(false)
    }

    /// Takes one message of the front-end, or a new front-end.
    fn hear(&mut self) -> Result<(), WorkerError> {
        let Some(front_end) = &mut self.front_end else {
            if let Ok(Some(socket)) = self.listener.accept()
                && let Ok(()) = socket.set_write_timeout(Some(UNREAD))
                && let Ok(own) = socket.try_clone()
            {
                tracing::info!("a front-end has connected");
                let handler = BackendReqHandler::from_stream(socket, Arc::clone(&self.stack));
                self.front_end = Some(FrontEnd {
                    handler,
                    socket: own,
                });
            }
            return Ok(());
        };
        if message::arrival(&front_end.socket) == Arrival::Part {
            self.rest = Some(Instant::now() + REST);
            return Ok(());
        }
        self.rest = None;
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        if !stack.has_features()
            && let Ok(Some((ring, enable))) = early_enable::answer(&front_end.socket)
        {
            // A ring that there is none of has nothing to be refused.
            let _ = stack.set_vring_enable(ring, enable);
            return Ok(());
        }
        drop(stack);
        match front_end.handler.handle_request() {
            Ok(()) => Ok(()),
            // A front-end that asks for the impossible may wait for an answer that never comes: its end says it all.
            Err(error) => self.lose_front_end(&error.to_string()),
        }
    }

    /// Parts with a front-end, which has gone or is no good.
    fn lose_front_end(&mut self, reason: &str) -> Result<(), WorkerError> {
        tracing::info!(reason, "the front-end has gone");
        self.front_end = None;
        self.rest = None;
        let outcome = self.stack().lose_guest();
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => self.lost(error),
        }
    }

    fn find_card(&mut self) -> Result<(), WorkerError> {
        if self.retry.is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        let found = (self.connect)().map_err(DriverError::from);
        let outcome = found.and_then(|device| self.stack().plug(device));
        match outcome {
            Ok(()) => {
                tracing::info!("the card is back");
                self.retry = None;
                Ok(())
            }
            // A card without a link may have one later.
            Err(DriverError::Device(_) | DriverError::Timeout(_)) => {
                self.stack().unplug();
                self.retry = Some(Instant::now() + RETRY);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
