from __future__ import annotations

import tomllib
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config import (
    InitAnswers,
    InvalidSettingsError,
    Settings,
    Software,
    build_reference,
    csam_handling_problems,
    default_toml,
    dump_toml,
    find_config_file,
    load_settings,
    loosened_policies,
)
from relay.config.keys import list_keys
from relay.errors import ConfigError
from relay.model import MediaDecision
from scanner.labels import Category
from scanner.settings import Measure

REFERENCE = Path(__file__).parents[2] / "docs" / "configuration.md"


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "breakwater.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ or {})


def problems(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(InvalidSettingsError) as caught:
        load(tmp_path, text, environ)
    assert isinstance(caught.value, ConfigError)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def test_nothing_at_all_is_a_whole_configuration() -> None:
    settings = load_settings(None, {})
    assert (settings.server.host, settings.server.port, settings.server.admin_port) == (
        "127.0.0.1",
        8790,
        8791,
    )
    assert settings.base_url == "http://127.0.0.1:8790/breakwater"
    assert settings.domain == "127.0.0.1:8790"
    assert settings.hold_budget == timedelta(minutes=5)
    assert loosened_policies(settings) == []


def test_the_policy_by_default_is_the_strict_one() -> None:
    table = load_settings(None, {}).policy.categories
    assert set(table) == set(Category)
    loose = {category for category, policy in table.items() if policy.media is MediaDecision.RELEASE}
    blocked = {category for category, policy in table.items() if policy.media is MediaDecision.BLOCK}
    dropped = {category for category, policy in table.items() if policy.delivery == "drop"}
    purged = {category for category, policy in table.items() if policy.retain == "none"}
    assert loose == {Category.ADULT_CONTENT}
    assert blocked == {Category.CSAM_KNOWN, Category.NCII_KNOWN}
    assert dropped == purged == {Category.CSAM_KNOWN}


def test_the_later_source_outweighs_the_earlier(tmp_path: Path) -> None:
    path = tmp_path / "breakwater.toml"
    path.write_text('[server]\nport = 9000\nhost = "::1"\n[logs]\nlevel = "error"\n', encoding="utf-8")
    environ = {"BREAKWATER_SERVER_PORT": "9100", "BREAKWATER_LOGS_LEVEL": "debug", "HOME": "/home/ada"}
    settings = load_settings(path, environ, {"server.port": 9200, "logs.level": None})
    assert (settings.server.port, settings.server.host, settings.logs.level) == (9200, "::1", "debug")
    assert settings.server.admin_port == 9201


def test_every_key_can_be_set_by_its_variable(tmp_path: Path) -> None:
    environ = {
        "BREAKWATER_FETCH_PORTS": "443, 8443",
        "BREAKWATER_FETCH_ALLOW_HTTP": "true",
        "BREAKWATER_POLICY_CSAM_KNOWN_MEDIA": "withhold",
        "BREAKWATER_POLICY_CONDITIONS_UNSCANNABLE": "block",
        "BREAKWATER_CONFIG": "not a key",
    }
    settings = load_settings(None, environ)
    assert settings.fetch.ports == (443, 8443)
    assert settings.fetch.allow_http
    assert settings.policy.categories[Category.CSAM_KNOWN].media is MediaDecision.WITHHOLD
    assert settings.policy.conditions.unscannable is MediaDecision.BLOCK
    assert len({key.variable for key in list_keys()}) == len(list_keys())


def test_a_category_that_says_little_keeps_the_rest_of_its_own_default(tmp_path: Path) -> None:
    settings = load(tmp_path, '[policy.csam-known]\nmedia = "withhold"\n')
    policy = settings.policy.categories[Category.CSAM_KNOWN]
    assert (policy.media.value, policy.delivery.value, policy.retain.value) == ("withhold", "drop", "none")


def test_all_problems_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """\
[server]
prot = 9000
port = "nine"
[policy.csam-knwon]
media = "block"
[policy."csam-known"]
media = "relase"
[databse]
url = "x"
[fetch]
ports = [443, 99999]
"""
    found = problems(tmp_path, text, {"BREAKWATER_SERVER_PROT": "1", "BREAKWATER_LOGS_LEVEL": "loud"})
    expected = [
        "BREAKWATER_SERVER_PROT: no setting has this environment variable; did you mean BREAKWATER_SERVER_P",
        "breakwater.toml:2: server.prot is no known setting; did you mean server.port?",
        "breakwater.toml:3: server.port is 'nine': ",
        "breakwater.toml:4: policy.csam-knwon is no known section; did you mean policy.csam-known?",
        "breakwater.toml:7: policy.csam-known.media is 'relase': ",
        "breakwater.toml:8: databse is no known section; did you mean database?",
        "breakwater.toml:11: fetch.ports.1 is 99999: ",
        "BREAKWATER_LOGS_LEVEL: logs.level is 'loud': ",
    ]
    assert len(found) == len(expected)
    for line in expected:
        assert any(problem.startswith(line) for problem in found), (line, found)


_FRONT = "[exchange]\nmedia_front = true\n"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[server]\nport = 1\nadmin_port = 1\n", "server.admin_port is 1, as server.port is"),
        ('[backend]\nurl = "http://127.0.0.1:8790"\n', "backend.url is the relay's own address"),
        ('[backend]\nurl = "localhost:3000"\n', "backend.url is 'localhost:3000'; give an absolute"),
        ('[identity]\nbase_url = "https://u:p@x.example/"\n', "holds a user name"),
        ('[identity]\nbase_url = "https://x.example:99999/"\n', "identity.base_url is no URL"),
        ('[identity]\ndomain = "https://x.example"\n', "identity.domain is"),
        ("[legal]\nscan_restricted = true\n", "say on which legal basis"),
        ('[legal]\njurisdiction = "Germany"\n', "legal.jurisdiction is 'Germany'"),
        ('[scanner]\nclassifier = "/nowhere"\n', "names /nowhere, which is no directory"),
        ('[database]\nurl = "mysql://x"\n', "database.url is no PostgreSQL URL"),
        ('[server]\ndata_dir = "here"\n', "give an absolute path"),
        ('[fetch]\nallow_private = ["10.0.0.1/8"]\n', "10.0.0.1/8 has host bits set"),
        ("[fetch]\nfirst_byte_timeout_s = 90\n", "longer than fetch.total_timeout_s"),
        ("[exchange]\nmedia_front = true\n", "exchange.media_upstream is no http(s) address"),
        (f"{_FRONT}media_upstream = 'http://x:99999'\n", "exchange.media_upstream is no http(s) address"),
        (f"{_FRONT}media_upstream = 'ftp://x'\n", "exchange.media_upstream is no http(s) address"),
        (f"{_FRONT}media_upstream = 'http://x/media'\n", "more than a scheme, a host and a port"),
        (f"{_FRONT}media_upstream = 'http://x'\nmedia_paths = ['system/']\n", "each with a slash before it"),
        (
            f"{_FRONT}media_upstream = 'http://x'\nfront_port = 8790\n",
            "exchange.front_port is 8790, as server",
        ),
        ("server = 3\n", "server is 3"),
        ('policy = "strict"\n', "policy is 'strict'"),
        ('[policy]\ncsam-known = "block"\n', "policy.csam-known is 'block'"),
        ("[server\n", "not valid TOML"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, part: str) -> None:
    assert any(part in problem for problem in problems(tmp_path, text)), problems(tmp_path, text)


def test_a_missing_or_unreadable_file_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    for name in ("missing.toml", "."):
        with pytest.raises(InvalidSettingsError):
            load_settings(tmp_path / name, {})
    (tmp_path / "latin.toml").write_bytes(b'[identity]\ncontact = "\xe4"\n')
    with pytest.raises(InvalidSettingsError, match="UTF-8"):
        load_settings(tmp_path / "latin.toml", {})
    (tmp_path / "huge.toml").write_bytes(b"#" * 2_000_000)
    with pytest.raises(InvalidSettingsError, match="megabyte"):
        load_settings(tmp_path / "huge.toml", {})


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://breakwater:hunter2@db/breakwater\n", encoding="utf-8")
    settings = load(tmp_path, f'[database]\nurl_file = "{secret}"\n')
    assert settings.database.url.get_secret_value() == "postgresql://breakwater:hunter2@db/breakwater"
    assert "hunter2" not in repr(settings) + dump_toml(settings)
    both = problems(tmp_path, f'[database]\nurl_file = "{secret}"\nurl = "postgresql://x"\n')
    assert "keep one of the two" in both[0]
    gone = problems(tmp_path, '[database]\nurl_file = "/nowhere/dsn"\n')
    assert "cannot be read" in gone[0]
    assert "hunter2" not in str(problems(tmp_path, '[database]\nurl = ["hunter2"]\n'))


def test_root_and_users_keep_their_data_in_different_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.config.sections.os.geteuid", lambda: 1000)
    assert load_settings(None, {"HOME": "/home/ada"}).server.data_dir == Path(
        "/home/ada/.local/share/breakwater"
    )
    assert load_settings(None, {"XDG_DATA_HOME": "/xdg"}).server.data_dir == Path("/xdg/breakwater")
    monkeypatch.setattr("relay.config.sections.os.geteuid", lambda: 0)
    assert load_settings(None, {"HOME": "/root"}).server.data_dir == Path("/var/lib/breakwater")


def test_the_file_is_looked_for_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.config.sections.os.geteuid", lambda: 1000)
    usual = tmp_path / "breakwater" / "breakwater.toml"
    usual.parent.mkdir()
    usual.write_text("", encoding="utf-8")
    assert find_config_file({"XDG_DATA_HOME": str(tmp_path)}) == usual
    assert find_config_file({"BREAKWATER_CONFIG": "/else.toml"}) == Path("/else.toml")


@pytest.mark.parametrize(
    ("software", "patience_s", "minutes"),
    [
        ("misskey", 300, 3),
        ("sharkey", 300, 3),
        ("lemmy", 43_200, 45),
        ("mastodon", 43_200, 50),
        ("snac", 300, 5),
    ],
)
def test_holding_ends_before_the_signature_goes_stale(
    tmp_path: Path, software: str, patience_s: int, minutes: int
) -> None:
    text = f'[backend]\nsoftware = "{software}"\n[hold]\npatience_s = {patience_s}\n'
    assert load(tmp_path, text).hold_budget == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("software", "gateway", "is_told", "enforces"),
    [
        ("mastodon", "enabled = true", False, True),
        ("misskey", "enabled = true", False, True),
        ("mastodon", "enabled = true\nopens_tls = false", False, False),
        ("mastodon", "enabled = false", False, False),
        # Its posts link to the originals, whatever the gateway withholds.
        ("gotosocial", "enabled = true", False, False),
        ("other", "enabled = true", False, False),
        ("other", "enabled = true", True, True),
        ("other", "enabled = false", True, True),
    ],
)
def test_text_goes_on_without_its_media_only_where_a_door_keeps_them_back(
    tmp_path: Path, software: str, gateway: str, *, is_told: bool, enforces: bool
) -> None:
    told = f"enforces_media = {str(is_told).lower()}"
    text = f'[backend]\nsoftware = "{software}"\n{told}\n[gateway]\n{gateway}\n'
    assert load(tmp_path, text).enforces_media is enforces


