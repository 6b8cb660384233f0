"""Every queue operation of the PyPI packages otcextensions and openstacksdk against the broker whose HTTP address, user, password
and project's name are given as arguments: log-in by password through /v3, the service found in the catalog. Prints one line for
each step and exits 0 when all of them did what they should."""

import sys
import time

import openstack
from openstack import exceptions
from otcextensions import sdk

endpoint, user, password, project = sys.argv[1:5]


def connect(auth_url, secret=password):
    conn = openstack.connect(
        load_envvars=False, load_yaml_config=False, auth_url=auth_url, region_name="local",
        username=user, password=secret, project_name=project, user_domain_name="Default", project_domain_name="Default",
    )
    sdk.register_otc_extensions(conn)
    return conn


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def refused(error, status, run, what):
    try:
        run()
    except error as e:
        equal(e.status_code, status, what)
        return str(e)
    raise AssertionError(f"{what}: not refused")


def bodies(messages):
    return sorted((m.body for m in messages), key=str)


def queues(dms):
    made = dms.create_queue(name="orders", description="order events")
    fifo = dms.create_queue(name="steps", queue_mode="FIFO", redrive_policy="enable", max_consume_count=3)
    kafka = dms.create_queue(name="clicks", queue_mode="KAFKA_HT", retention_hours=12)
    shown = dms.get_queue(made.id)
    equal((shown.name, shown.queue_mode, shown.description), ("orders", "NORMAL", "order events"), "queue as shown")
    if abs(shown.created / 1000 - time.time()) > 300:
        raise AssertionError(f"created at {shown.created}")
    equal([q.name for q in dms.queues()], ["clicks", "steps", "orders"], "queues, newest first")
    listed = {q.name: q for q in dms.queues(include_deadletter=True, include_messages_num=True)}
    equal((listed["steps"].redrive_policy, listed["steps"].max_consume_count), ("enable", 3), "dead letters as listed")
    # A name is asked for as if it were an id first, and looked for in the list after any refusal.
    equal(dms.find_queue("steps").id, fifo.id, "queue found by name")
    equal(dms.find_queue(kafka.id).name, "clicks", "queue found by id")
    equal(dms.find_queue("nothing"), None, "a queue that is not there")
    text = refused(exceptions.BadRequestException, 400, lambda: dms.create_queue(name="orders"), "a name that is taken")
    if "orders exists already" not in text:  # this client shows the message and drops the code
        raise AssertionError(text)
    refused(exceptions.NotFoundException, 404, lambda: dms.get_queue("5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11"), "an unknown queue")
    dms.delete_queue("5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11")  # missing ones are ignored
    return made, fifo, kafka


def groups(dms, queue):
    billing, audit = dms.create_group(queue, "billing"), dms.create_group(queue, "audit")
    equal([(g.id, g.name) for g in dms.groups(queue)], [(billing.id, "billing"), (audit.id, "audit")], "groups, as made")
    equal([g.name for g in dms.groups(queue, page_size=1, current_page=2)], ["audit"], "the second page")
    equal(dms.create_group(queue, "audit").id, None, "a failed creation, which this client hides")
    equal(dms.find_group(queue, "audit").id, audit.id, "group found by name")
    return billing, audit


def messages(dms, queue, billing, audit):
    sent = dms.send_messages(queue, [
        {"body": "plain text"},
        {"body": {"orderId": 42, "lines": [1, 2.5, None]}, "attributes": {"source": "web", "retry": 1}},
        {"body": "ü€𝄞"},
    ], return_id=True)
    equal([m.state for m in sent.messages], [0] * 3, "states of the messages sent")
    one = dms.send_message(queue, body="alone")
    equal((one.state, one.error, one.error_code), (0, None, None), "one message sent")
    want = sorted(["plain text", {"orderId": 42, "lines": [1, 2.5, None]}, "ü€𝄞", "alone"], key=str)

    # This client repeats the call until nothing comes. Leases and a bounded wait end that.
    got = list(dms.consume_message(queue, billing, time_wait=1, ack_wait=60))
    equal(bodies(got), want, "messages for the first group")
    equal([m.attributes for m in got if isinstance(m.body, dict)], [{"source": "web", "retry": 1}], "attributes")
    for m in got:
        dms.ack_message(queue, billing, [m.id])
    equal(list(dms.consume_message(queue, billing, time_wait=1)), [], "nothing after acknowledgements one by one")
    refused(exceptions.BadRequestException, 400, lambda: dms.ack_message(queue, billing, [got[0].id]), "a second acknowledgement")

    got = list(dms.consume_message(queue, audit, max_msgs=2, time_wait=1))
    equal(bodies(got), want, "messages for the second group")
    dms.ack_message(queue, audit, [m.id for m in got])
    equal([(g.produced_messages, g.consumed_messages, g.available_messages) for g in dms.groups(queue)], [(4, 4, 0)] * 2, "counters")


def order(dms, queue):
    group = dms.create_group(queue, "worker")
    dms.send_messages(queue, [{"body": i} for i in range(5)])
    first = []
    for m in dms.consume_message(queue, group, max_msgs=3, time_wait=1):
        first.append(m)
    equal([m.body for m in first], [0, 1, 2], "the first of a FIFO queue, and nothing beyond an open lease")
    dms.ack_message(queue, group, [first[0].id])
    dms.ack_message(queue, group, [first[1].id], status="fail")
    rest = list(dms.consume_message(queue, group, time_wait=1))
    equal([m.body for m in rest], [1, 2, 3, 4], "from the failed one on")
    dms.ack_message(queue, group, [m.id for m in rest])
    equal(list(dms.consume_message(queue, group, time_wait=1)), [], "nothing is left")


def kafka_queue(dms, queue):
    group = dms.create_group(queue, "reader")
    dms.send_messages(queue, [{"body": f"m{i}"} for i in range(10)])
    got = list(dms.consume_message(queue, group, time_wait=1))
    equal(bodies(got), sorted(f"m{i}" for i in range(10)), "messages of a Kafka queue")
    dms.ack_message(queue, group, [m.id for m in got])


def identity(conn):
    equal([p.name for p in conn.identity.projects()], [project], "projects that the user sees")
    equal(conn.current_project.name, project, "the token's project")
    if not {"dms", "identity"} <= {e["type"] for e in conn.service_catalog}:
        raise AssertionError(f"catalog: {conn.service_catalog!r}")
    try:
        connect(endpoint + "/v3", "another password")
    except exceptions.SDKException as e:
        if "401" not in str(e):
            raise
        return
    raise AssertionError("a wrong password: not refused")


def main():
    conn = connect(endpoint + "/v3")
    dms = conn.dms
    made, fifo, kafka = queues(dms)
    print("ok queues", flush=True)
    billing, audit = groups(dms, made)
    messages(dms, made, billing, audit)
    dms.delete_group(made, audit)
    equal([g.name for g in dms.groups(made)], ["billing"], "groups left")
    print("ok groups and messages", flush=True)
    order(dms, fifo)
    print("ok FIFO", flush=True)
    kafka_queue(dms, kafka)
    print("ok Kafka queue", flush=True)
    identity(conn)
    equal(len(list(connect(endpoint).dms.queues())), 3, "queues, by an address without a version")
    print("ok identity", flush=True)
    for queue in (made, fifo, kafka):
        dms.delete_queue(queue)
    equal(list(dms.queues()), [], "queues left")
    print("all operations")


main()
