"""What went wrong at AWS, in one sentence that says what would be right."""

from __future__ import annotations

import re
from typing import Any

from turnscribe.cli.endpoints.errors import Refused, one_line

__all__ = ["Refused", "explained", "is_missing", "is_passing"]

QUOTAS = "https://console.aws.amazon.com/servicequotas"
CODES: tuple[tuple[str, str], ...] = (  # of the code, and what to do about it; the first that fits
    (
        "ResourceLimitExceeded|^LimitExceeded|QuotaExceeded",
        "The account's quota is used up: take another instance type or fewer of them, or ask for more under "
        f"Amazon SageMaker at {QUOTAS}.",
    ),
    (
        "ExpiredToken|RequestExpired",
        "The AWS credentials have expired: log in again, for example with `aws sso login`.",
    ),
    (
        "UnrecognizedClient|InvalidClientTokenId|InvalidAccessKeyId|SignatureDoesNotMatch|AuthFailure|IncompleteSignature",
        "The AWS credentials are not valid: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_PROFILE.",
    ),
    ("Throttling|TooManyRequests|RequestLimitExceeded", "AWS asks for patience: repeat the command in a minute."),
    ("NoSuchBucket", "There is no such bucket in S3: check its name, or make it with `aws s3 mb`."),
    ("NoSuchKey|^404$", "There is no such file in S3: check its address."),
    ("ResourceInUse|Conflict|ConcurrentUpdate", "Something of this name is busy: repeat the command in a minute."),
    (
        "ModelError|ModelNotReady",
        "The model did not answer as it should: the endpoint's log in CloudWatch has the details.",
    ),
    ("ServiceUnavailable|Internal|^5\\d\\d$", "AWS failed: repeat the command in a minute."),
)
WORDS: tuple[tuple[str, str], ...] = (  # of the message
    (
        "could not access model data|download model|model data at",
        "SageMaker cannot read the archive: check --model-data, its region, and that the role may read it.",
    ),
    (
        "already exist|existing",
        "Something of this name is there already: delete it, or choose another name.",
    ),
    (
        "role|assume|passrole",
        "SageMaker cannot take on the role: check --role, that sagemaker.amazonaws.com may assume it, and that you "
        "may pass it (iam:PassRole).",
    ),
    ("ecr|image", "SageMaker cannot have the image: check --image, its region and its tag."),
    (
        "in-progress|in progress|cannot (update|delete)|is being|state",
        "It is changing just now: wait until `describe` shows it at rest, and repeat the command.",
    ),
    (
        "instance ?type|enum value set",
        "There is no such instance type here: check --instance-type, with its ml. in front.",
    ),
)


def explained(error: Exception) -> str | None:
    """One sentence for an error of boto3 or botocore; `None` for any other. AWS's own words end it."""
    from boto3.exceptions import Boto3Error
    from botocore import exceptions as botocore

    if isinstance(error, botocore.ClientError):
        text = one_line(_message(error))
        return f"{_reason(_code(error), text, error.operation_name)}{f' AWS said: {text}' if text else ''}"
    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError):
        return (
            "There are no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY."
        )
    if isinstance(error, botocore.NoRegionError):
        return "No region is set: give --region, or set AWS_DEFAULT_REGION."
    if isinstance(error, botocore.ProfileNotFound):
        return "There is no such profile: check AWS_PROFILE against `aws configure list-profiles`."
    if isinstance(error, botocore.ParamValidationError):
        return f"A value does not fit: {one_line(str(error))}"
    if isinstance(error, botocore.HTTPClientError | botocore.ConnectionError):
        return f"AWS cannot be reached ({type(error).__name__}): check the network and --region."
    if isinstance(error, botocore.BotoCoreError | Boto3Error):
        return f"AWS's library gave up: {one_line(str(error))}"
    return None


def is_missing(error: Exception) -> bool:
    """What was asked for is not there. SageMaker says so with the code it has for anything that is wrong."""
    code, text = _code(error), _message(error)
    if code in ("ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException", "NoSuchKey", "404"):
        return True
    return code == "ValidationException" and bool(
        re.search("could not find|no scal|does not exist|not found", text, re.I)
    )


def is_passing(error: Exception) -> bool:
    """Worth another try: the network, a failure of AWS's, a throttle."""
    if answer := _answer(error):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or bool(re.search("Throttling|TooManyRequests", _code(error)))
    return any(kind.__name__ in ("HTTPClientError", "ConnectionError") for kind in type(error).__mro__)  # botocore's


def _answer(error: Exception) -> dict[str, Any]:
    """What AWS answered: a `ClientError` has it. Asked without botocore, which need not be installed."""
    return getattr(error, "response", None) or {}


def _code(error: Exception) -> str:
    return str(_answer(error).get("Error", {}).get("Code") or "")


def _message(error: Exception) -> str:
    return str(_answer(error).get("Error", {}).get("Message") or "")


def _reason(code: str, message: str, operation: str) -> str:
    if re.search("AccessDenied|Unauthorized|NotAuthorized|^403$", code):
        hidden = " and ListBucket, without which S3 does not tell what is missing" if "Object" in operation else ""
        return f"The credentials may not do this: give them the permission for {operation}{hidden}."
    tables = ((code, CODES), (message, WORDS if code.startswith("Validation") else ()))
    for text, table in tables:
        for pattern, sentence in table:
            if re.search(pattern, text, re.I if table is WORDS else 0):
                return sentence
    return f"AWS refused {operation} ({code})."
