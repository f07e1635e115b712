//! What the template allows to who is no function of ours: the builders, and those who publish to the topic.

use std::collections::BTreeSet;

use ovenbird_tests::template::{actions, resources, statements, value};

/// What a builder may read of Parameter Store, and nothing else of it.
const SECRETS: &str =
    "!Sub arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/${SecretsPrefix}/*";

/// What SSM's agent calls to register, and to take and answer a command.
const AGENT: [&str; 11] = [
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
];

#[test]
fn a_builder_reads_no_parameter_but_its_secrets_and_has_no_policy_of_aws() {
    let resources = resources();
    let role = &resources["BuilderRole"];
    assert!(
        !role.iter().any(|line| line.contains("ManagedPolicyArns")),
        "AWS's policies read every parameter"
    );
    let statements = statements(role);
    let mut allowed = BTreeSet::new();
    for statement in &statements {
        let (actions, resource) = (actions(statement), value(statement, "Resource").unwrap());
        for action in &actions {
            match *action {
                "ssm:GetParameter" => assert_eq!(resource, SECRETS),
                "kms:Decrypt" => {
                    let text = statement.join("\n");
                    assert_eq!(resource, "!Ref SecretsKmsKeys");
                    for demand in [
                        r#"StringEquals: { "kms:ViaService": !Sub "ssm.${AWS::Region}.${AWS::URLSuffix}" }"#,
                        &format!(r#""kms:EncryptionContext:PARAMETER_ARN": {SECRETS}"#),
                    ] {
                        assert!(text.contains(demand), "{text} doesn't demand {demand}");
                    }
                }
                agent => assert!(AGENT.contains(&agent), "a builder may {agent}"),
            }
        }
        allowed.extend(actions);
    }
    assert!(AGENT.iter().all(|action| allowed.contains(action)), "the agent can't work: {allowed:?}");
    assert!(allowed.contains("ssm:GetParameter"));
}

/// EventBridge supports no condition in a topic's policy, and tells nobody of what it can't deliver.
#[test]
fn a_rule_publishes_without_a_condition_and_alarms_with_one() {
    let resources = resources();
    let statements = statements(&resources["FailuresPolicy"]);
    let mut publishers = Vec::new();
    for statement in &statements {
        let principal = value(statement, "Principal").unwrap();
        let conditioned = statement.iter().any(|line| line.trim().starts_with("Condition:"));
        assert_eq!(actions(statement), BTreeSet::from(["sns:Publish"]), "{statement:?}");
        assert_eq!(value(statement, "Resource"), Some("!Ref Failures"), "{statement:?}");
        publishers.push((principal, conditioned));
        if conditioned {
            assert!(
                statement.iter().any(|line| line.contains(r#""aws:SourceAccount": !Ref AWS::AccountId"#))
            );
        }
    }
    assert_eq!(
        publishers,
        [("{ Service: events.amazonaws.com }", false), ("{ Service: cloudwatch.amazonaws.com }", true)]
    );
    // Each of the topic's rules is one that the policy lets publish, and one whose failed deliveries are watched.
    let rules: Vec<_> = resources
        .iter()
        .filter(|(_, lines)| {
            lines.contains(&"    Type: AWS::Events::Rule")
                && lines.iter().any(|line| line.ends_with("Arn: !Ref Failures"))
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(rules, ["ExecutionFailed"]);
    for rule in rules {
        let dimension = format!("[{{ Name: RuleName, Value: !Ref {rule} }}]");
        let watches = |lines: &[&str]| {
            value(lines, "Namespace") == Some("AWS/Events")
                && value(lines, "MetricName") == Some("FailedInvocations")
                && value(lines, "Dimensions") == Some(dimension.as_str())
                && value(lines, "Threshold") == Some("1")
                && value(lines, "AlarmActions") == Some("[!Ref Failures]")
        };
        assert!(resources.values().any(|lines| watches(lines)), "nobody hears that {rule} can't publish");
    }
}
