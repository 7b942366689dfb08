//! Reads single fields of Stripe's objects. It must not know what any object means.

use super::REFERENCES_MAX;
use serde_json::Value;
use std::str::FromStr;

/// Ids are opaque and at most 255 long (Stripe: API versioning).
const ID_BYTES_MAX: usize = 255;

/// The last second of the year 9999: no time of Stripe's lies beyond.
const SECONDS_MAX: i64 = 253_402_300_799;

/// The Unix seconds in a field; none when they cannot be a time.
pub(super) fn seconds(object: &Value, field: &str) -> Option<i64> {
    let given = object.get(field).and_then(Value::as_i64);
    given.filter(|seconds| (0..=SECONDS_MAX).contains(seconds))
}

/// The text in a field.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

/// The id in a field.
pub(super) fn id<T: FromStr>(object: &Value, field: &str) -> Option<T> {
    text(object, field).and_then(|text| text.parse().ok())
}

/// The text of an id in a field, if it looks like one.
pub(super) fn reference(object: &Value, field: &str) -> Option<String> {
    let named = text(object, field).or_else(|| text(object.get(field)?, "id"))?;
    let fits = (1..=ID_BYTES_MAX).contains(&named.len());
    (fits && named.bytes().all(|byte| byte.is_ascii_graphic())).then(|| named.to_owned())
}

/// The id in a field that holds an id, or the whole object when Stripe was asked to expand it.
pub(super) fn expandable<T: FromStr>(object: &Value, field: &str) -> Option<T> {
    reference(object, field).and_then(|text| text.parse().ok())
}

/// The ids in these fields, each once; fields that hold none are skipped.
pub(super) fn references<'a>(
    fields: impl IntoIterator<Item = (&'a Value, &'a str)>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (object, field) in fields {
        let fresh = reference(object, field).filter(|id| !found.contains(id));
        found.extend(fresh);
    }
    found.truncate(REFERENCES_MAX);
    found
}

/// At most `chars` characters of a text for people. PostgreSQL's text holds no NUL, and people
/// read this: control characters are left out.
pub(super) fn plain(text: &str, chars: usize) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(chars)
        .collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_ids_each_once_in_their_order() {
        let object = json!({"a": "pi_1", "b": {"id": "in_1", "object": "invoice"}, "c": "pi_1",
            "d": null, "e": 7, "f": "", "g": "a b", "h": "x".repeat(256), "i": "ü", "j": "ch_1"});
        let fields = ["z", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let named = references(fields.map(|field| (&object, field)));
        assert_eq!(named, ["pi_1", "in_1", "ch_1"]);
    }

    #[test]
    fn seconds_are_a_time_or_nothing() {
        for (given, taken) in [
            (json!(0), Some(0)),
            (json!(1_795_219_200), Some(1_795_219_200)),
            (json!(SECONDS_MAX), Some(SECONDS_MAX)),
            (json!(SECONDS_MAX + 1), None),
            (json!(-1), None),
            (json!(i64::MAX), None),
            (json!(1.5), None),
            (json!("2026-11-21T10:00:00.000Z"), None),
            (json!(null), None),
        ] {
            assert_eq!(
                seconds(&json!({"created": given}), "created"),
                taken,
                "{given}"
            );
        }
    }

    #[test]
    fn no_more_references_are_taken_than_fit() {
        let objects: Vec<Value> = (0..30).map(|n| json!({"id": format!("pi_{n}")})).collect();
        let named = references(objects.iter().map(|object| (object, "id")));
        assert_eq!(named.len(), REFERENCES_MAX);
    }
}
