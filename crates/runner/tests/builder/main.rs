//! The runner as a builder runs it: the program itself, with a cloud on loopback that is no laxer than AWS.

mod boots;
mod chef;
mod cloud;
mod seal;
mod secrets;
mod verbs;
mod work;
