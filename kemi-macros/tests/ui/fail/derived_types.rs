use kemi_macros::Value;

#[derive(Value)]
struct Generic<T> {
    held: T,
}

#[derive(Value)]
struct Pair(i64, i64);

#[derive(Value)]
enum Shape {
    Point(f64, f64),
}

#[derive(Value)]
#[kemi(rename_all = "snakecase")]
struct Renamed {
    #[kemi(defualt)]
    a: i64,
    #[kemi(rename = "a")]
    b: i64,
}

fn main() {}
