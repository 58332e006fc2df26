"""The exact requests to AWS: model, endpoint configuration, endpoint, transform job, invocation.

Pure: from what is wanted to the dictionaries that boto3 takes, with AWS's limits kept. Sends nothing. Scaling has its
own module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from adapters.sagemaker.choice import ASYNCHRONOUS, TRANSFORM
from turnscribe.errors import SettingsError

VARIANT = "all"  # of the traffic: the endpoint's only variant
JOB_VARIABLES = 16  # AWS: the most a transform job may add
NAME_CHARACTERS = 63
COPY = "copy it to a plain name, or give the file on this machine, whose upload gets one"
ATTRIBUTE_CHARACTERS = 1024  # AWS: the most CustomAttributes may have


@dataclass(frozen=True)
class Call:
    """One request: `client(service).operation(**request)`."""

    service: str
    operation: str
    request: Mapping[str, Any]


@dataclass(frozen=True)
class Container:
    """What a model is to SageMaker; `role` is what the container may do, by its ARN."""

    image: str
    model_data: str  # s3://.../model.tar.gz
    role: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Fleet:
    """The instances. The container may take `startup_s` to answer its first ping, with its packages to install."""

    instance_type: str
    instances: int = 1
    startup_s: int = 1800
    ami: str | None = None  # a newer driver, for images of newer CUDA


@dataclass(frozen=True)
class Queue:
    """Where an asynchronous endpoint puts results, and who is told; `concurrency` is of requests on one instance."""

    output: str
    failure: str
    success_topic: str | None = None
    error_topic: str | None = None
    concurrency: int = 1


@dataclass(frozen=True)
class TransformJob:
    """A batch transform. `concurrency` requests at once, each of at most `payload_mb`, go to each instance."""

    source: str  # a prefix in S3, or a manifest
    output: str
    instance_type: str
    manifest: bool = False
    instances: int = 1
    concurrency: int = 1
    payload_mb: int = TRANSFORM.payload_mb
    timeout_s: int = TRANSFORM.seconds
    content_type: str = "application/octet-stream"
    accept: str = "application/json"
    parameters: Mapping[str, str] = field(default_factory=dict)  # variables, as `request_defaults` makes them


def check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9])*", name) or len(name) > NAME_CHARACTERS:
        raise SettingsError(
            f"The name is wrong: letters, digits and hyphens between them, at most {NAME_CHARACTERS}."
        )
    return name


def check_s3(address: str, option: str) -> str:
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\x00-\x1f\x7f]*)?", address):
        raise SettingsError(f"{option} is no address in S3: give s3://bucket/prefix.")
    return address


def check_plain(address: str, option: str, instead: str = "take a plain name") -> str:
    """Of an asynchronous request: its places go to and fro in HTTP headers."""
    if not re.fullmatch("[!-~]+", check_s3(address, option)):
        raise SettingsError(
            f"{option} has a space or a letter beyond ASCII, and asynchronous requests have their addresses in HTTP "
            f"headers, which are not made for these: {instead}."
        )
    return address


def split_address(address: str) -> tuple[str, str]:
    """`s3://bucket/key` -> bucket, key"""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def check_instances(instances: int) -> int:
    if instances < 1:
        raise SettingsError(
            "--instances is wrong: a whole number from 1. Only an asynchronous endpoint goes to zero."
        )
    return instances


def build_model(name: str, container: Container) -> Call:
    request = {
        "ModelName": check_name(name),
        "ExecutionRoleArn": container.role,
        "PrimaryContainer": {
            "Image": container.image,
            "ModelDataUrl": check_s3(container.model_data, "--model-data"),
            "Environment": dict(container.environment),
        },
    }
    return Call("sagemaker", "create_model", request)


def build_endpoint_config(name: str, fleet: Fleet, queue: Queue | None = None) -> Call:
    """With a queue the endpoint is asynchronous."""
    variant: dict[str, Any] = {
        "VariantName": VARIANT,
        "ModelName": name,
        "InstanceType": fleet.instance_type,
        "InitialInstanceCount": check_instances(fleet.instances),
        "ContainerStartupHealthCheckTimeoutInSeconds": fleet.startup_s,
        "ModelDataDownloadTimeoutInSeconds": fleet.startup_s,
    }
    if fleet.ami:
        variant["InferenceAmiVersion"] = fleet.ami
    request: dict[str, Any] = {"EndpointConfigName": check_name(name), "ProductionVariants": [variant]}
    if queue:
        request["AsyncInferenceConfig"] = _asynchronous(queue)
    return Call("sagemaker", "create_endpoint_config", request)


def _asynchronous(queue: Queue) -> dict[str, Any]:
    output: dict[str, Any] = {
        "S3OutputPath": check_plain(queue.output, "--output"),
        "S3FailurePath": check_plain(queue.failure, "--failure"),
    }
    topics = {"SuccessTopic": queue.success_topic, "ErrorTopic": queue.error_topic}
    if given := {name: topic for name, topic in topics.items() if topic}:
        output["NotificationConfig"] = given
    return {
        "OutputConfig": output,
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": queue.concurrency},
    }


def build_endpoint(name: str) -> Call:
    request = {"EndpointName": check_name(name), "EndpointConfigName": name}
    return Call("sagemaker", "create_endpoint", request)


def build_transform_job(name: str, job: TransformJob, *, model: str | None = None) -> Call:
    """A job over whole files: none is split, and each makes one request. Raises `SettingsError`."""
    if job.concurrency < 1 or job.payload_mb < 1:
        raise SettingsError("Concurrency and payload of a job are whole numbers from 1.")
    if job.concurrency * job.payload_mb > TRANSFORM.payload_mb:
        raise SettingsError(
            f"{job.concurrency} requests at once of {job.payload_mb} MB are {job.concurrency * job.payload_mb} MB, "
            f"and SageMaker allows {TRANSFORM.payload_mb} MB for MaxConcurrentTransforms times MaxPayloadInMB: lower "
            "one of them, or give the job more instances."
        )
    if not 1 <= job.timeout_s <= TRANSFORM.seconds:
        raise SettingsError(f"A request of a job may take 1 to {TRANSFORM.seconds} s: that is SageMaker's limit.")
    if len(job.parameters) > JOB_VARIABLES:
        raise SettingsError(f"A job takes {JOB_VARIABLES} parameters at most.")
    if not job.manifest:
        _check_apart(job)
    request: dict[str, Any] = {
        "TransformJobName": check_name(name),
        "ModelName": model or name,
        "MaxConcurrentTransforms": job.concurrency,
        "MaxPayloadInMB": job.payload_mb,
        "BatchStrategy": "SingleRecord",
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": job.timeout_s, "InvocationsMaxRetries": 1},
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "ManifestFile" if job.manifest else "S3Prefix",
                    "S3Uri": check_s3(job.source, "--manifest" if job.manifest else "--input"),
                }
            },
            "ContentType": job.content_type,
            "SplitType": "None",
            "CompressionType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": check_s3(job.output, "--output"),
            "Accept": job.accept,
            "AssembleWith": "None",
        },
        "TransformResources": {"InstanceType": job.instance_type, "InstanceCount": check_instances(job.instances)},
    }
    if job.parameters:
        request["Environment"] = dict(job.parameters)
    return Call("sagemaker", "create_transform_job", request)


def _check_apart(job: TransformJob) -> None:
    """SageMaker's S3Prefix is the start of names: `talks` takes what is in `talks-text/` too."""
    bucket, prefix = split_address(job.source)
    place, output = split_address(job.output)
    if place == bucket and f"{output.rstrip('/')}/".startswith(prefix):
        raise SettingsError(
            "--output starts with --input, so that the next job would take this one's answers for recordings: end a "
            "folder with /, and let the answers go elsewhere."
        )


