"""What Packer, cloud-custodian and their like do beside launches: key pairs, security groups, copies, attributes, volumes.

Every answer is held against AWS's own model of it: an element that the model doesn't know would reach no client."""

import os
import subprocess
import tempfile

import boto3

from expect import refused
from models import hold_answers

ec2 = boto3.client("ec2")
BASE = os.environ["BASE"]
SOON = {"Delay": 1, "MaxAttempts": 30}
answers = hold_answers(ec2, "ec2")


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, check=True, capture_output=True).stdout


# Key pairs: the private half is told once. Fingerprints are what AWS's guide has openssl and ssh-keygen compute.
refused("DryRunOperation", ec2.create_key_pair, KeyName="mine", DryRun=True)
tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "for", "Value": "packer"}]}]
made = ec2.create_key_pair(KeyName="mine", TagSpecifications=tags)
assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----"), made["KeyMaterial"][:40]
der = openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", data=made["KeyMaterial"].encode())
sha1 = openssl("sha1", "-c", "-r", data=der).split()[0].decode()
assert made["KeyFingerprint"].replace(":", "") == sha1.replace(":", ""), (made["KeyFingerprint"], sha1)
refused("InvalidKeyPair.Duplicate", ec2.create_key_pair, KeyName="mine")
curve = ec2.create_key_pair(KeyName="curve", KeyType="ed25519")
assert curve["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
with tempfile.TemporaryDirectory() as folder:
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", f"{folder}/key"], check=True)
    public = open(f"{folder}/key.pub", "rb").read()
    spki = openssl("rsa", "-in", f"{folder}/key", "-pubout", "-outform", "DER")
imported = ec2.import_key_pair(KeyName="theirs", PublicKeyMaterial=public)
md5 = imported["KeyFingerprint"]
assert md5.replace(":", "") == openssl("md5", "-r", data=spki).split()[0].decode(), md5
refused("InvalidKey.Format", ec2.import_key_pair, KeyName="x", PublicKeyMaterial=b"ssh-rsa what")
pairs = ec2.describe_key_pairs(Filters=[{"Name": "tag:for", "Values": ["packer"]}], IncludePublicKey=True)["KeyPairs"]
assert [one["KeyName"] for one in pairs] == ["mine"] and pairs[0]["PublicKey"].startswith("ssh-rsa "), pairs
refused("InvalidKeyPair.NotFound", ec2.describe_key_pairs, KeyNames=["nobody's"])
refused("InvalidKeyPair.NotFound", ec2.run_instances, ImageId=BASE, MinCount=1, MaxCount=1, KeyName="nobody's")

# Security groups and their rules.
group = ec2.create_security_group(GroupName="temporary", Description="for packer")["GroupId"]
refused("InvalidGroup.Duplicate", ec2.create_security_group, GroupName="temporary", Description="again")
ssh = dict(IpProtocol="tcp", FromPort=22, ToPort=22, IpRanges=[{"CidrIp": "10.0.0.0/8", "Description": "us"}])
rules = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh])["SecurityGroupRules"]
assert [(one["FromPort"], one["CidrIpv4"], one["IsEgress"]) for one in rules] == [(22, "10.0.0.0/8", False)], rules
refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[ssh])
refused("InvalidParameterValue", ec2.authorize_security_group_ingress, GroupId=group, IpProtocol="tcp", FromPort=9,
        ToPort=1, CidrIp="0.0.0.0/0")
refused("InvalidParameterValue", ec2.authorize_security_group_ingress, GroupId=group, IpProtocol="tcp", FromPort=1,
        ToPort=9, CidrIp="everybody")
found = ec2.describe_security_groups(Filters=[
    {"Name": "ip-permission.from-port", "Values": ["22"]}, {"Name": "ip-permission.cidr", "Values": ["10.*"]},
])["SecurityGroups"]
assert [one["GroupId"] for one in found] == [group] and found[0]["IpPermissions"][0]["FromPort"] == 22, found
assert found[0]["IpPermissionsEgress"][0]["IpProtocol"] == "-1", found
listed = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
assert len(listed) == 2, listed

