//! Keys in the terminal.

#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::mpsc::Sender;
#[cfg(unix)]
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(unix)]
use std::time::Duration;

#[cfg(unix)]
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::{Ask, Signal};

/// What a key asks for.
fn meaning(key: u8) -> Option<Ask> {
    match key {
        b'p' | b' ' => Some(Ask::Pause),
        b'\n' | b'\r' => Some(Ask::Again(None)),
        b's' => Some(Ask::Keep(None)),
        b'q' => Some(Ask::Quit),
        _ => None,
    }
}

/// How often is looked whether the terminal belongs to this program, and still gives single keys.
#[cfg(unix)]
const GLANCE: Duration = Duration::from_millis(250);

/// Reads keys from now on, if the standard input is a terminal, whenever it belongs to this program. A shell that has
/// stopped the program and lets it go on has changed the terminal. It is as it was when what is returned is dropped.
#[cfg(unix)]
pub(super) fn listen(signals: Sender<Signal>) -> Option<Terminal> {
    let input = rustix::stdio::stdin();
    if !rustix::termios::isatty(input) {
        return None;
    }
    let terminal = Terminal(Arc::default());
    let modes = terminal.0.clone();
    modes.lock().unwrap_or_else(PoisonError::into_inner).take();
    std::thread::spawn(move || {
        loop {
            if !modes.lock().unwrap_or_else(PoisonError::into_inner).take() {
                std::thread::sleep(GLANCE);
                continue;
            }
            let Some(keys) = waited_for(input) else { return };
            for ask in keys.iter().filter_map(|key| meaning(*key)) {
                if signals.send(Signal::Ask(ask)).is_err() {
                    return;
                }
            }
        }
    });
    Some(terminal)
}

/// The keys that are pressed within a glance; `None` where the terminal is gone.
#[cfg(unix)]
fn waited_for(input: BorrowedFd<'_>) -> Option<Vec<u8>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let glance = Timespec { tv_sec: 0, tv_nsec: GLANCE.subsec_nanos().into() };
    let mut waiting = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
    // An interrupted wait is over early.
    if !matches!(poll(&mut waiting, Some(&glance)), Ok(1..)) {
        return Some(Vec::new());
    }
    let mut keys = [0; 16];
    match rustix::io::read(input, &mut keys) {
        Ok(0) => None,
        Ok(count) => Some(keys[..count].to_vec()),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Some(Vec::new()),
        Err(_) => None,
    }
}

/// Without single keys: a letter and Enter.
#[cfg(not(unix))]
pub(super) fn listen(signals: Sender<Signal>) -> Option<Terminal> {
    use std::io::{BufRead, IsTerminal};
    if !std::io::stdin().is_terminal() {
        return None;
    }
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let key = line.trim().bytes().next().unwrap_or(b'\n');
            if meaning(key).is_some_and(|ask| signals.send(Signal::Ask(ask)).is_err()) {
                return;
            }
        }
    });
    Some(Terminal {})
}

/// Restores the terminal when dropped.
#[cfg(not(unix))]
pub(super) struct Terminal {}

/// Restores the terminal when dropped.
#[cfg(unix)]
pub(super) struct Terminal(Arc<Mutex<Modes>>);

/// How a terminal was, and is.
#[cfg(unix)]
#[derive(Default)]
struct Modes {
    /// Before it gave single keys.
    before: Option<Termios>,
    /// The program ends: the terminal stays as it was.
    over: bool,
}

#[cfg(unix)]
impl Modes {
    /// Has the terminal give single keys; `false` where it is not this program's, or no longer.
    fn take(&mut self) -> bool {
        let input = rustix::stdio::stdin();
        let single = LocalModes::ICANON | LocalModes::ECHO;
        let (false, true, Ok(mut modes)) = (self.over, is_ours(), tcgetattr(input)) else { return false };
        if !modes.local_modes.intersects(single) {
            return true;
        }
        self.before = Some(modes.clone());
        // Single keys, unseen; Ctrl-C stays what it is.
        modes.local_modes.remove(single);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(input, OptionalActions::Now, &modes).is_ok()
    }
}

/// Whether the terminal belongs to this program: one in the background that changes it, or reads from it, is stopped.
#[cfg(unix)]
fn is_ours() -> bool {
    tcgetpgrp(rustix::stdio::stdin()).ok() == Some(rustix::process::getpgrp())
}

#[cfg(unix)]
impl Drop for Terminal {
    fn drop(&mut self) {
        let mut modes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        modes.over = true;
        if let Some(before) = modes.before.take().filter(|_| is_ours()) {
            // A terminal that is gone needs no restoring.
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
        }
    }
}
