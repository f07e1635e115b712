//! Bytes as JSON keeps them: a text a third as long as a list of numbers.
//!
//! Not `serde_with`: a world that was saved before has the list, and must be read too.

use ::base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Writes them.
pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(to)
}

/// Bytes as a world has them that was saved, now or before they were a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Saved {
    Text(String),
    Numbers(Vec<u8>),
}

/// Reads them.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    match Option::<Saved>::deserialize(from)? {
        Some(Saved::Text(text)) => STANDARD.decode(text).map(Some).map_err(D::Error::custom),
        Some(Saved::Numbers(bytes)) => Ok(Some(bytes)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Kept(#[serde(with = "super")] Option<Vec<u8>>);

    #[test]
    fn both_ways_to_save_are_read() {
        for (saved, bytes, written) in [
            ("[0,1,255]", Some(vec![0, 1, 255]), "\"AAH/\""),
            ("\"AAH/\"", Some(vec![0, 1, 255]), "\"AAH/\""),
            ("null", None, "null"),
        ] {
            let kept: Kept = serde_json::from_str(saved).unwrap();
            assert_eq!(kept.0, bytes);
            assert_eq!(serde_json::to_string(&kept).unwrap(), written);
        }
    }
}
