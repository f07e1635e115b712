//! What the steps ask of the outside world, in domain words.
//!
//! `crates/aws` answers with the SDK, `crates/testkit` with the model of `crates/sim`. `Ok` means that AWS confirmed the call.
//! A lost reply is an error: the step looks before it calls again.

#![expect(
    async_fn_in_trait,
    reason = "the ports are used as generics in this workspace; no trait object needs Send bounds"
)]

mod account;
mod clock;
mod groups;
mod images;
mod instances;
mod network;
mod objects;
mod parameters;
mod recycle_bin;
mod references;
mod retirement;
mod table;
mod traffic;
mod volume;
mod workflow;

pub use self::{
    account::{Account, Caller, Rule, Run, Signals, Subscription, VolumeEncryption},
    clock::Clock,
    groups::{Balancers, GoesBack, Groups, LAUNCHING, RefreshOrder, Templates},
    images::{Image, ImageAttributes, ImageState, Images, Protection},
    instances::{Builders, Instance, InstanceState, LaunchOrder, Profile, Role},
    network::{Endpoint, EndpointKind, Networks, RouteTable, Subnet, Vpc},
    objects::{Bucket, LOOKED_THROUGH, Object, Presigner},
    parameters::{ParameterKind, Parameters, Put},
    recycle_bin::RecycleBin,
    references::{Look, References, Source, Versions},
    retirement::{Permission, PrunePorts, Retirement, Snapshot, Stack, Witness},
    table::{Expect, Index, Key, Row, Table, Write},
    traffic::Traffic,
    volume::{Volume, VolumeState},
    workflow::{Execution, Workflow},
};

/// All ports at once: what a function is given.
pub trait Ports: Images + Presigner + PrunePorts + Groups + Balancers + Templates + Clock {}

impl<C: Images + Presigner + PrunePorts + Groups + Balancers + Templates + Clock> Ports for C {}
