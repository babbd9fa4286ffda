from __future__ import annotations

import json
import sys

from tests.kit.command import infraprism
from tests.kit.provider import CANARY, OPENAI_KEY, provider

from infraprism.local_provider import LocalProvider

__all__ = ["provider"]

APP = f"""
import openai, sys
with openai.OpenAI() as client:
    client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "{CANARY}"}}])
print("done")
sys.exit(7)
"""


def test_the_app_runs_unchanged_and_its_events_are_printed_and_not_sent(provider: LocalProvider) -> None:
    environment = {"OPENAI_BASE_URL": provider.openai_base_url, "OPENAI_API_KEY": OPENAI_KEY}
    ran = infraprism("preview", "--", sys.executable, "-c", APP, environment=environment)
    assert (ran.returncode, ran.stdout) == (7, "done\n")
    (span,) = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]
    assert span["name"] == "chat gpt-4o-2024-08-06"
    attributes = {attribute["key"]: attribute["value"] for attribute in span["attributes"]}
    (truth,) = provider.calls
    assert truth.usage is not None
    assert attributes["infraprism.input_tokens"] == {"intValue": str(truth.usage.input_tokens)}
    assert CANARY not in ran.stderr
    assert OPENAI_KEY not in ran.stderr
