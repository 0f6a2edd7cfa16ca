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
            },
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
        },
    },
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(DESCRIPTION)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(("POST", "/notes", {}, {"text": "x"}), id="least"),
        pytest.param(("POST", "/notes", {}, {"text": "x", "to": "1", "tts": False}, ["files[0]"]), id="most"),
        pytest.param(("POST", "/notes", {}, {"text": "x", "to": 1}), id="id-as-integer"),
        pytest.param(
            ("POST", "/notes", {}, {"text": "x", "parts": [{"type": 1, "parts": [{"type": 2, "label": "x"}]}]}),
            id="nested",
        ),
        pytest.param(("GET", "/notes/1", {"limit": "9"}), id="path"),
        pytest.param(("GET", "/notes/1", {"limit": "9", "wait": "true"}), id="true"),
        pytest.param(("GET", "/notes/1", {"limit": "-1", "wait": "0"}), id="zero-is-false"),
        pytest.param(("GET", "/notes/@newest", {}), id="the-path-without-parameters-comes-first"),
        pytest.param(("PATCH", "/notes/@newest", {}), id="body-that-may-be-left-out"),
    ],
)
def test_request_that_conforms_is_not_complained_of(contract: Contract, request_: Any) -> None:
    assert contract.request(*request_) == []


PARTS = [{"type": 1, "parts": [{"type": 2, "label": "too long, and secret"}]}]


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        pytest.param(("GET", "/nothing", {}), "GET /nothing: there is no such thing", id="path"),
        pytest.param(("DELETE", "/notes", {}), "DELETE /notes: there is no such thing", id="method"),
        pytest.param(("POST", "/notes", {}), "POST /notes: body: is missing", id="no-body"),
        pytest.param(("POST", "/notes", {}, []), 'POST /notes: body: type "object"', id="other-body"),
        pytest.param(("POST", "/notes", {}, {}), 'POST /notes: body: required ["text"]', id="missing-member"),
        pytest.param(("POST", "/notes", {}, {"text": 5}), 'POST /notes: body.text: type "string"', id="type"),
        pytest.param(
            ("POST", "/notes", {}, {"text": "x", "txt": "secret"}), "POST /notes: body.txt: no such member", id="member"
        ),
        pytest.param(
            ("POST", "/notes", {}, {"text": "x", "to": "me"}), 'POST /notes: body.to: pattern "^[0-9]+$"', id="id"
        ),
        pytest.param(
            ("POST", "/notes", {}, {"text": "x", "parts": PARTS}),
            "POST /notes: body.parts[0].parts[0].label: maxLength 5",
            id="the-type-that-was-meant",
        ),
        pytest.param(
            ("POST", "/notes", {}, {"text": "x", "parts": [{"type": 3}]}),
            "POST /notes: body.parts[0]: oneOf",
            id="no-such-type",
        ),
        pytest.param(
            ("POST", "/notes", {}, {"text": "x"}, ["files[10]"]), "no such field of a form", id="eleventh-file"
        ),
        pytest.param(("POST", "/notes", {}, {"text": "x"}, ["file"]), "no such field of a form", id="other-field"),
        pytest.param(("GET", "/notes/me", {"limit": "1"}), 'path.id: pattern "^[0-9]+$"', id="path-parameter"),
        pytest.param(("GET", "/notes/1", {}), "query.limit: is missing", id="missing-parameter"),
        pytest.param(("GET", "/notes/1", {"limit": "10"}), "query.limit: maximum 9", id="parameter"),
        pytest.param(("GET", "/notes/1", {"limit": "many"}), 'query.limit: type "integer"', id="no-number"),
        pytest.param(("GET", "/notes/1", {"limit": "1", "wait": "yes"}), 'query.wait: type "boolean"', id="no-boolean"),
        pytest.param(
            ("GET", "/notes/1", {"limit": "1", "all": "1"}), "query.all: no such parameter", id="no-parameter"
        ),
        pytest.param(
            ("GET", "/notes/@newest", {}, {"text": "x"}), "body: there is none to be sent", id="superfluous-body"
        ),
    ],
)
def test_request_that_differs_is_told_by_place_and_rule_but_never_by_value(
    contract: Contract, request_: Any, complaint: str
) -> None:
    (told,) = contract.request(*request_)
    assert told.endswith(complaint)
    assert "secret" not in told


@pytest.mark.parametrize(
    ("status", "body", "complaints"),
    [
        pytest.param(200, {"text": "x", "to": "1", "more": 1}, [], id="conforms"),
        pytest.param(200, {"text": "x", "to": 1}, ['body.to: type "string"'], id="our-ids-are-texts"),
        pytest.param(204, None, [], id="no-content"),
        pytest.param(404, {"message": "any"}, [], id="error"),
        pytest.param(503, {"message": "any"}, [], id="fault"),
        pytest.param(302, None, ["no such status"], id="status"),
    ],
)
def test_our_own_answers_are_held_to_the_description_too(
    contract: Contract, status: int, body: Json | None, complaints: list[str]
) -> None:
    told = contract.answer("POST", "/notes", status, body)
    assert told == [f"POST /notes answers {status}: {complaint}" for complaint in complaints]
    assert contract.answer("POST", "/nothing", status, body) == []


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
