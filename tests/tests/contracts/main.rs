//! What no compiler sees: the state machines' graphs, and the template with its roles.

mod infra;
mod state_machines;
