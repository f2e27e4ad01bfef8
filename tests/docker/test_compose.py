"""The compose file holds what it promises: parsed here, run by `docker/compose-test`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lightning_host.needs import missing

DOCKER = Path(__file__).parents[2] / "docker"
SERVICES = {"sandbox", "postgres", "host-a", "host-b", "integration-test", "prometheus", "grafana"}
SHOWN = {"host-a", "host-b", "prometheus", "grafana"}
"""Services that can be reached from this machine."""
SCRIPTS = (
    "btcpay-demo",
    "compose-test",
    "make-secrets",
    "with-secrets",
    "production-test",
    "postgres-standin/entrypoint",
    "btcpay/make-secrets",
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Give the compose file, parsed."""
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 - stubs may be missing, and all of it, too
    except ImportError:
        missing("PyYAML")
    parsed = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    assert isinstance(parsed, dict)
    return parsed


def test_services_are_there(compose: dict[str, Any]) -> None:
    """A sandbox, two replicas of one host, their database, and a test that starts only when it is asked for."""
    services = compose["services"]
    assert set(services) == SERVICES
    assert {k: v for k, v in services["host-a"].items() if k != "ports"} == {
        k: v for k, v in services["host-b"].items() if k != "ports"
    }
    assert services["integration-test"]["profiles"] == ["test"]
    assert services["postgres"]["image"].startswith("postgres:")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_are_hardened(compose: dict[str, Any], name: str) -> None:
    """Nobody is root, nobody writes the image's files, nobody gains rights, and each has a health check."""
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["user"].partition(":")[0]) > 0
    assert "privileged" not in service
    from_image = (DOCKER / "Dockerfile").read_text().count("HEALTHCHECK") == 1 and "host" in service["image"]
    assert "healthcheck" in service or from_image


def test_secrets_come_from_files(compose: dict[str, Any]) -> None:
    """No value in the file is a secret: each is mounted from a file, and a service that names one has it mounted."""
    declared = compose["secrets"]
    assert all(secret["file"] == f"./secrets/{name}" for name, secret in declared.items())
    for service in compose["services"].values():
        mounted = set(service.get("secrets", ()))
        assert mounted <= set(declared)
        for name, value in service.get("environment", {}).items():
            if any(word in name for word in ("PASSWORD", "TOKEN", "KEY", "STRING", "DATABASE_URL", "JOURNAL")):
                assert name.endswith("_FILE"), name
                assert value.removeprefix("/run/secrets/") in mounted, name
    assert (DOCKER / ".gitignore").read_text().split() == ["secrets/", ".env"]


def test_ports_are_for_this_machine_only(compose: dict[str, Any]) -> None:
    """What is published is bound to loopback; sandbox and database are not published at all."""
    for name, service in compose["services"].items():
        ports = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in ports)
        assert bool(ports) is (name in SHOWN)


