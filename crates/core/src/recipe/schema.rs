//! The schema of a recipe.
pub(super) fn schema() -> serde_json::Value {
    serde_json::Value::Null
}
