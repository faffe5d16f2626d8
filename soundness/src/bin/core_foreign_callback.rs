//! B8, adopt 6: the id of another registry's callback calls another function.
use kemi::NoContext;
use soundness::{load, registry, shown};

fn main() {
    let (_, ids) = registry::<NoContext>(&["delete_all", "greet"]);
    let (own, _) = registry::<NoContext>(&["greet", "delete_all"]);
    let instance = load("lua", &own, "function greet() return 'greeting' end function delete_all() return 'delete_all' end");
    let got = instance.call(ids[1], &mut NoContext, &[]);
    println!("WRONG FUNCTION: the host asked for greet by the id of another registry; what ran was {}", shown(&got));
}
