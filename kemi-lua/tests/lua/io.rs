//! The parts of `os` and `io` that wait for the system.
#![cfg(unix)]

use std::time::{Duration, Instant};

use kemi_core::{Arg, ErrorCode, Limits, Value};

use crate::host::{eval, try_load_limited};

const TIME: Limits = Limits { max_time_ms: 200, ..Limits::NONE };

#[test]
fn commands_end_with_the_call_that_started_them() {
    for body in [
        "os.execute('sleep 60')",
        "os.execute('sleep 60 & wait')",
        "while true do pcall(os.execute, 'sleep 60') end",
        "coroutine.wrap(function() os.execute('exec sleep 60') end)()",
        "os.execute('cat > /dev/null < /dev/zero')",
        "io.popen('sleep 60'):read('a')",
        "io.popen('sleep 60', 'w'):close()",
        "io.popen('cat /dev/zero | tail -f'):read('a')",
        "for line in io.popen('sleep 60'):lines() do end",
    ] {
        let source = format!("function main(fine) if fine then return 'fine' end {body} end");
        let mut script = try_load_limited(TIME, &source).expect("it loads");
        let start = Instant::now();
        assert_eq!(script.call(&[]).map_err(|error| error.code), Err(ErrorCode::TimeLimit), "{body}");
        assert!(start.elapsed() < Duration::from_secs(20), "{body} took {:?}", start.elapsed());
        assert_eq!(script.value(&[Arg::Bool(true)]), Value::from("fine"), "{body}");
        let start = Instant::now();
        drop(script);
        assert!(start.elapsed() < Duration::from_secs(20), "{body}: the end took {:?}", start.elapsed());
    }
}

#[test]
fn what_a_command_writes_is_limited_like_memory() {
    let limits = Limits { max_memory: 8 << 20, max_time_ms: 30_000, ..Limits::NONE };
    let mut script =
        try_load_limited(limits, "function main() return #io.popen('yes'):read('a') end").expect("it loads");
    assert_eq!(script.call(&[]).map_err(|error| error.code), Err(ErrorCode::MemoryLimit));
}

#[test]
fn commands_work_as_ever() {
    let jit = cfg!(luajit);
    assert_eq!(eval("return io.popen('echo hello; echo you'):read()"), Value::from("hello"));
    let lines = "local t = {} for line in io.popen('printf \"a\\nb\\nc\"'):lines() do t[#t + 1] = line end return table.concat(t, ',')";
    assert_eq!(eval(lines), Value::from("a,b,c"));
    assert_eq!(eval("return tostring(os.execute('exit 0'))"), Value::from(if jit { "0" } else { "true" }));
    if jit {
        assert_eq!(eval("return os.execute('exit 3')"), Value::Int(3 * 256));
    } else {
        assert_eq!(eval("return {select(2, os.execute('exit 3'))}").to_string(), r#"["exit", 3]"#);
        assert_eq!(eval("return {select(2, os.execute('kill -9 $$'))}").to_string(), r#"["signal", 9]"#);
        assert_eq!(eval("return {select(2, io.popen('exit 5'):close())}").to_string(), r#"["exit", 5]"#);
        assert_eq!(eval("return {io.popen('true'):close()}").to_string(), r#"[true, "exit", 0]"#);
        assert_eq!(eval("return os.execute()"), Value::Bool(true));
    }
    let file = std::env::temp_dir().join(format!("kemi-lua-popen-{}", std::process::id()));
    let body = format!(
        "local f = io.popen('cat > {0}', 'w') f:write('x', 5) f:close() local g = io.open('{0}') local s = g:read('*a') g:close() os.remove('{0}') return s",
        file.display()
    );
    assert_eq!(eval(&body), Value::from("x5"));
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let folder = std::env::temp_dir().join(format!("kemi-lua-fifos-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let fifo = folder.join("fifo");
    let name = std::ffi::CString::new(fifo.as_os_str().as_encoded_bytes()).expect("no NUL");
    // SAFETY: the name ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let body = format!(
        "local p = '{}' local function told(_, e) return (e:find('wait for ever', 1, true)) ~= nil end
         local function fails(f, ...) local ok, e = pcall(f, ...) return not ok and told(nil, e) end
         return {{told(io.open(p)), told(io.open(p, 'w')), fails(io.lines, p), fails(io.input, p), fails(io.output, p),
            told(io.open('/dev/stdin')) or io.open('/dev/stdin') ~= nil}}",
        fifo.display()
    );
    let told = eval(&body).to_string();
    let _ = std::fs::remove_dir_all(&folder);
    assert_eq!(told, "[true, true, true, true, true, true]");
}

#[test]
fn files_work_as_ever_and_the_standard_input_is_empty() {
    let path = std::env::temp_dir().join(format!("kemi-lua-file-{}", std::process::id()));
    let body = format!(
        "local p = '{}'
         local f = assert(io.open(p, 'w')) assert(f:write('a\\n', 1, '\\n', 2.5, '\\n')) f:close()
         local t = {{}} for line in io.lines(p) do t[#t + 1] = line end
         f = io.open(p, 'a') f:write('end') f:close()
         f = io.open(p) t[#t + 1] = f:read('*a'):gsub('\\n', '|') t[#t + 1] = io.type(f) io.close(f) t[#t + 1] = io.type(f)
         os.remove(p)
         t[#t + 1] = tostring(io.read()) t[#t + 1] = tostring(io.stdin:read('*l'))
         t[#t + 1] = tostring(io.open(p)) t[#t + 1] = io.open('/dev/null'):read('*a')
         io.write('') io.stdout:write('') return table.concat(t, ',')",
        path.display()
    );
    assert_eq!(eval(&body), Value::from("a,1,2.5,a|1|2.5|end,file,closed file,nil,nil,nil,"));
}
