"""Images with several disks, and volumes that outlive their instances, through boto3."""

import os

import boto3

from expect import refused

ec2 = boto3.client("ec2")
BASE = os.environ["BASE"]
SOON = {"Delay": 1, "MaxAttempts": 30}
TAGS = [{"Key": "team", "Value": "shop"}]


def launch(image, *devices):
    answer = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, BlockDeviceMappings=list(devices),
        TagSpecifications=[{"ResourceType": "volume", "Tags": TAGS}],
    )
    instance = answer["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=SOON)
    return instance


def mappings(of):
    return {one["DeviceName"]: one["Ebs"]["DeleteOnTermination"] for one in of["BlockDeviceMappings"]}


def device(name, **ebs):
    return {"DeviceName": name, "Ebs": ebs}


def volumes(status):
    found = ec2.describe_volumes(Filters=[{"Name": "status", "Values": [status]}])["Volumes"]
    assert all(one["State"] == status for one in found), found
    return found


def end(instance):
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig=SOON)


# An image that would leave its volumes behind, made of an instance's two disks.
assert mappings(ec2.describe_images(ImageIds=[BASE])["Images"][0]) == {"/dev/xvda": True}
first = launch(BASE, device("/dev/sdf", VolumeSize=4))
shown = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]
assert mappings(shown) == {"/dev/xvda": True, "/dev/sdf": False}, shown
made = ec2.create_image(InstanceId=first, Name="two-disks")["ImageId"]
ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig=SOON)
devices = ec2.describe_images(ImageIds=[made])["Images"][0]["BlockDeviceMappings"]
root, data = (next(one["Ebs"] for one in devices if one["DeviceName"] == name) for name in ("/dev/xvda", "/dev/sdf"))
leaky = ec2.register_image(
    Name="leaky", RootDeviceName="/dev/xvda", Architecture="x86_64",
    BlockDeviceMappings=[
        device("/dev/xvda", SnapshotId=root["SnapshotId"], DeleteOnTermination=False),
        device("/dev/sdf", SnapshotId=data["SnapshotId"], DeleteOnTermination=True),
        device("/dev/sdg", VolumeSize=2),
    ],
)["ImageId"]
assert mappings(ec2.describe_images(ImageIds=[leaky])["Images"][0]) == {
    "/dev/xvda": False, "/dev/sdf": True, "/dev/sdg": False}
refused("MissingParameter", ec2.register_image, Name="rootless", BlockDeviceMappings=[device("/dev/sdf", VolumeSize=2)])
refused("InvalidBlockDeviceMapping", ec2.register_image, Name="twice", BlockDeviceMappings=[
    device("/dev/xvda", SnapshotId=root["SnapshotId"]), device("/dev/sdg", VolumeSize=2), device("/dev/sdg", VolumeSize=2)])

# Two instances of it: as the image has it, and with mappings that let nothing stay.
careless = launch(leaky)
careful = launch(leaky, device("/dev/xvda", DeleteOnTermination=True), device("/dev/sdg", DeleteOnTermination=True))
used = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [careless]}])["Volumes"]
assert sorted(one["Attachments"][0]["Device"] for one in used) == ["/dev/sdf", "/dev/sdg", "/dev/xvda"], used
refused("VolumeInUse", ec2.delete_volume, VolumeId=used[0]["VolumeId"])
assert volumes("available") == []
end(careful)
assert volumes("available") == []
end(careless)
end(first)
left = volumes("available")
assert sorted(one["Size"] for one in left) == [2, 4, 8], left
assert all(one["Tags"] == TAGS and one["Attachments"] == [] for one in left), left
refused("DryRunOperation", ec2.delete_volume, VolumeId=left[0]["VolumeId"], DryRun=True)
for volume in left:
    ec2.delete_volume(VolumeId=volume["VolumeId"])
refused("InvalidVolume.NotFound", ec2.delete_volume, VolumeId=left[0]["VolumeId"])
assert volumes("available") == [] and volumes("in-use") == []
print("all seen")
