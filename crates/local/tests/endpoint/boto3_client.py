"""What an operator's script does with EC2 and SSM, through boto3's own waiters and paginators."""

import os
import time

import boto3

from expect import refused

ec2, ssm = boto3.client("ec2"), boto3.client("ssm")
BASE = os.environ["BASE"]
SOON = {"Delay": 1, "MaxAttempts": 30}
TAGS = [{"Key": "ovenbird:bake", "Value": "b<1>&'2'"}]


# A launch, twice the same by its token.
launch = dict(
    ImageId=BASE, InstanceType="m7i.large", MinCount=1, MaxCount=1, ClientToken="t1", UserData="#!/bin/sh\ntrue",
    IamInstanceProfile={"Name": "builder"}, MetadataOptions={"HttpTokens": "required"},
    TagSpecifications=[{"ResourceType": "instance", "Tags": TAGS}, {"ResourceType": "volume", "Tags": TAGS}],
    BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 9, "VolumeType": "gp3"}}],
)
first = ec2.run_instances(**launch)
instance = first["Instances"][0]["InstanceId"]
assert first["Instances"][0]["State"]["Name"] == "pending", first
assert ec2.run_instances(**launch)["Instances"][0]["InstanceId"] == instance
refused("IdempotentParameterMismatch", ec2.run_instances, **{**launch, "InstanceType": "m7i.xlarge"})
refused("InvalidAMIID.NotFound", ec2.run_instances, ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)
refused("DryRunOperation", ec2.run_instances, ImageId=BASE, MinCount=1, MaxCount=1, DryRun=True)
ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=SOON)
ec2.get_waiter("instance_status_ok").wait(InstanceIds=[instance], WaiterConfig=SOON)

shown = ec2.describe_instances(Filters=[{"Name": "tag:ovenbird:bake", "Values": ["b<?>*"]}])["Reservations"]
assert len(shown) == 1 and shown[0]["ReservationId"] == first["ReservationId"], shown
seen = shown[0]["Instances"][0]
assert seen["Tags"] == TAGS and seen["MetadataOptions"]["HttpTokens"] == "required", seen
assert seen["IamInstanceProfile"]["Arn"].endswith(":instance-profile/builder"), seen
assert seen["Placement"]["AvailabilityZone"].startswith("us-east-1") and seen["SecurityGroups"], seen
assert (time.time() - seen["LaunchTime"].timestamp()) < 60, seen
volume = seen["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 9
refused("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"])
refused("InvalidParameterValue", ec2.describe_instances, Filters=[{"Name": "colour", "Values": ["red"]}])
assert "simulated" in ec2.get_console_output(InstanceId=instance)["Output"]

# A spot instance, on an encrypted volume of its own size.
refused("InvalidBlockDeviceMapping", ec2.run_instances, ImageId=BASE, MinCount=1, MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}])
once = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time", "MaxPrice": "0.05"}}
for wrong in ({"MaxPrice": "-1"}, {"MaxPrice": "cheap"}, {"SpotInstanceType": "persistent"}):
    refused("InvalidParameterValue", ec2.run_instances, ImageId=BASE, MinCount=1, MaxCount=1,
            InstanceMarketOptions={"MarketType": "spot", "SpotOptions": wrong})
refused("InvalidParameterCombination", ec2.run_instances, ImageId=BASE, MinCount=1, MaxCount=1,
        InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"InstanceInterruptionBehavior": "stop"}})
spot = ec2.run_instances(
    ImageId=BASE, MinCount=1, MaxCount=1, InstanceMarketOptions=once,
    BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {
        "VolumeSize": 20, "VolumeType": "io2", "Iops": 4000, "Encrypted": True, "KmsKeyId": "alias/images"}}],
)["Instances"][0]
assert spot["InstanceLifecycle"] == "spot", spot
ec2.get_waiter("instance_running").wait(InstanceIds=[spot["InstanceId"]], WaiterConfig=SOON)
refused("UnsupportedOperation", ec2.stop_instances, InstanceIds=[spot["InstanceId"]])
disk = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [spot["InstanceId"]]}])["Volumes"][0]
assert (disk["Size"], disk["VolumeType"], disk["Iops"], disk["Encrypted"]) == (20, "io2", 4000, True), disk
assert disk["KmsKeyId"].endswith(":alias/images"), disk
from_spot = ec2.create_image(InstanceId=spot["InstanceId"], Name="spot/1")["ImageId"]
ec2.get_waiter("image_available").wait(ImageIds=[from_spot], WaiterConfig=SOON)
root = ec2.describe_images(ImageIds=[from_spot])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]
assert (root["VolumeSize"], root["VolumeType"], root["Encrypted"]) == (20, "io2", True), root
assert ec2.describe_snapshots(SnapshotIds=[root["SnapshotId"]])["Snapshots"][0]["Encrypted"]
ec2.deregister_image(ImageId=from_spot, DeleteAssociatedSnapshots=True)
ec2.terminate_instances(InstanceIds=[spot["InstanceId"]])
ec2.get_waiter("instance_terminated").wait(InstanceIds=[spot["InstanceId"]], WaiterConfig=SOON)

