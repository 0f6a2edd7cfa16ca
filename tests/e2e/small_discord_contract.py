"""Discord's own description of its HTTP API, to which requests and answers of the small Discord are held.

The description (openapi.json) lies beside the repository and not in it. Where it is missing nothing is checked, and
all else works. A complaint names the place and the rule and never the value: that may be a secret.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.validators import extend  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]

Json = dict[str, Any]

DESCRIPTION = Path(__file__).resolve().parents[3] / "shared" / "discord" / "openapi.json"
SAYS, READS = "urn:discord-says", "urn:discord-reads"
"""The description as it stands holds for what Discord says; it reads ids that are JSON integers too."""

JSON = "application/json"
FILE_FIELD = re.compile(r"files\[[0-9]\]")
LONGEST_RULE = 60
SENT_WITH_ALL = {"tts", "nsfw"}
"""What discord.py writes into edits and commands too, where Discord passes over it or does not describe it."""

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Operation:
    """One thing that the API can do, and where in the description it stands."""

    template: str
    pattern: re.Pattern[str]
    method: str
    described: Json
    parameters: list[Json]

    def pointer(self, root: str, *steps: str) -> str:
        """Return the address of a part of its description."""
        escaped = (step.replace("~", "~0").replace("/", "~1") for step in ("paths", self.template, self.method, *steps))
        return f"{root}#/" + "/".join(escaped)


class Contract:
    """What requests and answers must look like. Only what is used of the description is made ready, and once."""

    def __init__(self, description: Json) -> None:
        resources = {SAYS: description, READS: _lenient(description)}
        self._registry: Registry[Any] = Registry().with_resources(
            (root, Resource.from_contents(contents, default_specification=DRAFT202012))
            for root, contents in resources.items()
        )
        self._operations = sorted(_operations(description), key=lambda operation: operation.template.count("{"))
        self._validator_class = _class_that_chooses(_types(description))
        self._validators: dict[str, Any] = {}
        self._members: dict[str, set[str]] = {}

    def request(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, files: Iterable[str] = ()
    ) -> list[str]:
        """Return what is wrong with a request; `body` is its JSON or `payload_json`, `files` the other fields."""
        found = self._find(method, path)
        if found is None:
            return [f"{method} {path}: there is no such thing"]
        operation, in_path = found
        wrong = [
            *self._parameters(operation, "path", in_path),
            *self._parameters(operation, "query", query),
            *self._body(operation, body),
            *(f"{name}: no such field of a form" for name in files if not FILE_FIELD.fullmatch(name)),
        ]
        return [f"{method} {operation.template}: {complaint}" for complaint in wrong]

    def answer(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with our own answer to a request that can be made; None is an answer without JSON."""
        found = self._find(method, path)
        if found is None:
            return []
        operation, _ = found
        described = operation.described["responses"]
        name = next((name for name in (str(status), f"{status // 100}XX") if name in described), None)
        if name is None:
            wrong = [] if status >= 500 else ["no such status"]
        elif "$ref" in described[name] or "content" not in described[name]:
            wrong = []
        else:
            wrong = self._check(operation.pointer(SAYS, "responses", name, "content", JSON, "schema"), body)
        return [f"{method} {operation.template} answers {status}: {complaint}" for complaint in wrong]

    def thing(self, schema: str, value: Any) -> list[str]:
        """Return what is wrong with a value that the gateway sends, by the name of its schema."""
        return [f"{schema}: {complaint}" for complaint in self._check(f"{SAYS}#/components/schemas/{schema}", value)]

    def _find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """Return the operation with the fewest parameters in its path: `@original` is no message's id."""
        for operation in self._operations:
            matched = operation.pattern.fullmatch(path) if operation.method == method.lower() else None
            if matched is not None:
                return operation, matched.groupdict()
        return None

    def _parameters(self, operation: Operation, place: str, given: Mapping[str, str]) -> Iterator[str]:
        described = {one["name"]: one for one in operation.parameters if one["in"] == place}
        yield from (f"{place}.{name}: no such parameter" for name in given if name not in described)
        for name, parameter in described.items():
            if name in given:
                validator = self._validator(_rooted(parameter["schema"]))
                yield from _complaints(validator, _typed(given[name], parameter["schema"]), f"{place}.{name}")
            elif parameter.get("required"):
                yield f"{place}.{name}: is missing"

    def _body(self, operation: Operation, body: Any) -> list[str]:
        described = operation.described.get("requestBody")
        if described is None:
            return [] if body is None else ["body: there is none to be sent"]
        if body is None:
            return ["body: is missing"] if described.get("required") else []
        pointer = operation.pointer(READS, "requestBody", "content", JSON, "schema")
        return [*self._check(pointer, body), *self._unknown(pointer, body)]

    def _unknown(self, pointer: str, body: Any) -> Iterator[str]:
        """Complain of members that the description does not name; Discord would pass over them."""
        if pointer not in self._members:
            self._members[pointer] = set(_members(self._registry.resolver(), {"$ref": pointer}))
        if isinstance(body, dict):
            known = self._members[pointer] | SENT_WITH_ALL
            yield from (f"body.{name}: no such member" for name in body if name not in known)

    def _check(self, pointer: str, value: Any) -> list[str]:
        return list(_complaints(self._validator({"$ref": pointer}), value, "body"))

    def _validator(self, schema: Json) -> Any:
        key = json.dumps(schema)
        if key not in self._validators:
            self._validators[key] = self._validator_class(schema, registry=self._registry)
        return self._validators[key]