def test_monitoring_is_a_profile_that_fits_together(compose: dict[str, Any]) -> None:
    """Prometheus and Grafana start only when asked for, and find both replicas, the rules and the dashboard."""
    import yaml  # noqa: PLC0415 - the fixture has found it

    services, folder = compose["services"], DOCKER / "monitoring"
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["monitoring"]
        for volume in services[name]["volumes"]:
            source = volume.partition(":")[0]
            assert (DOCKER / source).exists() if source.startswith("./") else source in compose["volumes"], volume
    told = yaml.safe_load((folder / "prometheus.yaml").read_text())
    (job,) = told["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["host-a:8080", "host-b:8080"]}]
    secret = job["authorization"]["credentials_file"].removeprefix("/run/secrets/")
    assert all(secret in services[name]["secrets"] for name in ("prometheus", "host-a", "host-b"))
    assert all((folder / rules).exists() for rules in told["rule_files"])
    (source,) = yaml.safe_load((folder / "grafana/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "grafana/dashboards/host.yaml").read_text())["providers"]
    assert any(f":{provider['options']['path']}/dashboard.json" in each for each in services["grafana"]["volumes"])


@pytest.mark.parametrize(
    "files",
    [
        ("compose.yaml",),
        ("compose.yaml", "compose.offline.yaml"),
        ("btcpay.yaml",),
        ("btcpay.yaml", "btcpay.offline.yaml"),
        ("btcpay/compose.yaml",),
    ],
    ids="+".join,
)
def test_compose_itself_takes_the_files(files: tuple[str, ...]) -> None:
    """`docker compose config`, which runs nothing, finds no fault with any profile."""
    if (docker := shutil.which("docker")) is None:
        pytest.skip("there is no docker; docker/compose-test asks the same")
    named = [argument for file in files for argument in ("-f", str(DOCKER / file))]
    command = [docker, "compose", *named, "--profile", "*", "config", "--quiet"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "is not a docker command" in asked.stderr:
        pytest.skip("there is no docker compose")
    assert (asked.returncode, asked.stdout) == (0, ""), asked.stderr


def test_the_demo_of_btcpay_stands_by_itself(compose: dict[str, Any]) -> None:
    """It is a project of its own, so that compose.yaml beside it keeps its containers; only BTCPay can be reached."""
    import yaml  # noqa: PLC0415 - the fixture has found it

    demo = yaml.safe_load((DOCKER / "btcpay.yaml").read_text())
    assert demo["name"] != compose.get("name", DOCKER.name)
    published = {name: each["ports"] for name, each in demo["services"].items() if "ports" in each}
    assert published == {"btcpay": ["127.0.0.1:${BTCPAY_PORT:-14142}:23000"]}


def test_the_host_beside_btcpay_is_in_its_network_only(compose: dict[str, Any], tmp_path: Path) -> None:
    """BTCPay reaches it by the name that the guide tells to paste; secrets are files, and what lasts is in a volume."""
    import yaml  # noqa: PLC0415 - the fixture has found it

    folder = DOCKER / "btcpay"
    told = yaml.safe_load((folder / "compose.yaml").read_text())
    assert told["name"] not in {compose.get("name", DOCKER.name), "flash-btcpay-demo"}
    ((name, service),) = told["services"].items()
    assert f"type=phoenixd;server=http://{name}:8080/;" in (DOCKER.parent / "docs" / "btcpay.md").read_text()
    assert "ports" not in service
    (network,) = service["networks"]
    assert told["networks"][network]["external"] is True
    assert {path for each in told["volumes"] for path in service["volumes"] if path == f"{each}:/data"}
    environment = service["environment"]
    assert {value.startswith("sqlite:////data/") for value in environment.values() if "sqlite" in value} == {True}
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "10001:10001")
    copied = shutil.copy(folder / "make-secrets", tmp_path)
    mounted = tmp_path / "secrets" / "wallet"
    for written in (False, True):
        if written:
            (mounted / "connection_string").write_text("type=flash;token=secret")
        assert (subprocess.run([copied], capture_output=True, check=False, timeout=60).returncode == 0) is written
    needed = {Path(value).name for key, value in environment.items() if key.endswith("_FILE")}
    assert {path.name for path in mounted.iterdir()} == needed
    assert {path.stat().st_mode & 0o777 for path in mounted.iterdir()} == {0o444}
    assert mounted.parent.stat().st_mode & 0o777 == 0o700


def test_webhooks_stay_out_of_the_network(compose: dict[str, Any]) -> None:
    """Webhooks may go to private addresses only where somebody asks for it, as the test of the containers does."""
    for name in ("host-a", "host-b"):
        allowed = compose["services"][name]["environment"]["LIGHTNING_HOST_WEBHOOK_PRIVATE_ADDRESSES"]
        assert allowed == "${WEBHOOK_PRIVATE_ADDRESSES:-false}"


def test_hosts_wait_for_what_they_need(compose: dict[str, Any]) -> None:
    """A replica starts once sandbox and database are healthy."""
    for name in ("host-a", "host-b"):
        needs = compose["services"][name]["depends_on"]
        assert needs == {other: {"condition": "service_healthy"} for other in ("postgres", "sandbox")}


def test_image_is_small_and_not_root() -> None:
    """The image is built in stages, runs as a user without rights, and tells its health."""
    text = (DOCKER / "Dockerfile").read_text()
    stages = [line for line in text.splitlines() if line.startswith("FROM ")]
    assert stages == ["FROM python:3.11-slim AS build", "FROM python:3.11-slim"]
    last = text.rpartition("FROM ")[2]
    assert "USER 10001:10001" in last
    assert "HEALTHCHECK" in last
    assert text.count("pip install") == text.count("--require-hashes") + text.count("--no-deps --no-index") == 3
    assert "pip" not in last


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_can_be_run(name: str) -> None:
    """Each script is executable and has no syntax error."""
    path = DOCKER / name
    assert os.access(path, os.X_OK)
    shell = path.read_text().splitlines()[0].split("/")[-1].split()[-1]
    assert subprocess.run([shell, "-n", str(path)], check=False).returncode == 0


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """The script makes what compose mounts, unreadable to other users of the machine, and keeps what there is."""
    script = tmp_path / "make-secrets"
    script.write_bytes((DOCKER / "make-secrets").read_bytes())
    for _ in range(2):
        subprocess.run(["bash", str(script)], check=True)
        made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert made["connection_string"].startswith("type=flash;server=http://sandbox:4010/graphql;token=ory_st_")
    assert made["sandbox_token"] in made["connection_string"]
    assert made["postgres_password"] in made["database_url"]
    subprocess.run(["bash", str(script)], check=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made