def build_asynchronous_invocation(
    name: str,
    location: str,
    *,
    content_type: str,
    accept: str = "application/json",
    parameters: Mapping[str, str] | None = None,
    timeout_s: int = ASYNCHRONOUS.seconds,
) -> Call:
    """One recording that lies in S3. Raises `SettingsError`."""
    if not 1 <= timeout_s <= ASYNCHRONOUS.seconds:
        raise SettingsError(f"An asynchronous request may take 1 to {ASYNCHRONOUS.seconds} s: SageMaker's limit.")
    request: dict[str, Any] = {
        "EndpointName": check_name(name),
        "InputLocation": check_plain(location, "The recording", COPY),
        "ContentType": content_type,
        "Accept": accept,
        "InvocationTimeoutSeconds": timeout_s,
    }
    if parameters:
        request["CustomAttributes"] = custom_attributes(parameters)
    return Call("sagemaker-runtime", "invoke_endpoint_async", request)


def build_invocation(
    name: str,
    body: Any,
    *,
    content_type: str,
    accept: str = "application/json",
    parameters: Mapping[str, str] | None = None,
) -> Call:
    """One recording, or an open file of it, to a real-time endpoint."""
    request: dict[str, Any] = {"EndpointName": check_name(name), "Body": body}
    request |= {"ContentType": content_type, "Accept": accept}
    if parameters:
        request["CustomAttributes"] = custom_attributes(parameters)
    return Call("sagemaker-runtime", "invoke_endpoint", request)


def custom_attributes(parameters: Mapping[str, str]) -> str:
    """A request's parameters as `inference.py` reads them. Raises `SettingsError`."""
    text = urlencode(parameters)
    if len(text) > ATTRIBUTE_CHARACTERS:
        raise SettingsError(
            f"The parameters are {len(text)} characters, and CustomAttributes take {ATTRIBUTE_CHARACTERS}: send JSON "
            "with inputs and parameters."
        )
    return text
