"""What botocore signs, in the ways in which it does: each must be let in."""

import io
import os
import urllib.request

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
KEYS = ["plain", "a b", "a+b", "a%2Fb", "ä/€/😀", "a//b", "a/./b/../c", "tilde~star*(paren)'", "q?a=b&c=d", "=;,:@$"]
LARGE = b"0123456789abcdef" * (1 << 20)

for key in KEYS:
    s3.put_object(Bucket="bucket", Key=key, Body=b"an object", Metadata={"spaces": "a  b", "empty": ""})
    s3.get_object(Bucket="bucket", Key=key)
    for method, name in [("get_object", "GET"), ("put_object", "PUT")]:
        url = s3.generate_presigned_url(method, Params={"Bucket": "bucket", "Key": key}, ExpiresIn=60)
        data = b"an object" if name == "PUT" else None
        with urllib.request.urlopen(urllib.request.Request(url, data=data, method=name)) as answer:
            assert answer.status == 200, url

s3.put_object(Bucket="bucket", Key="large", Body=io.BytesIO(LARGE))
s3.put_object(Bucket="bucket", Key="large", Body=LARGE, ChecksumAlgorithm="SHA256")
s3.upload_fileobj(io.BytesIO(b"from a file"), "bucket", "file")
unsigned = boto3.client("s3", config=Config(signature_version="s3v4", s3={"payload_signing_enabled": False}))
unsigned.put_object(Bucket="bucket", Key="unsigned", Body=io.BytesIO(LARGE))

# The same with another secret is refused, whatever it is.
wrong = boto3.client("s3", aws_secret_access_key="wrong", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"])
for key in KEYS:
    try:
        wrong.get_object(Bucket="bucket", Key=key)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "SignatureDoesNotMatch", error
    else:
        raise AssertionError(f"{key} was given away")
print("all let in")
