"""What is said of a wrong value: one line with the key, the value and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError


def first(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of a validation as one line; how many more there are at its end."""
    by_key: dict[str, list[Any]] = {}
    found = error.errors(include_url=False)
    for problem in found:
        inside = [other for other in found if other["loc"][: len(problem["loc"])] == problem["loc"]]
        if problem["type"] == "too_short" and len(inside) > 1:
            continue  # a list that is too short without its wrong entries
        by_key.setdefault(key_of(problem["loc"], model), []).append(problem)
    line = one(next(iter(by_key.values())), model)
    return line if len(by_key) == 1 else f"{line} (and {len(by_key) - 1} more)"


def one(problems: Sequence[Any], model: type[BaseModel]) -> str:
    """What is wrong with a key; a value that may be of several kinds has a problem for each."""
    problem = problems[0]
    place, key = problem["loc"], key_of(problem["loc"], model)
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        near = choices(str(place[-1]), model, place[:-1])
        return f"unknown key {key} = {shown(problem['input'])}; {near}"
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
    demands = [demand(each["type"], each.get("ctx", {}), each["msg"]) for each in problems]
    others = "".join(f", or {said.removeprefix('must be ')}" for said in demands[1:])
    return f"{key} = {shown(problem['input'])}: {demands[0]}{others}"


def key_of(place: Sequence[int | str], model: type[BaseModel]) -> str:
    """The key, as a file has it, of pydantic's path."""
    return ".".join(
        str(part)
        for at, part in enumerate(place)
        if part != "[key]" and not is_tag(at, place, model) and not is_kind(at, place, model)
    )


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
    if kind == "model_attributes_type":
        return "must be a section of keys, of which `name` chooses what it is"
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


def is_kind(at: int, path: Sequence[int | str], model: type[BaseModel]) -> bool:
    """Whether part number `at` of pydantic's path is the kind of value it tried, where several may be."""
    found = types_at(model, path[:at])
    return bool(found) and not any(holds_parts(kind) for kind in found)


def holds_parts(kind: Any) -> bool:
    """Whether a value of a type has parts with names or numbers."""
    section = isinstance(kind, type) and issubclass(kind, BaseModel)
    return section or get_origin(kind) in (dict, list, tuple)


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
