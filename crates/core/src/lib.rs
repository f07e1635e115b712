//! The domain and the steps of a bake, behind ports; no SDK and no I/O.

pub mod id;
