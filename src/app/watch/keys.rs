//! Keys in the terminal.

use std::sync::mpsc::Sender;

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

/// Reads keys from now on, if the standard input is a terminal that belongs to this program. The terminal is as it was
/// when what is returned is dropped.
#[cfg(unix)]
pub(super) fn listen(signals: Sender<Signal>) -> Option<Terminal> {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, isatty, tcgetattr, tcgetpgrp, tcsetattr};
    let input = rustix::stdio::stdin();
    // A program in the background that changes its terminal is stopped.
    if !isatty(input) || tcgetpgrp(input).ok() != Some(rustix::process::getpgrp()) {
        return None;
    }
    let before = tcgetattr(input).ok()?;
    let mut now = before.clone();
    // Single keys, unseen; Ctrl-C stays what it is.
    now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    now.special_codes[SpecialCodeIndex::VMIN] = 1;
    now.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(input, OptionalActions::Now, &now).ok()?;
    std::thread::spawn(move || {
        let mut keys = [0; 16];
        while let Ok(count @ 1..) = rustix::io::read(input, &mut keys) {
            for ask in keys[..count].iter().filter_map(|key| meaning(*key)) {
                if signals.send(Signal::Ask(ask)).is_err() {
                    return;
                }
            }
        }
    });
    Some(Terminal { before })
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
pub(super) struct Terminal {
    #[cfg(unix)]
    before: rustix::termios::Termios,
}

#[cfg(unix)]
impl Drop for Terminal {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}
