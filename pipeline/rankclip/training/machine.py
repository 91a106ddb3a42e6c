"""What differs from machine to machine: it changes speed and memory, of a result the last bits at most."""

from __future__ import annotations

import os
from typing import Any, Literal, Self

from pydantic import PositiveFloat, PositiveInt, ValidationError

from rankclip.errors import InputError
from rankclip.spec import Spec

VARIABLES = {
    "device": "RANKCLIP_DEVICE",
    "compiled": "RANKCLIP_COMPILE",
    "recompute": "RANKCLIP_RECOMPUTE",
    "checkpoint_minutes": "RANKCLIP_CHECKPOINT_MINUTES",
    "keep_checkpoints": "RANKCLIP_KEEP_CHECKPOINTS",
}
"""Environment variable of each field."""


class Machine(Spec):
    """How a run uses the machine that it is on; no part of what it is."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: a GPU where there is one."""

    compiled: bool = False
    """Whether the towers are compiled (torch.compile): minutes at the start, faster steps on GPUs."""

    recompute: bool = False
    """Whether activations are computed again in the backward pass: less memory, a third more time."""

    checkpoint_minutes: PositiveFloat = 10.0
    """Most minutes between checkpoints, besides those of `train.checkpoint_every`."""

    keep_checkpoints: PositiveInt = 2
    """How many of a run's last checkpoints are kept until it is finished; one more than may be damaged."""

    @classmethod
    def here(cls) -> Self:
        """What the environment of this process says.

        Raises:
            InputError: a variable has a wrong value.
        """
        said: dict[str, Any] = {
            field: os.environ[variable] for field, variable in VARIABLES.items() if os.environ.get(variable)
        }
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            problem = error.errors()[0]
            field = str(problem["loc"][0])
            told = problem["msg"].replace("Input should be", "it should be")
            raise InputError(f"{VARIABLES[field]} is {said[field]!r}; {told}") from None
