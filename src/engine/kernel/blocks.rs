//! An allocator that keeps large blocks which were freed: a network's outputs come and go in the same sizes, and memory
//! that is given back to the system has to be got again and cleared page by page, which takes a good part of the time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Mutex, PoisonError};

/// What is smaller is left to the system's allocator.
const LARGE: usize = 1 << 18;
/// The most bytes that are kept beside what was in use at once.
pub(in crate::engine) const KEPT: usize = 256 << 20;
/// The most blocks that are kept.
const COUNT: usize = 512;
/// Of every block.
const ALIGNMENT: usize = 64;

/// The blocks of the program, if `&BLOCKS` is its `#[global_allocator]`.
pub static BLOCKS: KeepBlocks = KeepBlocks::new();

/// The system's allocator, except that large blocks are kept for the next of their size. What is kept and what is in use
/// are together at most 256 MiB more than what was in use at once since [`trim`](Self::trim), so that a program's peak is
/// no higher for what is kept.
#[derive(Debug)]
pub struct KeepBlocks {
    kept: Mutex<Kept>,
}

/// Blocks that were freed, the latest last.
#[derive(Debug)]
struct Kept {
    /// Address and size.
    blocks: [(usize, usize); COUNT],
    count: usize,
    bytes: usize,
    /// Bytes of the blocks that are in use, and the most that were.
    live: usize,
    most: usize,
}

impl KeepBlocks {
    /// With nothing kept yet.
    #[expect(clippy::new_without_default, reason = "a static is made by a constant function")]
    pub const fn new() -> Self {
        Self { kept: Mutex::new(Kept { blocks: [(0, 0); COUNT], count: 0, bytes: 0, live: 0, most: 0 }) }
    }

    /// Gives back what is kept beyond 256 MiB: the work is done that needed it.
    pub fn trim(&self) {
        self.with_kept(|kept| kept.most = kept.live);
        self.free_surplus();
    }

    fn with_kept<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Frees the oldest blocks that are too many.
    fn free_surplus(&self) {
        while let Some((address, size)) = self.with_kept(Kept::surplus) {
            // SAFETY: such a block was allocated with this layout, and nobody has it.
            unsafe { System.dealloc(address as *mut u8, Layout::from_size_align_unchecked(size, ALIGNMENT)) };
        }
    }

    /// A kept block of this size, which is in use from now on.
    fn take(&self, size: usize) -> Option<*mut u8> {
        let taken = self.with_kept(|kept| {
            kept.grow(size);
            kept.take(size)
        });
        if taken.is_none() {
            self.free_surplus();
        }
        taken
    }

    /// A block that the system gave, or did not.
    fn counted(&self, size: usize, block: *mut u8) -> *mut u8 {
        if block.is_null() {
            self.with_kept(|kept| kept.live -= size);
        }
        block
    }
}

/// The layout of the block that is taken for this one: larger by up to an eighth, so that there are few sizes. `None` for
/// what is left to the system.
fn block_for(layout: Layout) -> Option<Layout> {
    let size = layout.size();
    if size < LARGE || layout.align() > ALIGNMENT {
        return None;
    }
    let step = 1 << (size.ilog2() - 3);
    Layout::from_size_align(size.checked_next_multiple_of(step)?, ALIGNMENT).ok()
}

impl Kept {
    /// So many bytes more are in use.
    fn grow(&mut self, size: usize) {
        self.live += size;
        self.most = self.most.max(self.live);
    }

    /// The latest of this size.
    fn take(&mut self, size: usize) -> Option<*mut u8> {
        let at = self.blocks[..self.count].iter().rposition(|block| block.1 == size)?;
        Some(self.remove(at).0 as *mut u8)
    }

    fn remove(&mut self, at: usize) -> (usize, usize) {
        let block = self.blocks[at];
        self.blocks.copy_within(at + 1..self.count, at);
        self.count -= 1;
        self.bytes -= block.1;
        block
    }

    /// The oldest block, if too much is kept.
    fn surplus(&mut self) -> Option<(usize, usize)> {
        (self.bytes > KEPT + self.most - self.live).then(|| self.remove(0))
    }

    /// Keeps a block that is not in use any more. Gives the oldest, if there are too many.
    fn put(&mut self, block: (usize, usize)) -> Option<(usize, usize)> {
        self.live -= block.1;
        let oldest = (self.count == COUNT).then(|| self.remove(0));
        self.blocks[self.count] = block;
        self.count += 1;
        self.bytes += block.1;
        oldest
    }
}

