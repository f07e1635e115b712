//! What load balancers counted. Only operators' views ask for it: no function has the right to.

use jiff::Timestamp;

use crate::domain::{error::Result, traffic::BalancerTraffic};

/// What load balancers counted.
pub trait Traffic {
    /// What the Application Load Balancers of these target groups carried to them in the minutes from one moment to the
    /// other. A target group without one is left out.
    async fn traffic(
        &self,
        target_groups: &[String],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BalancerTraffic>>;
}
