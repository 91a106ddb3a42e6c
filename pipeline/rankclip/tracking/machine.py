"""How busy the machine is, in MLflow's own names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


class MachineMeter:
    """Reads processor, memory and GPUs of this machine as MLflow's own meters do.

    Not by MLflow's own thread: it would be a second writer, with its own complaints when nobody answers.
    """

    def __init__(self) -> None:
        """Looks for GPUs."""
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

        self._meters: list[Any] = [CPUMonitor()]
        try:
            self._meters.append(GPUMonitor())
        except Exception:  # no GPU, no driver or no library that asks it
            logger.debug("no GPU to read", exc_info=True)
        self.read()  # what a later reading says is of the time since this one

    def read(self) -> Mapping[str, float]:
        """`system/cpu_utilization_percentage` since it was read last, and so on."""
        found: dict[str, float] = {}
        for meter in self._meters:
            try:
                meter.collect_metrics()
                found |= {f"system/{name}": float(value) for name, value in meter.aggregate_metrics().items()}
            except Exception:  # a GPU that has gone must not end what is tracked
                logger.debug("not read: %s", type(meter).__name__, exc_info=True)
            meter.clear_metrics()
        return found
