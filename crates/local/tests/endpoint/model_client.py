"""Each operation that is served, against AWS's own model of it: what the model requires is required, what it does not
know is refused, and a value that is no value of its type is refused."""

import os

from models import NAMES, form, model, send, served

# What is said of a parameter that lacks, and of one that is wrong: not that something else is so.
MISSING = {"MissingParameter", "ValidationError"}
WRONG = {"InvalidParameterValue", "ValidationError", "UnknownParameter", "InvalidParameterCombination",
         "InvalidConfigurationRequest", "InvalidScheme"}
# What a call needs beside what its model requires, so that it is read to the end.
MORE = {
    "AuthorizeSecurityGroupIngress": {"GroupName": "default", "IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"},
    "AuthorizeSecurityGroupEgress": {"IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"},
    "RevokeSecurityGroupIngress": {"GroupName": "default", "IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"},
    "RevokeSecurityGroupEgress": {"IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"},
    "CreateVolume": {"AvailabilityZone": "us-east-1a", "Size": "1"},
    "DeleteSecurityGroup": {"GroupName": "default"},
    "DescribeImageReferences": {"IncludeAllResourceTypes": "true"},
    "ModifyInstanceAttribute": {"Attribute": "instanceType", "Value": "t3.micro"},
    "PutLifecycleHook": {"LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"},
    "RegisterImage": {"RootDeviceName": "/dev/xvda",
                      "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-1234567890"}}]},
    "RunInstances": {"ImageId": os.environ["BASE"]},
}
found = []
counts = dict(operations=0, required=0, unknown=0, values=0)


def check(right, *what):
    if not right:
        found.append(what)


def sample(shape, depth=0):
    """Some value of a shape, with what it requires and no more."""
    kind = shape.type_name
    if kind == "structure":
        return {name: sample(shape.members[name], depth + 1) for name in shape.required_members}
    if kind == "list":
        return [sample(shape.member, depth + 1)]
    if kind == "boolean":
        return "false"
    if kind in ("integer", "long", "double", "float"):
        return "1"
    if kind == "timestamp":
        return "2030-01-01T00:00:00Z"
    if kind == "blob":
        return "AAAA"
    return shape.enum[0] if getattr(shape, "enum", None) else "sample"


def wrong(shape):
    """Values that a shape can't have."""
    if shape.type_name == "boolean":
        return "perhaps"
    if shape.type_name in ("integer", "long", "double", "float"):
        return "many"
    if getattr(shape, "enum", None):
        return "no-such-value"
    return None


for service in NAMES:
    for name in served()["operations"][service]:
        operation = model(service).operation_model(name)
        shape = operation.input_shape
        counts["operations"] += 1
        minimal = {**sample(shape), **MORE.get(name, {})} if shape else {}
        whole = [("Action", name)] + (form(service, shape, minimal) if shape else [])

        status, code, body = send(service, whole + [("Surprise", "1")])
        check(status == 400, name, "takes what nobody knows", body)
        counts["unknown"] += 1
        if shape is None:
            continue
        assert "Surprise" not in shape.members
        for required in shape.required_members:
            rest = {key: value for key, value in minimal.items() if key != required}
            status, code, body = send(service, [("Action", name)] + form(service, shape, rest))
            check(400 <= status < 500 and code in MISSING, name, "does without", required, code, body)
            counts["required"] += 1
        for key, member in shape.members.items():
            value = wrong(member)
            if value is None:
                continue
            pairs = form(service, shape, {**minimal, key: value})
            status, code, body = send(service, [("Action", name)] + pairs)
            check(400 <= status < 500 and code in WRONG, name, "takes", key, value, code, body)
            counts["values"] += 1

        if service == "ec2" and "DryRun" in shape.members:
            status, code, body = send(service, whole + [("DryRun", "true")])
            check(code not in ("UnknownParameter", None), name, "has no DryRun", body)
for one in found:
    print(*(str(part)[:300] for part in one))
assert not found, f"{len(found)} differences"
print(", ".join(f"{count} {what}" for what, count in counts.items()))
print("all seen")
