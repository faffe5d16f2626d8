use kemi_macros::kemi_export;

#[kemi_export(module = "m", cost = 5, callbacks(request))]
const LIMIT: i64 = 1;

#[kemi_export(module = "m")]
enum Level {
    Off,
    Custom(i64),
}

fn main() {
    let _ = (LIMIT, Level::Off, Level::Custom(1));
}
