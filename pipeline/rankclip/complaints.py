"""What is said of a wrong value: one line with the key, the value and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError


def first(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of a validation as one line; how many more there are at its end."""
    problems = error.errors(include_url=False)
    line = one(problems[0], model)
    return line if len(problems) == 1 else f"{line} (and {len(problems) - 1} more)"


def one(problem: Any, model: type[BaseModel]) -> str:
    """One complaint."""
    place = problem["loc"]
    path = [str(part) for at, part in enumerate(place) if part != "[key]" and not is_tag(at, place, model)]
    key = ".".join(path)
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key {key} = {shown(problem['input'])}; {choices(path[-1], model, place[:-1])}"
    if kind == "missing":
        return f"key {key} is missing"
    if kind == "union_tag_invalid":
        return f"{key}.name = {context['tag']!r} is unknown; choose one of {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{key}.name is missing; it chooses what {key} is"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    if kind == "model_type":
        return f"{key} = {shown(problem['input'])} is no section; {choices('', model, place)}"
    return f"{key} = {shown(problem['input'])}: {demand(kind, context, problem['msg'])}"


def choices(wrong: str, model: type[BaseModel], place: Sequence[int | str]) -> str:
    """Which keys there are at a place, first the one that was probably meant."""
    known = fields_at(model, place)
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"{f'did you mean {near[0]}? ' if near else ''}the keys there are {', '.join(known)}"


def demand(kind: str, context: Mapping[str, Any], message: str) -> str:
    """What a value must be, of a complaint of pydantic's with its type, numbers and message."""
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    if kind == "too_short":
        return f"must have {context['min_length']} or more entries"
    if kind == "too_long":
        return f"must have {context['max_length']} or fewer entries"
    if kind == "dict_type":
        return "must be a section of keys"
    said = message.partition(", ")[0] if kind.endswith(("_parsing", "_from_float")) else message
    said = (
        said.replace("Input should be", "must be")
        .replace("a valid ", "a ")
        .replace("a integer", "an integer")
    )
    said = said.replace("a list", "a list: [...]").replace("a tuple", "a list: [...]")
    return f"{said[0].lower()}{said[1:]}"


def shown(value: Any) -> str:
    """A value, short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_tag(at: int, path: Sequence[int | str], model: type[BaseModel]) -> bool:
    """Whether part number `at` of pydantic's path is the name of a union's member, which no file contains."""
    part = path[at]
    return at > 0 and isinstance(part, str) and part in tags(types_at(model, path[:at]))


def tags(found: Sequence[Any]) -> list[str]:
    """Names by which members of a union are told apart."""
    return [
        str(name)
        for kind in found
        if isinstance(kind, type) and issubclass(kind, BaseModel) and "name" in kind.model_fields
        for name in get_args(kind.model_fields["name"].annotation)
    ]


def fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Keys that the schema has at a place."""
    found = [kind for kind in types_at(model, path) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return list(dict.fromkeys(name for kind in found for name in kind.model_fields))


def types_at(model: type[BaseModel], path: Sequence[int | str]) -> list[Any]:
    """Types that the schema allows at a place of pydantic's path."""
    found: list[Any] = [model]
    for part in path:
        chosen = [kind for kind in found if isinstance(kind, type) and part in tags([kind])]
        found = chosen or [step for kind in found for step in below(kind, part)]
    return found


def below(kind: Any, part: int | str) -> list[Any]:
    """Types of a part of a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return [] if field is None else members(field.annotation)
    arguments = [argument for argument in get_args(kind) if argument is not Ellipsis]
    origin = get_origin(kind)
    if origin is dict:
        return members(arguments[1])
    if origin in (list, tuple):
        return [member for argument in arguments for member in members(argument)]
    return []


def members(annotation: Any) -> list[Any]:
    """The members of a union, or the type itself, without annotations."""
    if hasattr(annotation, "__metadata__"):
        return members(annotation.__origin__)
    if get_origin(annotation) in (dict, list, tuple) or isinstance(annotation, type):
        return [annotation]
    arguments = get_args(annotation)
    return [member for argument in arguments for member in members(argument)] or [annotation]
