//! Tests in a network namespace of their own, with loopback alone: hostile messages may name foreign hosts.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set in the process that runs the test inside of the namespace.
const INSIDE: &str = "SIP_PROXY_TEST_IS_ISOLATED";

/// The status of that process when the kernel gives no namespace.
const REFUSED: i32 = 77;

/// Runs `test`, which is the body of the running test, in a process and a network namespace of their own.
///
/// Where the kernel gives no namespace, the test is skipped and says so.
pub fn isolated(test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    // The harness names each test's thread after it.
    let thread = std::thread::current();
    let name = thread.name().expect("a test runs on a thread of its own");
    let mut command = Command::new(std::env::current_exe().expect("the test's own binary"));
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    // SAFETY: between fork and exec only system calls are made, and memory that was there before is read.
    unsafe { command.pre_exec(enter) };
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.raw_os_error() == Some(REFUSED) => {
            eprintln!("SKIPPED: {name}: the kernel gives no network namespace; run it as root");
            return;
        }
        Err(error) => panic!("the test's own binary does not start: {error}"),
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in the namespace:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "'{name}' is not the name of a test:\n{out}");
}

/// Leaves for a namespace with nothing but a loopback interface, and switches that on.
fn enter() -> io::Result<()> {
    // SAFETY: system calls without pointers, on the only thread of a process that has just been forked.
    let entered = unsafe {
        libc::unshare(libc::CLONE_NEWNET) == 0 || libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) == 0
    };
    if !entered {
        return Err(io::Error::from_raw_os_error(REFUSED));
    }
    // SAFETY: the request is an interface's name, which ends in NUL, and its flags, as the call demands.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let done = libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request);
        let error = io::Error::last_os_error();
        libc::close(socket);
        if done == 0 { Ok(()) } else { Err(error) }
    }
}
