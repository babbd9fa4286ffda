"""Celery tasks with a filesystem broker. `python tasks.py COUNT` sends this number of tasks."""

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
