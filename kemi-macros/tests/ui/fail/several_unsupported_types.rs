use kemi_macros::kemi_export;

struct Cx;

struct Order;

struct Address;

#[kemi_export(module = "m")]
fn ship(_cx: &mut Cx, _order: Order, _n: i64, _to: Address) -> Order {
    Order
}

fn main() {}
