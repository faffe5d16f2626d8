//! Commands that a script runs.

use std::ffi::c_int;
use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr;
use std::thread;
use std::time::Duration;

use kemi_core::limits::Limit;

use super::{budget, file};
use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::terminate::terminate;
use crate::{error, frames, string};

/// The pauses between two checks of a command: they grow from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(10)];

/// The most that a command may write, if the script's memory is not limited.
const MOST_OUTPUT: u64 = 1 << 30;

/// The reason why there is no status of a command.
enum Failure {
    /// The call is to end.
    Ending,
    /// It could not be started, or was ended because of what it wrote.
    Text(String),
}

/// Runs the command that is the argument, with the files at 2 and 3 as its standard input and output if they are there.
///
/// # Safety
/// Called by the chunk of `io`; the upvalue is the call state.
pub(super) unsafe extern "C-unwind" fn run(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing when it raises.
    unsafe {
        let call = CallState::of(l);
        ffi::luaL_checklstring(l, 1, ptr::null_mut());
        let files = [file::handle(l, 2), file::handle(l, 3)];
        match status_of(call, l, string::read(l, 1), files) {
            Ok((exited, code)) => {
                let how = if exited { c"exit" } else { c"signal" };
                ffi::lua_pushstring(l, how.as_ptr());
                ffi::lua_pushinteger(l, code.into());
                2
            }
            Err(Failure::Ending) => terminate(l, call),
            Err(Failure::Text(text)) => error::raise_text(l, call, text),
        }
    }
}

fn status_of(
    call: &CallState,
    l: LuaThread,
    command: &[u8],
    [input, output]: [Option<File>; 2],
) -> Result<(bool, i32), Failure> {
    let failed = |error: std::io::Error| Failure::Text(format!("the command cannot be started: {error}"));
    let watched = output.as_ref().and_then(|file| file.try_clone().ok());
    let stdio = |file: Option<File>| file.map_or_else(Stdio::inherit, Stdio::from);
    let mut shell = shell(command);
    let mut child = shell.stdin(stdio(input)).stdout(stdio(output)).spawn().map_err(failed)?;
    let most = match call.runtime().registry().limits().max_memory {
        0 => MOST_OUTPUT,
        limit => limit,
    };
    let [mut pause, longest] = PAUSES;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(split(status)),
            Ok(None) => {}
            Err(error) => return Err(failed(error)),
        }
        if budget::is_over(call, l) {
            kill(child);
            return Err(Failure::Ending);
        }
        if watched.as_ref().and_then(|file| file.metadata().ok()).is_some_and(|data| data.len() > most) {
            kill(child);
            call.runtime().hit_limit(Limit::Memory, frames::place(call.threads().current()));
            return Err(Failure::Ending);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Ends a command and all that it has started, and leaves waiting for that to a thread.
fn kill(mut child: Child) {
    #[cfg(unix)]
    if let Ok(group) = libc::pid_t::try_from(child.id()) {
        // SAFETY: no demands; the group is the child's own, which has not been waited for yet.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    // It may be gone already.
    let _ = child.kill();
    let waiter = thread::Builder::new().name("kemi reaper".to_owned());
    // Without a thread the system reaps it when the process ends.
    let _ = waiter.spawn(move || child.wait());
}

#[cfg(unix)]
fn shell(command: &[u8]) -> Command {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(std::ffi::OsStr::from_bytes(command)).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &[u8]) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(String::from_utf8_lossy(command).into_owned());
    shell
}

/// Tells whether a command has exited by itself, and its code or signal.
fn split(status: ExitStatus) -> (bool, i32) {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return (false, signal);
    }
    (true, status.code().unwrap_or(-1))
}
