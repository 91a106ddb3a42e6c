"""`Spec`: the base of every configured component."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen, closed value that describes a component; an unknown key is an error.

    A component without state is its own Spec with `__call__`; one with state has `build()`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    def dump(self) -> dict[str, Any]:
        """Plain JSON values, the form in which a Spec travels to workers and into records."""
        return self.model_dump(mode="json")


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of the sha256 of `value` as canonical JSON.

    Raises:
        TypeError: `value` has no canonical JSON form; a guess would make equal runs look different.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
