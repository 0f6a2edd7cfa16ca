"""Requests and answers are held to a description of the API; here to a tiny one, which needs no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import small_discord_contract
from small_discord import SmallDiscord
from small_discord_contract import Contract

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

SNOWFLAKE: Json = {"$ref": "#/components/schemas/SnowflakeType"}
PART: Json = {"oneOf": [{"$ref": "#/components/schemas/Group"}, {"$ref": "#/components/schemas/Button"}]}
GROUP: Json = {
    "type": "object",
    "properties": {"type": {"enum": [1]}, "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}}},
    "required": ["type", "parts"],
}
BUTTON: Json = {
    "type": "object",
    "properties": {"type": {"const": 2}, "label": {"type": "string", "maxLength": 5}},
    "required": ["type", "label"],
}
NOTE: Json = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "to": SNOWFLAKE,
        "parts": {"items": {"$ref": "#/components/schemas/Part"}},
    },
    "required": ["text"],
}


def content(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}}}


DESCRIPTION: Json = {
    "openapi": "3.1.0",
    "paths": {
        "/notes": {
            "post": {
                "requestBody": content({"allOf": [{"$ref": "#/components/schemas/Note"}]}) | {"required": True},
                "responses": {"200": content({"$ref": "#/components/schemas/Note"}), "204": {}, "4XX": {"$ref": "#/x"}},
            }
        },
        "/notes/{id}": {
            "parameters": [{"name": "id", "in": "path", "schema": SNOWFLAKE, "required": True}],
            "get": {
                "parameters": [
                    {"name": "wait", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 9}, "required": True},
                ],
                "responses": {},
            },
        },
        "/notes/@newest": {"get": {"responses": {}}, "patch": {"requestBody": content({"maxProperties": 1})}},
    },
    "components": {
        "schemas": {
            "SnowflakeType": {"type": "string", "pattern": "^[0-9]+$"},
            "Part": PART,
            "Group": GROUP,
            "Button": BUTTON,
            "Note": NOTE,
        }
    },
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(DESCRIPTION)


def a_note(**members: Any) -> tuple[Any, ...]:
    return "POST", "/notes", {}, {"text": "x", **members}


def parts(label: str) -> list[Json]:
    return [{"type": 1, "parts": [{"type": 2, "label": label}]}]


def test_request_that_conforms_is_not_complained_of(contract: Contract) -> None:
    for conforms in (
        (*a_note(to="1", parts=parts("x"), tts=False), ["files[0]"]),
        a_note(to=1),
        ("GET", "/notes/1", {"limit": "9", "wait": "true"}),
        ("GET", "/notes/1", {"limit": "-1", "wait": "0"}),
        ("GET", "/notes/@newest", {}),
        ("PATCH", "/notes/@newest", {}),
    ):
        assert contract.request(*conforms) == []


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (("DELETE", "/notes", {}), "DELETE /notes: there is no such thing"),
        (("POST", "/notes", {}), "POST /notes: body: is missing"),
        (("POST", "/notes", {}, {}), 'POST /notes: body: required ["text"]'),
        (a_note(txt="secret"), "POST /notes: body.txt: no such member"),
        (a_note(to="me, secret"), 'POST /notes: body.to: pattern "^[0-9]+$"'),
        (a_note(parts=parts("too long, and secret")), "POST /notes: body.parts[0].parts[0].label: maxLength 5"),
        (a_note(parts=[{"type": 3}]), "POST /notes: body.parts[0]: oneOf"),
        ((*a_note(), ["files[10]"]), "no such field of a form"),
        (("GET", "/notes/me", {"limit": "1"}), 'path.id: pattern "^[0-9]+$"'),
        (("GET", "/notes/1", {}), "query.limit: is missing"),
        (("GET", "/notes/1", {"limit": "10"}), "query.limit: maximum 9"),
        (("GET", "/notes/1", {"limit": "1", "wait": "yes"}), 'query.wait: type "boolean"'),
        (("GET", "/notes/1", {"limit": "1", "all": "1"}), "query.all: no such parameter"),
        (("GET", "/notes/@newest", {}, {"text": "x"}), "body: there is none to be sent"),
    ],
)
def test_request_that_differs_is_told_by_place_and_rule_but_never_by_value(
    contract: Contract, request_: Any, complaint: str
) -> None:
    (told,) = contract.request(*request_)
    assert told.endswith(complaint)
    assert "secret" not in told


def test_our_own_answers_are_held_to_the_description_too(contract: Contract) -> None:
    for conforms in ((200, {"text": "x", "to": "1", "more": 1}), (204, None), (404, {"message": "any"}), (503, None)):
        assert contract.answer("POST", "/notes", *conforms) == []
    wrong = [
        *contract.answer("POST", "/notes", 200, {"text": "x", "to": 1}),
        *contract.answer("POST", "/notes", 302, 0),
    ]
    assert wrong == ['POST /notes answers 200: body.to: type "string"', "POST /notes answers 302: no such status"]


def test_values_of_the_gateway_are_held_to_their_schema(contract: Contract) -> None:
    assert contract.thing("Note", {"text": "x"}) == []
    assert contract.thing("Note", {"text": None}) == ['Note: body.text: type "string"']


async def ask_for_the_bot() -> int:
    async with SmallDiscord() as discord, aiohttp.ClientSession() as web:
        headers = {"Authorization": f"Bot {discord.token}"}
        async with web.get(discord.api_url + "/users/@me", headers=headers) as response:
            return response.status


async def test_small_discord_ends_with_a_failure_when_a_request_differed(
    monkeypatch: pytest.MonkeyPatch, contract: Contract
) -> None:
    monkeypatch.setattr("small_discord_rest.contract", lambda: contract)
    with pytest.raises(AssertionError, match=r"differs:\nGET /users/@me: there is no such thing$"):
        await ask_for_the_bot()


async def test_small_discord_works_without_a_description(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(small_discord_contract, "DESCRIPTION", tmp_path / "openapi.json")
    absent = small_discord_contract.contract.__wrapped__()
    assert absent is None
    monkeypatch.setattr("small_discord_rest.contract", lambda: absent)
    assert await ask_for_the_bot() == 200
