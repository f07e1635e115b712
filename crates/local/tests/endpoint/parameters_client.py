"""Parameters of data type aws:ec2:image, as boto3 sees them."""
import sys
import time

import boto3
from botocore.exceptions import ClientError

ec2, ssm = boto3.client("ec2"), boto3.client("ssm")
NAME = "/shop/image"
debian = [{"Name": "name", "Values": ["debian-12-*"]}]
base = ec2.describe_images(Filters=debian)["Images"][0]["ImageId"]


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"]
    sys.exit(f"{code} was expected")


def put(value, **more):
    return ssm.put_parameter(Name=NAME, Type="String", DataType="aws:ec2:image", Value=value, Overwrite=True, **more)


def value(name=NAME):
    return ssm.get_parameter(Name=name)["Parameter"]["Value"]


def soon(expected):
    for _ in range(50):
        try:
            if value() == expected:
                return
        except ssm.exceptions.ParameterNotFound:
            pass
        time.sleep(0.2)
    sys.exit(f"the parameter never became {expected}")


assert put(base)["Version"] == 1
refused("ParameterNotFound", value)
assert "still in process" in refused("ValidationException", put, base)
soon(base)
assert ssm.get_parameter(Name=NAME)["Parameter"]["DataType"] == "aws:ec2:image"

builder = ec2.run_instances(ImageId=base, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
ec2.get_waiter("instance_running").wait(InstanceIds=[builder], WaiterConfig={"Delay": 1})
other = ec2.create_image(InstanceId=builder, Name="other")["ImageId"]
ec2.get_waiter("image_available").wait(ImageIds=[other], WaiterConfig={"Delay": 1})

assert put(other)["Version"] == 2
assert value() == base, "the new version is in no answer yet"
assert ssm.describe_parameters()["Parameters"][0]["Version"] == 1
soon(other)

# Versions and labels.
ssm.label_parameter_version(Name=NAME, ParameterVersion=1, Labels=["blue"])
assert (value(NAME + ":1"), value(NAME + ":blue"), value(NAME + ":2")) == (base, base, other)


def launched(selector):
    image = f"resolve:ssm:{NAME}{selector}"
    return ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["ImageId"]


assert [launched(one) for one in ("", ":1", ":blue")] == [other, base, base]
refused("InvalidParameterValue", launched, ":green")

# A value that is found wrong is dropped without a word.
put("ami-00000000000000000")
time.sleep(4)
assert value() == other
put(base)
soon(base)

# Its data type stays, and an image is resolved from no other.
text = dict(Name=NAME, Type="String", DataType="text", Value=base, Overwrite=True)
assert "data type" in refused("ValidationException", ssm.put_parameter, **text)
ssm.put_parameter(Name="/shop/text", Type="String", Value=base)
plain = dict(Name="/shop/text", Type="String", DataType="aws:ec2:image", Value=base, Overwrite=True)
assert "data type" in refused("ValidationException", ssm.put_parameter, **plain)
message = refused("InvalidParameterValue", ec2.run_instances, ImageId="resolve:ssm:/shop/text", MinCount=1, MaxCount=1)
assert "aws:ec2:image" in message
print("all seen")
