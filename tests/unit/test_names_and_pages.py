"""Names that leave us, names that come to us, and the pages that members are sent to."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from plexlink.plex import OFFICIAL, PinStyle, device_name, header_text, verification_url
from plexlink.secret import Secret
from plexlink.surface import messages

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CLIENT = Secret("3f0c2d1e-6c0b-4d39-9b55-0d7f0a4a6f11")
STRONG_CODE = Secret("l91xft5ypr1n7588alsymxoy8")

STRONG_FRAGMENT = (
    "clientID=3f0c2d1e-6c0b-4d39-9b55-0d7f0a4a6f11&code=l91xft5ypr1n7588alsymxoy8"
    "&context%5Bdevice%5D%5Bproduct%5D=PlexLink"
)

# --- names in headers ---


def assert_is_header_text(text: str) -> None:
    assert re.fullmatch(r"[ -~]{0,64}", text)
    assert text == text.strip()
    assert "  " not in text


@unhurried
@given(st.text(max_size=200))
@example("a\r\nX-Evil: 1")
@example("\x00\x1f\x7f\x80\u202e\u2028\ud800")
@example("x" * 63 + " y")
@example("\u01c5 \u1e9e \u24b6 \u2168")
def test_header_text_is_printable_ascii_of_at_most_64_characters(text: str) -> None:
    shown = header_text(text)
    assert_is_header_text(shown)
    assert header_text(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Marvin's bot", "Marvin's bot"),
        ("Kino f\u00fcr alle", "Kino fuer alle"),
        ("Kino fu\u0308r alle", "Kino fuer alle"),
        ("KINO F\u00dcR ALLE", "KINO FUER ALLE"),
        ("\u00d6sterreichs Gr\u00f6\u00dfe", "Oesterreichs Groesse"),
        ("Zo\u00eb \u2013 \u0141\u00f3d\u017a", "Zoe - Lodz"),
        ("\u041a\u0438\u043d\u043e", "Kino"),
        ("\u6620\u753b", "YingHua"),
        ("\U0001f3ac Cinema \u2764\ufe0f", "Cinema"),
        ("film\U0001f3acclub", "film club"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", ""),
        (":robot: :)", ":robot: :)"),
        ("a\u2028b\u00a0c\u3000d", "a b c d"),
        ("\U0001f600\U0001f600", ""),
        ("a\r\nX-Evil: 1", "a X-Evil: 1"),
        ("  a \t b  ", "a b"),
        ("x" * 65, "x" * 64),
        ("x" * 63 + " y", "x" * 63),
        ("", ""),
    ],
)
def test_header_text_keeps_what_is_ascii_and_spells_the_rest(text: str, shown: str) -> None:
    assert header_text(text) == shown


@unhurried
@given(user=st.from_regex(r"[a-z0-9_.]{2,32}", fullmatch=True), bot=st.text(max_size=100))
def test_device_name_names_user_and_bot_and_nothing_else(user: str, bot: str) -> None:
    shown = device_name(user, bot)
    assert_is_header_text(shown)
    assert shown.startswith(f"Discord: {user} via ")
    assert f"Discord: {user} via {header_text(bot) or 'PlexLink'}".startswith(shown)


@pytest.mark.parametrize(
    ("user", "bot", "shown"),
    [
        ("alice", "Marvin", "Discord: alice via Marvin"),
        ("alice", "", "Discord: alice via PlexLink"),
        ("alice", "\U0001f916", "Discord: alice via PlexLink"),
        ("a" * 32, "b" * 32, f"Discord: {'a' * 32} via {'b' * 18}"),
        ("J\u00fcrgen#1234", "B\u00f6t", "Discord: Juergen#1234 via Boet"),
    ],
)
def test_device_name_has_a_fixed_form(user: str, bot: str, shown: str) -> None:
    assert device_name(user, bot) == shown


# --- pages ---


def page(style: PinStyle, *, code: str, base_url: str = OFFICIAL, product: str = "PlexLink") -> str:
    return verification_url(
        base_url=base_url, style=style, user_code=Secret(code), client_identifier=CLIENT, product=product
    )


@pytest.mark.parametrize(
    ("style", "code", "base_url", "expected"),
    [
        (PinStyle.SHORT, "7RQZ", OFFICIAL, "https://plex.tv/link/?pin=7RQZ"),
        (PinStyle.SHORT, "7RQZ", "http://127.0.0.1:8080", "http://127.0.0.1:8080/link/?pin=7RQZ"),
        (PinStyle.STRONG, STRONG_CODE.reveal(), OFFICIAL, f"https://app.plex.tv/auth#?{STRONG_FRAGMENT}"),
        (
            PinStyle.STRONG,
            STRONG_CODE.reveal(),
            "http://127.0.0.1:8080",
            f"http://127.0.0.1:8080/auth#?{STRONG_FRAGMENT}",
        ),
    ],
    ids=["short", "short, elsewhere", "strong", "strong, elsewhere"],
)
def test_page_has_the_code_filled_in(style: PinStyle, code: str, base_url: str, expected: str) -> None:
    assert page(style, code=code, base_url=base_url) == expected


# --- a stranger's name in our text ---

MARKS = re.compile(r"[*_~|`\[<@\n]|://|^\s*(#{1,3}|-#?|>|\d+\.)\s")
"""What Discord reads as Markdown, a mention or a link."""

LIVE_BACKSLASHES = re.compile(r"\\(.)", re.DOTALL)


def live(text: str) -> str:
    """Return what Discord does not take literally: a backslash takes the power of the character after it."""
    return LIVE_BACKSLASHES.sub("\u2063", text)


def literally(text: str) -> str:
    """Return what a member reads."""
    return LIVE_BACKSLASHES.sub(r"\1", text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("alice", "alice"),
        ("alice smith-jones", "alice smith-jones"),
        ("user@example.com", "user@example.com"),
        ("J\u00fcrgen \U0001f600", "J\u00fcrgen \U0001f600"),
        ("line\nbreak \t and   blanks ", "line break and blanks"),
        ("back\\slash", "back\\slash"),
        ("", ""),
        (" \n", ""),
        ("a" * 64, "a" * 64),
        ("a" * 65, "a" * 63 + "…"),
        ("*" * 65, "*" * 63 + "…"),
        ("a" * 65536, "a" * 63 + "…"),
    ],
)
def test_name_is_one_line_of_at_most_64_characters(text: str, read: str) -> None:
    assert literally(messages.name(text)) == read


STYLES = ["*slanted*", "**bold**", "__under__", "~~gone~~", "||spoiler||", "`code`", "```block```"]
BLOCKS = ["# heading", "### heading", "-# small", "- item", "* item", "1. item", "> quoted", ">>> quoted"]
MENTIONS = ["@everyone", "@here", "<@123>", "<@!123>", "<@&123>", "<#123>", "<id:browse>", "<t:0:R>", "</link:1>"]
OTHERS = ["<:smile:1>", "<a:smile:1>", "https://evil.example", "<https://evil.example>", "discord://evil"]
MASKED = ["[Plex](https://evil.example)", "x [a](https://evil.example) y", "[a](<https://evil.example>)"]
MASKED += ["\\[a](https://evil.example)", "\\\\[a](https://evil.example)", "[[a]](https://evil.example)", "](b) [a](b)"]


@pytest.mark.parametrize("text", STYLES + BLOCKS + MENTIONS + OTHERS + MASKED)
def test_mark_or_masked_link_in_a_name_is_text(text: str) -> None:
    assert not MARKS.search(live(messages.name(text)))
    assert literally(messages.name(text)) == text


@unhurried
@given(st.text(max_size=100) | st.text("[]()*_~|`<>@#-\\ ab\n:/.\u200b", max_size=100))
@example("# heading")
@example("-# small")
@example("> quoted")
@example(">>> quoted")
@example("- item")
@example("[_a_](b)")
def test_nothing_in_a_name_is_markdown_or_a_mention(text: str) -> None:
    shown = messages.name(text)
    assert not MARKS.search(live(shown))
    assert len(literally(shown)) <= 64
    assert len(shown) <= 2 * 64


@unhurried
@given(st.text("abc <>[]()*_\\@", max_size=60))
def test_member_reads_the_name_and_nothing_else(text: str) -> None:
    assert literally(messages.name(text)) == " ".join(text.split())
