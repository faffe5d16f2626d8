use kemi_macros::Value;

struct Address;

#[derive(Value)]
struct Order {
    id: u64,
    to: Address,
}

fn main() {}
