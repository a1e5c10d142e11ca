//! Spreading work over the threads of the pool in which the caller runs.

use rayon::prelude::*;

/// Multiplications that are worth waking another thread for.
pub(super) const WORTHWHILE: usize = 1 << 20;

/// How many threads may share work that takes this many multiplications.
pub(super) fn threads_for(multiplications: usize) -> usize {
    if multiplications < 2 * WORTHWHILE { 1 } else { rayon::current_num_threads() }
}

/// Numbers of a block of which every thread may hold one, at most `most`: many threads hold 256 MiB together.
pub(super) fn share(most: usize, threads: usize) -> usize {
    most.min((64 << 20) / threads)
}

/// Does the jobs 0 to `jobs`, on this thread alone if `threads` is 1.
pub(super) fn each(threads: usize, jobs: usize, work: impl Fn(usize) + Sync + Send) {
    if threads == 1 || jobs == 1 {
        (0..jobs).for_each(work);
    } else {
        (0..jobs).into_par_iter().with_max_len(jobs.div_ceil(8 * threads)).for_each(work);
    }
}

/// A place to write to that jobs share: each writes to numbers of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: a pointer alone does nothing; whoever writes through it says why no two jobs write to the same place.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(place: *mut f32) -> Self {
        Self(place)
    }

    pub(super) fn pointer(self) -> *mut f32 {
        self.0
    }
}

/// `count` numbers, all of which `fill` must write.
///
/// # Safety
///
/// `fill` must leave none of them unwritten.
pub(super) unsafe fn filled(count: usize, fill: impl FnOnce(Shared)) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count);
    want_large_pages(&numbers);
    fill(Shared(numbers.as_mut_ptr()));
    // SAFETY: the capacity is there, and the caller promises that every number was written.
    unsafe { numbers.set_len(count) };
    numbers
}

/// A cache line, as whose multiples what is read in whole lines starts.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [f32; 16]);

/// Like [`filled`], in whole lines.
///
/// # Safety
///
/// `fill` must leave none of the numbers unwritten; `count` is a multiple of 16.
pub(super) unsafe fn filled_lines(count: usize, fill: impl FnOnce(Shared)) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::with_capacity(count / 16);
    want_large_pages(&lines);
    fill(Shared(lines.as_mut_ptr().cast()));
    // SAFETY: as above.
    unsafe { lines.set_len(count / 16) };
    lines
}

/// Room for `count` numbers, whatever they are.
pub(super) fn scratch(count: usize) -> (Vec<Line>, Shared) {
    let mut lines: Vec<Line> = Vec::with_capacity(count.div_ceil(16));
    want_large_pages(&lines);
    let start = Shared(lines.as_mut_ptr().cast());
    (lines, start)
}

/// Asks the system for large pages under a large buffer that nothing was written to yet: without them a good part of the
/// time goes into getting its pages one by one.
pub(super) fn want_large_pages<T>(buffer: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 1 << 21;
        let (start, bytes) = (buffer.as_ptr().cast_mut(), buffer.capacity() * size_of::<T>());
        let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
        if bytes > skipped + PAGE {
            // SAFETY: advice about whole pages inside of the buffer, which changes nothing of what is in them.
            let _ = unsafe {
                rustix::mm::madvise(
                    start.byte_add(skipped).cast(),
                    (bytes - skipped) / PAGE * PAGE,
                    rustix::mm::Advice::LinuxHugepage,
                )
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = buffer;
}
