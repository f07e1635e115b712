//! What the template allows to who is no function of ours: the builders, and those who publish to the topic.

use std::collections::BTreeSet;

use ovenbird_tests::template::{Node, actions, at, each, read, resources, role, statements, text, text_at};

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
    let role = resources()["BuilderRole"];
    assert!(at(role, &["Properties", "ManagedPolicyArns"]).is_none(), "AWS's policies read every parameter");
    let mut allowed = BTreeSet::new();
    for statement in statements(role) {
        let (actions, resource) = (actions(statement), text_at(statement, &["Resource"]).unwrap());
        for action in &actions {
            match *action {
                "ssm:GetParameter" => assert_eq!(resource, SECRETS),
                "kms:Decrypt" => {
                    assert_eq!(resource, "!Ref SecretsKmsKeys");
                    let condition = format!(
                        "{{ StringEquals: {{ kms:ViaService: !Sub ssm.${{AWS::Region}}.${{AWS::URLSuffix}} }}, \
                         StringLike: {{ kms:EncryptionContext:PARAMETER_ARN: {SECRETS} }} }}"
                    );
                    assert_eq!(text_at(statement, &["Condition"]), Some(condition));
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
    let mut publishers = Vec::new();
    for statement in statements(resources["FailuresPolicy"]) {
        let value = |key| text_at(statement, &[key]);
        assert_eq!(actions(statement), BTreeSet::from(["sns:Publish"]), "{}", text(statement));
        assert_eq!(value("Resource").as_deref(), Some("!Ref Failures"), "{}", text(statement));
        publishers.push((value("Principal").unwrap(), value("Condition").unwrap_or_default()));
    }
    let ours = "{ StringEquals: { aws:SourceAccount: !Ref AWS::AccountId } }";
    assert_eq!(
        publishers,
        [("{ Service: events.amazonaws.com }", ""), ("{ Service: cloudwatch.amazonaws.com }", ours)]
            .map(|(who, only)| (who.to_owned(), only.to_owned()))
    );
    // Each of the topic's rules is one that the policy lets publish, and one whose failed deliveries are watched.
    let property = |resource: &Node, key: &str| text_at(resource, &["Properties", key]);
    let publishes = |resource: &Node| {
        let targets = at(resource, &["Properties", "Targets"]).map_or(&[][..], each);
        text_at(resource, &["Type"]).as_deref() == Some("AWS::Events::Rule")
            && targets.iter().any(|target| text_at(target, &["Arn"]).as_deref() == Some("!Ref Failures"))
    };
    let rules: Vec<_> =
        resources.iter().filter(|(_, resource)| publishes(resource)).map(|(name, _)| *name).collect();
    assert_eq!(rules, ["ApprovalNeeded", "BakeFailed", "BakeUncleaned", "ExecutionFailed"]);
    for rule in rules {
        let watches = |resource: &Node| {
            [
                ("Namespace", "AWS/Events"),
                ("MetricName", "FailedInvocations"),
                ("Dimensions", &format!("[{{ Name: RuleName, Value: !Ref {rule} }}]")),
                ("Threshold", "1"),
                ("AlarmActions", "[!Ref Failures]"),
            ]
            .iter()
            .all(|(key, value)| property(resource, key).as_deref() == Some(*value))
        };
        assert!(resources.values().any(|one| watches(one)), "nobody hears that {rule} can't publish");
    }
}

/// What a role allows must be seen however it is written: else a test that forbids it would pass.
#[test]
fn every_way_to_allow_something_is_seen() {
    let resource = read(
        r#"
        Properties:
          Policies:
            - Statement:
                - { Effect: Allow, Resource: "*", Action: [ "ec2:A", ec2:B ] }
                - Effect: Allow
                  Action: "ec2:C" # without a Sid
                - !If [Wanted, { Effect: Allow, Action: ec2:D }, !If [Else, { Effect: Allow, Action: ec2:E }, !Ref AWS::NoValue]]
                - { Effect: Deny, Action: ec2:F }
            - PolicyName: another
              PolicyDocument: { Statement: { Effect: Allow, Action: ec2:G } }
        "#,
    );
    assert_eq!(role(&resource), BTreeSet::from(["ec2:A", "ec2:B", "ec2:C", "ec2:D", "ec2:E", "ec2:G"]));
}

#[test]
#[should_panic(expected = "no statement of our own: AmazonEC2FullAccess")]
fn a_policy_of_aws_is_refused() {
    role(&read("Properties: { Policies: [AmazonEC2FullAccess] }"));
}
