//! Parameters, through SSM.

use std::collections::BTreeMap;

use aws_sdk_ssm::types::ParameterType;
use ovenbird_core::{
    Result,
    domain::id::{AmiId, ParameterName},
    ports::Parameters,
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// `GetParameters` takes so many names.
const MOST_NAMES: usize = 10;

impl Parameters for Cloud {
    async fn parameter(&self, name: &ParameterName) -> Result<Option<String>> {
        match self.ssm.get_parameter().name(name.as_str()).send().await {
            Ok(answer) => Ok(answer.parameter().and_then(|parameter| parameter.value()).map(str::to_owned)),
            Err(error) if code(&error) == "ParameterNotFound" => Ok(None),
            Err(error) => Err(translate("ssm:GetParameter", name.as_str(), &error)),
        }
    }

    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>> {
        let mut found = BTreeMap::new();
        for names in names.chunks(MOST_NAMES) {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let answer = self.ssm.get_parameters().set_names(Some(names)).send().await;
            let answer =
                answer.map_err(|error| translate("ssm:GetParameters", "the channels' parameters", &error))?;
            for parameter in answer.parameters() {
                let name = ParameterName::parse(parameter.name().unwrap_or_default())
                    .map_err(|error| unreadable("ssm:GetParameters", "a parameter's name", error))?;
                found.insert(name, parameter.value().unwrap_or_default().to_owned());
            }
        }
        Ok(found)
    }

    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<()> {
        self.ssm
            .put_parameter()
            .name(name.as_str())
            .value(image.as_str())
            .r#type(ParameterType::String)
            .data_type("aws:ec2:image")
            .overwrite(true)
            .send()
            .await
            .map(drop)
            .map_err(|error| translate("ssm:PutParameter", name.as_str(), &error))
    }

    async fn remove(&self, name: &ParameterName) -> Result<()> {
        match self.ssm.delete_parameter().name(name.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "ParameterNotFound" => Ok(()),
            Err(error) => Err(translate("ssm:DeleteParameter", name.as_str(), &error)),
        }
    }
}
