"""Hugging Face's container for SageMaker: the address of its image in a region.

For the regions whose registries have one account in common, and one tag of a container that starts
multi-model-server. The list of all images is AWS's, and `--image` takes any.
"""

from __future__ import annotations

import re

from turnscribe.errors import SettingsError

IMAGES = "https://huggingface.co/docs/sagemaker/dlcs/available"
ACCOUNT = "763104351884"
REGIONS = frozenset(
    "ap-northeast-1 ap-northeast-2 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 eu-central-1 eu-north-1"
    " eu-west-1 eu-west-2 eu-west-3 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2".split()
)
VERSION = "2.6.0-transformers4.51.3"  # torch's and transformers'
TAGS = {"gpu": f"{VERSION}-gpu-py312-cu124-ubuntu22.04", "cpu": f"{VERSION}-cpu-py312-ubuntu22.04"}


def image_for(region: str, instance_type: str) -> str:
    """The image for this instance; an instance with a GPU is of a family g or p. Raises `SettingsError`."""
    if region not in REGIONS:
        raise SettingsError(f"The image's address in {region} is not known here: give --image; {IMAGES} lists them.")
    device = "gpu" if re.match(r"ml\.[gp]\d", instance_type) else "cpu"
    return f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/huggingface-pytorch-inference:{TAGS[device]}"
