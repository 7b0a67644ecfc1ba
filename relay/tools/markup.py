"""Find the media that a text points to: HTML, Markdown, plain addresses and inline data.

The scan looks for every tag and every image mark without building a tree, so that comments, broken nesting
and whatever one parser skips and another shows hide nothing: too much may be found, too little not. Every
step is linear in the length of the text, whatever stands in it, which parsers that build on the standard
library are not. Where a text makes that impossible, with tags inside the attributes of tags inside the
attributes …, the answer says that it is not complete.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXTENSIONS: Final = (
    "jpe?g|jpe|jfif|pjpeg|png|apng|gif|webp|avif|heic|heif|jxl|bmp|tiff?|ico|svg"
    "|mp4|m4v|webm|mov|mkv|avi|mpe?g|ogv|3gp|m3u8|mp3|m4a|ogg|oga|opus|wav|flac|aac|weba"
)

_MAX_PLAIN_URL: Final = 8_192
"""Characters of an address in running text: what common servers accept as a request line."""

_SCAN_FACTOR: Final = 2
"""Attribute characters read per character of text. Real markup needs 1, for tags do not overlap."""

_SCAN_FLOOR: Final = 4_096
"""Attribute characters that even a short text may cost."""

_ADDRESS_MARKS: Final = (":", "&", "\\")
_HINT: Final = re.compile(r"<[a-z]|!\[|url\(|//|\\\\|data:", re.IGNORECASE)
_PLAIN_URL: Final = re.compile(rf"https?://[^\s<>\"'`\\^{{}}|]{{1,{_MAX_PLAIN_URL}}}+", re.IGNORECASE)
_NEXT_URL: Final = re.compile(r",(?=https?:|//|data:)", re.IGNORECASE)
_MEDIA_NAME: Final = re.compile(rf"[.=](?:{_EXTENSIONS})(?=$|[?#&/:;,)\]*!_~])", re.IGNORECASE)
_DATA_URI: Final = re.compile(r"data:([^,;\s]{0,127})((?:;[^,;\s]{0,127}){0,8}),", re.IGNORECASE)
_PUNCTUATION: Final = ".,;:!?*_~"
_CONTROLS: Final = "".join(map(chr, range(33)))
"""What a browser cuts off both ends of an address (WHATWG URL 4.4): control characters and the space."""

_SCHEME: Final = re.compile(r"(?:https?:)?[/\\]{2}", re.IGNORECASE)
_TAG: Final = re.compile(
    r"<(img|image|video|audio|source|input|embed|object|picture)(?=[\s/>])", re.IGNORECASE
)
# White space is the five characters that HTML's tokenizer knows; a name may begin with `=` (HTML 13.2.5.32).
_ATTRIBUTE: Final = re.compile(
    r"[ \t\n\f\r/]*+([^ \t\n\f\r/>][^ \t\n\f\r/>=]*+)"
    r"(?:[ \t\n\f\r]*+=[ \t\n\f\r]*+(?:\"([^\"]*+)\"|'([^']*+)'|([^ \t\n\f\r>\"'][^ \t\n\f\r>]*+)))?+",
)
_HTML_SPACE: Final = re.compile(r"[ \t\n\f\r]++")
_INLINE: Final = re.compile(r"data:(?:image|video|audio)/[^,\s\"'<>()]{1,255},[^\s\"'<>()]++", re.IGNORECASE)
_STYLE_URL: Final = re.compile(r"\burl\(\s{0,8}[\"']?([^\"')\s]++)", re.IGNORECASE)
_MARKDOWN_MARK: Final = re.compile(r"!\[|\]\(|\n[ \t]{0,8}\n")
_MARKDOWN_TARGET: Final = re.compile(r"[ \t\n]{0,8}(?:<([^<>\n]++)>|((?:[^ \t\n()]|\([^ \t\n()]*+\))++))")
_MARKDOWN_DEFINITION: Final = re.compile(r"^ {0,3}\[[^\]\n]{1,999}\]:[ \t]{0,8}<?([^\s>]++)", re.MULTILINE)

_URL_ATTRIBUTES: Final = frozenset({"src", "poster", "data", "href", "xlink:href", "data-src"})
_SET_ATTRIBUTES: Final = frozenset({"srcset", "data-srcset"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLink:
    """An address in a text.

    Attributes:
        url: An absolute http(s) URL without its fragment, or a `data:` URI.
        is_embedded: The markup shows it as media. False for an address that merely has the name of a media
            file.
    """

    url: str
    is_embedded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLinks:
    """All addresses of media in a text.

    Attributes:
        links: In the order of the ways of writing them, each possibly more than once.
        is_complete: False where the markup was built so that reading all of it would take too long.
    """

    links: tuple[MediaLink, ...]
    is_complete: bool = True


_NOTHING: Final = MediaLinks(links=())


def find_media_links(text: str) -> MediaLinks:
    """Find what a text embeds or names as media."""
    # An address has a colon or two slashes, either of which HTML may write as a character reference.
    if ("//" not in text and not any(mark in text for mark in _ADDRESS_MARKS)) or _HINT.search(text) is None:
        return _NOTHING
    links: list[MediaLink] = []
    is_complete = True
    if "<" in text:
        is_complete = _scan_tags(text, links)
    if "![" in text:
        links += _scan_markdown(text)
    if "(" in text:
        links += _as_links(_STYLE_URL.findall(text), is_embedded=False)
    plain = _unescape(text) if "&" in text else text
    links += _scan_plain(plain)
    return MediaLinks(links=tuple(links), is_complete=is_complete)


def parse_media_url(text: str) -> str | None:
    r"""Read an address as a browser would; None where it is neither http(s) nor inline data.

    White space around it and line breaks within it do not count, `\` is `/`, an address without a scheme is
    https. Whether it may be fetched is for the fetch to decide.
    """
    text = text.strip().strip(_CONTROLS)
    if _DATA_URI.match(text):
        return text
    if "\n" in text or "\r" in text or "\t" in text:
        text = text.replace("\n", "").replace("\r", "").replace("\t", "")
    found = _SCHEME.match(text)
    if found is None:
        return None
    scheme = found.group().rstrip("/\\").lower() or "https:"
    rest = text[found.end() :].split("#", 1)[0].lstrip("/\\")
    return f"{scheme}//{rest}" if rest else None


def find_data_type(url: str) -> str | None:
    """Return the media type that a `data:` URI declares, lower case; None if there is none."""
    found = _DATA_URI.match(url)
    return (found.group(1).lower() or None) if found else None


def _as_links(urls: list[str], *, is_embedded: bool) -> Iterator[MediaLink]:
    for written in urls:
        url = parse_media_url(written)
        if url is not None:
            yield MediaLink(url=url, is_embedded=is_embedded)


def _scan_tags(text: str, links: list[MediaLink]) -> bool:
    """Add what media tags point to; False where the attributes were more than may be read."""
    budget = _SCAN_FACTOR * len(text) + _SCAN_FLOOR
    for tag in _TAG.finditer(text):
        position = tag.end()
        while attribute := _ATTRIBUTE.match(text, position):
            name, *values = attribute.groups()
            budget -= attribute.end() - position
            position = attribute.end()
            if budget < 0:
                return False
            value = next((value for value in values if value), None)
            if value is None:
                continue
            if name.lower() in _URL_ATTRIBUTES:
                links += _as_links([_unescape(value)], is_embedded=True)
            elif name.lower() in _SET_ATTRIBUTES:
                links += _as_links(_split_set(_unescape(value)), is_embedded=True)
    return True


def _split_set(value: str) -> list[str]:
    """Cut a `srcset` into its addresses; descriptors fall out because they are no addresses."""
    urls: list[str] = []
    for token in _HTML_SPACE.split(value):
        # The data of an inline picture may look like the start of an address ("…;base64,//uQx").
        urls += [token] if _DATA_URI.match(token) else _NEXT_URL.split(token)
    return [url.strip(",") for url in urls]


def _scan_markdown(text: str) -> Iterator[MediaLink]:
    """Find `![](…)` and `![][…]`.

    The text between the brackets may hold brackets of its own, so every target after a `![` in the same
    paragraph counts; the first one as an image, the others as what may be one.
    """
    image_is_open = may_be_image = False
    for mark in _MARKDOWN_MARK.finditer(text):
        if mark.group() == "![":
            image_is_open = may_be_image = True
        elif mark.group() != "](":
            image_is_open = may_be_image = False
        elif may_be_image and (target := _MARKDOWN_TARGET.match(text, mark.end())):
            yield from _as_links([target.group(1) or target.group(2)], is_embedded=image_is_open)
            image_is_open = False
    if "]:" in text:
        yield from _as_links(_MARKDOWN_DEFINITION.findall(text), is_embedded=False)


def _scan_plain(text: str) -> Iterator[MediaLink]:
    """Find addresses that have the name of a media file, and inline media."""
    for found in _PLAIN_URL.finditer(text):
        for candidate in _NEXT_URL.split(found.group()):
            url = _trim(candidate)
            path = url.find("/", len("https://"))
            if path > 0 and _MEDIA_NAME.search(url, path):
                yield from _as_links([url], is_embedded=False)
    if "," in text:
        yield from _as_links(_INLINE.findall(text), is_embedded=True)


def _trim(url: str) -> str:
    """Cut off the punctuation and the unpaired brackets of the sentence around an address."""
    spare = {close: url.count(close) - url.count(opening) for opening, close in ("()", "[]")}
    end = len(url)
    while end and (url[end - 1] in _PUNCTUATION or spare.get(url[end - 1], 0) > 0):
        end -= 1
        if url[end] in spare:
            spare[url[end]] -= 1
    return url[:end]


def _unescape(text: str) -> str:
    """Resolve character references; a text with absurd ones stays as it is."""
    if "&" not in text:
        return text
    try:
        return html.unescape(text)
    except (ValueError, OverflowError):
        # `&#999…` with thousands of digits is no character, and the library refuses to convert it.
        return text
