//! The number of steps that a pattern may take, by its form and the length of the text.

use super::pattern::{Node, Pattern};

/// Estimates the steps of a search in a text of so many characters from above; infinite where it grows beyond numbers.
pub(crate) fn steps(pattern: &Pattern, length: usize, only_here: bool) -> f64 {
    let length = length as f64 + 1.0;
    let (_, steps) = of(&pattern.node, length);
    if only_here { steps } else { steps * length }
}

/// Returns in how many ways a part can match from one place on, and how many steps it takes to go through all of them.
fn of(node: &Node, length: f64) -> (f64, f64) {
    match node {
        Node::Set { .. } | Node::Start { .. } | Node::End { .. } | Node::Word { .. } => (1.0, 1.0),
        Node::Reference { groups, .. } => (groups.len() as f64, length * groups.len() as f64),
        Node::Group(_, node) => of(node, length),
        Node::Look { node, .. } => (1.0, 1.0 + of(node, length).1),
        Node::Sequence(nodes) => nodes.iter().fold((1.0, 1.0), |(ways, steps), node| {
            let (more, each) = of(node, length);
            (ways * more, steps + ways * each)
        }),
        Node::Alternatives(nodes) => nodes.iter().fold((0.0, 1.0), |(ways, steps), node| {
            let (more, each) = of(node, length);
            (ways + more, steps + each)
        }),
        Node::Repeat { node, most, least, .. } => {
            let (ways, steps) = of(node, length);
            // What matches nothing ends the repetition, once the least is reached.
            let times = (*most as f64).min(length + *least as f64);
            if ways <= 1.0 {
                return (times + 1.0, 1.0 + times * (steps + 1.0));
            }
            let all = ways.powf(times.min(4096.0)) * ways / (ways - 1.0);
            (all, all * (steps + 1.0))
        }
    }
}