# Pages.
ec2.run_instances(ImageId=BASE, MinCount=6, MaxCount=6)
pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
found = [one["InstanceId"] for page in pages for group in page["Reservations"] for one in group["Instances"]]
found.remove(spot["InstanceId"])
assert len(pages) == 2 and len(found) == len(set(found)) == 7, pages
tags = ec2.get_paginator("describe_tags").paginate(Filters=[{"Name": "resource-id", "Values": [instance]}])
assert [tag["Value"] for page in tags for tag in page["Tags"]] == ["b<1>&'2'"]

# Commands.
online = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [instance]}])
assert online["InstanceInformationList"][0]["PingStatus"] == "Online", online
sent = ssm.send_command(
    DocumentName="AWS-RunShellScript", InstanceIds=[instance], Comment="b-1 test",
    Parameters={"commands": ["echo 1", "echo 2"], "executionTimeout": ["60"]},
)["Command"]
where = dict(CommandId=sent["CommandId"], InstanceId=instance)
ssm.get_waiter("command_executed").wait(**where, WaiterConfig=SOON)
done = ssm.get_command_invocation(**where)
assert (done["Status"], done["ResponseCode"]) == ("Success", 0), done
assert done["StandardOutputContent"] == "echo 1\necho 2", done
invocations = ssm.get_paginator("list_command_invocations").paginate(InstanceId=instance, Details=True)
assert [one["Comment"] for page in invocations for one in page["CommandInvocations"]] == ["b-1 test"]
assert ssm.list_commands(CommandId=sent["CommandId"])["Commands"][0]["CompletedCount"] == 1
refused("InvalidInstanceId", ssm.send_command, DocumentName="AWS-RunShellScript",
        InstanceIds=["i-0123456789abcdef0"], Parameters={"commands": ["true"]})
refused("InvocationDoesNotExist", ssm.get_command_invocation, CommandId=sent["CommandId"], InstanceId=found[-1] if
        found[-1] != instance else found[0])

# From machine to image.
ec2.stop_instances(InstanceIds=[instance])
ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig=SOON)
image = ec2.create_image(
    InstanceId=instance, Name="storefront/1", NoReboot=True,
    TagSpecifications=[{"ResourceType": "image", "Tags": TAGS}, {"ResourceType": "snapshot", "Tags": TAGS}],
)["ImageId"]
refused("InvalidAMIName.Duplicate", ec2.create_image, InstanceId=instance, Name="storefront/1")
ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=SOON)
described = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": ["storefront/*"]}])["Images"]
assert [one["ImageId"] for one in described] == [image] and described[0]["Tags"] == TAGS, described
assert described[0]["CreationDate"].endswith("Z") and described[0]["Architecture"] == "x86_64", described
snapshot = described[0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=SOON)
owned = ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"])
assert [one["Progress"] for page in owned for one in page["Snapshots"]] == ["100%"]
refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot)
registered = ec2.register_image(
    Name="again", RootDeviceName="/dev/xvda", Architecture="x86_64",
    BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
)["ImageId"]
ec2.create_tags(Resources=[registered], Tags=[{"Key": "k", "Value": "v"}])
ec2.delete_tags(Resources=[registered], Tags=[{"Key": "k"}])
assert "Tags" not in ec2.describe_images(ImageIds=[registered])["Images"][0] or not ec2.describe_images(
    ImageIds=[registered])["Images"][0]["Tags"]
second = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
for one in (image, registered):
    ec2.deregister_image(ImageId=one)
ec2.delete_snapshot(SnapshotId=snapshot)
refused("InvalidSnapshot.NotFound", ec2.delete_snapshot, SnapshotId=snapshot)
refused("InvalidAMIID.NotFound", ec2.describe_images, ImageIds=[image])

ec2.start_instances(InstanceIds=[instance])
changes = ec2.terminate_instances(InstanceIds=found + [second])["TerminatingInstances"]
assert {change["CurrentState"]["Name"] for change in changes} == {"shutting-down"}, changes
ec2.get_waiter("instance_terminated").wait(InstanceIds=found + [second], WaiterConfig=SOON)
refused("IncorrectInstanceState", ec2.start_instances, InstanceIds=[instance])

# Parameters that are everyone's.
assert ssm.get_parameter(Name="/aws/service/test/base")["Parameter"]["Value"] == BASE
assert ssm.get_parameters(Names=["/aws/service/test/base"])["Parameters"][0]["DataType"] == "aws:ec2:image"
print("all seen")
