"""The Recycle Bin and the locks of snapshots, by AWS's own client; each answer is held against AWS's own model of it."""

import os
import time

import boto3

from expect import refused
from models import hold_answers

ec2 = boto3.client("ec2")
rbin = boto3.client("rbin")
SOON = {"Delay": 1, "MaxAttempts": 30}
answers = hold_answers(ec2, "ec2")

instance = ec2.run_instances(ImageId=os.environ["BASE"], MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=SOON)


def made(name, tags):
    kinds = [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")]
    image = ec2.create_image(InstanceId=instance, Name=name, NoReboot=True, TagSpecifications=kinds)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=SOON)
    found = ec2.describe_images(ImageIds=[image])["Images"][0]
    return image, found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]


# Without a rule, what is deleted is gone.
image, snapshot = made("unkept", [])
ec2.deregister_image(ImageId=image)
ec2.delete_snapshot(SnapshotId=snapshot)
assert ec2.list_images_in_recycle_bin()["Images"] == []
refused("InvalidAMIID.NotFound", ec2.restore_image_from_recycle_bin, ImageId=image)
refused("InvalidSnapshot.NotFound", ec2.restore_snapshot_from_recycle_bin, SnapshotId=snapshot)

# Rules: one by tag, one for all but what is excluded.
period = lambda days: {"RetentionPeriodValue": days, "RetentionPeriodUnit": "DAYS"}
refused("ValidationException", rbin.create_rule, RetentionPeriod=period(366), ResourceType="EC2_IMAGE")
keep = [{"ResourceTagKey": "keep", "ResourceTagValue": "yes"}]
images = rbin.create_rule(RetentionPeriod=period(7), ResourceType="EC2_IMAGE", ResourceTags=keep)
assert images["Status"] == "available" and images["ResourceTags"] == keep, images
temporary = [{"ResourceTagKey": "temporary"}]
snapshots = rbin.create_rule(RetentionPeriod=period(9), ResourceType="EBS_SNAPSHOT", ExcludeResourceTags=temporary)
assert rbin.get_rule(Identifier=snapshots["Identifier"])["RetentionPeriod"] == period(9)
assert [one["Identifier"] for one in rbin.list_rules(ResourceType="EC2_IMAGE")["Rules"]] == [images["Identifier"]]

image, snapshot = made("kept", [{"Key": "keep", "Value": "yes"}])
ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": "210987654321"}]})
other, temporary = made("other", [{"Key": "keep", "Value": "no"}, {"Key": "temporary", "Value": "1"}])
for gone in (image, other):
    ec2.deregister_image(ImageId=gone, DeleteAssociatedSnapshots=True)
binned = ec2.list_images_in_recycle_bin(ImageIds=[image])["Images"]
assert [(one["ImageId"], one["Name"]) for one in binned] == [(image, "kept")], binned
assert (binned[0]["RecycleBinExitTime"] - binned[0]["RecycleBinEnterTime"]).days == 7
assert [one["SnapshotId"] for one in ec2.list_snapshots_in_recycle_bin()["Snapshots"]] == [snapshot]
assert ec2.describe_images(Owners=["self"])["Images"] == []
assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []

# The way back: snapshots first, and whole.
refused("InvalidSnapshot.NotFound", ec2.restore_image_from_recycle_bin, ImageId=image)
out = ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot)
assert (out["SnapshotId"], out["State"]) == (snapshot, "recovering"), out
refused("IncorrectState", ec2.restore_image_from_recycle_bin, ImageId=image)
for _ in range(30):
    if ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] == "completed":
        break
    time.sleep(1)
assert ec2.restore_image_from_recycle_bin(ImageId=image)["Return"]
found = ec2.describe_images(ImageIds=[image])["Images"][0]
assert found["Tags"] == [{"Key": "keep", "Value": "yes"}], found
shared = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
assert shared["LaunchPermissions"] == [{"UserId": "210987654321"}], shared
started = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
ec2.get_waiter("instance_running").wait(InstanceIds=[started], WaiterConfig=SOON)
rbin.delete_rule(Identifier=snapshots["Identifier"])
refused("ResourceNotFoundException", rbin.delete_rule, Identifier=snapshots["Identifier"])

# Locks.
assert ec2.describe_locked_snapshots()["Snapshots"] == []
locked = ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", LockDuration=3)
assert (locked["LockState"], (locked["LockExpiresOn"] - locked["LockCreatedOn"]).days) == ("governance", 3), locked
refused("InvalidParameterCombination", ec2.lock_snapshot, SnapshotId=snapshot, LockMode="governance",
        LockDuration=3, CoolOffPeriod=1)
ec2.deregister_image(ImageId=image)
refused("OperationNotPermitted", ec2.delete_snapshot, SnapshotId=snapshot)
assert [one["SnapshotId"] for one in ec2.describe_locked_snapshots()["Snapshots"]] == [snapshot]
assert ec2.unlock_snapshot(SnapshotId=snapshot)["SnapshotId"] == snapshot
refused("IncorrectState", ec2.unlock_snapshot, SnapshotId=snapshot)
locked = ec2.lock_snapshot(SnapshotId=snapshot, LockMode="compliance", LockDuration=3)
assert locked["LockState"] == "compliance", locked
refused("OperationNotPermitted", ec2.unlock_snapshot, SnapshotId=snapshot)
refused("OperationNotPermitted", ec2.lock_snapshot, SnapshotId=snapshot, LockMode="compliance", LockDuration=2)
ec2.lock_snapshot(SnapshotId=snapshot, LockMode="compliance", LockDuration=4)
refused("OperationNotPermitted", ec2.delete_snapshot, SnapshotId=snapshot)

assert len(answers) > 30, answers
print("all seen")
