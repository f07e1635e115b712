"""Every filter that AWS documents for a call that is served is known, and none is taken that nobody documents."""

import re

from models import form, model, send, served

# Older names that EC2 takes still, from earlier versions of its reference.
OLDER = {
    "DescribeInstances": {"group-id", "group-name"},
    "DescribeImages": set(),
    "DescribeSubnets": {"availabilityZone", "availabilityZoneId", "cidr", "cidrBlock", "defaultForAz"},
    "DescribeVpcs": {"cidr-block", "isDefault"},
    "DescribeLaunchTemplates": {"launch-template-name"},
    "DescribeAutoScalingGroups": {"auto-scaling-group"},
}
# A tag's key is the name of the tag there.
OLDER["DescribeTags"] = {"tag-key"}


def documented(operation):
    for name in ("Filters", "Filter"):
        shape = operation.input_shape.members.get(name)
        if shape is not None:
            listed = re.findall(r"<li>\s*<p>\s*<code>([^<]+)</code>", shape.documentation)
            return {"tag:<key>" if re.match("tag(:.*)?$", one) else one for one in listed}
    return None


there = served()
count = refused = 0
for operation_name in there["operations"]["ec2"]:
    operation = model("ec2").operation_model(operation_name)
    wanted = documented(operation) if operation.input_shape else None
    if wanted is None:
        continue
    known = set(there["filters"].get(operation_name, []))
    assert wanted <= known, (operation_name, "AWS documents", sorted(wanted - known))
    # What every kind of resource with tags takes, whether its page says so or not.
    more = known - wanted - {"tag-key", "tag:<key>"} - OLDER.get(operation_name, set())
    assert not more, (operation_name, "nobody documents", sorted(more))
    for name in sorted(known):
        name = name.replace("<key>", "some")
        for value in ("no such value", "*"):
            filters = {"Filters": [{"Name": name, "Values": [value]}]}
            pairs = [("Action", operation_name)] + form("ec2", operation.input_shape, filters)
            if operation_name == "DescribeLaunchTemplateVersions":
                pairs.append(("LaunchTemplateVersion.1", "$Latest"))
            status, code, body = send("ec2", pairs)
            assert status == 200, (operation_name, name, code, body)
            if value != "*":
                # It has an effect: nothing has this value.
                assert "<item>" not in body, (operation_name, name, body)
        count += 1
    pairs = [("Action", operation_name), ("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")]
    if operation_name == "DescribeLaunchTemplateVersions":
        pairs.append(("LaunchTemplateVersion.1", "$Latest"))
    status, code, body = send("ec2", pairs)
    assert (status, code) == (400, "InvalidParameterValue"), (operation_name, status, body)
    refused += 1
print(f"{count} filters of {refused} calls are known, and an unknown one is refused by each")
print("all seen")
