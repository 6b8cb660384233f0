"""The commands `openstack dms ...`, `token issue` and `catalog list` against the broker whose HTTP address, user, password and
project's name are given as arguments. They run in this one process, since each takes seconds to load."""

import contextlib
import io
import json
import os
import sys

import openstack
from openstackclient import shell
from otcextensions import sdk

endpoint, user, password, project = sys.argv[1:5]
os.environ.update(
    OS_AUTH_URL=endpoint + "/v3", OS_USERNAME=user, OS_PASSWORD=password, OS_PROJECT_NAME=project, OS_REGION_NAME="local",
    OS_USER_DOMAIN_NAME="Default", OS_PROJECT_DOMAIN_NAME="Default", OS_IDENTITY_API_VERSION="3",
)


def run(*command):
    """Answers the exit code and what was printed, errors included."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = shell.OpenStackShell().run(list(command))
    return code, out.getvalue(), err.getvalue()


def ask(*command):
    code, out, err = run(*command, "-f", "json")
    if code:
        raise AssertionError(f"openstack {' '.join(command)}: {code}\n{out}{err}")
    print("ok openstack", *command, flush=True)
    return json.loads(out)


def do(*command):
    code, out, err = run(*command)
    if code:
        raise AssertionError(f"openstack {' '.join(command)}: {code}\n{out}{err}")
    print("ok openstack", *command, flush=True)


def refused(text, *command):
    code, out, err = run(*command)
    if not code or text not in out + err:
        raise AssertionError(f"openstack {' '.join(command)}: {code}, want a refusal with {text!r}\n{out}{err}")
    print("ok openstack", *command, "(refused)", flush=True)


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


token = ask("token", "issue")
if not token["id"] or not token["expires"]:
    raise AssertionError(token)
types = {entry["Type"] for entry in ask("catalog", "list")}
if not {"identity", "dms", "dmsv1", "dmsv2"} <= types:
    raise AssertionError(f"catalog: {types!r}")
equal(ask("dms", "queue", "list"), [], "queues of a new project")
made = ask("dms", "queue", "create", "orders", "FIFO", "--description", "order events", "--redrive_policy", "enable", "--max_consume_count", "5")
equal(made["name"], "orders", "queue made")
kafka = ask("dms", "queue", "create", "clicks", "kafka_ht", "--retention_hours", "24")
shown = ask("dms", "queue", "show", made["ID"])
equal((shown["queue_mode"], shown["description"]), ("FIFO", "order events"), "queue shown")
equal([q["name"] for q in ask("dms", "queue", "list")], ["clicks", "orders"], "queues listed")
equal(ask("dms", "group", "list", "orders"), [], "groups, the queue by name")
# `dms group create` fails in the client itself, whatever the service says; the group is made with the SDK underneath.
conn = openstack.connect(load_yaml_config=False)
sdk.register_otc_extensions(conn)
group = conn.dms.create_group(made["ID"], "billing")
conn.dms.send_message(made["ID"], body="hello")
listed = ask("dms", "group", "list", "orders", "--include_deadletter")
equal([(g["name"], g["produced_messages"], g["available_messages"], g["available_deadletters"]) for g in listed], [("billing", 1, 1, 0)], "groups listed")
do("dms", "group", "delete", made["ID"], group.id)
equal(ask("dms", "group", "list", made["ID"]), [], "groups left")
refused("queue ID format", "dms", "queue", "show", "orders")  # this one does not look names up
do("dms", "queue", "delete", made["ID"], kafka["ID"])
equal(ask("dms", "queue", "list"), [], "queues left")
