"""Alarms of an instance refresh, and a launch template that takes its image from a parameter, through boto3."""

import time

import boto3
from botocore.exceptions import ClientError

ec2, scaling = boto3.client("ec2"), boto3.client("autoscaling")
watch, ssm = boto3.client("cloudwatch"), boto3.client("ssm")
subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
debian = [{"Name": "name", "Values": ["debian-12-*"]}]
base = ec2.describe_images(Filters=debian)["Images"][0]["ImageId"]


def refused(part, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert part in str(error), error
        return
    raise AssertionError(f"{part} was expected")


def soon(what):
    for _ in range(240):
        found = what()
        if found:
            return found
        time.sleep(0.25)
    raise AssertionError("it never came")


def members(name):
    group = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    return {one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"}


def image(instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["ImageId"]


def group(name, version, size=1):
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name, LaunchTemplate={"LaunchTemplateName": name, "Version": version},
        MinSize=0, MaxSize=4, DesiredCapacity=size, VPCZoneIdentifier=subnet, DefaultInstanceWarmup=0,
    )


# Alarms.
ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": base, "InstanceType": "t3.micro"})
ec2.create_launch_template_version(
    LaunchTemplateName="web", SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.small"}
)
group("web", "1", size=2)
soon(lambda: len(members("web")) == 2)


def start(alarm):
    return scaling.start_instance_refresh(
        AutoScalingGroupName="web", DesiredConfiguration={"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "2"}},
        Preferences={
            "MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "AutoRollback": True, "BakeTime": 3600,
            "AlarmSpecification": {"Alarms": [alarm]},
        },
    )["InstanceRefreshId"]


def refresh():
    return scaling.describe_instance_refreshes(AutoScalingGroupName="web")["InstanceRefreshes"][0]


refused("The alarm errors does not exist", start, alarm="errors")
watch.put_metric_alarm(
    AlarmName="errors", MetricName="HTTPCode_Target_5XX_Count", Namespace="AWS/ApplicationELB", Statistic="Sum",
    Period=60, EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
)
refused("INSUFFICIENT_DATA", start, alarm="errors")
watch.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="quiet")
start("errors")
soon(lambda: refresh()["Status"] == "Baking")
watch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="many")
soon(lambda: refresh()["Status"] == "RollbackSuccessful")
assert "The alarm errors is in the ALARM state" in refresh()["RollbackDetails"]["RollbackReason"], refresh()
assert watch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"][0]["StateValue"] == "ALARM"
refused("ALARM state", start, alarm="errors")

# Parameters.
builder = ec2.run_instances(ImageId=base, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
ec2.get_waiter("instance_running").wait(InstanceIds=[builder], WaiterConfig={"Delay": 1})
other = ec2.create_image(InstanceId=builder, Name="other")["ImageId"]
ec2.get_waiter("image_available").wait(ImageIds=[other], WaiterConfig={"Delay": 1})


def put(value):
    ssm.put_parameter(Name="/shop/image", Type="String", DataType="aws:ec2:image", Value=value, Overwrite=True)


put(base)
ec2.create_launch_template(LaunchTemplateName="shop", LaunchTemplateData={"ImageId": "resolve:ssm:/shop/image", "InstanceType": "t3.micro"})
group("shop", "1")
first = soon(lambda: members("shop")).pop()
assert image(first) == base
put(other)
scaling.set_desired_capacity(AutoScalingGroupName="shop", DesiredCapacity=2)
second = soon(lambda: members("shop") - {first}).pop()
assert image(second) == other, "what the parameter says at the launch counts"
put(base)
# Nobody calls Auto Scaling: it sees for itself.
time.sleep(3)
ec2.terminate_instances(InstanceIds=[first])
third = soon(lambda: members("shop") - {first, second}).pop()
assert image(third) == base
print("all seen")
