"""Read the settings and check them all before any is used.

What is said later outweighs what was said before: defaults, the file, the environment, the command line.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from relay.config.keys import ENVIRONMENT_PREFIX, list_keys, list_sections
from relay.config.sections import default_data_dir
from relay.config.settings import Settings
from relay.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_VARIABLE: Final = "BREAKWATER_CONFIG"
"""Names the file, where the command line does not."""

_WEIGHTS: Final = frozenset({".safetensors", ".onnx"})
_RESERVED: Final = frozenset({CONFIG_VARIABLE})

_MAX_FILE_BYTES: Final = 1_048_576
"""A thousand times a real configuration; what is longer is some other file."""

_MAX_SECRET_BYTES: Final = 65_536
"""A connection URL takes a few hundred bytes."""

_LIST_KINDS: Final = frozenset({"list"})

Values: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why the settings cannot be used.

    Attributes:
        place: Where it was said: `breakwater.toml:12`, an environment variable, or empty.
        message: What is wrong and what to write instead.
    """

    place: str
    message: str

    def __str__(self) -> str:
        """Write it on one line."""
        return f"{self.place}: {self.message}" if self.place else self.message


class InvalidSettingsError(ConfigError):
    """The settings cannot be used, for these reasons."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Number the problems."""
        lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
        super().__init__("\n".join(["The settings cannot be used, so nothing was started:", *lines]))
        self.problems = problems


def read_environment() -> Mapping[str, str]:
    """Return a copy of the environment of this process."""
    return dict(os.environ)  # noqa: TID251 (the one place that reads the environment)


def find_config_file(environ: Mapping[str, str]) -> Path | None:
    """Find the file that is read when the command line names none: the variable's, else the usual places."""
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    usual = (default_data_dir(environ) / "breakwater.toml", Path("/etc/breakwater/breakwater.toml"))
    return next((path for path in usual if path.is_file()), None)


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Read and check the settings.

    Args:
        path: The TOML file; None for none.
        environ: The environment, of which the variables beginning with `BREAKWATER_` are read.
        overrides: What the command line sets, by whole name (`{"server.port": 8800}`); None is nothing.

    Raises:
        InvalidSettingsError: With every problem there is; a ConfigError.
    """
    problems: list[Problem] = []
    text = _read_file(path, problems) if path is not None else ""
    values = _parse_file(text, path, problems)
    _apply_environment(values, environ, problems)
    for name, value in (overrides or {}).items():
        if value is not None:
            _set(values, name, value)
    _read_secret_files(values, problems)
    values.setdefault("server", {})
    if isinstance(values["server"], dict):
        values["server"].setdefault("data_dir", default_data_dir(environ))
    settings = _validate(values, environ, text, path, problems)
    if settings is not None:
        problems += [Problem(place="", message=message) for message in _check_world(settings)]
    if settings is None or problems:
        raise InvalidSettingsError(tuple(problems))
    return settings


def _read_file(path: Path, problems: list[Problem]) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        problems.append(Problem(place=str(path), message=f"{reason}; `breakwater init` writes a new file"))
        return ""
    if len(data) > _MAX_FILE_BYTES:
        problems.append(Problem(place=str(path), message="longer than a megabyte, so it is no configuration"))
        return ""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        problems.append(Problem(place=str(path), message="not UTF-8 text, which TOML has to be"))
        return ""


def _parse_file(text: str, path: Path | None, problems: list[Problem]) -> Values:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(Problem(place=str(path), message=f"not valid TOML: {error}"))
        return {}


def _apply_environment(values: Values, environ: Mapping[str, str], problems: list[Problem]) -> None:
    known = {key.variable: key for key in list_keys()}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in _RESERVED:
            continue
        key = known.get(variable)
        if key is None:
            hint = _nearest(variable, known)
            problems.append(
                Problem(place=variable, message=f"no setting has this environment variable{hint}")
            )
            continue
        is_list = key.kind in _LIST_KINDS
        _set(
            values, key.path, [item.strip() for item in text.split(",") if item.strip()] if is_list else text
        )


def _set(values: Values, path: str, value: object) -> None:
    *sections, name = path.split(".")
    table = values
    for section in sections:
        inner = table.get(section)
        if not isinstance(inner, dict):
            # A section that is no table is left to be reported as what it is.
            inner = table[section] = {} if inner is None else {"": inner}
        table = inner
    table[name] = value


def _read_secret_files(values: Values, problems: list[Problem]) -> None:
    """Replace every `…_file` of a secret by the secret."""
    for section, info in Settings.model_fields.items():
        table = values.get(section)
        fields = getattr(info.annotation, "model_fields", {})
        if not isinstance(table, dict):
            continue
        for name, field in fields.items():
            source = table.get(f"{name}_file")
            if field.annotation is not SecretStr or not source:
                continue
            place = f"{section}.{name}_file"
            if table.get(name):
                message = f"{section}.{name} is given as well; keep one of the two"
                problems.append(Problem(place=place, message=message))
                continue
            try:
                with Path(source).open("rb") as file:
                    table[name] = file.read(_MAX_SECRET_BYTES).decode("utf-8").strip()
            except (OSError, UnicodeDecodeError, TypeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8 text"
                problems.append(Problem(place=place, message=f"{source} cannot be read: {reason.lower()}"))


def _validate(
    values: Values,
    environ: Mapping[str, str],
    text: str,
    path: Path | None,
    problems: list[Problem],
) -> Settings | None:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            if detail["type"] == "default_factory_not_called":
                continue  # It follows from a key that is reported itself.
            names = [str(part) for part in detail["loc"] if part != "categories"]
            messages = _describe(names, detail["type"], detail["msg"], detail["input"])
            place = _variable(names, environ) or _locate(names, text, path)
            problems += [Problem(place=place, message=message) for message in messages]
        return None


def _describe(names: list[str], kind: str, message: str, given: object) -> list[str]:
    """Say in our words what a validation error means."""
    if not names:
        return message.removeprefix("Value error, ").splitlines()
    full = ".".join(names)
    if kind == "extra_forbidden":
        sections = [section for section, _, _ in list_sections()]
        known = [*sections, *(key.path for key in list_keys())]
        word = "section" if isinstance(given, dict) else "setting"
        return [f"{full} is no known {word}{_nearest(full, known)}"]
    is_secret = any(key.path == full and "secret" in key.kind for key in list_keys())
    shown = "" if is_secret or isinstance(given, dict) else f" is {given!r}"
    return [f"{full}{shown}: {message[0].lower()}{message[1:]}"]


def _nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    last = name.rsplit(".", 1)[-1]
    close = [path for path in known if path.rsplit(".", 1)[-1] == last]
    return f"; did you mean {close[0]}?" if close else ""


def _variable(names: list[str], environ: Mapping[str, str]) -> str:
    """Name the environment variable that set a key; empty where none did."""
    paths = {".".join(names), ".".join(names[:-1])}
    return next((key.variable for key in list_keys() if key.path in paths and key.variable in environ), "")


def _locate(names: list[str], text: str, path: Path | None) -> str:
    """Find the line of a key in the file; empty where the file does not say it."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            section = re.sub(r"[\s\"']", "", header.group(1))
            if section == ".".join(names):
                return f"{path}:{number}"
        elif key := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            written = re.sub(r"[\"']", "", key.group(1))
            whole = f"{section}.{written}" if section else written
            # A member of a list is reported under its index, which no line has.
            if ".".join(names) == whole or ".".join(names[:-1]) == whole:
                return f"{path}:{number}"
    return ""


