"""An asynchronous endpoint between few and many instances: the requests to Application Auto Scaling and CloudWatch.

Two policies, as AWS documents them. Target tracking holds the backlog for each instance near a number, and goes to
zero when nothing is left; from there it comes back only once the backlog exceeds that number. A step policy, which an
alarm on HasBacklogWithoutCapacity sets off, brings the first instance back for the first request already.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.sagemaker.request import VARIANT, Call
from turnscribe.errors import SettingsError

AUTOSCALING, CLOUDWATCH = "application-autoscaling", "cloudwatch"
NAMESPACE = "AWS/SageMaker"
POLICY_ARN = "(of the policy above, as AWS answers it)"  # in a dry run
WAKE_COOLDOWN_S = 300  # as AWS's example has it: the first instance is on its way meanwhile


@dataclass(frozen=True)
class Scaling:
    """`backlog` is of requests that wait or run for each instance; cooldowns are seconds after a change.

    As many as an instance takes at once, and a full fleet is never below it, so that none is taken away at work.
    """

    least: int = 0
    most: int = 1
    backlog: float = 1
    in_cooldown_s: int = 600
    out_cooldown_s: int = 300


def check_scaling(scaling: Scaling) -> Scaling:
    if not 0 <= scaling.least <= scaling.most or scaling.most < 1:
        raise SettingsError("Instances are wrong: at least 0, at most 1 or more, and the one not above the other.")
    if scaling.backlog <= 0 or min(scaling.in_cooldown_s, scaling.out_cooldown_s) < 0:
        raise SettingsError(
            "The backlog, or else the concurrency, is a number above 0, and cooldowns are seconds from 0."
        )
    return scaling


def target(name: str) -> dict[str, str]:
    """What is scaled."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def backlog_policy(name: str) -> str:
    return f"{name}-backlog"


def wake_policy(name: str) -> str:
    """Also its alarm's name."""
    return f"{name}-wake-up"


def build_scaling(name: str, scaling: Scaling) -> list[Call]:
    """Everything, in the order it has to be sent; all may be sent again. No waking where zero is not reached."""
    check_scaling(scaling)
    waking = [build_wake_policy(name), build_wake_alarm(name, POLICY_ARN)] if scaling.least == 0 else []
    return [build_scalable_target(name, scaling), *waking, build_backlog_policy(name, scaling)]


def build_scalable_target(name: str, scaling: Scaling) -> Call:
    request = {**target(name), "MinCapacity": scaling.least, "MaxCapacity": scaling.most}
    return Call(AUTOSCALING, "register_scalable_target", request)


def build_backlog_policy(name: str, scaling: Scaling) -> Call:
    request = {
        **target(name),
        "PolicyName": backlog_policy(name),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": scaling.backlog,
            "CustomizedMetricSpecification": {
                "Namespace": NAMESPACE,
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Dimensions": [{"Name": "EndpointName", "Value": name}],
                "Statistic": "Average",
            },
            "ScaleInCooldown": scaling.in_cooldown_s,
            "ScaleOutCooldown": scaling.out_cooldown_s,
        },
    }
    return Call(AUTOSCALING, "put_scaling_policy", request)


def build_wake_policy(name: str) -> Call:
    request = {
        **target(name),
        "PolicyName": wake_policy(name),
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": WAKE_COOLDOWN_S,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }
    return Call(AUTOSCALING, "put_scaling_policy", request)


def build_wake_alarm(name: str, policy_arn: str) -> Call:
    """The metric is 1 while requests wait and there is no instance, each minute."""
    request = {
        "AlarmName": wake_policy(name),
        "AlarmDescription": f"Requests wait at {name}, and it has no instance.",
        "Namespace": NAMESPACE,
        "MetricName": "HasBacklogWithoutCapacity",
        "Dimensions": [{"Name": "EndpointName", "Value": name}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [policy_arn],
    }
    return Call(CLOUDWATCH, "put_metric_alarm", request)