def test_accepted_gaps_in_the_sandbox_are_named_one_by_one(tmp_path: Path) -> None:
    text = '[scanner]\naccept_weaker_sandbox = ["landlock"]\nclassifier = "none"\n'
    scanner = load(tmp_path, text).scanner
    assert scanner.accept_weaker_sandbox == (Measure.LANDLOCK,)
    assert scanner.classifiers == ()
    assert "accept_weaker_sandbox" in problems(tmp_path, "[scanner]\naccept_weaker_sandbox = true\n")[0]


def test_private_targets_are_networks_and_endpoints(tmp_path: Path) -> None:
    text = '[fetch]\nallow_private = ["10.0.0.0/8", "::1", "127.0.0.1:80", "[::1]:81"]\n'
    assert load(tmp_path, text).fetch.private_targets == (
        ip_network("10.0.0.0/8"),
        ip_network("::1"),
        (ip_address("127.0.0.1"), 80),
        (ip_address("::1"), 81),
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[policy.spam]\nmedia = "release"\n', "policy.spam.media is release; the default is withhold."),
        ('[policy.csam-known]\ndelivery = "forward"\n', "policy.csam-known.delivery is forward"),
        ('[policy.conditions]\nunscannable = "release"\n', "policy.conditions.unscannable is release"),
        ('[scanner]\naccept_weaker_sandbox = ["seccomp"]\n', "without seccomp"),
        ("[scanner]\naccept_sampled = true\n", "scanner.accept_sampled lets animations pass"),
        ('[fetch]\nallow_private = ["10.0.0.0/8"]\n', "fetch.allow_private"),
    ],
)
def test_every_loosening_is_named(tmp_path: Path, text: str, part: str) -> None:
    sentences = loosened_policies(load(tmp_path, text))
    assert len(sentences) == 1
    assert part in sentences[0]


