"""tools/adopt: what it refuses, what it says before it acts, and that a stack deployed again has all that the one before it had."""

import json
import subprocess
import sys

import boto3

ADOPT = sys.argv[1]
ec2, s3, cloudformation = boto3.client("ec2"), boto3.client("s3"), boto3.client("cloudformation")
scaling, elb, dynamodb = boto3.client("autoscaling"), boto3.client("elbv2"), boto3.resource("dynamodb")
BASE = boto3.client("ssm").get_parameter(Name="/aws/service/debian/release/12/latest/amd64")["Parameter"]["Value"]
STACK = "ovenbird:stack"

# As infra/template.yaml has them: both stay when the stack is deleted.
KEYS = [("pk", "HASH"), ("sk", "RANGE")]
TEMPLATE = {
    "Resources": {
        "Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "DeletionPolicy": "Retain",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name, _ in KEYS],
                "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in KEYS],
            },
        },
    },
    "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}}, "Table": {"Value": {"Ref": "Table"}}},
}


def deploy(name):
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(TEMPLATE))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    return stack["StackId"], outputs["Table"], outputs["Bucket"]


def delete(name, stack):
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})


def adopt(*words):
    ended = subprocess.run([sys.executable, ADOPT, *words], capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


def refused(problem, *words):
    code, text = adopt(*words)
    assert code == 1 and problem in text and "\nfix:   " in text, text


def tags(stack, bake):
    own = {STACK: stack, "ovenbird:bake": bake} if bake else {STACK: stack}
    return [{"Key": key, "Value": value} for key, value in own.items()]


def owner(resource):
    found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource]}])["Tags"]
    return next(one["Value"] for one in found if one["Key"] == STACK)


def image(stack, bake):
    """An image, its snapshot, and the instance that it was made of."""
    of = {"ResourceType": "instance", "Tags": tags(stack, bake)}
    run = dict(ImageId=BASE, MinCount=1, MaxCount=1, InstanceType="t3.micro", TagSpecifications=[of])
    instance = ec2.run_instances(**run)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    made = ec2.create_image(
        InstanceId=instance, Name=bake,
        TagSpecifications=[{"ResourceType": kind, "Tags": tags(stack, bake)} for kind in ("image", "snapshot")],
    )["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig={"Delay": 1})
    mappings = ec2.describe_images(ImageIds=[made])["Images"][0]["BlockDeviceMappings"]
    return made, mappings[0]["Ebs"]["SnapshotId"], instance


old, old_table, old_bucket = deploy("before")
RECORDS = [
    {"pk": "PIPELINE#storefront", "sk": "BAKE#b-1", "gsi1pk": "promoted", "version": 3, "doc": {"size": 1, "of": [None, True]}},
    {"pk": "PIPELINE#storefront", "sk": "BAKE#b-2", "gsi1pk": "running", "version": 1, "doc": {}},
    *({"pk": "DIGEST", "sk": f"{number:03}", "text": "x" * 9_000} for number in range(200)),
]
with dynamodb.Table(old_table).batch_writer() as writer:
    for record in RECORDS:
        writer.put_item(Item=record)
pointer, recipe = "recipes/storefront/current.json", "recipes/storefront/1/recipe.toml"
for key in (pointer, recipe, "runner/x86_64/current.json", "bakes/storefront/b-1/plan.json", "artifacts/storefront/v1.jar"):
    s3.put_object(Bucket=old_bucket, Key=key, Body=key.encode())
made, snapshot, ended = image(old, "b-1")
ec2.terminate_instances(InstanceIds=[ended])
ec2.get_waiter("instance_terminated").wait(InstanceIds=[ended], WaiterConfig={"Delay": 1})
other, _, builder = image(old, "b-2")
foreign, *_ = image("another-stack", "b-9")
ec2.disable_image(ImageId=other)
template = ec2.create_launch_template(
    LaunchTemplateName="web", LaunchTemplateData={"ImageId": made, "InstanceType": "t3.micro"},
    TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags(old, None)}],
)["LaunchTemplate"]["LaunchTemplateId"]
subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
scaling.create_auto_scaling_group(
    AutoScalingGroupName="web", MinSize=0, MaxSize=1, VPCZoneIdentifier=subnets[0],
    LaunchTemplate={"LaunchTemplateId": template, "Version": "$Default"},
    Tags=[{"Key": STACK, "Value": old, "PropagateAtLaunch": False}],
)
balancer = elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]
target = elb.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=balancer["VpcId"])["TargetGroups"][0]
listener = elb.create_listener(
    LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80,
    DefaultActions=[{"Type": "forward", "TargetGroupArn": target["TargetGroupArn"]}], Tags=tags(old, None),
)["Listeners"][0]["ListenerArn"]

