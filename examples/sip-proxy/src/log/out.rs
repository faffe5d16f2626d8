//! Where the log goes, and what of it takes a line without letting whoever writes it wait.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// The descriptor that the lines are written to.
pub(super) struct Out {
    descriptor: OwnedFd,
    kind: Kind,
}

/// How a descriptor takes what is written.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "elsewhere all may wait"))]
enum Kind {
    /// A file of a local file system: to write is to copy into memory. What makes it wait all the same, a disk that fails
    /// or a file system that is frozen, nothing tells beforehand.
    File,
    /// A pipe, by a description of its own that never waits. That of `descriptor` is shared with whoever has started the
    /// process, and must not be changed; to ask it whether there is room would be no promise, since others write as well.
    Pipe(OwnedFd),
    /// Never waits if asked not to.
    Socket,
    /// A terminal, a device, a file on the network: nobody knows how long it takes.
    Slow,
}

impl Out {
    pub(super) fn new(descriptor: OwnedFd) -> Out {
        let kind = kind(&descriptor);
        Out { descriptor, kind }
    }

    /// Returns whether [`write_all`](Self::write_all) takes no longer than a copy, as far as anybody can tell.
    pub(super) fn is_fast(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// Writes what can be written without any waiting; returns how much that is. A failure is left to be found by
    /// [`write_all`](Self::write_all).
    pub(super) fn write_at_once(&self, bytes: &[u8]) -> usize {
        // A pipe takes no more as a whole. What is longer may be torn by other writers anyway.
        if bytes.len() > libc::PIPE_BUF {
            return 0;
        }
        let written = match &self.kind {
            Kind::Pipe(pipe) => rustix::io::write(pipe, bytes),
            Kind::Socket => send(&self.descriptor, bytes, SendFlags::DONTWAIT),
            Kind::File | Kind::Slow => Ok(0),
        };
        written.unwrap_or(0)
    }

    /// Writes bytes, and waits if it must; returns how many, and why not all. `torn` tells that the last write ended within
    /// a line.
    pub(super) fn write_all(&self, bytes: &[u8], torn: &mut bool) -> (usize, Option<Errno>) {
        if *torn {
            match self.write(b"\n") {
                Ok(_) => *torn = false,
                Err(failure) => return (0, Some(failure)),
            }
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write(rest) {
                Ok(0) => return (done, Some(Errno::IO)),
                Ok(count) => done += count,
                Err(failure) => {
                    *torn = done > 0 && bytes.get(done - 1) != Some(&b'\n');
                    return (done, Some(failure));
                }
            }
        }
        (done, None)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            match rustix::io::write(&self.descriptor, bytes) {
                // Somebody has made it one that does not wait; who writes here has the time.
                Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&self.descriptor, PollFlags::OUT)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(failure) => return Err(failure),
                },
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn kind(descriptor: &OwnedFd) -> Kind {
    use rustix::fs::{FileType, fstat};

    let Ok(status) = fstat(descriptor) else { return Kind::Slow };
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile if is_local(descriptor) => Kind::File,
        FileType::Fifo => reopened(descriptor, &status).map_or(Kind::Slow, Kind::Pipe),
        FileType::Socket => Kind::Socket,
        _ => Kind::Slow,
    }
}

#[cfg(not(target_os = "linux"))]
fn kind(_: &OwnedFd) -> Kind {
    Kind::Slow
}

/// Returns whether a file lies on a file system that is known to need nobody else, neither a network nor another process.
#[cfg(target_os = "linux")]
fn is_local(descriptor: &OwnedFd) -> bool {
    const LOCAL: &[u32] = &[
        0x0000_ef53, // ext2, ext3, ext4
        0x5846_5342, // XFS
        0x9123_683e, // Btrfs
        0xf2f5_2010, // F2FS
        0x2fc1_2fc1, // ZFS
        0xca45_1a4e, // bcachefs
        0x794c_7630, // overlayfs, whose upper layer is one of these
        0x0102_1994, // tmpfs
    ];
    // The width and the sign of the number are the architecture's.
    rustix::fs::fstatfs(descriptor).is_ok_and(|system| LOCAL.contains(&(system.f_type as u32)))
}

/// Opens a pipe again, so that writing to it does not wait; `None` if the system does not let this process do so.
#[cfg(target_os = "linux")]
fn reopened(descriptor: &OwnedFd, status: &rustix::fs::Stat) -> Option<OwnedFd> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{Mode, OFlags, fstat, open};

    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let again = open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let same = fstat(&again).is_ok_and(|now| (now.st_dev, now.st_ino) == (status.st_dev, status.st_ino));
    same.then_some(again)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write, pipe};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_follows_a_torn_line_begins_on_a_line_of_its_own() {
        let (mut reader, writer) = pipe().unwrap();
        let mut torn = true;
        assert_eq!(Out::new(writer.into()).write_all(b"next\n", &mut torn), (5, None));
        assert!(!torn);
        let mut bytes = [0; 6];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"\nnext\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_that_others_fill_takes_nothing_at_once_and_keeps_its_flags() {
        let (_reader, mut other) = pipe().unwrap();
        let out = Out::new(other.try_clone().unwrap().into());
        assert_eq!(out.write_at_once(b"line\n"), 5);
        assert_eq!(out.write_at_once(&[b'x'; libc::PIPE_BUF + 1]), 0, "too long for one piece");
        let flags = rustix::fs::fcntl_getfl(&other).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "it is not this process's alone");
        let room = rustix::pipe::fcntl_getpipe_size(&other).unwrap() - libc::PIPE_BUF;
        other.write_all(&vec![b'x'; room]).unwrap();
        assert_eq!(out.write_at_once(&[b'x'; libc::PIPE_BUF]), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_nobody_reads_takes_some_at_once_and_then_nothing() {
        let (_reader, writer) = UnixStream::pair().unwrap();
        let out = Out::new(writer.into());
        let taken = (0..10_000).take_while(|_| out.write_at_once(&[b'x'; 1000]) == 1000).count();
        assert!((1..10_000).contains(&taken), "{taken}");
        assert_eq!(out.write_at_once(&[b'x'; 1000]), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_is_expected_of_what_may_wait() {
        let (gone, writer) = pipe().unwrap();
        drop(gone);
        for slow in [writer.into(), File::options().write(true).open("/dev/full").unwrap().into()] {
            let out = Out::new(slow);
            assert!(!out.is_fast());
            assert_eq!(out.write_at_once(b"line\n"), 0);
        }
    }
}