def test_tightening_is_free(tmp_path: Path) -> None:
    text = '[policy.adult-content]\nmedia = "block"\ndelivery = "drop"\n'
    text += '[policy.conditions]\nunreachable = "block"\n'
    assert loosened_policies(load(tmp_path, text)) == []


def test_lists_of_abuse_material_wait_for_three_answers(tmp_path: Path) -> None:
    assert len(csam_handling_problems(load_settings(None, {}))) == 3
    answers = InitAnswers(jurisdiction="DE", reporting_route="jugendschutz.net", responsible_role="admin")
    assert csam_handling_problems(load(tmp_path, default_toml(answers))) == []


def test_the_template_without_answers_is_the_default(tmp_path: Path) -> None:
    assert load(tmp_path, default_toml()) == load_settings(None, {})


def test_the_template_with_every_comment_taken_away_is_the_default_too(tmp_path: Path) -> None:
    names = {key.name for key in list_keys()}
    lines = []
    for line in default_toml().splitlines():
        name, equals, value = line.removeprefix("# ").partition(" =")
        lines.append(line.removeprefix("# ") if equals and name in names and value.strip() else line)
    assert load(tmp_path, "\n".join(lines)) == load_settings(None, {})


ANSWER = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)


@given(contact=ANSWER, route=ANSWER, software=st.sampled_from(Software), enforces=st.booleans())
def test_answers_survive_the_template(
    contact: str, route: str, software: Software, *, enforces: bool
) -> None:
    answers = InitAnswers(
        contact=contact, reporting_route=route, software=software, enforces_media=enforces, domain="x.example"
    )
    settings = Settings.model_validate(tomllib.loads(default_toml(answers)))
    assert settings.identity.contact == contact
    assert settings.legal.reporting_route == route
    assert settings.backend.software is software
    assert settings.backend.enforces_media is enforces
    assert settings.domain == "x.example"


