"""The Helm chart and the image: what Kubernetes and Docker would read. Neither of them runs here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from pandaserver.admin.main import main
from pandaserver.config.panda_config import MAP_FILES, load
from pandaserver.deployment.files import FILES
from pandaserver.deployment.site import Site
from tests.unit.helm_stand_in import merged, rendered

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "etc" / "helm" / "panda-server"
DOCKER = ROOT / "etc" / "docker"
EVERYTHING: dict[str, Any] = {
    "autoStart": True,
    "replicaCount": 3,
    "certificates": {"configMapName": "grid-cas"},
    "auth": {"configMapName": "issuers"},
    "volumes": {"cacheClaim": "uploads"},
    "service": {"type": "LoadBalancer"},
}
CHOICES: list[dict[str, Any]] = [{}, {"autoStart": True}, EVERYTHING, {"resources": {}}]
#: The one of our environment, which need not be in PATH, before that of the machine.
HELM = shutil.which("helm", path=sysconfig.get_path("scripts")) or shutil.which("helm")
VERSIONS = ["1.28.0", kubernetes_validate.latest_version()]
STYLE = YamlLintConfig("extends: default\nrules: {line-length: {max: 120}, braces: {max-spaces-inside: 1}}")


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")))


def manifests(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, text in rendered(CHART, "mysrv", choice).items():
        if name.endswith(".yaml"):
            yield from yaml.safe_load_all(text)


def manifest(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    (found,) = [one for one in manifests(choice) if one["kind"] == kind]
    return found


def pod(choice: dict[str, Any]) -> dict[str, Any]:
    return dict(manifest("Deployment", choice)["spec"]["template"]["spec"])


def server(choice: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod(choice)["containers"]
    return dict(found)


def complaints(text: str) -> list[str]:
    return [str(problem) for problem in linter.run(text, STYLE)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("choice", CHOICES)
def test_kubernetes_would_take_every_manifest(choice: dict[str, Any], version: str) -> None:
    found = list(manifests(choice))
    assert sorted(one["kind"] for one in found) == ["ConfigMap", "Deployment", "Service"]
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_rendered_is_well_formed(choice: dict[str, Any]) -> None:
    for name, text in rendered(CHART, "mysrv", choice).items():
        if name.endswith(".yaml"):
            assert complaints(text) == [], name


@pytest.mark.parametrize("name", ["Chart.yaml", "values.yaml"])
def test_the_files_of_the_chart_are_well_formed(name: str) -> None:
    assert complaints("---\n" + (CHART / name).read_text("utf-8")) == []


@pytest.mark.parametrize("draft", [jsonschema.Draft7Validator, jsonschema.Draft202012Validator])
@pytest.mark.parametrize("choice", CHOICES)
def test_the_schema_takes_good_values(choice: dict[str, Any], draft: Any) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    draft.check_schema(schema)  # which one Helm takes depends on its version
    draft(schema).validate(merged(values(), choice))


@pytest.mark.parametrize(
    "mistake",
    [
        {"autoStart": "yes"},
        {"autostart": True},
        {"replicaCount": -1},
        {"image": {"pullPolicy": "Sometimes"}},
        {"hostCertificate": {"secretName": ""}},
        {"web": {"connections": 100}},
        {"volumes": {"logSize": "much"}},
    ],
)
def test_the_schema_refuses_mistakes(mistake: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(values(), mistake), schema)


def test_the_values_are_those_of_the_guide() -> None:
    found = values()
    assert (found["replicaCount"], found["image"]["pullPolicy"], found["autoStart"]) == (1, "Always", False)
    assert found["image"]["name"]


def test_the_configuration_is_mounted_where_it_is_read(tmp_path: Path) -> None:
    (data,) = manifest("ConfigMap", {})["data"].items()
    mount = next(one["mountPath"] for one in server({})["volumeMounts"] if one["name"] == "configmap")
    file = Path(mount, data[0]).relative_to("/opt/panda")
    assert str(file) in MAP_FILES
    assert "PANDA_HOME=/opt/panda" in instructions()["ENV"][0]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(data[1])
    settings = tmp_path / "etc" / "panda"
    settings.mkdir()
    shipped = next(file for file in FILES if file.name == "panda_server.cfg.rpmnew")
    (settings / "panda_server.cfg").write_text(shipped.text(Site(user="panda", group="panda")))
    (settings / "panda_common.cfg").write_bytes((DOCKER / "panda_common.cfg").read_bytes())
    config = load({"PANDA_HOME": str(tmp_path), "PANDA_DB_PASSWORD": "secret"}, [settings])
    assert [str(finding) for finding in config.findings] == []
    assert config.server.dbpasswd.reveal() == "secret"
    assert (config.daemon.enable, config.logger.log_to_stdout) == (True, True)


@pytest.mark.parametrize("choice", CHOICES)
def test_keys_and_passwords_come_from_secrets(choice: dict[str, Any]) -> None:
    host = next(one for one in pod(choice)["volumes"] if one["name"] == "hostcert")
    assert host["secret"] == {"secretName": "panda-server-hostcert", "defaultMode": 0o440}
    assert server(choice)["envFrom"] == [{"secretRef": {"name": "panda-server-environment"}}]
    (configuration,) = manifest("ConfigMap", choice)["data"].values()
    assert json.loads(configuration)["server"]["dbpasswd"].startswith("$")


def test_a_pod_that_starts_by_itself_is_watched() -> None:
    found = server({"autoStart": True, "gracePeriod": 20})
    assert found["readinessProbe"]["httpGet"] == {"path": "/api/v1/system/is_ready", "port": "http"}
    assert found["startupProbe"]["httpGet"] == {"path": "/server/panda/isAlive", "port": "http"}
    parsed(found["livenessProbe"]["exec"]["command"])
    parsed(["panda-admin", "container", *found["args"]])
    assert found["args"] == ["run", "--grace", "20"]
    wait = int(found["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod({"autoStart": True, "gracePeriod": 20})["terminationGracePeriodSeconds"] > wait + 20


def test_a_pod_that_does_not_start_by_itself_is_left_alone() -> None:
    found = server({})
    assert found["args"] == ["idle"]
    parsed(["panda-admin", "container", *found["args"]])
    assert "livenessProbe" not in found
    assert "startupProbe" not in found


def test_the_service_offers_the_ports_of_the_server() -> None:
    ports = {one["port"]: one["targetPort"] for one in manifest("Service", {})["spec"]["ports"]}
    named = {one["containerPort"]: one["name"] for one in server({})["ports"]}
    assert ports == named == {25080: "http", 25443: "https"}
    labels = manifest("Deployment", {})["spec"]["template"]["metadata"]["labels"]
    assert manifest("Service", {})["spec"]["selector"].items() <= labels.items()


def test_pods_run_without_privileges() -> None:
    context = pod({})["securityContext"] | server({})["securityContext"]
    assert context["runAsNonRoot"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert instructions()["USER"] == [f"{context['runAsUser']}:{context['runAsGroup']}"]


def test_the_image_and_the_chart_agree_about_paths() -> None:
    words = render_line()
    mounts = {one["name"]: one["mountPath"] for one in server(EVERYTHING)["volumeMounts"]}
    assert words[words.index("--hostcert") + 1] == f"{mounts['hostcert']}/hostcert.pem"
    assert words[words.index("--hostkey") + 1] == f"{mounts['hostcert']}/hostkey.pem"
    made = " ".join(instructions()["RUN"])
    for path in mounts.values():
        assert path in made, path


def test_apache_finds_a_ca_where_nobody_mounts_one() -> None:
    mounts = {one["name"]: one["mountPath"] for one in server(EVERYTHING)["volumeMounts"]}
    (command,) = [run for run in instructions()["RUN"] if run.startswith("openssl")]
    assert f"-keyout /dev/null -out {mounts['certificates']}/" in command


def test_the_commands_of_the_image_exist() -> None:
    parsed(render_line())
    (entry,), (command,) = instructions()["ENTRYPOINT"], instructions()["CMD"]
    parsed([*json.loads(entry), *json.loads(command)])


def test_what_the_image_copies_exists_and_is_no_secret() -> None:
    for line in instructions()["COPY"]:
        if not line.startswith("--from="):
            source = line.split()[0]
            assert (ROOT / source).exists(), source
    assert not [path for path in (ROOT / "etc").rglob("*") if path.suffix in {".pem", ".key", ".crt"}]
    assert not re.search(r"passw|secret=|token", " ".join(instructions()["ENV"]), re.IGNORECASE)


@pytest.mark.parametrize(
    "template", ["{{ .Values.a | upper }}", "{{ with .Values.a }}", "{{ .Values.b }}", "{{ if .Values.a }}"]
)
def test_the_stand_in_refuses_what_it_does_not_know(template: str, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "values.yaml").write_text("a: text")
    (tmp_path / "Chart.yaml").write_text("name: chart")
    (tmp_path / "templates" / "one.yaml").write_text(template)
    with pytest.raises((KeyError, ValueError)):
        rendered(tmp_path, "mysrv")


def helm(tmp_path: Path, command: str, choice: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    chosen = tmp_path / "values.yaml"
    chosen.write_text(yaml.safe_dump(choice))
    return subprocess.run(
        [str(HELM), command, *arguments, str(CHART), "-f", str(chosen)],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(HELM is None, reason="helm is not installed")
@pytest.mark.parametrize("choice", CHOICES)
def test_helm_finds_no_fault(choice: dict[str, Any], tmp_path: Path) -> None:
    linted = helm(tmp_path, "lint", choice, "--strict")
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.skipif(HELM is None, reason="helm is not installed")
@pytest.mark.parametrize("choice", CHOICES)
def test_helm_renders_what_the_stand_in_does(choice: dict[str, Any], tmp_path: Path) -> None:
    told = helm(tmp_path, "template", choice, "mysrv")
    assert told.returncode == 0, told.stderr
    by_kind = {one["kind"]: one for one in yaml.safe_load_all(told.stdout) if one}
    assert by_kind == {one["kind"]: one for one in manifests(choice)}


@pytest.mark.skipif(HELM is None, reason="helm is not installed")
def test_helm_refuses_values_that_the_chart_does_not_know(tmp_path: Path) -> None:
    linted = helm(tmp_path, "lint", {"autostart": True})
    assert linted.returncode != 0
    assert "autostart" in linted.stdout + linted.stderr


def instructions() -> dict[str, list[str]]:
    """Instruction -> its arguments, of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.partition(" ")
        if word:
            found.setdefault(word, []).append(rest)
    return found


def render_line() -> list[str]:
    (line,) = [part for run in instructions()["RUN"] for part in run.split("&&") if "panda-admin" in part]
    return shlex.split(line)


def parsed(words: list[str]) -> None:
    """Let click read a command, without running it."""
    assert words[0] == "panda-admin"
    command: click.Command = main
    arguments = words[1:]
    context: click.Context | None = None
    while isinstance(command, click.Group):
        context = command.make_context(command.name or "", list(arguments), parent=context)
        inner = command.get_command(context, arguments[0])
        assert inner is not None, arguments
        command, arguments = inner, arguments[1:]
    command.make_context(command.name or "", list(arguments), parent=context)
