//! EC2 Fleets and spot fleets: none can be made here, so there are none.

use ovenbird_sim::ApiError;

use super::{
    Call,
    shared::{filters, paging},
};

pub(super) fn describe_fleets(call: &Call<'_>) -> Result<String, ApiError> {
    let (filters, _) = (filters(&call.params)?, paging(&call.params)?);
    let unknown = call.params.texts("FleetId").into_iter().next();
    call.finish_look()?;
    call.look(|world| world.describe_fleets(&filters))?;
    refuse(unknown, "InvalidFleetId.NotFound")?;
    call.answer("DescribeFleets", |xml| xml.list("fleetSet", [(); 0], |_, ()| {}))
}

pub(super) fn describe_spot_fleet_requests(call: &Call<'_>) -> Result<String, ApiError> {
    let _ = paging(&call.params)?;
    let unknown = call.params.texts("SpotFleetRequestId").into_iter().next();
    call.finish_look()?;
    refuse(unknown, "InvalidSpotFleetRequestId.NotFound")?;
    call.answer("DescribeSpotFleetRequests", |xml| {
        xml.list("spotFleetRequestConfigSet", [(); 0], |_, ()| {});
    })
}

fn refuse(unknown: Option<String>, code: &'static str) -> Result<(), ApiError> {
    match unknown {
        Some(id) => Err(ApiError::new(code, format!("'{id}' does not exist"))),
        None => Ok(()),
    }
}
