//! Hetzner's lists: sorting, pages, `meta` and the `Link` header.

use serde_json::{Value, json};

use crate::hetzner::invalid;
use crate::state::State;
use crate::wire::{Answer, Call, Reply};

/// One page of `items` under `name`.
pub(crate) fn page(state: &State, call: &Call, name: &str, items: Vec<Value>) -> Answer {
    let number = positive(call, "page", 1)?;
    let size = positive(call, "per_page", 25)?.min(50);
    let total = items.len();
    let last = total.div_ceil(size).max(1);
    let shown: Vec<Value> = items
        .into_iter()
        .skip(size.saturating_mul(number - 1))
        .take(size)
        .collect();
    let next = (number < last).then_some(number + 1);
    let (last_page, total_entries) = if state.knobs.null_totals {
        (None, None)
    } else {
        (Some(last), Some(total))
    };
    let body = json!({
        name: shown,
        "meta": {"pagination": {
            "page": number, "per_page": size, "previous_page": (number > 1).then(|| number - 1),
            "next_page": next, "last_page": last_page, "total_entries": total_entries,
        }},
    });
    let reply = Reply::json(200, body);
    Ok(match next {
        Some(next) => reply.with_header("Link", call.link_to_page(next)),
        None => reply,
    })
}

/// A query parameter that is a whole number from 1.
fn positive(call: &Call, name: &str, default: usize) -> Result<usize, Reply> {
    match call.param(name) {
        None => Ok(default),
        Some(text) => {
            let number = text.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| invalid(name, "must be a number from 1"))
        }
    }
}

/// Sorts by the last `sort` parameter that names a known field; `id` when there is none.
pub(crate) fn sort(call: &Call, items: &mut [Value]) {
    for wish in call.params("sort") {
        let (field, order) = wish.split_once(':').unwrap_or((wish, "asc"));
        items.sort_by(|a, b| {
            let (a, b) = (a.get(field), b.get(field));
            let numbers = (a.and_then(Value::as_u64), b.and_then(Value::as_u64));
            match numbers {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.and_then(Value::as_str).cmp(&b.and_then(Value::as_str)),
            }
        });
        if order == "desc" {
            items.reverse();
        }
    }
}
