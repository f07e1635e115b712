//! What no compiler sees: the state machines' graphs, and the template with its roles.

mod floors;
mod guard;
mod infra;
mod policies;
mod port_actions;
mod state_machines;
