//! Ctrl-C, a polite termination, and writes that must not be cut short.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::report::Report;
use super::{Failure, interrupted};

/// How long a render may take to notice. An evaluation of a large network takes longer, and has nothing to lose.
const PATIENCE: Duration = Duration::from_millis(500);

/// Notices that the user wants the program to end: the render stops before its next evaluation, or, where that does not
/// come soon, the program ends at once, though never while files are being written.
#[derive(Clone, Default)]
pub(super) struct Interruption {
    raised: Arc<AtomicBool>,
    writing: Arc<Mutex<()>>,
}

impl Interruption {
    /// Watches for signals from now on; `report` tells of an end at once.
    pub(super) fn watch(report: &Report) -> Self {
        let interruption = Self::default();
        let (Self { raised, writing }, mut report) = (interruption.clone(), report.clone());
        let handler = move || {
            raised.store(true, Ordering::SeqCst);
            std::thread::sleep(PATIENCE);
            // Kept to the end: nobody may begin to write now.
            let _nobody_writes = writing.lock();
            interrupted(&mut report);
            exit(report.finish(Failure::Interrupted.exit_code()).into());
        };
        // Without a handler the system's own stands: the program ends at once.
        let _ = ctrlc::set_handler(handler);
        #[cfg(unix)]
        writes_beyond_a_limit_fail();
        interruption
    }

    /// Whether the user wants the program to end.
    pub(super) fn raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// From now on nobody writes: the program is about to end. Waits for a write that has begun.
    #[cfg(feature = "watch")]
    pub(super) fn no_more_writes(&self) {
        std::mem::forget(self.writing.lock());
    }

    /// Does what must not be cut short.
    pub(super) fn hold_off<T>(&self, write: impl FnOnce() -> T) -> T {
        let _writing = self.writing.lock();
        write()
    }
}

/// Has the system refuse a write beyond the user's limit of file sizes, as it refuses one on a full disk, where it
/// would otherwise end the program and leave the half-written file.
#[cfg(unix)]
fn writes_beyond_a_limit_fail() {
    // Without it the system's own way stands.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}
