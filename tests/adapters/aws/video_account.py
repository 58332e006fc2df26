"""An AWS account in this process: moto, and what moto leaves out of it done by the parts beside this file.

Real here: the template's resources as moto's CloudFormation makes them, S3 and its events, the rule's pattern, the
state machine (moto runs its states, waits, retries and catches), the functions' code, and boto3 in all of them.
Added: a rule's target may be a state machine; a function's invocation runs its code; the definition is put into the
template as text with its substitutions, since moto reads neither a file nor substitutions. A function runs with its
own role, and moto's reading of the role's policies decides what it may do in S3. Not here: rights elsewhere, scaling.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.decode.cfn_yaml import load as load_template
from moto.awslambda.models import LambdaFunction
from moto.core.config import default_user_config
from moto.core.exceptions import JsonRESTError
from moto.events.models import Rule
from moto.iam.access_control import AssumedRoleAccessKey, IAMPolicy, PermissionResult
from moto.s3.exceptions import BucketAccessDeniedError
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from tests.adapters.aws.video_functions import Functions

REGION = "us-east-1"
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
ARTIFACTS = "artifacts"


@dataclass
class Account:
    url: str
    functions: Functions
    executions: list[str] = field(default_factory=list)  # ARNs, as the rule started them
    roles: dict[str, str] = field(default_factory=dict)  # of the functions, by the keys they were given
    keys: dict[str, dict[str, str]] = field(default_factory=dict)  # variables with those keys, by role

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.url, **KEYS)

    def credentials(self, role: str) -> dict[str, str]:
        """Temporary keys of a role, as Lambda puts them into a function's environment."""
        if role not in self.keys:
            given = self.client("sts").assume_role(RoleArn=role, RoleSessionName="function")["Credentials"]
            self.roles[given["AccessKeyId"]] = role
            self.keys[role] = {
                "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
                "AWS_SESSION_TOKEN": given["SessionToken"],
            }
        return self.keys[role]

    def package(self, folder: Path) -> Path:
        """What the real `aws cloudformation package` makes of a laid-out folder."""
        packaged = folder / "packaged.yaml"
        command = ["cloudformation", "package", "--template-file", str(folder / "template.yaml")]
        command += ["--s3-bucket", ARTIFACTS, "--output-template-file", str(packaged)]
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
        }
        aws = [sys.executable, "-m", "awscli"]
        done = subprocess.run([*aws, *command], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return packaged

    def deploy(self, packaged: Path, name: str, **parameters: str) -> Stack:
        template = json.loads(json.dumps(load_template(str(packaged))))
        s3 = self.client("s3")
        workflow = template["Resources"]["Workflow"]["Properties"]
        place = workflow.pop("DefinitionS3Location")
        definition = s3.get_object(Bucket=place["Bucket"], Key=place["Key"])["Body"].read().decode()
        values = workflow.pop("DefinitionSubstitutions")
        pieces = re.split(r"\$\{(\w+)\}", hurried(definition))  # text, name, text, ...
        pieces[1::2] = [values[name] for name in pieces[1::2]]
        workflow["DefinitionString"] = {"Fn::Join": ["", pieces]}
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        assert described["StackStatus"] == "CREATE_COMPLETE", described
        outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        wanted = template["Resources"]["VideoBucket"]["Properties"]["NotificationConfiguration"]
        assert wanted["EventBridgeConfiguration"]["EventBridgeEnabled"]  # moto does not read it from a template
        s3.put_bucket_notification_configuration(
            Bucket=outputs["Videos"], NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        names = {
            one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources if "LogicalResourceId" in one
        }
        return Stack(self, outputs["Videos"], outputs["Workflow"], outputs["EndpointName"], names)


@dataclass(frozen=True)
class Stack:
    account: Account
    videos: str
    workflow: str
    endpoint: str
    names: dict[str, str]  # of the resources, by their names in the template

    def upload(self, key: str, body: bytes) -> list[str]:
        """The executions that it started."""
        before = len(self.account.executions)
        self.account.client("s3").put_object(Bucket=self.videos, Key=key, Body=body)
        return self.account.executions[before:]

    def files(self, prefix: str = "") -> dict[str, bytes]:
        s3 = self.account.client("s3")
        listed = s3.list_objects_v2(Bucket=self.videos, Prefix=prefix).get("Contents", [])
        return {one["Key"]: s3.get_object(Bucket=self.videos, Key=one["Key"])["Body"].read() for one in listed}

    def wait(self, execution: str, *, seconds: float = 240) -> dict[str, Any]:
        """How it ended."""
        states, until = self.account.client("stepfunctions"), time.monotonic() + seconds
        while time.monotonic() < until:
            found = dict(states.describe_execution(executionArn=execution))
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.1)
        raise AssertionError(f"the execution did not end: {self.visited(execution)}")

    def history(self, execution: str) -> list[dict[str, Any]]:
        states = self.account.client("stepfunctions")
        answer = states.get_execution_history(executionArn=execution, maxResults=1000)
        return list(answer["events"])

    def visited(self, execution: str) -> list[str]:
        entered = [event.get("stateEnteredEventDetails") for event in self.history(execution)]
        return [one["name"] for one in entered if one]


def hurried(definition: str) -> str:
    """The same states with retries a second apart at first, and growing less."""
    machine = json.loads(definition)
    for state in machine["States"].values():
        for retry in state.get("Retry", []):
            if retry["MaxAttempts"]:
                retry |= {"IntervalSeconds": 1, "BackoffRate": 1.5}
    return json.dumps(machine)


@contextlib.contextmanager
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """moto's server and the patches, until the end."""
    monkeypatch.setitem(default_user_config, "stepfunctions", {"execute_state_machine": True})
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    monkeypatch.setenv("MOTO_PORT", str(port))  # where moto's states find moto
    functions = Functions({"AWS_ENDPOINT_URL": url})
    made = Account(url, functions)
    _patch(monkeypatch, made)
    made.client("s3").create_bucket(Bucket=ARTIFACTS)
    try:
        yield made
    finally:
        functions.end()
        server.stop()


def _patch(monkeypatch: pytest.MonkeyPatch, account: Account) -> None:
    class Throttled(JsonRESTError):
        code = 429

    def invoke(function: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        handler = function.handler
        if account.functions.throttled[handler] > 0:
            account.functions.throttled[handler] -= 1
            raise Throttled("TooManyRequestsException", "Rate Exceeded.")
        variables = {name: str(value) for name, value in function.environment_vars.items()}
        variables |= account.credentials(function.role)
        answer, failed = account.functions.invoke(
            function.function_name, handler, function.code_bytes, variables, function.timeout, event
        )
        return answer, failed, ""

    def send(rule: Rule, event: Any, transform_input: bool = True) -> None:
        if not rule.event_pattern.matches_event(event):
            return
        for target in rule.targets:
            assert target["RoleArn"].startswith("arn:aws:iam::")
            started = account.client("stepfunctions").start_execution(
                stateMachineArn=target["Arn"],
                name=f"{uuid.uuid4()}_{uuid.uuid4()}",  # as EventBridge names them
                input=json.dumps(event),
            )
            account.executions.append(started["executionArn"])

    def authorize(request: S3Response, bucket_name: str = "", key_name: str = "") -> None:
        key = re.search(r"Credential=(\w+)/", request.headers.get("Authorization", ""))
        if key is None or key[1] not in account.roles:
            return  # of the tests
        account_id, action = request.current_account, f"s3:{request.data['Action']}"
        role = AssumedRoleAccessKey(account_id, "aws", key[1], dict(request.headers))
        resource = f"arn:aws:s3:::{bucket_name}" + (f"/{key_name}" if key_name else "")
        found = role.collect_policies()  # a template's are not yet text
        policies = [IAMPolicy(json.dumps(one) if isinstance(one, dict) else one) for one in found]
        answers = [policy.is_action_permitted(action, resource) for policy in policies]
        if PermissionResult.PERMITTED not in answers:
            raise BucketAccessDeniedError(bucket=bucket_name)

    monkeypatch.setattr(S3Response, "_authenticate_and_authorize_s3_action", authorize)
    monkeypatch.setattr(LambdaFunction, "_invoke_lambda", invoke)
    monkeypatch.setattr(Rule, "send_to_targets", send)
    # moto's CloudFormation makes state machines for the backend that runs none
    monkeypatch.setattr("moto.stepfunctions.models.stepfunctions_backends", stepfunctions_parser_backends)
