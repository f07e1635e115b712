"""AWS's models of its services, as botocore brings them, and requests that no client would send."""

import json
import os
import re
import urllib.error
import urllib.request
from urllib.parse import urlencode
from xml.etree import ElementTree

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel

# The name in a signature, and botocore's.
NAMES = {"ec2": "ec2", "autoscaling": "autoscaling", "elasticloadbalancing": "elbv2"}


def model(service):
    return ServiceModel(Loader().load_service_model(NAMES[service], "service-2"), NAMES[service])


def wire(service, name, shape):
    """A member's name on the wire, and what the elements of a list are called there."""
    if service == "ec2":
        told = shape.serialization.get("queryName") or shape.serialization.get("name") or name
        return told[0].upper() + told[1:]
    return shape.serialization.get("name", name)


def form(service, shape, value, prefix=""):
    """A value as the query protocol writes it."""
    if shape.type_name == "structure":
        pairs = []
        for name, member in shape.members.items():
            if name in value:
                pairs += form(service, member, value[name], f"{prefix}{wire(service, name, member)}.")
        return pairs
    if shape.type_name == "list":
        inner = "" if service == "ec2" else "member."
        pairs = []
        for number, one in enumerate(value, 1):
            pairs += form(service, shape.member, one, f"{prefix}{inner}{number}.")
        return pairs
    return [(prefix.rstrip("."), value)]


def send(service, pairs):
    """Sends a form as it is; gives the status, AWS's code if it was refused, and the body."""
    body = urlencode(pairs).encode()
    request = AWSRequest("POST", os.environ["AWS_ENDPOINT_URL"] + "/", data=body,
                         headers={"Content-Type": "application/x-www-form-urlencoded"})
    key = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(key, service, "us-east-1").add_auth(request)
    sent = urllib.request.Request(request.url, body, dict(request.headers.items()), method="POST")
    try:
        with urllib.request.urlopen(sent) as answer:
            return answer.status, None, answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, re.search("<Code>(.*?)</Code>", text).group(1), text


def served():
    return json.loads(os.environ["SERVED"])


def unknown_elements(service, operation, body):
    """What an answer has and the model doesn't know: no client would ever see it."""
    root = ElementTree.fromstring(body)
    local = lambda element: element.tag.rsplit("}")[-1]
    shape = operation.output_shape
    if service != "ec2":
        root = next((one for one in root if local(one).endswith("Result")), [])
    found = []

    def look(element, shape, path):
        if shape is None or shape.type_name == "map":
            return
        if shape.type_name == "structure":
            known = {one.serialization.get("name", name): one for name, one in shape.members.items()}
            for child in element:
                name = local(child)
                # EC2 answers these beside what its model has.
                if not path and name in ("requestId", "return"):
                    continue
                if name not in known:
                    found.append(f"{path}{name}")
                else:
                    look(child, known[name], f"{path}{name}.")
        elif shape.type_name == "list":
            for child in element:
                look(child, shape.member, f"{path}")
        elif len(element):
            found.append(f"{path}*")

    if len(root) and shape is not None:
        look(root, shape, "")
    return found


def hold_answers(client, service):
    """Holds each answer that a boto3 client gets against AWS's model of it; gives the operations, as they are answered."""
    held = []

    def hold(response_dict, operation_model, **_):
        if response_dict["status_code"] == 200:
            unknown = unknown_elements(service, operation_model, response_dict["body"])
            assert not unknown, (operation_model.name, unknown)
            held.append(operation_model.name)

    client.meta.events.register(f"before-parse.{NAMES[service]}", hold)
    return held
