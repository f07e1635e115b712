//! EC2 and SSM as one pure, strict model with a given clock and faults on demand.
