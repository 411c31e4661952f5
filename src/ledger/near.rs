//! Brings memory near before it is read: at ten million members the wait for memory is most of what a command costs, and
//! reads that are asked for ahead wait together. The one file with `unsafe`.
#![allow(unsafe_code, reason = "a prefetch has no safe form; what makes it sound stands beside it")]

/// Asks for the cache line that a value begins in. A hint: it reads nothing and changes nothing but what is near.
#[inline(always)]
pub(crate) fn ask<T: ?Sized>(value: &T) {
    let line = std::ptr::from_ref(value).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect that a program can see and never faults, whatever its address; this one is moreover
    // that of a live value. Every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
