//! A file that is cut off while it is mapped: SIGBUS becomes a flag, and the flag an error.
//!
//! Owns the process-wide handler of SIGBUS, installed with the first mapping of a file, and the list of live mappings that
//! it looks the fault up in. A fault in one of ours marks it broken and puts zero pages of this process in the place of its
//! rest, so that the access ends; whoever reads or appends asks [`Region::is_broken`] before it believes what it got. Any
//! other fault goes to the handler that was there before. A device that cannot read a page ends the same way.
//!
//! Invariants: the handler touches atomics and makes system calls, nothing else. An entry of the list is never freed, only
//! used again; it is empty before its range is unmapped.

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::{
        Once,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, compiler_fence, fence},
    },
};

/// `si_code` of an access beyond the end of the file, or to a page that the device could not give.
const BUS_ADRERR: c_int = 2;
/// `start` of an entry that somebody is filling in; no mapping begins there.
const CLAIMED: usize = 1;

/// One mapping, as the handler sees it.
#[derive(Debug, Default)]
pub struct Region {
    /// Address; 0 for none.
    start: AtomicUsize,
    bytes: AtomicUsize,
    is_writable: AtomicBool,
    is_broken: AtomicBool,
    next: AtomicPtr<Region>,
}

static REGIONS: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
static INSTALL: Once = Once::new();

impl Region {
    /// Enters a mapping, just made and not used yet.
    pub fn enter(start: usize, bytes: usize, is_writable: bool) -> &'static Self {
        INSTALL.call_once(install);
        let region = Self::claim();
        // ORDER: a handler that sees what comes now also sees that the entry was claimed.
        fence(Ordering::Release);
        region.bytes.store(bytes, Ordering::Relaxed);
        region.is_writable.store(is_writable, Ordering::Relaxed);
        region.is_broken.store(false, Ordering::Relaxed);
        // ORDER: whoever sees the address sees the rest.
        region.start.store(start, Ordering::Release);
        region
    }

    /// Empties the entry. Before the range is unmapped: behind that the address may be somebody else's.
    pub fn leave(&self) {
        self.start.store(0, Ordering::Release);
    }

    /// Whether a part of the mapping was not there when it was accessed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        // ORDER: behind the accesses that it is about. The handler ran in the thread that made them, so it is enough that
        // the compiler keeps the order.
        compiler_fence(Ordering::SeqCst);
        self.is_broken.load(Ordering::Relaxed)
    }

    fn claim() -> &'static Self {
        let free = all().find(|region| {
            region.start.compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        if let Some(region) = free {
            return region;
        }
        let made: &'static Self =
            Box::leak(Box::new(Self { start: AtomicUsize::new(CLAIMED), ..Self::default() }));
        let link = |first: *mut Self| {
            made.next.store(first, Ordering::Relaxed);
            Some(ptr::from_ref(made).cast_mut())
        };
        let _linked = REGIONS.fetch_update(Ordering::Release, Ordering::Relaxed, link);
        made
    }

    /// Where the mapping ends, if `address` lies in it. The entry of a mapping that is being accessed stays as it is; one that
    /// changes while it is looked at is another's.
    fn end_around(&self, address: usize) -> Option<usize> {
        let start = self.start.load(Ordering::Acquire);
        let end = start.checked_add(self.bytes.load(Ordering::Relaxed))?;
        fence(Ordering::Acquire);
        let is_same = self.start.load(Ordering::Relaxed) == start;
        (is_same && start > CLAIMED && (start..end).contains(&address)).then_some(end)
    }

    /// Puts zero pages in the place of everything from `address` to `end`; false if the system refuses.
    fn give_up_from(&self, address: usize, end: usize) -> bool {
        let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
        let from = address - address % page_bytes;
        let write = if self.is_writable.load(Ordering::Relaxed) { libc::PROT_WRITE } else { 0 };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // ORDER: before the zeros can be read.
        self.is_broken.store(true, Ordering::SeqCst);
        // SAFETY: the range is the rest of one mapping of ours, which the faulting thread is using and so cannot be
        // unmapped now; the kernel rounds its end up to the page that the mapping ends in. What is replaced is plain
        // bytes that no length or pointer in memory is taken from (R8), and the file beneath them is gone.
        let put =
            unsafe { libc::mmap(from as *mut c_void, end - from, libc::PROT_READ | write, flags, -1, 0) };
        put != libc::MAP_FAILED
    }
}

fn all() -> impl Iterator<Item = &'static Region> {
    let at = |pointer: *mut Region| {
        // SAFETY: null, or an entry that `claim` leaked and published with release order.
        unsafe { pointer.as_ref() }
    };
    std::iter::successors(at(REGIONS.load(Ordering::Acquire)), move |region| {
        at(region.next.load(Ordering::Acquire))
    })
}

/// Takes SIGBUS over. Where the system refuses, everything is as it was: a truncation ends the process.
fn install() {
    // SAFETY: asks for a number.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE_BYTES.store(usize::try_from(page_bytes).unwrap_or(4096).max(1), Ordering::Relaxed);
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    // SAFETY: a sigaction of zeros is valid: the default action, no flags, an empty mask.
    let (mut ours, previous) = unsafe { std::mem::zeroed::<(libc::sigaction, libc::sigaction)>() };
    ours.sa_sigaction = handler as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    let previous = Box::into_raw(Box::new(previous));
    // SAFETY: asks what is there, into memory of ours; it is published before our handler may need it.
    let asked = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), previous) };
    if asked == 0 {
        PREVIOUS.store(previous, Ordering::Release);
        // SAFETY: the handler has the three arguments that SA_SIGINFO asks for, lives for ever, and does only what is
        // safe in a handler (module invariants).
        let _as_it_was = unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) };
    }
}

extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid siginfo, and its address where the code says that it is a fault.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code == BUS_ADRERR
        && let Some((region, end)) = all().find_map(|region| Some((region, region.end_around(address)?)))
        && region.give_up_from(address, end)
    {
        return;
    }
    hand_on(signal, info, context);
}

/// To whoever was there before us.
fn hand_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: null, or what `install` leaked.
    let previous = unsafe { PREVIOUS.load(Ordering::Acquire).as_ref() };
    // SAFETY: `info` is valid, as above.
    let is_sent = unsafe { (*info).si_code } <= 0;
    match previous {
        Some(previous) if previous.sa_sigaction == libc::SIG_IGN && is_sent => {}
        Some(previous) if ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction) => {
            if previous.sa_flags & libc::SA_SIGINFO == 0 {
                // SAFETY: without SA_SIGINFO whoever installed it gave a function of one number.
                let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(previous.sa_sigaction) };
                handler(signal);
            } else {
                // SAFETY: with SA_SIGINFO it takes these three.
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    unsafe { std::mem::transmute(previous.sa_sigaction) };
                handler(signal, info, context);
            }
        }
        // The default ends the process. Raised as well, for a signal that was sent does not come again by itself.
        _ => {
            // SAFETY: both are safe in a handler; the signal is blocked here and comes when this returns.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}
