"""The job for Kubernetes that the script prints."""

import pytest
import yaml

from mdhr_jax.distributed import LOST
from mdhr_jax.training.interrupt import SAVED
from tests.launch.started import run

JOB = ("launch/kubernetes.sh", "-n", "bp4d-1", "-p", "3", "-i", "place:80/mdhr:1", "-c", "runs")


def made(*arguments):
    done = run(*JOB, *arguments)
    assert done.returncode == 0, done.stderr
    service, job = yaml.safe_load_all(done.stdout)
    return service, job, job["spec"]["template"]["spec"]


def test_each_pod_runs_the_same_command():
    strange = ["--config=a b", "", "it's", 'a "quote"', "--", "- #: {}", "$(HOME) $$", "yes", "8"]
    _, job, pod = made("-g", "4", "--", *strange)
    assert job["kind"] == "Job"
    (container,) = pod["containers"]
    assert container["image"] == "place:80/mdhr:1"
    # Kubernetes takes $$ for $.
    command = [argument.replace("$$", "$") for argument in container["command"]]
    assert command == ["python", "-m", "mdhr_jax.main", *strange]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 4}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "runs"}
    _, _, other = made("-m", "a.module", "--", "x")
    assert other["containers"][0]["command"] == ["python", "-m", "a.module", "x"]


def test_pods_find_each_other_by_the_service():
    service, job, pod = made("--", "x")
    name = service["metadata"]["name"]
    assert service["kind"] == "Service"
    assert service["spec"]["clusterIP"] == "None"
    # Before they are ready, too, which they are only together.
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == name
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 3
    environment = {entry["name"]: entry for entry in pod["containers"][0]["env"]}
    host, _, port = environment["JAX_COORDINATOR_ADDRESS"]["value"].partition(":")
    assert host == f"{job['metadata']['name']}-0.{name}"
    assert port.isdigit()
    assert environment["JAX_NUM_PROCESSES"]["value"] == "3"
    source = environment["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert source == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def test_only_what_has_saved_or_lost_its_node_is_started_again():
    _, job, pod = made("-s", "60", "--", "x")
    codes, conditions = job["spec"]["podFailurePolicy"]["rules"]
    assert (codes["action"], codes["onExitCodes"]["values"]) == ("Ignore", [SAVED, LOST])
    assert conditions["action"] == "Ignore"
    assert conditions["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert job["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "Large", "--", "x"], "-n takes small letters"),
        (["-n", "a" * 53, "--", "x"], "-n takes small letters"),
        (["-p", "0", "--", "x"], "-p takes a positive number, found '0'"),
        (["-g", "all", "--", "x"], "-g takes a number, found 'all'"),
        (["-i", "", "--", "x"], "-i IMAGE is missing"),
        (["-x", "--", "x"], "there is no option -x"),
        (["x"], "has to stand behind --"),
        (["--"], "there is nothing to run"),
        (["--", "two\nlines"], "an argument has two lines"),
    ],
)
def test_wrong_options_are_told_and_nothing_is_printed(arguments, message):
    done = run(*JOB, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
