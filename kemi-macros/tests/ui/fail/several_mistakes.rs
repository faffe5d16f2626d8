use kemi_macros::kemi_export;

struct Cx;

#[kemi_export(modul = "m", cost = "much", callbacks(request, request))]
async fn f<T>(_cx: &mut Cx, _body: Vec<u8>, _pair: (i64, T), _: i64) -> i128 {
    0
}

// The function itself is still there: its caller adds no message of its own.
fn g(cx: &mut Cx) {
    drop(f::<i64>(cx, Vec::new(), (1, 2), 3));
}

fn main() {}
