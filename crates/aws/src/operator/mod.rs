//! What only the operators' command asks: functions have no permission for it, and are smaller without it.

mod account;
mod networks;
mod signals;
