//! What Auto Scaling refuses of a group's settings.

use super::{Group, MaintenancePolicy, invalid};
use crate::{Result, World};

impl World {
    pub(super) fn check_group(&self, group: &Group) -> Result<()> {
        let name = &group.name;
        if name.is_empty()
            || name.chars().count() > 255
            || name.contains(':')
            || name.chars().any(char::is_control)
        {
            return Err(invalid("A group's name has 1 to 255 characters, and no colon."));
        }
        if group.min_size > group.max_size {
            return Err(invalid("Max bound must be greater than or equal to min bound"));
        }
        if !(group.min_size..=group.max_size).contains(&group.desired) {
            return Err(invalid(format!(
                "Desired capacity:{} must be between the specified min size:{} and max size:{}",
                group.desired, group.min_size, group.max_size
            )));
        }
        // EC2's own limit of a launch is the model's limit of a group, too.
        if group.max_size > 1000 {
            return Err(invalid("MaxSize is at most 1000."));
        }
        self.check_configuration(&group.configuration)?;
        for arn in &group.target_groups {
            self.target_group(arn).map_err(|_| not_found(arn))?;
        }
        if let Some(MaintenancePolicy { min_healthy, max_healthy }) = group.maintenance {
            check_bounds(Some(min_healthy), Some(max_healthy))?;
        }
        Ok(())
    }

    /// The zones of subnets.
    pub(super) fn check_subnets(&self, subnets: &[String]) -> Result<Vec<String>> {
        if subnets.is_empty() {
            return Err(invalid("At least one Availability Zone or VPC Subnet is required."));
        }
        let zone = |id: &String| {
            let found = self.subnets.iter().find(|subnet| subnet.id == *id);
            let unknown = || invalid(format!("The subnet ID '{id}' does not exist"));
            found.map(|subnet| subnet.zone.clone()).ok_or_else(unknown)
        };
        let mut zones = subnets.iter().map(zone).collect::<Result<Vec<_>>>()?;
        zones.sort();
        zones.dedup();
        Ok(zones)
    }
}

pub(super) fn not_found(arn: &str) -> crate::ApiError {
    invalid(format!(
        "Provided Target Groups may not be valid. Please ensure they exist and try again. ({arn})"
    ))
}

/// Refuses percentages that Auto Scaling refuses: both or the lower alone, and at most 100 between them.
pub(super) fn check_bounds(min: Option<u32>, max: Option<u32>) -> Result<()> {
    if min.is_some_and(|min| min > 100) {
        return Err(invalid("MinHealthyPercentage is between 0 and 100."));
    }
    let Some(max) = max else { return Ok(()) };
    let Some(min) = min else {
        return Err(invalid("MinHealthyPercentage must be specified with MaxHealthyPercentage."));
    };
    if !(100..=200).contains(&max) {
        return Err(invalid("MaxHealthyPercentage is between 100 and 200."));
    }
    if max - min > 100 {
        let message = "The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than 100.";
        return Err(invalid(message));
    }
    Ok(())
}