# A launch with both; an empty name of a profile is as none.
instance = ec2.run_instances(
    ImageId=BASE, MinCount=1, MaxCount=1, KeyName="mine", SecurityGroupIds=[group], IamInstanceProfile={"Name": ""},
)["Instances"][0]
id = instance["InstanceId"]
assert instance["KeyName"] == "mine" and "IamInstanceProfile" not in instance, instance
ec2.get_waiter("instance_running").wait(InstanceIds=[id], WaiterConfig=SOON)
for name, value in [("key-name", "mine"), ("instance.group-name", "temporary"), ("network-interface.group-id", group)]:
    seen = ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])["Reservations"]
    assert [one["InstanceId"] for of in seen for one in of["Instances"]] == [id], (name, seen)
# What an on-demand instance lacks passes no filter.
assert not ec2.describe_instances(Filters=[{"Name": "instance-lifecycle", "Values": ["*"]}])["Reservations"]
interface = ec2.describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [id]}])
assert interface["NetworkInterfaces"][0]["Attachment"]["InstanceId"] == id, interface
refused("DependencyViolation", ec2.delete_security_group, GroupId=group)

# Its attributes.
attribute = lambda name: ec2.describe_instance_attribute(InstanceId=id, Attribute=name)
assert attribute("disableApiTermination")["DisableApiTermination"]["Value"] is False
ec2.modify_instance_attribute(InstanceId=id, DisableApiTermination={"Value": True})
refused("OperationNotPermitted", ec2.terminate_instances, InstanceIds=[id])
ec2.modify_instance_attribute(InstanceId=id, DisableApiTermination={"Value": False})
refused("IncorrectInstanceState", ec2.modify_instance_attribute, InstanceId=id, InstanceType={"Value": "t3.small"})
ec2.reboot_instances(InstanceIds=[id])
ec2.stop_instances(InstanceIds=[id])
ec2.get_waiter("instance_stopped").wait(InstanceIds=[id], WaiterConfig=SOON)
refused("IncorrectInstanceState", ec2.reboot_instances, InstanceIds=[id])
ec2.modify_instance_attribute(InstanceId=id, InstanceType={"Value": "t3.small"})
ec2.modify_instance_attribute(InstanceId=id, UserData={"Value": b"#!/bin/sh"})
assert attribute("instanceType")["InstanceType"]["Value"] == "t3.small"
assert attribute("userData")["UserData"]["Value"] == "IyEvYmluL3No"
assert attribute("groupSet")["Groups"][0]["GroupName"] == "temporary"
root = attribute("blockDeviceMapping")["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]

# Snapshots and copies of them.
snapshot = ec2.create_snapshot(VolumeId=root, Description="before")["SnapshotId"]
ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=SOON)
copy = ec2.copy_snapshot(SourceSnapshotId=snapshot, SourceRegion="us-east-1", Encrypted=True)["SnapshotId"]
ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[copy], WaiterConfig=SOON)
assert ec2.describe_snapshots(SnapshotIds=[copy])["Snapshots"][0]["Encrypted"]
ec2.modify_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission", OperationType="add",
                              UserIds=["210987654321"])
shared = ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")
assert shared["CreateVolumePermissions"] == [{"UserId": "210987654321"}], shared
assert len(ec2.describe_snapshots(RestorableByUserIds=["210987654321"])["Snapshots"]) == 1
ec2.reset_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")
many = ec2.create_snapshots(InstanceSpecification={"InstanceId": id}, CopyTagsFromSource="volume")["Snapshots"]
assert [one["VolumeId"] for one in many] == [root], many

