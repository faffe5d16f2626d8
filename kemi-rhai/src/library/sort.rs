//! Sorting by a function of the script. Rhai's own goes on when the comparison fails, and so past an exit.

use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext, Position};

use super::RhaiResult;

/// Replaces `sort` and `order` with a function.
pub(crate) fn install(engine: &mut Engine) {
    engine.register_fn("sort", sort_by).register_fn("sort_by", sort_by);
    engine.register_fn("order", order_by).register_fn("order_by", order_by);
}

/// Sorts an array by a function that tells the order of two items as a number or as "goes before".
///
/// If it fails, the array stays as it was.
fn sort_by(call: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr) -> RhaiResult<()> {
    let mut before = |a: usize, b: usize| match (array.get(a), array.get(b)) {
        (Some(a), Some(b)) => {
            let order = comparer.call_raw(&call, None, [a.clone(), b.clone()])?;
            goes_before(&order, call.call_position())
        }
        _ => Ok(false),
    };
    let order = sorted(&(0..array.len()).collect::<Vec<_>>(), &mut before)?;
    let mut items: Vec<Dynamic> = std::mem::take(array).into_iter().collect();
    *array = order.into_iter().filter_map(|i| items.get_mut(i).map(Dynamic::take)).collect();
    Ok(())
}

/// Gives a sorted copy of an array.
fn order_by(call: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr) -> RhaiResult<Array> {
    let mut array = array.clone();
    sort_by(call, &mut array, comparer)?;
    Ok(array)
}

fn goes_before(order: &Dynamic, position: Position) -> RhaiResult<bool> {
    if let Ok(number) = order.as_int() {
        return Ok(number < 0);
    }
    order.as_bool().map_err(|given| {
        let message = format!("the function to sort by must return an integer or a boolean, not {given}");
        EvalAltResult::ErrorRuntime(message.into(), position).into()
    })
}

/// A stable merge sort that ends at the first failure and does not mind an inconsistent order.
fn sorted<E>(items: &[usize], before: &mut impl FnMut(usize, usize) -> Result<bool, E>) -> Result<Vec<usize>, E> {
    if items.len() <= 1 {
        return Ok(items.to_vec());
    }
    let (left, right) = items.split_at(items.len() / 2);
    let (left, right) = (sorted(left, before)?, sorted(right, before)?);
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    let mut merged = Vec::with_capacity(items.len());
    while let (Some(&a), Some(&b)) = (left.peek(), right.peek()) {
        merged.extend(if before(b, a)? { right.next() } else { left.next() });
    }
    merged.extend(left.chain(right));
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::sorted;

    #[test]
    fn sorting_is_stable_and_ends_with_an_inconsistent_order() {
        let keys = [3, 1, 2, 1, 3, 0];
        let by_key = sorted::<()>(&[0, 1, 2, 3, 4, 5], &mut |a, b| Ok(keys[a] < keys[b]));
        assert_eq!(by_key, Ok(vec![5, 1, 3, 2, 0, 4]));
        let inconsistent = sorted::<()>(&[0, 1, 2, 3, 4], &mut |_, _| Ok(true)).unwrap();
        assert_eq!(inconsistent.len(), 5);
        assert_eq!(sorted(&[0, 1], &mut |_, _| Err("no")), Err("no"));
    }
}
