"""Creates, describes and deletes at SageMaker, one request after another, so that each may be repeated.

What is there already with the same contents is left, with others refused; what is gone already is told. Takes a
function from a service's name to its boto3 client. Never prints a variable's value that looks like a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adapters.sagemaker import scaling as scale
from adapters.sagemaker.choice import ASYNCHRONOUS, REAL_TIME, Way
from adapters.sagemaker.environment import secrets_in, shown
from adapters.sagemaker.errors import Refused, is_missing
from adapters.sagemaker.request import VARIANT, Call
from turnscribe.cli.endpoints.errors import one_line
from turnscribe.cli.endpoints.waiting import Tell

Clients = Callable[[str], Any]  # "sagemaker" -> its boto3 client

KINDS = {  # of what a request creates: its title, how it is described, by which of the request's keys
    "create_model": ("model", "describe_model", "ModelName"),
    "create_endpoint_config": ("endpoint configuration", "describe_endpoint_config", "EndpointConfigName"),
    "create_endpoint": ("endpoint", "describe_endpoint", "EndpointName"),
    "create_transform_job": ("transform job", "describe_transform_job", "TransformJobName"),
}
OPTIONAL = ("Environment", "NotificationConfig", "AsyncInferenceConfig", "InferenceAmiVersion")
# Where one of these was not asked for and is there, that is a difference; AWS adds keys of its own elsewhere.


def send(clients: Clients, call: Call) -> Any:
    return getattr(clients(call.service), call.operation)(**call.request)


def create(clients: Clients, call: Call, tell: Tell) -> bool:
    """True where it was created, False where it was there with the same contents. Raises `Refused`."""
    title, describe, key = KINDS[call.operation]
    name = call.request[key]
    found = look(clients, describe, **{key: name})
    if found is None:
        send(clients, call)
        tell(f"{title} {name}: created")
        return True
    if found.get("EndpointStatus") == "Deleting":
        raise Refused(
            f"The endpoint {name} is being deleted: repeat the command when `describe` finds it no more; "
            "`delete --wait` waits for that."
        )
    if unlike := differences(call.request, found):
        raise Refused(
            f"There is a {title} {name} already, with another {', '.join(unlike)}: delete it, or choose another name."
        )
    tell(f"{title} {name}: there already, as asked for")
    return False


def look(clients: Clients, describe: str, **key: str) -> dict[str, Any] | None:
    """What AWS answers, `None` where there is nothing."""
    try:
        return dict(getattr(clients("sagemaker"), describe)(**key))
    except Exception as error:
        if is_missing(error):
            return None
        raise


def differences(wanted: Any, found: Any, place: str = "") -> list[str]:
    """Where `found` is not as `wanted`, by name and without values: `PrimaryContainer.Environment.ASR_MODEL`."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        inside = place.rpartition(".")[2]
        further = [
            key for key in found if key not in wanted and found[key] and (inside == "Environment" or key in OPTIONAL)
        ]
        keys = [*wanted, *further]
        return [
            path
            for key in keys
            for path in differences(wanted.get(key), found.get(key), f"{place}.{key}" if place else key)
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [path for one, other in zip(wanted, found, strict=True) for path in differences(one, other, place)]
    return [] if wanted == found else [place]


def create_scaling(clients: Clients, name: str, scaling: scale.Scaling, tell: Tell) -> None:
    """Every request replaces what is there, so that a repeat goes on or changes the numbers.

    What takes instances away comes last: an endpoint at zero always has what wakes it up.
    """
    send(clients, scale.build_scalable_target(name, scaling))
    if scaling.least == 0:
        policy = send(clients, scale.build_wake_policy(name))
        send(clients, scale.build_wake_alarm(name, policy["PolicyARN"]))
        tell("scaling: wakes up from zero instances")
    send(clients, scale.build_backlog_policy(name, scaling))
    tell(f"scaling: {scaling.least} to {scaling.most} instances, on the backlog")
    if scaling.least > 0:
        _delete_wake_up(clients, name, lambda *_, **__: None)


def _check_kind(clients: Clients, name: str, way: Way) -> dict[str, Any]:
    config = look(clients, "describe_endpoint_config", EndpointConfigName=name) or {}
    if config and (other := _kind(config)) is not way:
        raise Refused(f"{name} is {other.title}: use `{other.command}` for it.")
    return config


def _kind(config: Mapping[str, Any]) -> Way:
    return ASYNCHRONOUS if config.get("AsyncInferenceConfig") else REAL_TIME


def check_no_endpoint(clients: Clients, name: str) -> None:
    """Raises `Refused` where the model of this name is an endpoint's."""
    if config := look(clients, "describe_endpoint_config", EndpointConfigName=name):
        raise Refused(f"The model {name} is an endpoint's: `{_kind(config).command} delete {name}` deletes both.")


def state_of(description: Mapping[str, Any]) -> str:
    """`Failed: the reason` of an endpoint or a job."""
    state = description.get("EndpointStatus") or description.get("TransformJobStatus") or "unknown"
    reason = one_line(description.get("FailureReason") or "")
    return f"{state}: {reason}" if reason else str(state)


def describe_endpoint(clients: Clients, name: str, way: Way) -> list[str]:
    """Its state, limits, model, instances and scaling, a line each. Raises `Refused`."""
    endpoint = look(clients, "describe_endpoint", EndpointName=name)
    if endpoint is None:
        raise Refused(f"There is no endpoint {name} in this region: check the name and --region.")
    config = _check_kind(clients, name, way)
    lines = [f"endpoint {name}: {state_of(endpoint)}", limits_of(way), *describe_model(clients, name)]
    types = {
        variant["VariantName"]: variant.get("InstanceType", "") for variant in config.get("ProductionVariants", ())
    }
    for variant in endpoint.get("ProductionVariants", ()):
        now, wanted = variant.get("CurrentInstanceCount"), variant.get("DesiredInstanceCount")
        lines.append(
            f"instances: {now} of {types.get(variant['VariantName'], '')}, {wanted} wanted".replace("  ", " ")
        )
    output = config.get("AsyncInferenceConfig", {}).get("OutputConfig", {})
    places = {"results": "S3OutputPath", "failures": "S3FailurePath"}
    lines += [f"{title}: {output[key]}" for title, key in places.items() if output.get(key)]
    topics = output.get("NotificationConfig", {})
    lines += [f"{title}: {topics[key]}" for title, key in _TOPICS.items() if topics.get(key)]
    return lines + (_describe_scaling(clients, name) if way is ASYNCHRONOUS else [])


def describe_model(clients: Clients, name: str) -> list[str]:
    """Archive, image and variables, those that look like secrets masked."""
    model = look(clients, "describe_model", ModelName=name)
    if model is None:
        return [f"model {name}: not there"]
    container = model.get("PrimaryContainer", {})
    variables = [f"{key}={value}" for key, value in sorted(shown(container.get("Environment", {})).items())]
    return [
        f"archive: {container.get('ModelDataUrl')}",
        f"image: {container.get('Image')}",
        f"variables: {' '.join(variables)}",
    ]


def secrets_of(clients: Clients, name: str) -> list[str]:
    """Values that no output may have: AWS's reason for a failure could quote them."""
    model = look(clients, "describe_model", ModelName=name) or {}
    return secrets_in(model.get("PrimaryContainer", {}).get("Environment", {}))


_TOPICS = {"notes of success": "SuccessTopic", "notes of failure": "ErrorTopic"}


def limits_of(way: Way) -> str:
    return f"limits: {way.facts['Payload, at most']}; {way.facts['Time for one request']} for one request"


def _describe_scaling(clients: Clients, name: str) -> list[str]:
    of = scale.target(name)
    autoscaling = clients(scale.AUTOSCALING)
    namespace, resource = of["ServiceNamespace"], of["ResourceId"]
    targets = autoscaling.describe_scalable_targets(ServiceNamespace=namespace, ResourceIds=[resource])[
        "ScalableTargets"
    ]
    if not targets:
        return ["scaling: none"]
    policies = autoscaling.describe_scaling_policies(ServiceNamespace=namespace, ResourceId=resource)[
        "ScalingPolicies"
    ]
    alarms = clients(scale.CLOUDWATCH).describe_alarms(AlarmNames=[scale.wake_policy(name)])["MetricAlarms"]
    return [
        f"scaling: {targets[0]['MinCapacity']} to {targets[0]['MaxCapacity']} instances",
        f"policies: {', '.join(sorted(policy['PolicyName'] for policy in policies)) or 'none'}",
        "alarm: " + (", ".join(f"{alarm['AlarmName']} {alarm['StateValue']}" for alarm in alarms) or "none"),
    ]


def delete_endpoint(clients: Clients, name: str, way: Way, tell: Tell) -> None:
    """Scaling first, which would otherwise work against it; then endpoint, configuration, model."""
    _check_kind(clients, name, way)
    if way is ASYNCHRONOUS:
        delete_scaling(clients, name, tell)
    sagemaker = clients("sagemaker")
    _delete(f"endpoint {name}", lambda: sagemaker.delete_endpoint(EndpointName=name), tell)
    _delete(f"endpoint configuration {name}", lambda: sagemaker.delete_endpoint_config(EndpointConfigName=name), tell)
    delete_model(clients, name, tell)


def delete_model(clients: Clients, name: str, tell: Tell) -> None:
    _delete(f"model {name}", lambda: clients("sagemaker").delete_model(ModelName=name), tell)


def delete_scaling(clients: Clients, name: str, tell: Tell) -> None:
    _delete_policy(clients, name, scale.backlog_policy(name), tell)
    _delete_wake_up(clients, name, tell)
    autoscaling = clients(scale.AUTOSCALING)
    _delete(
        f"scalable target endpoint/{name}/variant/{VARIANT}",
        lambda: autoscaling.deregister_scalable_target(**scale.target(name)),
        tell,
    )


def _delete_wake_up(clients: Clients, name: str, tell: Tell) -> None:
    cloudwatch, alarm = clients(scale.CLOUDWATCH), scale.wake_policy(name)
    if cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]:  # deleting a missing one is no error
        cloudwatch.delete_alarms(AlarmNames=[alarm])
        tell(f"alarm {alarm}: deleted")
    else:
        tell(f"alarm {alarm}: was not there")
    _delete_policy(clients, name, scale.wake_policy(name), tell)


def _delete_policy(clients: Clients, name: str, policy: str, tell: Tell) -> None:
    autoscaling = clients(scale.AUTOSCALING)
    _delete(
        f"scaling policy {policy}",
        lambda: autoscaling.delete_scaling_policy(PolicyName=policy, **scale.target(name)),
        tell,
    )


def _delete(title: str, delete: Callable[[], Any], tell: Tell) -> None:
    try:
        delete()
    except Exception as error:
        if not is_missing(error):
            raise
        tell(f"{title}: was not there")
    else:
        tell(f"{title}: deleted")
