"""Model names: the model in a resource name of Google Cloud or AWS, and the operation that a model implies."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from infraprism.schema.patterns import compiled

_OPERATIONS: Final = (
    (r"(?:.*[-/])?moderation(?:-.*)?", None),
    (r".*rerank.*", "rerank"),
    (r".*embed.*|(?:text-)?(?:similarity|search)-.*-(?:doc|query|code|text)-.*|voyage-[^/]*", "embeddings"),
    (
        r"(?:.*[./])?(?:dall-e|(?:chat)?gpt-image|imagen|imagegeneration|stable-|sd3|sdxl|titan-image|nova-canvas|flux).*",
        "image",
    ),
    (r"(?:.*[./])?(?:whisper|distil-whisper|tts-1|gpt-4o(?:-mini)?-(?:transcribe|tts)).*", "audio"),
    (r"(?:.*/)?(?:gpt-3\.5-turbo-instruct.*|(?:text-|code-)?(?:ada|babbage|curie|davinci)(?:-00[1-3])?)", "completion"),
)
"""Models with one operation alone. Moderation is not billed."""

_RESOURCE_NAME: Final = (
    # https://docs.cloud.google.com/apis/design/resource_names
    r"(?:projects/[^/]+/)?(?:locations/(?P<region>[^/]+)/)?(?:publishers/(?P<publisher>[^/]+)/)?"
    r"(?P<collection>models|endpoints)/(?P<google>[^/]+)"
    # Bedrock and SageMaker: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    r"|arn:aws[a-z-]*:(?P<service>[a-z0-9-]+):(?P<place>[a-z0-9-]*):[0-9]*:(?P<type>[a-z-]+)/(?P<amazon>[^/]+)"
)
_PUBLIC_TYPES: Final = ("foundation-model", "inference-profile", "prompt-router")


class ResourceName(NamedTuple):
    """A resource name of Google Cloud, or an ARN, of a model. `region` is "" where the name has none.

    `is_public` determines whether `model` is a name that the provider publishes, and not one of an account.
    """

    model: str
    region: str
    is_public: bool


def resource_name(name: str) -> ResourceName | None:
    """The parts of a resource name; None if the name is not one."""
    if "/" not in name:
        return None
    found = compiled(_RESOURCE_NAME).fullmatch(name)
    if found is None:
        return None
    if found["google"] is not None:
        is_published = found["publisher"] is not None and found["collection"] == "models"
        return ResourceName(found["google"], found["region"] or "", is_published)
    is_public = found["service"] == "bedrock" and found["type"] in _PUBLIC_TYPES
    return ResourceName(found["amazon"], found["place"], is_public)


def model_in(name: str) -> str:
    """The model of a resource name, without the names of the project or account; any other name as it is."""
    found = resource_name(name)
    return name if found is None else found.model


@lru_cache(maxsize=1024)
def operation_of(model: str | None, default: str) -> str | None:
    """The operation of a call of this model if the model has one alone, None if it is not billed; else `default`."""
    name = (model or "").lower()
    return next((operation for pattern, operation in _OPERATIONS if compiled(pattern).fullmatch(name)), default)