# What it refuses.
refused("there is no stack `again`", "again", old_table, old_bucket)
new, table, bucket = deploy("again")
refused("is stack before's, which is there", "again", old_table, old_bucket)
delete("before", old)
stack, empty, _ = deploy("empty")
delete("empty", stack)
refused("has no records", "again", empty, old_bucket)
refused("isn't named", "again", "", old_bucket)
refused("is stack again's, which is there", "again", table, old_bucket)
refused("is stack again's, which is there", "again", old_table, bucket)
s3.create_bucket(Bucket="somebody-s")
refused("has no recipe of any pipeline", "again", old_table, "somebody-s")
refused("can't be read", "again", "no-such-table", old_bucket)
refused("can't be read", "again", old_table, "no-such-bucket")
refused("there is no stack `nobody`", "nobody", old_table, old_bucket)
strange = dynamodb.Table(table)
for record in ({"pk": "TURNS", "sk": "TURNS", "version": 1}, {**RECORDS[0], "version": 4}):
    strange.put_item(Item=record)
    refused("or has otherwise: 1, the first is", "again", old_table, old_bucket, "--yes")
    strange.delete_item(Key={key: record[key] for key, _ in KEYS})
assert not strange.scan()["Items"]

# The images say which stack made them, too.
alive, *_ = deploy("alive")
ec2.create_tags(Resources=[made], Tags=[{"Key": STACK, "Value": alive}])
refused("and is there still", "again", old_table, old_bucket)
ec2.create_tags(Resources=[made], Tags=[{"Key": STACK, "Value": old}])

# What it says first.
code, plan = adopt("again", old_table, old_bucket)
assert code == 0 and "Nothing was changed" in plan, plan
for line in ("202 of 202 records", "3 objects of recipes", "2 image: ami-", "2 snapshot: snap-", "1 instance: i-",
             "1 launch-template: lt-", "1 Auto Scaling group: ", "1 listener or rule: ", "deleted: 1."):
    assert f" {line}" in plan, (line, plan)
assert made in plan and old.split("/")[-1] in plan and old.split(":")[4] not in plan, plan
assert not strange.scan()["Items"] and owner(made) == old
assert "Contents" not in s3.list_objects_v2(Bucket=bucket)

# An earlier try was interrupted.
strange.put_item(Item=RECORDS[1])
s3.put_object(Bucket=bucket, Key=recipe, Body=recipe.encode())
code, done = adopt("again", old_table, old_bucket, "--yes")
assert code == 0 and "201 of 202 records" in done and "2 objects of recipes" in done, done
assert f"aws s3 cp 's3://{old_bucket}/artifacts/storefront/v1.jar'" in done, done


def items(name):
    found, page = [], {}
    while not found or "LastEvaluatedKey" in page:
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if page else {}
        page = dynamodb.Table(name).scan(**more)
        found += page["Items"]
    return sorted(found, key=lambda item: (item["pk"], item["sk"]))


assert items(table) == items(old_table) and len(items(table)) == len(RECORDS)
copied = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
assert copied == sorted([pointer, recipe, "runner/x86_64/current.json"]), copied
assert s3.get_object(Bucket=bucket, Key=pointer)["Body"].read() == pointer.encode()
for resource in (made, other, snapshot, builder, template):
    assert owner(resource) == new, resource
assert owner(foreign) == "another-stack"
assert owner(ended) == old, "EC2 may not take a tag for what was terminated"
[group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"]
[tag] = group["Tags"]
assert (tag["Value"], tag["PropagateAtLaunch"]) == (new, False), tag
[described] = elb.describe_tags(ResourceArns=[listener])["TagDescriptions"]
assert described["Tags"] == tags(new, None), described

# A second time there is nothing left to do.
code, again = adopt("again", old_table, old_bucket, "--yes")
assert code == 0 and "There is nothing left to do" in again and "0 of 202 records" in again, again
print("all seen")
