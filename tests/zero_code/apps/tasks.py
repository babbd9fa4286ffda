"""Celery tasks over a broker of files, and as a script the one who asks for them: `python tasks.py COUNT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import Celery
from shop import calls

BROKER = Path(os.environ["SHOP_BROKER"])
app = Celery("tasks", broker="filesystem://", backend=f"file://{BROKER}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(BROKER / "queue"),
        "data_folder_out": str(BROKER / "queue"),
        "control_folder": str(BROKER / "control"),
    },
    worker_hijack_root_logger=False,
)


@app.task(name="order")
def order() -> str:
    calls()
    return "done"


if __name__ == "__main__":
    for result in [order.delay() for _ in range(int(sys.argv[1]))]:
        print(result.get(timeout=100))
