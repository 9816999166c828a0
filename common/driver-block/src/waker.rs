//! Waking another thread out of a wait for descriptors.

#[cfg(not(loom))]
pub use descriptors::Waker;
#[cfg(loom)]
pub use interleaved::Waker;

#[cfg(not(loom))]
mod descriptors {
    use std::{
        fmt, io,
        os::fd::{AsFd, BorrowedFd, OwnedFd},
        sync::Arc,
    };

    use rustix::io::Errno;

    /// Ends the wait of a thread. Clones wake the same thread. Being woken several times is being woken once.
    #[derive(Clone)]
    pub struct Waker(Arc<Ends>);

    /// Linux: an eventfd is both ends. Elsewhere: a pipe.
    struct Ends {
        #[cfg(not(target_os = "linux"))]
        write: OwnedFd,
        read: OwnedFd,
    }

    impl Waker {
        /// A waker that nobody has woken.
        ///
        /// # Errors
        /// What the OS answers: usually that there are too many descriptors.
        #[cfg(target_os = "linux")]
        pub fn new() -> io::Result<Self> {
            use rustix::event::{EventfdFlags, eventfd};
            let read = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(Waker(Arc::new(Ends { read })))
        }

        /// A waker that nobody has woken.
        ///
        /// # Errors
        /// What the OS answers: usually that there are too many descriptors.
        #[cfg(not(target_os = "linux"))]
        pub fn new() -> io::Result<Self> {
            use rustix::pipe::{PipeFlags, pipe_with};
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            Ok(Waker(Arc::new(Ends { write, read })))
        }

        /// Wakes the thread, now or when it waits next.
        pub fn wake(&self) {
            #[cfg(target_os = "linux")]
            let (fd, token) = (&self.0.read, 1u64.to_ne_bytes());
            #[cfg(not(target_os = "linux"))]
            let (fd, token) = (&self.0.write, [1u8]);
            // Full means that it has been woken often enough.
            retry(|| rustix::io::write(fd, &token));
        }

        /// Forgets that it was woken. To be called before looking for what was meant.
        pub fn clear(&self) {
            let mut tokens = [0u8; 64];
            while retry(|| rustix::io::read(&self.0.read, &mut tokens)) == tokens.len() {}
        }
    }

    /// The number of bytes that went through; 0 if none could.
    fn retry(mut transfer: impl FnMut() -> rustix::io::Result<usize>) -> usize {
        loop {
            match transfer() {
                Ok(count) => return count,
                Err(Errno::INTR) => {}
                Err(_) => return 0,
            }
        }
    }

    impl AsFd for Waker {
        /// What becomes readable when the thread is woken.
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.read.as_fd()
        }
    }

    impl fmt::Debug for Waker {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Waker")
        }
    }
}

/// The same without descriptors, for trying every interleaving.
#[cfg(loom)]
mod interleaved {
    use std::io;

    use loom::sync::{Arc, Condvar, Mutex};

    /// Ends the wait of a thread.
    #[derive(Clone, Debug)]
    pub struct Waker(Arc<(Mutex<bool>, Condvar)>);

    impl Waker {
        /// A waker that nobody has woken.
        ///
        /// # Errors
        /// None.
        pub fn new() -> io::Result<Self> {
            Ok(Waker(Arc::new((Mutex::new(false), Condvar::new()))))
        }

        /// Wakes the thread, now or when it waits next.
        pub fn wake(&self) {
            if let Ok(mut woken) = self.0.0.lock() {
                *woken = true;
                self.0.1.notify_all();
            }
        }

        /// Forgets that it was woken.
        pub fn clear(&self) {
            if let Ok(mut woken) = self.0.0.lock() {
                *woken = false;
            }
        }

        /// Waits until it is woken, for ever: a lost wake-up shows as a deadlock.
        #[cfg(test)]
        pub(crate) fn wait(&self) {
            if let Ok(mut woken) = self.0.0.lock() {
                while !*woken {
                    match self.0.1.wait(woken) {
                        Ok(guard) => woken = guard,
                        Err(_) => return,
                    }
                }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{os::fd::AsFd, time::Duration};

    use redox_driver_sys::{event::EventQueue, time::Clock};

    use super::*;

    #[test]
    fn wakes_until_it_is_cleared() {
        let waker = Waker::new().unwrap();
        let mut events = EventQueue::new(&Clock::monotonic()).unwrap();
        events.add_fd(waker.as_fd(), 7).unwrap();
        let mut woken = |timeout| {
            let mut ready = Vec::new();
            events.wait(Duration::from_millis(timeout), &mut ready).unwrap();
            ready == [7]
        };
        assert!(!woken(0));
        for _ in 0..200 {
            waker.wake();
        }
        assert!(woken(1000) && woken(1000));
        waker.clear();
        assert!(!woken(0));
        waker.clone().wake();
        assert!(woken(1000));
    }
}
