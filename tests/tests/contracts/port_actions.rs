//! Which IAM actions the methods of the ports ask for: the walk asks of each role what the accounts in memory call, and
//! so they must call what the adapters call.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ovenbird_core::ports::Source;
use quote::ToTokens;
use regex::Regex;
use syn::{ImplItem, Item};

use super::sources;

/// Asked for beside the call that an adapter names: tags at creation, the builder's role and keys, versions, the right
/// to learn that a key is free, the parts of a transaction, and what EC2 itself asks for in the caller's name.
const BESIDE: &[&str] = &[
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "ec2:CreateTags",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeLaunchTemplates",
    "iam:PassRole",
    "imagebuilder:GetContainerRecipe",
    "imagebuilder:GetImageRecipe",
    "imagebuilder:ListContainerRecipes",
    "imagebuilder:ListImageRecipes",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "s3:GetObjectVersion",
    "s3:ListBucket",
    "ssm:DescribeParameters",
    "ssm:GetParameters",
];

/// Methods that ask nobody.
const SILENT: &[&str] = &[
    "Builders::stack_subnets",
    "Clock::now",
    "Clock::sleep",
    "Presigner::endpoint",
    "Stack::floors",
    "Stack::most_builders",
    "Stack::runners",
    "Stack::signers",
    "Stack::stack",
];

/// One side: the bodies of its ports' methods, and of everything else that they may call.
#[derive(Default)]
pub(super) struct Side {
    methods: BTreeMap<String, String>,
    helpers: BTreeMap<String, String>,
}

impl Side {
    pub(super) fn read(folder: &str) -> Self {
        let mut side = Self::default();
        for path in sources(folder) {
            let file = syn::parse_file(&fs::read_to_string(&path).expect("its text")).expect("Rust");
            for item in &file.items {
                side.take(item);
            }
        }
        side
    }

    fn take(&mut self, item: &Item) {
        match item {
            Item::Const(item) => drop(self.helpers.insert(item.ident.to_string(), text(&item.expr))),
            Item::Fn(item) => drop(self.helpers.insert(item.sig.ident.to_string(), text(&item.block))),
            Item::Impl(item) => {
                // `Debug` and its like have nothing to do with AWS.
                let foreign = item.trait_.as_ref().is_some_and(|(_, path, _)| path.segments.len() > 1);
                if foreign {
                    return;
                }
                let port = item.trait_.as_ref().map(|(_, path, _)| text(path));
                for member in &item.items {
                    let ImplItem::Fn(member) = member else { continue };
                    let (name, body) = (member.sig.ident.to_string(), text(&member.block));
                    match &port {
                        Some(port) => self.methods.insert(format!("{port}::{name}"), body),
                        None => self.helpers.insert(name, body),
                    };
                }
            }
            _ => {}
        }
    }

    /// The actions that a method names, itself or by what it calls.
    pub(super) fn actions(&self, method: &str) -> BTreeSet<String> {
        self.of(vec![&self.methods[method]])
    }

    /// The actions that whatever has this name comes to: a method of any port, or one of the adapters' own.
    pub(super) fn called(&self, name: &str) -> BTreeSet<String> {
        let of_ports = self.methods.iter().filter(|(method, _)| method.ends_with(&format!("::{name}")));
        self.of(of_ports.map(|(_, body)| body).chain(self.helpers.get(name)).collect())
    }

    fn of<'s>(&'s self, mut bodies: Vec<&'s String>) -> BTreeSet<String> {
        let action =
            Regex::new(r#""((?:autoscaling|cloudwatch|dynamodb|ec2|elasticloadbalancing|events|iam|imagebuilder|kms|s3|sns|ssm|states|sts):\w+)""#).expect("a pattern");
        // `self.helper(…)`, `helper(…)` and `CONSTANT`; but no method of something else that has a helper's name.
        let word = Regex::new(r"(self \. |\. )?\b(\w+) \(|\b([A-Z_]{2,})\b").expect("a pattern");
        let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
        while let Some(body) = bodies.pop() {
            found.extend(action.captures_iter(body).map(|action| action[1].to_owned()));
            for word in word.captures_iter(body) {
                let of_another = word.get(1).is_some_and(|dot| dot.as_str() == ". ");
                let name =
                    word.get(2).or(word.get(3)).filter(|_| !of_another).map_or("", |name| name.as_str());
                if let Some((name, helper)) = self.helpers.get_key_value(name)
                    && seen.insert(name)
                {
                    bodies.push(helper);
                }
            }
        }
        found
    }
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

/// Roles and docs are checked against the calls, and people read the list beside the port.
#[test]
fn each_source_of_references_names_the_actions_that_are_called_for_it() {
    let memory = Side::read("crates/testkit/src/cloud/ports");
    for source in Source::ALL {
        let method = match source {
            Source::Instances => "named_by_instances",
            Source::LaunchTemplates => "named_by_launch_templates",
            Source::AutoScalingGroups => "named_by_groups",
            Source::LaunchConfigurations => "named_by_launch_configurations",
            Source::Fleets => "named_by_fleets",
            Source::SpotFleets => "named_by_spot_fleets",
            Source::Parameters => "named_by_parameters",
        };
        let named: BTreeSet<String> = source.actions().iter().map(ToString::to_string).collect();
        assert_eq!(memory.actions(&format!("References::{method}")), named, "{source}");
    }
}

#[test]
fn the_accounts_in_memory_call_what_the_adapters_call() {
    let (adapters, memory) = (Side::read("crates/aws/src"), Side::read("crates/testkit/src/cloud/ports"));
    let ports = |side: &Side| -> BTreeSet<String> { side.methods.keys().cloned().collect() };
    assert_eq!(ports(&adapters), ports(&memory));
    assert!(ports(&memory).len() >= 43, "{:?}", ports(&memory));
    for method in ports(&memory) {
        let (called, of_memory) = (adapters.actions(&method), memory.actions(&method));
        if SILENT.contains(&method.as_str()) {
            assert!(called.is_empty() && of_memory.is_empty(), "{method}: {called:?} {of_memory:?}");
            continue;
        }
        assert!(!called.is_empty() && !of_memory.is_empty(), "{method}: {called:?} {of_memory:?}");
        let missing: Vec<_> = called.difference(&of_memory).collect();
        let extra: Vec<_> =
            of_memory.difference(&called).filter(|one| !BESIDE.contains(&one.as_str())).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{method}: memory lacks {missing:?}, has {extra:?}");
    }
}