// SAFETY: blocks come from the system's allocator with the layout that `block_for` gives, with which they are freed; a kept
// block is given to one caller only.
unsafe impl GlobalAlloc for &KeepBlocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(block) = block_for(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: the size is not 0.
        self.take(block.size()).unwrap_or_else(|| self.counted(block.size(), unsafe { System.alloc(block) }))
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(block) = block_for(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        };
        match self.take(block.size()) {
            Some(pointer) => {
                // SAFETY: the block is at least as large.
                unsafe { pointer.write_bytes(0, layout.size()) };
                pointer
            }
            // SAFETY: the size is not 0.
            None => self.counted(block.size(), unsafe { System.alloc_zeroed(block) }),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(block) = block_for(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.dealloc(pointer, layout) };
        };
        if let Some((address, size)) = self.with_kept(|kept| kept.put((pointer.addr(), block.size()))) {
            // SAFETY: such a block was allocated with this layout, and nobody has it.
            unsafe { System.dealloc(address as *mut u8, Layout::from_size_align_unchecked(size, ALIGNMENT)) };
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise that this is a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (block_for(layout), block_for(new)) {
            (None, None) => {
                // SAFETY: the caller's promise.
                return unsafe { System.realloc(pointer, layout, size) };
            }
            (Some(old), Some(new)) => {
                if old == new {
                    return pointer;
                }
                self.with_kept(|kept| kept.grow(new.size()));
                self.free_surplus();
                // SAFETY: the block is from the system with this layout.
                let moved = unsafe { System.realloc(pointer, old, new.size()) };
                self.with_kept(|kept| kept.live -= if moved.is_null() { new.size() } else { old.size() });
                return moved;
            }
            _ => {}
        }
        // SAFETY: the caller's promise; both blocks hold what is copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(pointer, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn a_freed_block_is_given_to_the_next_of_its_size() {
        let allocator = &KeepBlocks::new();
        // SAFETY: every block is freed once with its layout, and written within its size.
        unsafe {
            let first = allocator.alloc(layout(10 * MIB));
            first.write_bytes(7, 10 * MIB);
            allocator.dealloc(first, layout(10 * MIB));
            let other = allocator.alloc(layout(20 * MIB));
            assert_ne!(other, first);
            // Between 8 and 16 MiB, blocks are of whole MiB.
            let again = allocator.alloc_zeroed(layout(10 * MIB - 5));
            assert_eq!(again, first);
            assert!(std::slice::from_raw_parts(again, 10 * MIB - 5).iter().all(|byte| *byte == 0));
            for (block, size) in [(again, 10 * MIB - 5), (other, 20 * MIB)] {
                allocator.dealloc(block, layout(size));
            }
            assert_eq!(allocator.with_kept(|kept| kept.bytes), 30 * MIB);
        }
    }

    #[test]
    fn what_grows_and_shrinks_keeps_its_numbers() {
        let allocator = &KeepBlocks::new();
        // SAFETY: as above.
        unsafe {
            let mut size = 1000;
            let mut block = allocator.alloc(layout(size));
            block.write_bytes(3, size);
            for next in [MIB / 2, MIB, MIB + 9, 5 * MIB, 5 * MIB + 1, 3 * MIB, 70] {
                block = allocator.realloc(block, layout(size), next);
                let common = size.min(next);
                assert!(std::slice::from_raw_parts(block, common).iter().all(|byte| *byte == 3), "{size} to {next}");
                block.write_bytes(3, next);
                size = next;
            }
            allocator.dealloc(block, layout(size));
        }
    }

    #[test]
    fn a_peak_is_no_higher_for_what_is_kept() {
        let allocator = &KeepBlocks::new();
        let state = || allocator.with_kept(|kept| (kept.count, kept.bytes, kept.live, kept.most));
        // SAFETY: as above.
        unsafe {
            let blocks: Vec<_> = (1..60).map(|size| (allocator.alloc(layout(size * MIB)), size * MIB)).collect();
            let most = state().2;
            assert!(most >= 59 * 60 / 2 * MIB);
            for (block, size) in blocks {
                allocator.dealloc(block, layout(size));
            }
            // All of it is kept, for it was in use at once.
            assert_eq!(state(), (59, most, 0, most));
            // Of a new size: the oldest make room.
            let huge: Vec<_> = (0..4).map(|_| allocator.alloc(layout(500 * MIB))).collect();
            let (_, bytes, live, most) = state();
            assert!(live >= 2000 * MIB && most == live && bytes <= KEPT && bytes > KEPT - 60 * MIB);
            for block in huge {
                allocator.dealloc(block, layout(500 * MIB));
            }
            assert_eq!(state().1, bytes + live);
            allocator.trim();
            assert_eq!(state(), (0, 0, 0, 0), "blocks larger than what is kept without need");
        }
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let allocator = &KeepBlocks::new();
        let kept = || allocator.with_kept(|kept| (kept.count, kept.bytes));
        // SAFETY: as above.
        unsafe {
            let blocks: Vec<_> = (0..2 * COUNT).map(|_| allocator.alloc(layout(MIB))).collect();
            for block in blocks {
                allocator.dealloc(block, layout(MIB));
            }
            assert_eq!(kept(), (COUNT, COUNT * MIB));
            allocator.trim();
            assert_eq!(kept(), (KEPT / MIB, KEPT));
        }
    }
}