def _types(description: Json) -> dict[str, list[Any]]:
    """Return which `type` things of a schema have, by the schema's address, where they have one of their own."""
    members = {name: schema.get("properties", {}) for name, schema in description["components"]["schemas"].items()}
    kinds = {name: known.get("type", {}) for name, known in members.items()}
    return {
        f"#/components/schemas/{name}": kind.get("enum") or [kind["const"]]
        for name, kind in kinds.items()
        if "enum" in kind or "const" in kind
    }


def _class_that_chooses(types: dict[str, list[Any]]) -> Any:
    """Return a validator that tries of several schemas only the one whose `type` a thing has: sooner, and clearer."""

    def chosen(branches: list[Json], instance: Any) -> list[Json]:
        known = [types.get(branch.get("$ref", "")) for branch in branches]
        if not isinstance(instance, dict) or None in known:
            return branches
        fitting = zip(branches, known, strict=True)
        return [branch for branch, names in fitting if names and instance.get("type") in names]

    def choosing(keyword: str) -> Any:
        original = Draft202012Validator.VALIDATORS[keyword]
        return lambda validator, branches, instance, schema: original(
            validator, chosen(branches, instance), instance, schema
        )

    return extend(Draft202012Validator, {keyword: choosing(keyword) for keyword in ("oneOf", "anyOf")})


def _lenient(description: Json) -> Json:
    components = description["components"]
    schemas: Json = components["schemas"]
    read = {"SnowflakeType": {"anyOf": [schemas["SnowflakeType"], {"type": "integer", "minimum": 0}]}}
    return description | {"components": components | {"schemas": schemas | read}}


def _rooted(schema: Json) -> Json:
    """Return a parameter's schema with an address that holds outside of the description."""
    return {"$ref": SAYS + schema["$ref"]} if "$ref" in schema else schema


def _operations(description: Json) -> Iterator[Operation]:
    for template, item in description["paths"].items():
        escaped = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
        pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", escaped))
        for method, described in item.items():
            if method != "parameters":
                parameters = [*item.get("parameters", ()), *described.get("parameters", ())]
                yield Operation(template, pattern, method, described, parameters)


def _typed(text: str, schema: Json) -> Any:
    """Read a parameter as the type that it shall have; what cannot be read stays text, and is complained of."""
    if schema.get("type") == "boolean":
        return BOOLEANS.get(text.lower(), text)
    if schema.get("type") == "integer" and text.lstrip("-").isdigit():
        return int(text)
    return text


def _members(resolver: Any, schema: Json) -> Iterator[str]:
    """Return the names that an object of this schema may have."""
    if "$ref" in schema:
        resolved = resolver.lookup(schema["$ref"])
        yield from _members(resolved.resolver, resolved.contents)
    yield from schema.get("properties", ())
    for branch in (one for name in ("allOf", "anyOf", "oneOf") for one in schema.get(name, ())):
        yield from _members(resolver, branch)


def _complaints(validator: Draft202012Validator, value: Any, where: str) -> Iterator[str]:
    for error in validator.iter_errors(value):
        cause = _cause(error)
        yield f"{where}{cause.json_path.removeprefix('$')}: {_rule(cause)}"


def _cause(error: ValidationError) -> ValidationError:
    """Return what is wrong in the branch that was meant, if one can be told from the others."""
    while meant := [one for one in error.context if one.relative_path or one.validator != "type"]:
        error = max(meant, key=lambda one: len(one.absolute_path))
    return error


def _rule(error: ValidationError) -> str:
    """Name the broken rule, and not the value that breaks it."""
    if error.validator in {"oneOf", "anyOf"}:
        return str(error.validator)
    return f"{error.validator} {json.dumps(error.validator_value)[:LONGEST_RULE]}"


@cache
def contract() -> Contract | None:
    """Return Discord's description, read once in a process; None where it is missing."""
    return Contract(json.loads(DESCRIPTION.read_text())) if DESCRIPTION.is_file() else None