# Images and copies of them: the layers stay while a copy lies on them.
image = ec2.create_image(InstanceId=id, Name="first", TagSpecifications=[
    {"ResourceType": "image", "Tags": [{"Key": "team", "Value": "shop"}]}])["ImageId"]
ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=SOON)
ec2.modify_image_attribute(ImageId=image, Description={"Value": "by a tool"})
described = ec2.describe_image_attribute(ImageId=image, Attribute="description")
assert described["Description"]["Value"] == "by a tool", described
ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"Group": "all"}]})
assert ec2.describe_images(ImageIds=[image])["Images"][0]["Public"]
assert image in [one["ImageId"] for one in ec2.describe_images(ExecutableUsers=["all"])["Images"]]
ec2.reset_image_attribute(ImageId=image, Attribute="launchPermission")
assert not ec2.describe_images(ImageIds=[image])["Images"][0]["Public"]
copying = dict(Name="second", SourceImageId=image, SourceRegion="us-east-1", ClientToken="c1", CopyImageTags=True)
copied = ec2.copy_image(**copying)["ImageId"]
assert ec2.copy_image(**copying)["ImageId"] == copied
refused("IdempotentParameterMismatch", ec2.copy_image, **{**copying, "Name": "third"})
refused("InvalidParameterValue", ec2.copy_image, **{**copying, "SourceRegion": "eu-west-1", "ClientToken": "c2"})
assert ec2.describe_images(ImageIds=[copied])["Images"][0]["State"] == "pending"
ec2.get_waiter("image_available").wait(ImageIds=[copied], WaiterConfig=SOON)
second = ec2.describe_images(Filters=[{"Name": "source-image-id", "Values": [image]}])["Images"][0]
assert second["ImageId"] == copied and second["Tags"] == [{"Key": "team", "Value": "shop"}], second
ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
started = ec2.run_instances(ImageId=copied, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
ec2.get_waiter("instance_running").wait(InstanceIds=[started], WaiterConfig=SOON)

# Volumes that no launch made.
zone = ec2.describe_instances(InstanceIds=[started])["Reservations"][0]["Instances"][0]["Placement"]["AvailabilityZone"]
volume = ec2.create_volume(AvailabilityZone=zone, Size=3, VolumeType="gp3")["VolumeId"]
ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=SOON)
ec2.attach_volume(VolumeId=volume, InstanceId=started, Device="/dev/sdf")
ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig=SOON)
refused("VolumeInUse", ec2.attach_volume, VolumeId=volume, InstanceId=started, Device="/dev/sdg")
ec2.detach_volume(VolumeId=volume)
ec2.delete_volume(VolumeId=volume)
other = "us-east-1b" if zone == "us-east-1a" else "us-east-1a"
elsewhere = ec2.create_volume(AvailabilityZone=other, SnapshotId=copy)["VolumeId"]
refused("InvalidVolume.ZoneMismatch", ec2.attach_volume, VolumeId=elsewhere, InstanceId=started, Device="/dev/sdf")

# Places and types.
assert ec2.describe_regions(Filters=[{"Name": "endpoint", "Values": ["*us-east-1*"]}])["Regions"]
zones = ec2.describe_availability_zones(Filters=[{"Name": "zone-name", "Values": ["us-east-1b"]}])["AvailabilityZones"]
assert [one["ZoneId"] for one in zones] == ["use1-az2"], zones
kind = ec2.describe_instance_types(InstanceTypes=["m7g.large"])["InstanceTypes"][0]
assert (kind["VCpuInfo"]["DefaultVCpus"], kind["MemoryInfo"]["SizeInMiB"]) == (2, 8192), kind
refused("InvalidInstanceType", ec2.describe_instance_types, InstanceTypes=["m7g.enormous"])
offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=[
    {"Name": "instance-type", "Values": ["t3.micro"]}])["InstanceTypeOfferings"]
assert len(offers) == 3, offers
for call in (ec2.describe_images, ec2.describe_instance_types, ec2.describe_security_groups):
    refused("DryRunOperation", call, DryRun=True)

# And away with it all.
ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[ssh])
ec2.terminate_instances(InstanceIds=[id, started])
ec2.get_waiter("instance_terminated").wait(InstanceIds=[id, started], WaiterConfig=SOON)
ec2.delete_security_group(GroupId=group)
for name in ("mine", "curve", "theirs", "never there"):
    ec2.delete_key_pair(KeyName=name)
assert not ec2.describe_key_pairs()["KeyPairs"]
print(f"{len(answers)} answers have nothing that AWS's model doesn't know")
print("all seen")
