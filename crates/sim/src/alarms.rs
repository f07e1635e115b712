//! `CloudWatch` alarms as data: who tests or operates the model says in which state one is. No metric is computed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ApiError, Page, Paging, Result, World};

/// `CloudWatch`'s states of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlarmState {
    /// Within its threshold.
    Ok,
    /// Beyond it.
    Alarm,
    /// Too few data to tell.
    InsufficientData,
}

impl AlarmState {
    /// `CloudWatch`'s word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    /// Reads `CloudWatch`'s word.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "OK" => Ok(Self::Ok),
            "ALARM" => Ok(Self::Alarm),
            "INSUFFICIENT_DATA" => Ok(Self::InsufficientData),
            _ => {
                let message = format!(
                    "1 validation error detected: Value '{word}' at 'stateValue' failed to satisfy constraint: Member must satisfy enum value set: [OK, ALARM, INSUFFICIENT_DATA]"
                );
                Err(ApiError::new("ValidationError", message))
            }
        }
    }
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its name, unique in account and Region.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Whether it is made of other alarms.
    pub composite: bool,
    /// Its state.
    pub state: AlarmState,
    /// Why it is in this state.
    pub reason: String,
    /// Since when it is in this state.
    pub updated: Timestamp,
}

/// The parameters of `DescribeAlarms`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribeAlarms {
    /// With these names; unknown ones are left out.
    pub names: Vec<String>,
    /// With names that begin so; not together with `names`.
    pub prefix: Option<String>,
    /// In this state.
    pub state: Option<AlarmState>,
    /// Composite ones or metric ones; none means metric ones alone, as `CloudWatch` answers.
    pub composite: Option<bool>,
    /// On which page: at most 100 alarms.
    pub paging: Paging,
}

impl World {
    /// Makes an alarm, or changes one. A new one has too few data, as `CloudWatch`'s have.
    pub fn put_alarm(&mut self, now: Timestamp, name: &str, composite: bool) -> Result<()> {
        if name.is_empty() || name.chars().count() > 255 {
            return Err(ApiError::new("ValidationError", "An alarm's name has 1 to 255 characters"));
        }
        if let Some(known) = self.alarms.get_mut(name) {
            if known.composite != composite {
                let message = "A metric alarm and a composite alarm can't have the same name";
                return Err(ApiError::new("ValidationError", message));
            }
            return Ok(());
        }
        let alarm = Alarm {
            name: name.to_owned(),
            arn: format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", self.region, self.account),
            composite,
            state: AlarmState::InsufficientData,
            reason: "Unchecked: Initial alarm creation".into(),
            updated: now,
        };
        self.alarms.insert(name.to_owned(), alarm);
        Ok(())
    }

    /// Says in which state an alarm is.
    pub fn set_alarm_state(
        &mut self,
        now: Timestamp,
        name: &str,
        state: AlarmState,
        reason: &str,
    ) -> Result<()> {
        let unknown = || ApiError { http: 404, ..ApiError::new("ResourceNotFound", "Unknown alarm") };
        let alarm = self.alarms.get_mut(name).ok_or_else(unknown)?;
        if alarm.state != state {
            alarm.updated = now;
        }
        alarm.state = state;
        reason.clone_into(&mut alarm.reason);
        Ok(())
    }

    /// What another `CloudWatch` says of an alarm; none if it knows no such alarm.
    pub fn learn_alarm(
        &mut self,
        now: Timestamp,
        name: &str,
        said: Option<(bool, AlarmState, &str)>,
    ) -> Result<()> {
        let known = self.alarms.get(name).map(|alarm| alarm.composite);
        if known.is_some() && known != said.map(|(composite, ..)| composite) {
            self.alarms.remove(name);
        }
        let Some((composite, state, reason)) = said else { return Ok(()) };
        self.put_alarm(now, name, composite)?;
        self.set_alarm_state(now, name, state, reason)
    }

    /// The alarms that refreshes under way look at.
    pub fn watched_alarms(&self) -> BTreeSet<String> {
        let refreshes = self.auto_scaling_groups().filter_map(|group| group.active_refresh());
        refreshes.flat_map(|refresh| refresh.preferences.alarms.iter().cloned()).collect()
    }

    /// Alarms by name, prefix and state.
    pub fn describe_alarms(&self, request: &DescribeAlarms) -> Result<Page<Alarm>> {
        if request.prefix.is_some() && !request.names.is_empty() {
            let message = "AlarmNamePrefix can't be used together with AlarmNames";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        if request.names.len() > 100
            || request.paging.max_results.is_some_and(|most| !(1..=100).contains(&most))
        {
            return Err(ApiError::new(
                "ValidationError",
                "Between 1 and 100 alarms can be asked for at once",
            ));
        }
        let composite = request.composite.unwrap_or(false);
        let wanted = |alarm: &&Alarm| {
            (request.names.is_empty() || request.names.contains(&alarm.name))
                && request.prefix.as_ref().is_none_or(|prefix| alarm.name.starts_with(prefix))
                && request.state.is_none_or(|state| alarm.state == state)
                && alarm.composite == composite
        };
        let found = self.alarms.values().filter(wanted).cloned();
        let max_results = Some(request.paging.max_results.unwrap_or(50));
        let paging = Paging { max_results, ..request.paging.clone() };
        paging.cut(found, 1, |alarm| alarm.name.clone())
    }

    /// Deletes alarms, all or none.
    pub fn delete_alarms(&mut self, names: &[String]) -> Result<()> {
        if let Some(unknown) = names.iter().find(|name| !self.alarms.contains_key(*name)) {
            let message = format!("Unknown alarm: {unknown}");
            return Err(ApiError { http: 404, ..ApiError::new("ResourceNotFound", message) });
        }
        self.alarms.retain(|name, _| !names.contains(name));
        Ok(())
    }
}
