//! Parameters of Systems Manager.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_core::{
    Result,
    domain::id::{AmiId, ParameterName},
    ports::{ParameterKind, Parameters, Put},
};
use ovenbird_sim::ImageState;

use super::super::{Cloud, State};

impl State {
    /// Lets the writes come in that SSM has validated by now.
    pub(in super::super) fn take_valid_parameters(&mut self) {
        let Self { world, image_parameters, parameters, now, takes_every_image, .. } = self;
        let is_available = |value: &str| {
            if *takes_every_image {
                return true;
            }
            let image = AmiId::parse(value).ok().and_then(|id| world.image(&id));
            image.is_some_and(|image| image.state == ImageState::Available)
        };
        for (name, value) in image_parameters.take_valid(*now, is_available) {
            if let Ok(name) = ParameterName::parse(&name) {
                parameters.insert(name, value);
            }
        }
    }
}

impl Parameters for Cloud {
    async fn parameter(&self, name: &ParameterName) -> Result<Option<String>> {
        self.call(&["ssm:GetParameter"], |state| Ok(state.parameters.get(name).cloned())).await
    }

    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>> {
        let mut found = BTreeMap::new();
        // SSM takes ten names at once.
        for names in names.chunks(10) {
            let values = self.call(&["ssm:GetParameters"], |state| {
                let values =
                    names.iter().filter_map(|name| Some((name.clone(), state.parameters.get(name)?.clone())));
                Ok(values.collect::<Vec<_>>())
            });
            found.extend(values.await?);
        }
        Ok(found)
    }

    async fn kinds(&self, names: &BTreeSet<ParameterName>) -> Result<BTreeMap<ParameterName, ParameterKind>> {
        self.call(&["ssm:DescribeParameters"], |state| {
            let usual = || ParameterKind {
                kind: "String".to_owned(),
                data_type: "aws:ec2:image".to_owned(),
                tier: "Standard".to_owned(),
                has_policies: false,
                version: 1,
                written: state.now,
            };
            let there = names.iter().filter_map(|name| match state.around.kinds.get(name) {
                Some(kind) => Some((name.clone(), kind.clone())),
                None => state.parameters.contains_key(name).then(|| (name.clone(), usual())),
            });
            Ok(there.collect())
        })
        .await
    }

    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<Put> {
        self.call(&["ssm:PutParameter"], |state| {
            let put = state.image_parameters.put(state.now, name.as_str(), image.as_str());
            state.take_valid_parameters();
            Ok(match put {
                Ok(()) => Put::Taken,
                Err(refusal) => Put::NotYet(refusal.to_string()),
            })
        })
        .await
    }

    async fn remove(&self, name: &ParameterName) -> Result<()> {
        self.call(&["ssm:DeleteParameter"], |state| {
            state.parameters.remove(name);
            Ok(())
        })
        .await
    }
}
