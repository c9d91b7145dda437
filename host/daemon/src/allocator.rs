//! How the process takes memory from the system. Knows nothing of what it is for.

/// Has every thread take its memory from one place, which glibc would otherwise keep a separate one of for each: what one thread
/// gives back, another can then use, and a host with many services needs half as much. Short-lived pieces are kept by each
/// thread itself in any case, so that threads seldom meet there. To be called before any other thread begins.
#[cfg(target_env = "gnu")]
pub fn share_memory_between_threads() {
    #[expect(unsafe_code, reason = "the C library has no safe door to this setting")]
    // SAFETY: takes two numbers, and is called while there is one thread only.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    // Where it is refused, memory is as it would have been.
    debug_assert_eq!(set, 1, "glibc knows this setting");
}

/// Gives the system back what is free now: what only a start needed, such as compiling, is then nobody's.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    #[expect(unsafe_code, reason = "the C library has no safe door to this")]
    // SAFETY: takes a number and may be called at any time by any thread. It says whether there was anything to give back.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

/// Other C libraries have one place anyway.
#[cfg(not(target_env = "gnu"))]
pub fn share_memory_between_threads() {}