def _check_world(settings: Settings) -> list[str]:
    """Check what needs a look outside of the settings."""
    problems: list[str] = []
    for directory in settings.scanner.classifier_dirs:
        if not directory.is_dir():
            problems.append(
                f"scanner.classifier names {directory}, which is no directory; give `embedded`, `none` or "
                "the directory of an image classifier",
            )
        elif not any(one.suffix in _WEIGHTS for one in directory.iterdir()):
            problems.append(
                f"scanner.classifier names {directory}, which holds no *.safetensors weights and no *.onnx "
                "graph"
            )
    for name, url in (
        ("identity.base_url", settings.identity.base_url),
        ("backend.url", settings.backend.url),
        ("backend.api_url", settings.backend.api_url),
        ("backend.pictrs_url", settings.backend.pictrs_url),
        ("storage.s3_endpoint", settings.storage.s3_endpoint),
        ("exchange.media_upstream", settings.exchange.media_upstream),
    ):
        problems += _check_url(name, url)
    database = settings.database.url.get_secret_value()
    if database and urlsplit(database).scheme not in {"postgresql", "postgres"}:
        problems.append("database.url is no PostgreSQL URL; it begins with postgresql://")
    if any(mark in settings.identity.domain for mark in "/@ "):
        problems.append(f"identity.domain is {settings.identity.domain!r}; give one such as social.example")
    if settings.exchange.media_front and not settings.exchange.media_upstream:
        problems.append(
            "exchange.media_front is on without exchange.media_upstream; say where your server's media "
            "really are"
        )
    if settings.storage.path is not None and not settings.storage.path.is_absolute():
        problems.append(f"storage.path is {settings.storage.path}; give an absolute path")
    if not settings.server.data_dir.is_absolute():
        problems.append(f"server.data_dir is {settings.server.data_dir}; give an absolute path")
    return problems


def _check_url(name: str, url: str) -> list[str]:
    if not url:
        return []
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return [f"{name} is no URL: {error}"]
    if parts.scheme not in {"http", "https"} or not host:
        return [f"{name} is {url!r}; give an absolute http or https URL"]
    if parts.username is not None or parts.query or parts.fragment:
        return [f"{name} holds a user name, a query or a fragment; give scheme, host and path only"]
    return []
