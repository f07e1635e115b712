//! Instance refreshes.

use ovenbird_sim::{
    ApiError,
    auto_scaling::refresh::{
        InstanceRefresh, Preferences, RefreshPreferences, StartInstanceRefresh, WhenFound,
    },
};

use super::configuration::{read, write};
use crate::endpoint::{
    query::{Query, texts, time},
    query_form::Params,
    xml_writer::Xml,
};

pub(super) fn start(query: &Query<'_>) -> Result<String, ApiError> {
    let params = &query.params;
    if params.text("Strategy").is_some_and(|strategy| strategy != "Rolling") {
        let message = "The local cloud refreshes by the strategy Rolling alone.";
        return Err(ApiError::new("ValidationError", message));
    }
    let request = StartInstanceRefresh {
        group: query.name("AutoScalingGroupName")?,
        desired: read(&params.part("DesiredConfiguration"))?,
        preferences: preferences(&params.part("Preferences"))?,
    };
    query.finish()?;
    let id = query.world(|world, now| world.start_instance_refresh(now, &request))?;
    query.answer(|xml| xml.text("InstanceRefreshId", id))
}

pub(super) fn cancel(query: &Query<'_>) -> Result<String, ApiError> {
    let group = query.name("AutoScalingGroupName")?;
    let waits = query.params.parsed("WaitForTransitioningInstances")?.unwrap_or(true);
    query.finish()?;
    let id = query.world(|world, _| world.cancel_instance_refresh(&group, waits))?;
    query.answer(|xml| xml.text("InstanceRefreshId", id))
}

pub(super) fn rollback(query: &Query<'_>) -> Result<String, ApiError> {
    let group = query.name("AutoScalingGroupName")?;
    query.finish()?;
    let id = query.world(|world, now| world.rollback_instance_refresh(now, &group))?;
    query.answer(|xml| xml.text("InstanceRefreshId", id))
}

pub(super) fn describe(query: &Query<'_>) -> Result<String, ApiError> {
    let group = query.name("AutoScalingGroupName")?;
    let ids = texts(&query.params, "InstanceRefreshIds");
    let paging = query.paging("MaxRecords", "NextToken")?;
    query.finish()?;
    let page = query.look(|world| world.describe_instance_refreshes(&group, &ids, &paging))?;
    query.answer(|xml| {
        xml.members("InstanceRefreshes", &page.items, |xml, one| refresh(xml, &group, one));
        xml.optional("NextToken", page.next_token.as_ref());
    })
}

fn preferences(params: &Params<'_>) -> Result<RefreshPreferences, ApiError> {
    let mut checkpoints = Vec::new();
    for text in texts(params, "CheckpointPercentages") {
        let invalid = |_| ApiError::new("ValidationError", format!("'{text}' is no percentage."));
        checkpoints.push(text.parse().map_err(invalid)?);
    }
    let protected = params.text("ScaleInProtectedInstances");
    let standby = params.text("StandbyInstances");
    Ok(RefreshPreferences {
        min_healthy: params.parsed("MinHealthyPercentage")?,
        max_healthy: params.parsed("MaxHealthyPercentage")?,
        warmup: params.parsed("InstanceWarmup")?,
        skip_matching: params.flag("SkipMatching")?,
        auto_rollback: params.flag("AutoRollback")?,
        protected: protected.map(WhenFound::for_protected).transpose()?,
        standby: standby.map(WhenFound::for_standby).transpose()?,
        checkpoints,
        checkpoint_delay: params.parsed("CheckpointDelay")?,
        alarms: texts(&params.part("AlarmSpecification"), "Alarms"),
        bake: params.parsed("BakeTime")?,
    })
}

fn refresh(xml: &mut Xml, group: &str, refresh: &InstanceRefresh) {
    xml.text("InstanceRefreshId", &refresh.id);
    xml.text("AutoScalingGroupName", group);
    xml.text("Status", refresh.status.as_str());
    xml.optional("StatusReason", refresh.reason.as_ref());
    xml.text("StartTime", time(refresh.started));
    xml.optional("EndTime", refresh.ended.map(time));
    xml.text("PercentageComplete", refresh.percentage);
    xml.text("InstancesToUpdate", refresh.instances_to_update);
    xml.part("Preferences", |xml| resolved(xml, &refresh.preferences));
    if let Some(desired) = &refresh.desired {
        xml.part("DesiredConfiguration", |xml| write(xml, desired));
    }
    if let Some(details) = &refresh.rollback {
        xml.part("RollbackDetails", |xml| {
            xml.text("RollbackReason", &details.reason);
            xml.text("RollbackStartTime", time(details.started));
            xml.text("PercentageCompleteOnRollback", details.percentage_on_rollback);
            xml.text("InstancesToUpdateOnRollback", details.instances_to_update_on_rollback);
        });
    }
    xml.text("Strategy", "Rolling");
}

fn resolved(xml: &mut Xml, preferences: &Preferences) {
    xml.text("MinHealthyPercentage", preferences.min_healthy);
    xml.optional("MaxHealthyPercentage", preferences.max_healthy);
    xml.text("InstanceWarmup", preferences.warmup);
    xml.text("SkipMatching", preferences.skip_matching);
    xml.text("AutoRollback", preferences.auto_rollback);
    let word = |found: WhenFound, replace: &'static str| match found {
        WhenFound::Replace => replace,
        WhenFound::Ignore => "Ignore",
        WhenFound::Wait => "Wait",
    };
    xml.text("ScaleInProtectedInstances", word(preferences.protected, "Refresh"));
    xml.text("StandbyInstances", word(preferences.standby, "Terminate"));
    if !preferences.checkpoints.is_empty() {
        xml.member_texts("CheckpointPercentages", &preferences.checkpoints);
        xml.text("CheckpointDelay", preferences.checkpoint_delay);
    }
    if !preferences.alarms.is_empty() {
        xml.part("AlarmSpecification", |xml| xml.member_texts("Alarms", &preferences.alarms));
    }
    xml.text("BakeTime", preferences.bake);
}
