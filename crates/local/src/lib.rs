//! The local cloud: the world served over HTTP, with real machines.