def test_the_settings_in_force_can_be_read_back(tmp_path: Path) -> None:
    text = '[policy.spam]\nmedia = "block"\n[fetch]\nports = [80]\n'
    text += '[identity]\ncontact = "a \\"b\\" \\\\ \\u0007"\n'
    settings = load(tmp_path, text)
    assert load(tmp_path, dump_toml(settings)) == settings


def test_every_key_is_described_on_the_reference_page() -> None:
    page = build_reference()
    for key in list_keys():
        assert key.description.endswith((".", ")")), key.path
        assert f"`{key.variable}`" in page


def test_the_reference_page_in_the_repository_is_the_generated_one() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == build_reference(), (
        "run: breakwater config docs > docs/configuration.md"
    )


@pytest.mark.parametrize(
    ("text", "embedded", "directories"),
    [
        ("", True, 0),
        ('classifier = "none"', False, 0),
        ('classifier = "{0}"', False, 1),
        ('classifier = ["embedded", "{0}"]', True, 1),
        ('classifier = ["{0}", "{0}", "none"]', False, 1),
    ],
)
def test_one_classifier_or_several_are_named(
    tmp_path: Path, text: str, directories: int, *, embedded: bool
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.onnx").touch()
    scanner = load(tmp_path, "[scanner]\n" + text.format(own)).scanner
    assert scanner.has_embedded_classifier is embedded
    assert scanner.classifier_dirs == (own,) * directories


def test_a_classifier_without_weights_is_named(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (found,) = problems(tmp_path, f'[scanner]\nclassifier = ["embedded", "{own}"]\n')
    assert "no *.onnx graph" in found


def test_what_is_only_tried_out_is_named_as_loosened_where_it_looks_up_lists(tmp_path: Path) -> None:
    assert loosened_policies(load(tmp_path, '[scanner]\nshadow = ["classifier"]\n')) == []
    (sentence,) = loosened_policies(load(tmp_path, '[scanner]\nshadow = ["pdq"]\n'))
    assert "scanner.shadow" in sentence
