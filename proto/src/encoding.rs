//! The one encoding of what is hashed or signed: compact JSON with sorted keys, as audit records have it.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// The digest of a value: SHA-256 over its compact JSON, the keys of every object in byte order, in 64 hex digits. `None`
/// if it is no JSON: a map whose keys are no texts, for one.
#[must_use]
pub fn digest<T: Serialize>(value: &T) -> Option<String> {
    let text = serde_json::to_string(&sorted(serde_json::to_value(value).ok()?)).ok()?;
    Some(hex::encode(Sha256::digest(text)))
}

/// Puts every object's members into the order of their keys, whatever the JSON library was built to keep.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_is_that_of_the_compact_text_with_sorted_keys() {
        // Computed apart: printf '{"a":{"b":"ü","c":[1,{"d":2,"e":3}]},"z":"x"}' | sha256sum
        let value = json!({"z": "x", "a": {"c": [1, {"e": 3, "d": 2}], "b": "ü"}});
        assert_eq!(
            digest(&value).unwrap(),
            hex::encode(Sha256::digest(r#"{"a":{"b":"ü","c":[1,{"d":2,"e":3}]},"z":"x"}"#))
        );
    }
}
