"""Launch templates, a group behind a load balancer and an instance refresh, through boto3."""

import os
import time

import boto3

from expect import refused

ec2, scaling, elb = boto3.client("ec2"), boto3.client("autoscaling"), boto3.client("elbv2")
BASE = os.environ["BASE"]


def soon(what):
    for _ in range(120):
        found = what()
        if found:
            return found
        time.sleep(0.25)
    raise AssertionError("it never came")


# Templates.
tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "team", "Value": "shop"}]}]
made = ec2.create_launch_template(
    LaunchTemplateName="web", TagSpecifications=tags,
    LaunchTemplateData={
        "ImageId": BASE, "InstanceType": "t3.micro", "UserData": "aGVsbG8=",
        "MetadataOptions": {"HttpTokens": "required"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20}}],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}],
    },
)["LaunchTemplate"]
assert (made["DefaultVersionNumber"], made["LatestVersionNumber"], made["Tags"][0]["Key"]) == (1, 1, "team")
template = made["LaunchTemplateId"]
version = ec2.create_launch_template_version(
    LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.small"}
)["LaunchTemplateVersion"]
data = version["LaunchTemplateData"]
assert (version["VersionNumber"], version["DefaultVersion"]) == (2, False)
assert (data["ImageId"], data["InstanceType"], data["UserData"]) == (BASE, "t3.small", "aGVsbG8=")
assert data["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 20
pages = ec2.get_paginator("describe_launch_template_versions").paginate(
    LaunchTemplateName="web", PaginationConfig={"PageSize": 1}
)
assert [one["VersionNumber"] for page in pages for one in page["LaunchTemplateVersions"]] == [2, 1]
latest = ec2.describe_launch_template_versions(LaunchTemplateId=template, Versions=["$Latest"])
assert latest["LaunchTemplateVersions"][0]["VersionNumber"] == 2
refused("InvalidLaunchTemplateId.VersionNotFound", ec2.describe_launch_template_versions,
        LaunchTemplateId=template, Versions=["7"])
refused("InvalidLaunchTemplateName.AlreadyExistsException", ec2.create_launch_template,
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": BASE})
deleted = ec2.delete_launch_template_versions(LaunchTemplateId=template, Versions=["1"])
assert deleted["UnsuccessfullyDeletedLaunchTemplateVersions"][0]["ResponseError"]["Code"] == "unexpectedError"
alone = ec2.run_instances(
    LaunchTemplate={"LaunchTemplateName": "web", "Version": "2"}, MinCount=1, MaxCount=1, InstanceType="t3.large"
)["Instances"][0]
assert (alone["InstanceType"], alone["ImageId"]) == ("t3.large", BASE)
assert {"Key": "aws:ec2launchtemplate:version", "Value": "2"} in alone["Tags"]
parameter = ec2.run_instances(
    LaunchTemplate={"LaunchTemplateId": template}, MinCount=1, MaxCount=1,
    ImageId="resolve:ssm:/aws/service/test/base",
)["Instances"][0]
assert parameter["ImageId"] == BASE
ec2.terminate_instances(InstanceIds=[alone["InstanceId"], parameter["InstanceId"]])

# A load balancer.
subnets = ec2.describe_subnets()["Subnets"]
ids = [subnet["SubnetId"] for subnet in subnets]
balancer = elb.create_load_balancer(Name="web", Subnets=ids)["LoadBalancers"][0]
arn = balancer["LoadBalancerArn"]
elb.get_waiter("load_balancer_available").wait(LoadBalancerArns=[arn], WaiterConfig={"Delay": 1})
blue, green = (
    elb.create_target_group(
        Name=name, Protocol="HTTP", Port=8080, VpcId=subnets[0]["VpcId"], HealthCheckPath="/health",
        HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, Matcher={"HttpCode": "200"},
    )["TargetGroups"][0]["TargetGroupArn"]
    for name in ("blue", "green")
)
elb.modify_target_group_attributes(
    TargetGroupArn=blue, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}]
)


def forward(one, other):
    groups = [{"TargetGroupArn": blue, "Weight": one}, {"TargetGroupArn": green, "Weight": other}]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]


