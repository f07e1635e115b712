//! Parameters of Systems Manager.

use std::collections::BTreeMap;

use ovenbird_core::{
    Result,
    domain::id::{AmiId, ParameterName},
    ports::Parameters,
};

use super::super::Cloud;

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

    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<()> {
        self.call(&["ssm:PutParameter"], |state| {
            state.parameters.insert(name.clone(), image.to_string());
            Ok(())
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