listener = elb.create_listener(
    LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=forward(999, 0)
)["Listeners"][0]["ListenerArn"]
elb.modify_listener(ListenerArn=listener, DefaultActions=forward(900, 100))
weights = elb.describe_rules(ListenerArn=listener)["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]
assert [one["Weight"] for one in weights] == [900, 100]
refused("ValidationError", elb.modify_listener, ListenerArn=listener, DefaultActions=forward(1000, 0))
refused("ResourceInUse", elb.delete_target_group, TargetGroupArn=green)
assert elb.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"][0]["LoadBalancerArns"] == [arn]

# A group.
pinned = {"LaunchTemplateId": template, "Version": "1"}
scaling.create_auto_scaling_group(
    AutoScalingGroupName="web", LaunchTemplate=pinned, MinSize=1, MaxSize=4, DesiredCapacity=2,
    VPCZoneIdentifier=",".join(ids), TargetGroupARNs=[blue], DefaultInstanceWarmup=0,
    Tags=[{"Key": "c", "Value": "d", "PropagateAtLaunch": True}],
)


def group():
    return scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"][0]


def in_service(version):
    found = [(one["LifecycleState"], one["LaunchTemplate"]["Version"]) for one in group()["Instances"]]
    return found == [("InService", version)] * 2


soon(lambda: in_service("1"))
members = [one["InstanceId"] for one in group()["Instances"]]
described = elb.describe_target_health(TargetGroupArn=blue, Include=["AnomalyDetection"])
described = described["TargetHealthDescriptions"]
assert sorted(one["Target"]["Id"] for one in described) == sorted(members)
# No port of a simulated machine is open, so no check will ever pass.
assert described[0]["TargetHealth"]["State"] in ("initial", "unhealthy"), described[0]
assert described[0]["AnomalyDetection"]["Result"] == "normal"
tagged = ec2.describe_instances(InstanceIds=members)["Reservations"][0]["Instances"][0]["Tags"]
assert {one["Key"] for one in tagged} >= {"a", "c", "aws:autoscaling:groupName"}
assert scaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"][0]["StatusCode"] == "Successful"

# A refresh.
preferences = {
    "MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "SkipMatching": True, "AutoRollback": True,
    "ScaleInProtectedInstances": "Ignore", "StandbyInstances": "Ignore",
}
desired = {"LaunchTemplate": {"LaunchTemplateId": template, "Version": "2"}}
refused("ValidationError", scaling.start_instance_refresh, AutoScalingGroupName="web", Preferences=preferences)
refused("ActiveInstanceRefreshNotFound", scaling.rollback_instance_refresh, AutoScalingGroupName="web")
refresh = scaling.start_instance_refresh(
    AutoScalingGroupName="web", DesiredConfiguration=desired, Preferences=preferences
)["InstanceRefreshId"]
refused("InstanceRefreshInProgress", scaling.start_instance_refresh,
        AutoScalingGroupName="web", DesiredConfiguration=desired, Preferences=preferences)


def status():
    found = scaling.describe_instance_refreshes(AutoScalingGroupName="web", InstanceRefreshIds=[refresh])
    return found["InstanceRefreshes"][0]


soon(lambda: status()["Status"] == "Successful")
assert (status()["PercentageComplete"], status()["Preferences"]["MaxHealthyPercentage"]) == (100, 200)
soon(lambda: in_service("2"))
assert group()["LaunchTemplate"]["Version"] == "2"
scaling.put_lifecycle_hook(
    AutoScalingGroupName="web", LifecycleHookName="down", HeartbeatTimeout=30, DefaultResult="CONTINUE",
    LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
)
refused("ResourceInUse", scaling.delete_auto_scaling_group, AutoScalingGroupName="web")
scaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
soon(lambda: not scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"])
elb.delete_load_balancer(LoadBalancerArn=arn)
elb.delete_target_group(TargetGroupArn=green)
# amicleaner asks for the launch configurations of no group.
assert scaling.describe_launch_configurations(LaunchConfigurationNames=[])["LaunchConfigurations"] == []
assert scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[])["AutoScalingGroups"] == []
print("all seen")
